"""`rnntk import`: turn a TensorFlow 1 checkpoint into a run."""

from __future__ import annotations

import click

from rnntk.cli.console import Console, shown
from rnntk.cli.options import PATH, Args, command_named, option, run_option, runs_dir_option


@command_named("import")
@click.argument("checkpoint", type=PATH)
@option(
    "--vocab",
    "Pickle file of the vocabulary.  [default: vocab.pkl or chars_vocab.pkl beside CHECKPOINT]",
    type=PATH,
)
@option(
    "--preprocessor",
    "How the text was turned into symbols: plain, hangul-slides, ...  [default: found from the vocabulary]",
)
@option("--corpus", "Name for the training text.  [default: that of the checkpoint's folder]")
@option(
    "--forget-bias",
    "Bias that TensorFlow 1 added to the forget gates of an LSTM.",
    type=float,
    default=1.0,
)
@run_option
@runs_dir_option
def command(args: Args, console: Console) -> None:
    """Turn a TensorFlow 1 CHECKPOINT of the 2017 notebooks or of char-rnn-tensorflow into a run.

    CHECKPOINT is a folder, or a name such as save/model.ckpt-24000. Code inside the vocabulary's pickle file is never
    executed. To train the imported network further: rnntk train TEXT --init-from RUN

    Examples:
      rnntk import save/model.ckpt-24000 --vocab save/vocab.pkl
      rnntk import tf1_checkpoint --corpus invisible_dragon
      rnntk import save --vocab save/chars_vocab.pkl --preprocessor plain
    """
    from rnntk.exchange import safe_pickle, tf1, tf1_files
    from rnntk.storage import directory, folder

    if args.run is not None:
        folder.refuse_existing(args.run)
    if args.corpus is not None:
        directory.check_name(args.corpus)
    prefix, step = tf1_files.find_checkpoint(args.checkpoint)
    vocabulary_file = args.vocab or tf1_files.find_vocabulary(prefix)
    of_bytes = safe_pickle.holds_bytes(vocabulary_file)
    encoding = "latin-1" if of_bytes else "ASCII"
    vocabulary = tf1_files.read_vocabulary(vocabulary_file, encoding=encoding)
    from rnntk.training import device

    device.ready("cpu", None)
    network = tf1.read_network(prefix, forget_bias=args.forget_bias)
    name = args.corpus or prefix.resolve().parent.name or "imported"
    path = args.run or directory.next_path(args.runs_dir, name)
    preprocessor = args.preprocessor or ("bytes" if of_bytes else None)
    imported = tf1.import_run(
        network, vocabulary, path, source=prefix, step=step, corpus=name,
        preprocessor=preprocessor, versions=device.versions(),
    )  # fmt: skip
    model, text = imported.record["model"], imported.record["corpus"]
    shape = f"{model['cell']}, {model['layers']} layers of {model['units']}, embedding {model['embedding']}"
    console.facts(
        run=shown(imported.path),
        from_=f"{shown(prefix)}, step {step}",
        model=f"{shape}, {model['parameters']:,} parameters",
        vocabulary=f"{len(vocabulary)} symbols of {shown(vocabulary_file)}, by {text['preprocessor']}",
    )
    console.note(f"Sample from it: rnntk sample {shown(imported.path)}")
    console.json(
        "import", run=imported.path, checkpoint=prefix, step=step, model=model,
        vocabulary_size=len(vocabulary), preprocessor=text["preprocessor"],
    )  # fmt: skip
