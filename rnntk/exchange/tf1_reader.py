"""Convert a checkpoint to safetensors with TensorFlow's reader: `python tf1_reader.py PREFIX TARGET`.

It runs in a separate process, because TensorFlow's reader aborts on some damaged files.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

# Optimizer variables, such as `rnnlm/softmax_w/Adam_1`.
SLOT = re.compile(
    r"(.*/)?(Adam|RMSProp|Momentum|Adagrad|Adadelta|Ftrl|ExponentialMovingAverage)(_\d+)?"
)


def main(prefix: Path, target: Path) -> None:
    """Write the variables to `target`, without those of optimizers; raises if that fails."""
    import numpy as np
    import tensorflow as tf
    from safetensors.numpy import save_file

    reader = tf.train.load_checkpoint(str(prefix))
    shapes = {n: s for n, s in reader.get_variable_to_shape_map().items() if not SLOT.fullmatch(n)}
    files = [p for p in prefix.parent.iterdir() if p.name.startswith(prefix.name)]
    if sum(map(math.prod, shapes.values())) > sum(p.stat().st_size for p in files):
        raise ValueError("it lists more numbers than its files have bytes")
    arrays = {name: np.ascontiguousarray(reader.get_tensor(name)) for name in shapes}
    save_file({n: a for n, a in arrays.items() if a.dtype.kind in "fiu"}, target)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        print(getattr(error, "message", None) or error or type(error).__name__)
        sys.exit(1)
