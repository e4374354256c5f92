"""`import rnntk`: its names and examples; it trains bit-identically to the command line."""

from __future__ import annotations

import doctest
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import rnntk
from rnntk.errors import DataError, Interrupted, RunError, UsageError
from rnntk.training import device

device.ready("cpu", None)

TALE = "".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(60))
SMALL: dict[str, Any] = {
    "layers": 2, "units": 16, "embedding": 6, "batch_size": 4, "seq_length": 20, "max_steps": 20, "quiet": True,
    "val_fraction": 0.1, "val_every": 10, "sample_every": 0,
}  # fmt: skip
PUBLIC = [
    "CharRNN", "MnistConfig", "RnntkError", "Run", "SampleConfig", "TrainConfig", "__version__", "layers",
    "load", "prepare", "resume", "runs", "train", "train_mnist",
]  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a trained run."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "tale.txt").write_text(TALE, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RNNTK_CACHE", str(folder / "cache"))
            rnntk.train("tale.txt", run="runs/my-run", **SMALL)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder."""
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RNNTK_CACHE", str(folder / "cache"))
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    monkeypatch.delenv("RNNTK_DATA", raising=False)
    return folder


def test_the_module_lists_its_public_names_only() -> None:
    assert sorted(dir(rnntk)) == PUBLIC
    assert all(getattr(rnntk, name).__doc__ for name in dir(rnntk))
    with pytest.raises(AttributeError, match="nothing"):
        rnntk.nothing  # noqa: B018


def test_import_loads_neither_numpy_nor_tensorflow() -> None:
    code = (
        "import sys, rnntk\nassert not {'numpy', 'tensorflow', 'click'} & set(sys.modules)\n"
        "rnntk.load, rnntk.TrainConfig, rnntk.Run\nassert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    names = {"rnntk": rnntk, **{n: getattr(rnntk, n) for n in dir(rnntk) if n != "__version__"}}
    globs = {"rnntk": rnntk, "TrainConfig": rnntk.TrainConfig, "MnistConfig": rnntk.MnistConfig}
    globs |= {"SampleConfig": rnntk.SampleConfig, "CharRNN": rnntk.CharRNN, "layers": rnntk.layers}
    return [t for n, o in names.items() for t in finder.find(o, n, module=False, globs=dict(globs))]


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.name)
def test_every_public_name_has_an_example_that_runs(
    example: doctest.DocTest, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.examples, f"{example.name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example)
    assert runner.failures == 0, capsys.readouterr().out


def test_the_shell_trains_the_same_weights(here: Path) -> None:
    """The corpus' config, keywords and defaults combine in the same way."""
    run = rnntk.train(
        corpus="python_stdlib",
        units=8,
        embedding=6,
        max_steps=3,
        seq_length=10,
        run="python",
        quiet=True,
        offline=True,
    )
    flags = "--corpus python_stdlib --units 8 --embedding 6 --max-steps 3 --seq-length 10 --run shell --quiet"
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-m", "rnntk", "train", *flags.split()]
    subprocess.run(command, check=True, capture_output=True, env=env)
    one, two = (rnntk.load(name).folder.checkpoint().weights() for name in ("python", "shell"))
    assert one.keys() == two.keys()
    assert all(one[k].tobytes() == two[k].tobytes() for k in one)
    one, two = (
        json.loads(Path(n, "run.json").read_text())["settings"] for n in ("python", "shell")
    )
    assert one == two
    assert run.config == rnntk.load("shell").config


def test_a_wrong_keyword_suggests_the_nearest(here: Path) -> None:
    with pytest.raises(UsageError, match="There is no setting 'unit'. Did you mean 'units'?"):
        rnntk.train("tale.txt", unit=3)
    with pytest.raises(
        UsageError, match="There is no setting 'temprature'. Did you mean 'temperature'?"
    ):
        rnntk.load("my-run").sample("the", temprature=3)
    with pytest.raises(UsageError, match="units must be at least 1 and at most 65,536, got 0"):
        rnntk.train("tale.txt", units=0)
    with pytest.raises(UsageError, match="leave out units, or train a new run"):
        rnntk.resume("my-run", units=3)
    with pytest.raises(UsageError, match="There is no setting 'epoch'. Did you mean 'epochs'?"):
        rnntk.resume("my-run", epoch=3)
    with pytest.raises(UsageError, match="There is no setting 'quite'. Did you mean 'quiet'?"):
        rnntk.train("tale.txt", quite=True)
    with pytest.raises(UsageError, match="There is no setting 'unit'. Did you mean 'units'?"):
        rnntk.TrainConfig(unit=3)
    with pytest.raises(TypeError, match="no argument 'unit'. Did you mean 'units'?"):
        rnntk.CharRNN(unit=3)
    assert rnntk.CharRNN(5, units=2, layers=1, name="mine").name == "mine"
    with pytest.raises(TypeError, match=r"load\(\) has no argument 'step'\."):
        rnntk.load("my-run", step=3)
    with pytest.raises(TypeError, match=r"Run.plot\(\) has no argument 'lag'. Did you mean 'log'"):
        rnntk.load("my-run").plot(lag=True)


def test_a_missing_checkpoint_is_refused_at_load(here: Path) -> None:
    with pytest.raises(
        RunError, match=r"no checkpoint 'bst'; it has best, last and .*20. Did.*'best'"
    ):
        rnntk.load("my-run", checkpoint="bst")
    with pytest.raises(RunError, match="no checkpoint '7'"):
        rnntk.load("my-run", checkpoint=7)
    assert rnntk.load("my-run", checkpoint=20).sample("the ", length=5, seed=1)


def test_config_keys_of_the_command_line_are_ignored(here: Path) -> None:
    Path("c.toml").write_text(
        "color = true\n[train]\nverbose = true\nhost = 'x'\nunits = 5\n"
        "max_steps = 2\nbatch-size = 4\nseq_length = 20\n[sample]\ncolor = true\n"
    )
    run = rnntk.train("tale.txt", config="c.toml", quiet=True)
    assert (run.name, run.config.units) == ("tale-1", 5)
    Path("c.toml").write_text("[train]\nquite = true\n")
    with pytest.raises(UsageError, match="'quite' in .train. is not a setting of rnntk train"):
        rnntk.train("tale.txt", config="c.toml")


def test_a_config_file_sets_arguments_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.toml").write_text(
        "run = 'tuned'\nquiet = true\n[train]\ninit-from = 'my-run'\ninput = 'tale.txt'\nmax_steps = 1\n"
        "learning_rate = 1e-9\nbatch_size = 4\nseq_length = 20\nsample_every = 0\n"
        "[mnist]\ndata = 'digits'\nunits = 4\nmax_steps = 1\n"
    )
    run = rnntk.train(config="c.toml")
    assert (run.path, run.config.units) == (Path("tuned"), 16)
    before, after = (rnntk.load(n).folder.checkpoint().weights() for n in ("my-run", "tuned"))
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert "training" not in "".join(capsys.readouterr())
    source = rnntk.load("tuned")
    other = rnntk.train(config="c.toml", run="other", init_from=source, quiet=False)
    assert other.path == Path("other")
    assert "step" in "".join(capsys.readouterr())
    with pytest.raises(RunError, match="^tuned exists already"):
        rnntk.train_mnist(config="c.toml")
    assert rnntk.train_mnist(config="c.toml", run="digits").path == Path("digits")
    for line, problem in {
        "run = 5": "Invalid value for 'run' in d.toml, line 2: must be a path, got 5.",
        "init_from = ''": "Invalid value for 'init_from' in d.toml, line 2: must be a path, got ''.",
        "quiet = 1": "Invalid value for 'quiet' in d.toml, line 2: must be true or false, got 1.",
    }.items():
        Path("d.toml").write_text(f"[train]\n{line}\n")
        with pytest.raises(UsageError) as raised:
            rnntk.train("tale.txt", config="d.toml")
        assert str(raised.value) == problem


def test_the_repr_of_a_corpus_is_one_line(here: Path) -> None:
    corpus = rnntk.prepare("tale.txt")
    count = corpus.prepared.facts["characters"]
    size = len(corpus.prepared.vocabulary)
    assert repr(corpus) == (
        f"Corpus('tale': {count:,} characters, {count:,} symbols by plain, {size} different)"
    )
    assert repr(corpus.prepared) == f"Prepared({str(corpus.prepared.folder)!r}: {count:,} symbols)"


def test_a_config_may_be_a_file_a_shipped_name_or_an_object(here: Path) -> None:
    Path("c.toml").write_text(
        "seq_length = 20\n[train]\nunits = 5\nmax_steps = 2\nbatch_size = 4\n"
    )
    run = rnntk.train("tale.txt", config="c.toml", embedding=3, quiet=True, sample_every=0)
    assert (run.config.units, run.config.embedding, run.config.max_steps) == (5, 3, 2)
    again = rnntk.train(config=run.config, quiet=True)
    one, two = (r.folder.checkpoint().weights() for r in (run, again))
    assert all(one[k].tobytes() == two[k].tobytes() for k in one)
    shipped = rnntk.train(config="demo_ko", units=8, max_steps=1, seq_length=10, quiet=True)
    assert (shipped.folder.record["corpus"]["name"], shipped.config.batch_size) == ("demo_ko", 20)
    Path("d.toml").write_text("unitz = 5\n")
    with pytest.raises(
        UsageError, match="'unitz' is not a setting of any command. Did you mean 'units'?"
    ):
        rnntk.train("tale.txt", config="d.toml")


def test_a_keras_callback_can_be_passed(here: Path) -> None:
    seen: list[float] = []

    class Own(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs["loss"])

    run = rnntk.train("tale.txt", **{**SMALL, "max_steps": 3}, callbacks=[Own()])
    assert seen == pytest.approx(run.metrics["loss"].tolist(), abs=1e-6)
    rnntk.resume(run, max_steps=5, quiet=True, callbacks=[Own()])
    assert len(seen) == 5


def test_callbacks_may_be_one_or_none(here: Path) -> None:
    small = {**SMALL, "max_steps": 1, "val_every": None}
    seen: list[int] = []
    own = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    run = rnntk.train("tale.txt", **small, callbacks=own)
    assert seen == [0]
    assert rnntk.resume(run, max_steps=2, quiet=True, callbacks=None).metrics["step"][-1] == 2


def test_what_is_no_callback_is_refused_at_the_start(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "Subclass keras.callbacks.Callback, or use keras.callbacks.LambdaCallback."
    wrong: dict[str, Any] = {
        "the class History. Create one: History().": keras.callbacks.History,
        "the class int. Create one: int().": [int],
        f"a function. {advice}": lambda logs: None,
        f"a int. {advice}": [keras.callbacks.History(), 5],
        f"a str. {advice}": "tensorboard",
    }
    for what, value in wrong.items():
        for call in (
            lambda value=value: rnntk.train("missing.txt", callbacks=value),
            lambda value=value: rnntk.resume("missing", callbacks=value),
            lambda value=value: rnntk.train_mnist(data="missing", callbacks=value),
        ):
            with pytest.raises(UsageError) as raised:
                call()
            assert str(raised.value) == f"callbacks must be Keras callbacks, got {what}"
    monkeypatch.delitem(sys.modules, "keras")  # not imported yet
    with pytest.raises(
        UsageError, match="callbacks must be Keras callbacks, got a builtin_function"
    ):
        rnntk.train("missing.txt", callbacks=[print])  # type: ignore[list-item]


class _Signal(keras.callbacks.Callback):
    """Raises a signal after a batch."""

    def __init__(self, number: signal.Signals, batch: int) -> None:
        super().__init__()
        self.number, self.batch = number, batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.batch:
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_loop_that_catches_errors(here: Path, number: signal.Signals) -> None:
    def sweep() -> None:
        for units in (4, 8):
            try:
                rnntk.train("tale.txt", **{**SMALL, "units": units}, callbacks=[_Signal(number, 2)])
            except Exception as error:
                pytest.fail(f"swallowed: {error!r}")

    with pytest.raises(KeyboardInterrupt) as raised:
        sweep()
    assert [run.name for run in rnntk.runs()] == ["tale-1", "my-run"]
    ended = raised.value
    assert isinstance(ended, Interrupted)
    command = "rnntk train --resume runs/tale-1"
    assert str(ended) == f"Stopped at step 3 and saved. Continue with: {command}"
    assert ended.exit_code == 128 + number
    assert str(pickle.loads(pickle.dumps(ended))) == str(ended)
    with pytest.raises(Interrupted, match="Stopped at step 6"):
        rnntk.resume("tale-1", quiet=True, callbacks=[_Signal(number, 5)])
    with pytest.raises(Interrupted, match="Stopped at step 3"):
        rnntk.train_mnist(
            data="digits", units=4, max_steps=9, quiet=True, callbacks=[_Signal(number, 2)]
        )


def test_a_resumed_run_keeps_its_new_limits_and_shows_its_new_weights(here: Path) -> None:
    run = rnntk.load("my-run")
    before = run.sample("the ", length=30, seed=3)
    rnntk.resume(run, max_steps=22, sample_every=7, explosion_steps=0, quiet=True)
    assert (run.config.max_steps, run.config.sample_every) == (22, 7)
    last = rnntk.resume(run, max_steps=24, quiet=True)
    assert (last.config.max_steps, last.config.sample_every) == (24, 7)
    assert last.config.explosion_steps == 0
    assert (run.config, run.checkpoint, run.model.step) == (last.config, "best", last.model.step)
    assert run.sample("the ", length=30, seed=3) == last.sample("the ", length=30, seed=3) != before
    with pytest.raises(UsageError, match="is finished: 24 of 24 steps"):
        rnntk.resume(run, quiet=True)


def test_a_run_with_a_damaged_newest_checkpoint_is_listed(here: Path) -> None:
    run = rnntk.resume("my-run", max_steps=25, quiet=True)
    (run.folder.checkpoints / "step-00000025" / "weights.safetensors").write_bytes(b"")
    assert [r.name for r in rnntk.runs()] == ["my-run"]


def test_a_run_has_config_metrics_and_samples(here: Path) -> None:
    run = rnntk.load("my-run")
    assert run.config.units == 16
    columns = run.metrics
    assert columns["step"].tolist() == list(range(1, 21))
    assert np.isfinite(columns["val_loss"]).sum() == 2
    text = run.sample("the ", length=30, seed=3)
    assert text.startswith("the ")
    assert "".join(run.stream("the ", length=30, seed=3)) == text
    assert run.sample("the ", length=30, seed=4) != text
    assert (
        repr(run)
        == f"Run('runs/my-run': tale, lstm 2x16, 20 steps, {repr(run).split('steps, ')[1]}"
    )
    assert [r.name for r in rnntk.runs()] == ["my-run"]
    with pytest.raises(RunError, match="Did you mean 'my-run'"):
        rnntk.load("my-rum")


def test_a_run_evaluates_its_held_out_part_and_other_texts(here: Path) -> None:
    run = rnntk.load("my-run")
    held_out = run.evaluate()
    assert held_out.loss == pytest.approx(run.metrics["val_loss"][-1], rel=1e-4)
    found = run.evaluate("the quick brown fox\n")
    assert found.loss == pytest.approx(found.bpc * np.log(2))
    assert found.perplexity == pytest.approx(np.exp(found.loss))
    assert f"loss {found.loss:.3f}" in repr(found)
    assert len(found.nats) == len("the quick brown fox\n") - 1
    with pytest.raises(DataError, match="漢"):
        run.evaluate("the 漢")
    with pytest.raises(UsageError, match="text must be text, got a PosixPath. Read a file with"):
        run.evaluate(Path("tale.txt"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="text must be text, got a bytes"):
        run.evaluate(b"the")  # type: ignore[arg-type]


def test_a_run_without_validation_text_says_so(here: Path) -> None:
    run = rnntk.train("tale.txt", **{**SMALL, "max_steps": 1, "val_fraction": 0, "val_every": None})
    problem = "runs/tale-1 has no validation text of two symbols or more."
    with pytest.raises(UsageError) as raised:
        run.evaluate()
    assert str(raised.value) == f"{problem} Give a text, or train with val_fraction=0.05."


def test_a_run_gives_a_keras_model(here: Path) -> None:
    run = rnntk.load("my-run")
    model = run.keras_model()
    assert isinstance(model, rnntk.CharRNN)
    ids = run.model.vocabulary.encode("the quick brown fox")[None, :].astype(np.int32)
    logits, _ = model(ids)
    nats = keras.losses.sparse_categorical_crossentropy(
        ids[0, 1:], logits[0, :-1], from_logits=True
    )
    assert float(np.mean(nats)) == pytest.approx(run.evaluate("the quick brown fox").loss, rel=1e-4)


def test_an_open_run_survives_a_change_of_the_working_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = rnntk.load("my-run"), rnntk.load("my-run").evaluate()
    assert run.path == Path("runs/my-run")
    assert repr(run).startswith("Run('runs/my-run': ")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert run.path == here / "runs" / "my-run"
    assert repr(run).startswith(f"Run({str(run.path)!r}: tale, ")
    assert run.evaluate().loss == before.loss
    assert run.export("npz", "a.npz").path == Path("a.npz")
    assert len(run.metrics["step"]) == 20
    last = rnntk.resume(run, max_steps=21, quiet=True)
    assert last.metrics["step"][-1] == 21
    monkeypatch.chdir(here)
    assert run.metrics["step"][-1] == 21
    assert not list(Path("elsewhere").glob("runs"))


def test_a_callback_may_change_the_working_folder(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Leaves(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                os.chdir("elsewhere")

    Path("elsewhere").mkdir()
    changes = {"max_steps": 8, "checkpoint_every": 4, "sample_every": 5}
    run = rnntk.train("tale.txt", **{**SMALL, **changes}, callbacks=Leaves())
    assert run.path == here / "runs" / "tale-1"
    assert (run.metrics["step"][-1], run.model.step) == (8, 8)
    assert "--- step 5 ---" in run.folder.samples.read_text(encoding="utf-8")
    assert not list(Path().iterdir())
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_run_exports_and_plots(here: Path) -> None:
    run = rnntk.load("my-run")
    assert run.export("npz").path == Path("my-run.npz")
    with pytest.raises(UsageError, match="Did you mean 'keras'"):
        run.export("kears")
    with pytest.raises(UsageError, match="format must be one of keras, .*, got None"):
        run.export(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="x must be one of steps, time, got 'seconds'"):
        run.plot(x="seconds")
    with pytest.raises(UsageError, match="y must be the name of a metric, got None"):
        run.plot(y=None)  # type: ignore[arg-type]
    figure = run.plot()
    assert figure.axes[0].get_title() == "my-run"
    page = run._repr_html_()
    for part in ("<tr><th>steps</th><td>20</td></tr>", "<th>parameters</th>", "<svg", "<pre>"):
        assert part in page
    assert "<tr><td>my-run</td><td>tale</td><td>lstm 2x16</td>" in rnntk.runs()._repr_html_()


def test_train_mnist_returns_a_run_with_its_test(here: Path) -> None:
    run = rnntk.train_mnist(data="digits", units=4, batch_size=32, max_steps=3, quiet=True)
    assert run.name == "digits-1"
    assert run.test is not None
    assert run.test.confusion.sum() == run.test.images
    assert repr(run.test).startswith(f"ClassifierResult({100 * run.test.accuracy:.2f} % of ")
    assert f"<td>{run.test}</td>" in run._repr_html_()
    assert repr(rnntk.resume(run, quiet=True).test) == repr(run.test)  # finished, so only tested
    before = run.test
    again = rnntk.resume(run, max_steps=4, data_dir=str(here), quiet=True)
    assert run.test is again.test
    assert run.test != before
    assert again.metrics["step"].tolist() == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="data_dir must be a path, got 3"):
        rnntk.resume(run, max_steps=5, data_dir=3, quiet=True)
    assert run.keras_model().count_params() == run.folder.record["model"]["parameters"]
    with pytest.raises(RunError, match="row-classifier"):
        run.sample("a")
    with pytest.raises(RunError, match="row-classifier"):
        run.evaluate()
    with pytest.raises(UsageError, match="runs/digits-1 is a row-classifier; only a character"):
        rnntk.train("tale.txt", init_from=run, quiet=True)


def test_init_from_a_run_takes_its_checkpoint(here: Path) -> None:
    early = {
        "learning_rate": 1e-9,
        "max_steps": 1,
        "batch_size": 4,
        "seq_length": 20,
        "quiet": True,
    }
    folder = rnntk.load("my-run").folder
    for name, source, which in (
        ("a", rnntk.load("my-run", 10), "10"),
        ("b", rnntk.load("my-run"), "best"),
        ("c", "my-run", "last"),
    ):
        run = rnntk.train("tale.txt", run=name, init_from=source, **early)
        wanted, found = folder.checkpoint(which).weights(), run.folder.checkpoint().weights()
        assert all(np.allclose(wanted[n], found[n], atol=1e-6) for n in wanted), name


def test_the_python_example_of_the_readme_runs(warm, here: Path) -> None:
    code = (
        "import rnntk; r = rnntk.train(corpus='python_stdlib', units=32, max_steps=3, seq_length=20, quiet=True); "
        "print(r.sample('def ', length=80)); print(r.evaluate('def f(x):\\n    return x\\n'))"
    )
    done = warm.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("def ")
    assert "bits per character" in done.stdout


def test_wrong_arguments_are_refused(here: Path) -> None:
    with pytest.raises(UsageError, match="config must be a TrainConfig, got a MnistConfig"):
        rnntk.train("tale.txt", config=rnntk.MnistConfig())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mnist_best.toml has no settings for train"):
        rnntk.train("tale.txt", config="mnist_best")
    for text in ("", "It was a dark night.\nAnd stormy."):
        with pytest.raises(UsageError, match="text must be a path or a list of paths"):
            rnntk.train(text)
    for call in (rnntk.train, rnntk.prepare):
        with pytest.raises(UsageError, match="text is an empty list. Give at least one path."):
            call([])
        with pytest.raises(UsageError, match="text must be a path or a list of paths, got a bytes"):
            call(b"tale.txt")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="Give text or input, not both"):
            call("tale.txt", input="nope.txt")
    run = rnntk.load("my-run")
    for count in (-1, 2.0, "3"):
        with pytest.raises(UsageError, match="^count must be (at least 1|a whole number), got"):
            run.lines(count)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no setting 'promt'. Did you mean 'prompt'"):
        run.sample(promt="x")
    with pytest.raises(UsageError, match="no setting 'allow_copys'. Did you mean 'allow_copies'"):
        run.lines(2, allow_copys=True)


def test_arguments_of_a_wrong_type_are_named(here: Path) -> None:
    run: Any = rnntk.load("my-run")
    train: Any = rnntk.train
    api: Any = rnntk
    calls: dict[str, Callable[[], Any]] = {
        "config must be a path, got a dict. Give settings by name: train(..., **settings).": (
            lambda: train("tale.txt", config={"units": 16})
        ),
        "config must be a path, got 5.": lambda: api.train_mnist(config=5),
        "run is the path of a new run, got a Run. Continue it with rnntk.resume, or start from its weights with "
        "init_from.": lambda: train("tale.txt", run=run),
        "run must be a path, got 5.": lambda: train("tale.txt", run=5),
        "run must be a path, got ''.": lambda: train("tale.txt", run=""),
        "run must be a path, got b'x'.": lambda: api.train_mnist(run=b"x"),
        "run must be a path, got 'a\\x00b'.": lambda: api.load("a\0b"),
        "run must be a path, got None.": lambda: api.load(None),
        "run must be a path, got 7.": lambda: api.resume(7),
        "init_from must be a path, got 5.": lambda: train("tale.txt", init_from=5),
        "quiet must be true or false, got 'no'.": lambda: train("tale.txt", quiet="no"),
        "quiet must be true or false, got 2.": lambda: api.resume("my-run", quiet=2),
        "runs_dir must be a path, got 3.": lambda: api.runs(3),
        "output must be a path, got 5.": lambda: api.prepare("tale.txt", output=5),
        "path must be a path, got 4.": lambda: run.export("npz", 4),
        "prompt must be text, got 5.": lambda: run.sample(5),
        "prompt must be text, got b'the'.": lambda: run.stream(b"the"),
        "prompt must be text, got 3.": lambda: run.lines(3, prompt=3),
        "TrainConfig takes only named settings, such as TrainConfig(input=...).": (
            lambda: api.TrainConfig("tale.txt")
        ),
        "MnistConfig takes only named settings, such as MnistConfig(batch_size=...).": (
            lambda: api.MnistConfig("digits")
        ),
    }
    for problem, call in calls.items():
        with pytest.raises(UsageError) as raised:
            call()
        assert str(raised.value) == problem


def test_results_can_be_compared(here: Path) -> None:
    run = rnntk.load("my-run")
    one, two = run.evaluate("the fox\n"), run.evaluate("the fox\n")
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_a_text_replaces_the_corpus_of_a_config_and_the_other_way(here: Path) -> None:
    small = {**SMALL, "max_steps": 1}
    own = rnntk.train("tale.txt", config="demo_ko", preprocessor="plain", **small)
    assert own.folder.record["corpus"]["name"] == "tale"
    shipped = rnntk.train(corpus="demo_ko", config=own.config, **small)
    assert shipped.folder.record["corpus"]["name"] == "demo_ko"
    again = rnntk.train("tale.txt", config=shipped.config, **small)
    assert again.folder.record["corpus"]["name"] == "tale"


def test_a_misspelt_table_of_a_config_is_refused(here: Path) -> None:
    for content, problem in {
        "[trian]\nmax_steps = 3\n": "[trian] is not a command. Did you mean 'train'?",
        "zzz = 3\n": "'zzz' is not a setting of any command.",
    }.items():
        Path("c.toml").write_text(content)
        with pytest.raises(UsageError, match=re.escape(problem)):
            rnntk.train("tale.txt", config="c.toml", quiet=True)


def test_training_works_after_other_use_of_keras(here: Path) -> None:
    code = (
        "import keras, numpy as np, rnntk\n"
        "keras.Sequential([keras.layers.Dense(2)]).predict(np.ones((3, 4)), verbose=0)\n"
        "for threads in (None, 1):\n"
        "    small = dict(units=4, max_steps=2, batch_size=4, seq_length=20, quiet=True)\n"
        "    run = rnntk.train('tale.txt', threads=threads, **small)\n"
        "print(run.metrics['step'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[1. 2.]\n", done.stderr


def test_a_stand_in_for_the_corpus_warns(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    rnntk.prepare()
    assert any(r.levelname == "WARNING" for r in caplog.records)
    caplog.clear()
    rnntk.prepare(corpus="demo_ko")
    assert not any(r.levelname == "WARNING" for r in caplog.records)
