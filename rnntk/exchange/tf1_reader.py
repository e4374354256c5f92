"""Read a checkpoint with TensorFlow's own reader: `python tf1_reader.py PREFIX TARGET` writes its numbers there.

It runs in a process of its own, because that reader ends the process at some files. It imports nothing of rnntk.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

# Variables of optimizers, such as `rnnlm/softmax_w/Adam_1`.
SLOT = re.compile(
    r"(.*/)?(Adam|RMSProp|Momentum|Adagrad|Adadelta|Ftrl|ExponentialMovingAverage)(_\d+)?"
)


def main(prefix: Path, target: Path) -> None:
    """Read the variables, but for an optimizer's; an exception says why not."""
    import numpy as np
    import tensorflow as tf
    from safetensors.numpy import save_file

    reader = tf.train.load_checkpoint(str(prefix))
    shapes = {n: s for n, s in reader.get_variable_to_shape_map().items() if not SLOT.fullmatch(n)}
    files = [p for p in prefix.parent.iterdir() if p.name.startswith(prefix.name)]
    if sum(map(math.prod, shapes.values())) > sum(p.stat().st_size for p in files):
        raise ValueError("it names more numbers than its files have bytes")
    arrays = {name: np.asarray(reader.get_tensor(name)) for name in shapes}
    save_file(
        {n: np.ascontiguousarray(a) for n, a in arrays.items() if a.dtype.kind in "fiu"}, target
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        print(getattr(error, "message", None) or error or type(error).__name__)
        sys.exit(1)
