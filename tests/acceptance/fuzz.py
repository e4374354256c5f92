"""Fuzz every file format that rnntk reads, and the page's API.

    python tests/acceptance/fuzz.py --inputs 1000000 --seed 0

Every input must be read as a valid value or refused with an `RnntkError`, within `--seconds` of processor time and
`MEMORY` bytes. If a checksum covers a file, the value read must be the one written. Anything else is a finding, printed
with the command that repeats it. An input depends only on the format, the seed and its number.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gzip
import json
import logging
import mmap
import os
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import campaign
import click
import mutations
import numpy as np
from campaign import Findings, difference

import rnntk
from rnntk.errors import RnntkError

MEMORY = 1 << 31
"""Most bytes that one input may add to the process' memory."""

FILE = 1 << 26
"""Most bytes that one input may write to a file."""

PACKAGE = str(Path(rnntk.__file__).parent)

STALL = 20.0
"""Seconds without progress after which a reader counts as hanging outside Python."""


class Wrong(Exception):
    """Accepted, but not the value written; or refused, although a whole file exists."""


class Reached(Exception):
    """Read as far as the test needs."""


class Slow(BaseException):
    """An input took too long."""


class Files:
    """Attack on the files that `read` reads: damages or removes one, rarely two, then restores them.

    Args:
        top: a folder made by `example`.
    """

    damage: Mapping[str, Callable[[Random, bytes], bytes]]  # by path in the folder
    foreign = False  # whether a stranger may have written them, and may have put a named pipe there

    def __init__(self, top: Path) -> None:
        self.top = top
        self.prepare()
        self.whole = {name: (top / name).read_bytes() for name in self.damage}

    def prepare(self) -> None:
        """Add files that the example lacks."""

    def attack(self, rng: Random) -> None:
        """Damage, read, restore."""
        names = rng.sample(list(self.damage), min(len(self.damage), rng.choice((1, 1, 1, 1, 2))))
        try:
            for name in names:
                path, action = self.top / name, rng.random()
                if action < 0.98:
                    path.write_bytes(self.damage[name](rng, self.whole[name]))
                    continue
                path.unlink()
                if self.foreign and action > 0.99:
                    path.mkdir() if action > 0.9902 else os.mkfifo(path)
            self.damaged(names, rng)
            self.read(rng)
        finally:
            for name in names:
                self.restore(name)

    def restore(self, name: str) -> None:
        """Restore a file."""
        path = self.top / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.whole[name])

    def damaged(self, names: list[str], rng: Random) -> None:
        """Called after the damage, before reading."""

    def read(self, rng: Random) -> None:
        """Read like rnntk does; raises `Wrong` for a wrong value."""
        raise NotImplementedError


RUN = "runs/tiny-1"
STEPS = (10, 20, 30)
LAST = f"{RUN}/checkpoints/step-{STEPS[-1]:08d}"


class Run(Files):
    """A damaged run beside a whole one: it is listed with its problem, and the other one works."""

    foreign = True
    damage = {f"{RUN}/run.json": mutations.json_file}

    def prepare(self) -> None:
        from rnntk.training import device

        os.environ["RNNTK_DEBUG"] = "1"  # so that errors are not turned into messages
        shutil.copytree(self.top / RUN, self.top / "runs/whole-1")
        # A resume ends where it would import TensorFlow.
        device.modules = self._reached  # type: ignore[assignment]

    @staticmethod
    def _reached(*_: object) -> None:
        raise Reached

    def read(self, rng: Random) -> None:
        self.list()
        from rnntk.storage import folder, listing, splits
        from rnntk.training import character

        actions: list[Callable[[Any], object]] = [
            listing.details,
            lambda run: (run.config, run.resume_command, run.vocabulary()),
            lambda run: _spoken(run),
            splits.split_range,
            splits.training_text,
            lambda run: character.resume(run, {"max_steps": 50}),
        ]
        run = folder.open_run(self.top / RUN)
        refused = None
        for action in actions:
            try:
                with contextlib.suppress(Reached):
                    action(run)
            except RnntkError as error:
                refused = error
        if refused:
            raise refused

    def list(self) -> None:
        from click.testing import CliRunner

        from rnntk.cli.main import group
        from rnntk.storage import directory

        found = CliRunner().invoke(group, ["runs", "--runs-dir", str(self.top / "runs")])
        if found.exception:
            raise found.exception
        if "whole-1" not in found.output:
            raise Wrong("the whole run is not listed")
        if "\x1b" in found.output:
            raise Wrong("an escape sequence of the file is printed")
        if directory.latest(self.top / "runs") is None:
            raise Wrong("no latest run")


def _spoken(run: Any) -> str:
    """Two symbols sampled from a run, after describing it as for the page."""
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.play.models import Models

    model = LanguageModel.load(run)
    json.dumps(Models(model).describe(), allow_nan=False).encode()
    return "".join(model.stream(length=2, seed=0))


class Metrics(Files):
    """A damaged `metrics.jsonl`: curves, tables and the page skip unreadable lines."""

    foreign = True
    damage = {f"{RUN}/metrics.jsonl": mutations.json_lines}

    def read(self, rng: Random) -> None:
        from rnntk.monitoring import curves
        from rnntk.play.progress import LossCurve
        from rnntk.storage import folder, listing, metrics

        run = folder.open_run(self.top / RUN)
        metrics.read(run.metrics)
        metrics.last(run.metrics)
        found = listing.summarize(run.path)
        if not found.kind:
            raise Wrong(f"the run is lost: {found.problem}")
        json.dumps(LossCurve(run).look(), allow_nan=False)
        for y, x in (("loss", "steps"), ("perplexity", "time"), ("val_loss", "steps")):
            curves.load(run, y, x)


class Words(Files):
    """A damaged `vocabulary.json` of a run."""

    damage = {f"{RUN}/vocabulary.json": mutations.json_file}

    def read(self, rng: Random) -> None:
        from rnntk.storage import folder

        words = folder.open_run(self.top / RUN).vocabulary()
        if words.decode(words.encode(words.symbols)) != words.symbols:
            raise Wrong("symbols are not what they decode to")
        words.to_json()


class Prepared(Files):
    """A damaged prepared text: the damage is noticed or harmless, and `prepare` repairs it."""

    def prepare(self) -> None:
        found = self.open()
        self.facts = self.known(found)
        name = found.folder.relative_to(self.top)
        kinds = {".json": mutations.json_file, ".bin": mutations.binary}
        self.damage = {
            str(name / p.name): kinds.get(p.suffix, mutations.binary)
            for p in found.folder.iterdir()
        }

    def open(self) -> Any:
        from rnntk.config import TextConfig
        from rnntk.text import prepared

        config = TextConfig(input=(str(self.top / "korean.txt"),), preprocessor="hangul")
        return prepared.prepare(config, cache_dir=self.top / "cache")

    @staticmethod
    def known(found: Any) -> dict[str, Any]:
        return {
            "ids": found.ids.tobytes(),
            "symbols": found.vocabulary.to_json(),
            "characters": [found.characters(0, n) for n in (1, 50, len(found.ids))],
            "facts": json.loads(json.dumps(found.facts)),
            "reused": None,
        }

    def read(self, rng: Random) -> None:
        from rnntk.text.prepared import Prepared as Reader

        folder = self.top / next(iter(self.damage))
        refused = None
        try:
            # `prepare` adds warnings of this call, which are not in the file.
            found = Reader.open(folder.parent)
            if where := difference(self.known(found), self.known(Reader.open(folder.parent))):
                raise Wrong(f"two readings differ: {where}")
            kept = self.known(found)
            kept["facts"]["warnings"], self.facts["facts"]["warnings"] = [], []
            # Without checksums it counts as made by an early rnntk; `prepare` does not accept it.
            where = difference(self.facts, kept)
            if where and (folder.parent / "manifest.json").exists():
                raise Wrong(f"damage is not noticed: {where}")
        except RnntkError as error:
            refused = error
        if rng.random() < 0.1 or refused is None:
            again = self.known(self.open())
            again["facts"]["warnings"], self.facts["facts"]["warnings"] = [], []
            if where := difference(self.facts, again):
                raise Wrong(f"not remade: {where}")
        if refused:
            raise refused


class Checkpoint(Files):
    """A damaged checkpoint: the one before it is used, or its values are unchanged."""

    foreign = True
    damage = {
        **{
            f"{LAST}/{n}.safetensors": mutations.safetensors
            for n in ("weights", "optimizer", "states")
        },
        **{f"{LAST}/{n}.json": mutations.json_file for n in ("progress", "manifest")},
    }

    def prepare(self) -> None:
        from rnntk.storage import checkpoint

        self.known = {}
        for step in checkpoint.steps(self.run().checkpoints):
            saved = self.run().checkpoint(str(step))
            self.known[step] = self.facts(saved)

    def run(self) -> Any:
        from rnntk.storage import folder

        return folder.open_run(self.top / RUN)

    @staticmethod
    def listed(run: Any, rng: Random) -> None:
        from rnntk.storage import listing

        summary = listing.summarize(run.path)
        if not summary.kind:
            raise Wrong(f"the run is lost: {summary.problem}")
        if rng.random() < 0.2:
            listing.details(run)

    @staticmethod
    def facts(saved: Any) -> dict[str, Any]:
        arrays = (saved.weights(), saved.optimizer(), saved.states(), saved.mapped_weights())
        values = [{k: (v.shape, v.tobytes()) for k, v in one.items()} for one in arrays]
        return {"arrays": values, "progress": saved.progress}

    def read(self, rng: Random) -> None:
        run = self.run()
        self.listed(run, rng)
        try:
            saved = run.checkpoint()
        except RnntkError as error:
            raise Wrong(f"the checkpoint before it is not used: {error}") from error
        step = int(saved.folder.name.removeprefix("step-"))
        if where := difference(self.known[step], self.facts(saved)):
            raise Wrong(f"damage is not noticed: {where}")
        if rng.random() < 0.1:
            _spoken(run)


class Forged(Checkpoint):
    """A checkpoint with forged content and a matching manifest: read or refused."""

    damage = {name: how for name, how in Checkpoint.damage.items() if "manifest" not in name}

    def prepare(self) -> None:
        self.whole_manifest = (self.top / LAST / "manifest.json").read_bytes()

    def damaged(self, names: list[str], rng: Random) -> None:
        import hashlib

        sums = {
            Path(name).name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name in self.damage
            if (self.top / name).is_file()
            for data in [(self.top / name).read_bytes()]
        }
        (self.top / LAST / "manifest.json").write_text(json.dumps({"files": sums}))

    def restore(self, name: str) -> None:
        super().restore(name)
        (self.top / LAST / "manifest.json").write_bytes(self.whole_manifest)

    def read(self, rng: Random) -> None:
        run = self.run()
        self.listed(run, rng)
        saved = run.checkpoint(str(STEPS[-1]))
        self.facts(saved)
        _spoken(run)


class Objects(Files):
    """A damaged file of compiled kernels: unchanged, or compiled again."""

    def prepare(self) -> None:
        self.cache, self.code = self.top / "objects", bytes(range(256)) * 20
        self.find(lambda: self.code)
        self.damage = {f"objects/{path.name}": mutations.binary for path in self.cache.iterdir()}

    def find(self, make: Callable[[], bytes]) -> bytes:
        from rnntk.kernels import native

        return native.cached(self.cache, ["facts"], make)

    def read(self, rng: Random) -> None:
        if self.find(lambda: self.code) != self.code:
            raise Wrong("damage is not noticed")
        self.find(self.not_again)

    @staticmethod
    def not_again() -> Any:
        raise Wrong("a damaged file is not replaced")


class Card(Files):
    """A damaged corpus card, and the corpus it names."""

    damage = {"novel.toml": mutations.toml_file}

    def prepare(self) -> None:
        (self.top / "novel.toml").write_text(
            'name = "novel"\ntitle = "A novel"\nkind = "text"\nlanguage = "en"\nfiles = ["text.txt"]\n'
            f'sha256 = "{"0" * 64}"\nbytes = 12\nencoding = "utf-8"\nnewline = "lf"\npreprocessor = "plain"\n'
            'prime = "It "\nlicence = "CC0-1.0"\nredistributable = true\nneeds_consent = false\nhomepage = "https://example.org"\n'
            'config = ""\nnote = "None."\n[arrays]\nx_train = "00"\n[[sources]]\nkind = "file"\npath = "text.txt"\n'
            '[[sources]]\nkind = "url"\nurl = "https://example.org/a.zip"\nmember = "a.txt"\n'
            '[[sources]]\nkind = "system"\nbuilder = "python_stdlib"\n'
        )

    def read(self, rng: Random) -> None:
        from rnntk.corpora import registry

        card = registry.load_card(self.top / "novel.toml")
        if card.sources and card.sources[0].target.startswith("/dev/"):
            return
        registry.availability(card, offline=True)
        json.dumps(registry.resolve(card, offline=True, machine=_nowhere()).to_json())


@functools.cache
def _nowhere() -> Any:
    from rnntk.corpora.system import Machine

    return Machine(**dict.fromkeys(Machine.__dataclass_fields__, Path("nowhere")))


class Config(Files):
    """A damaged configuration: every value is accepted as it is, or refused."""

    damage = {"config.toml": mutations.toml_file}

    def prepare(self) -> None:
        (self.top / "config.toml").write_text(
            'input = ["text.txt"]\nseed = 3\n[train]\nunits = 16\nlayers = 2\ncell = "gru"\nlearning_rate = 0.002\n'
            'dropout = 0.1\nlayer_norm = true\nschedule = "cosine"\nclip = "norm"\nmax_time = "2m"\nepochs = 3\n'
            "val_fraction = 0.1\nsample-every = 0\nbatch-size = 4\n"
            "[sample]\nlength = 20\ntemperature = 0.7\ntop_k = 5\nseed = 4\n"
            '[prep]\npreprocessor = "plain"\nmin-count = 2\n'
        )

    def read(self, rng: Random) -> None:
        from rnntk import config
        from rnntk.cli.main import load_command
        from rnntk.cli.options import Args, given_values

        command = rng.choice(("train", "sample", "prep", "mnist", "eval"))
        path = self.top / "config.toml"
        try:
            context = load_command(command).make_context(command, ["--config", str(path)])
        except click.ClickException as error:
            raise RnntkError(error.format_message()) from error
        except click.exceptions.Exit:
            return
        with context.scope():
            given = given_values(Args(**context.params))
        table = config.files.read_toml(path)
        own = table.get(command, {})
        stated = {k.replace("-", "_"): v for k, v in {**table, **own}.items()}
        for name, value in given.items():
            if name in stated and not _same(stated[name], value):
                raise Wrong(f"{name} = {stated[name]!r:.80} is read as {value!r:.80}")
        kind = {
            "train": config.TrainConfig,
            "mnist": config.MnistConfig,
            "prep": config.TextConfig,
        }.get(command)
        if kind:
            kind.resolve({k: v for k, v in given.items() if k in kind.names()})


def _same(stated: Any, value: Any) -> bool:
    if isinstance(value, tuple):
        stated = stated if isinstance(stated, list) else [stated]
        return len(stated) == len(value) and all(map(_same, stated, value))
    if isinstance(stated, bool) or isinstance(value, bool):
        return stated is value
    if isinstance(stated, str):  # a path, a word in any case, a duration
        return isinstance(value, float) or str(value).lower() in (
            stated.lower(),
            str(Path(stated)).lower(),
        )
    return isinstance(stated, (int, float)) and stated == value


class Idx(Files):
    """Damaged image sets: IDX files, plain and compressed, and `.npz`."""

    damage = {
        "mnist/train-images-idx3-ubyte": mutations.binary,
        "mnist/train-labels-idx1-ubyte.gz": mutations.compressed,
        "mnist/t10k-images-idx3-ubyte.gz": mutations.compressed,
        "mnist/t10k-labels-idx1-ubyte": mutations.binary,
        "mnist.npz": mutations.binary,
    }

    def prepare(self) -> None:
        rng = np.random.default_rng(0)
        (self.top / "mnist").mkdir()
        arrays = {}
        for name, key in zip(self.damage, ("x_train", "y_train", "x_test", "y_test"), strict=False):
            shape = (3, 28, 28) if "images" in name else (3,)
            arrays[key] = rng.integers(0, 10, shape, np.uint8)
            data = (
                struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + arrays[key].tobytes()
            )
            (self.top / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        np.savez_compressed(self.top / "mnist.npz", **arrays)

    def read(self, rng: Random) -> None:
        from rnntk.corpora import images
        from rnntk.corpora.card import Card, Resolved

        refused = None
        if not images.idx_files(self.top / "mnist"):  # not found, so never read
            return
        for place in ("mnist", "mnist.npz"):
            resolved = Resolved(
                Card("mnist", (), kind="images"), self.top / place, "data-dir", "", "", 0
            )
            try:
                images.load_images(resolved)
            except RnntkError as error:
                refused = error
        if refused:
            raise refused


class Pickle(Files):
    """A damaged pickle of a vocabulary. Code in it never runs."""

    damage = {"vocab.pkl": mutations.pickled}

    def prepare(self) -> None:
        symbols = "abc 가\n"
        ids = {symbol: k for k, symbol in enumerate(symbols)}
        self.seeds = [
            pickle.dumps(value, protocol)
            for value in (
                tuple(symbols),
                ids,
                (tuple(symbols), ids),
                list(symbols),
                dict(enumerate(symbols)),
            )
            for protocol in range(5)
        ]
        # A byte string as Python 2 wrote it.
        self.seeds.append(b"(lp0\nS'a'\np1\naS'\\xea'\np2\na.")
        (self.top / "vocab.pkl").write_bytes(self.seeds[0])

    def attack(self, rng: Random) -> None:
        self.whole["vocab.pkl"] = rng.choice(self.seeds)
        super().attack(rng)

    def read(self, rng: Random) -> None:
        from rnntk.exchange import safe_pickle, tf1_files

        path = self.top / "vocab.pkl"
        encoding = "latin-1" if safe_pickle.holds_bytes(path) else "ASCII"
        words = tf1_files.read_vocabulary(path, encoding=encoding)
        words.decode(words.encode(words.symbols))


class Tf1(Files):
    """Damaged TensorFlow 1 checkpoints, of both versions."""

    names = ("model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001", "checkpoint", "old.ckpt-7")
    prefixes = ("model.ckpt-7", "old.ckpt-7")
    damage = {f"tf1/{name}": mutations.binary for name in names}

    def prepare(self) -> None:
        from types import SimpleNamespace

        from rnntk.exchange import tf1
        from rnntk.training import device

        device.import_tensorflow()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # version 1 is deprecated
        campaign.tf1_checkpoint(self.top / "tf1")
        campaign.tf1_checkpoint(self.top / "tf1", version=1, name="old.ckpt")
        (self.top / "tf1/checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
        # The reader is forked; a fresh process would import TensorFlow each time.
        tf1.subprocess = SimpleNamespace(  # type: ignore[assignment]
            run=self.forked, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
        )
        self.known = [self.network(name) for name in self.prefixes]

    @staticmethod
    def forked(command: list[str], **_: object) -> Any:
        from rnntk.exchange import tf1_reader

        with tempfile.TemporaryFile() as said:
            pid = os.fork()
            if pid == 0:
                code = 1
                signal.alarm(30)
                for number in (1, 2):
                    os.dup2(said.fileno(), number)
                try:
                    tf1_reader.main(*map(Path, command[-2:]))
                    code = 0
                except Exception as error:
                    os.write(
                        1,
                        str(
                            getattr(error, "message", None) or error or type(error).__name__
                        ).encode(),
                    )
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code == -signal.SIGALRM:
                raise Slow
            said.seek(0)
            output = said.read()
        return subprocess.CompletedProcess(command, code, b"" if code < 0 else output, output)

    def network(self, name: str) -> dict[str, bytes]:
        from rnntk.exchange import tf1, tf1_files

        prefix, _ = tf1_files.find_checkpoint(self.top / "tf1" / name)
        weights = tf1.read_network(prefix).weights
        return {key: np.asarray(value).tobytes() for key, value in weights.items()}

    def read(self, rng: Random) -> None:
        from rnntk.exchange import tf1_files

        with contextlib.suppress(RnntkError):
            tf1_files.find_checkpoint(self.top / "tf1")
        k = rng.randrange(2)
        if self.network(self.prefixes[k]) != self.known[k]:
            raise Wrong("damage is not noticed")


class Text(Files):
    """Damaged texts in odd encodings: decoded as reported and prepared without loss, or refused."""

    damage = {
        "korean.txt": mutations.text,
        "english.txt": mutations.text,
        "russian.txt": mutations.text,
    }

    def attack(self, rng: Random) -> None:
        self.name = rng.choice(list(self.damage))
        data = self.damage[self.name](rng, self.whole[self.name])
        if rng.random() < 3e-5:  # a text may be large; the time must grow in proportion
            data = mutations.bomb(rng.choice(("gzip", "xz")), mutations.BOMB // 4)
        (self.top / "some.txt").write_bytes(data)
        self.read(rng)

    def read(self, rng: Random) -> None:
        from rnntk.config import TextConfig
        from rnntk.corpora import encoding
        from rnntk.text import prepared

        path = self.top / "some.txt"
        if rng.random() < 0.5:
            report = encoding.detect(path, errors=rng.choice(("strict", "replace")))
            for _ in encoding.iter_text(
                path, report, newline=rng.choice(("keep", "lf")), errors="replace"
            ):
                pass
            json.dumps(report.to_json())
            return
        preprocessor = rng.choice(("plain", "hangul", "hangul-slides", "bytes"))
        config = TextConfig(
            input=(str(path),),
            preprocessor=preprocessor,
            errors="strict" if preprocessor == "bytes" else rng.choice(("strict", "replace")),
            normalize=rng.random() < 0.3,
            min_count=rng.choice((1, 1, 3)),
            unknown_symbol="\ufffd",
        )
        found = prepared.prepare(config, cache_dir=self.top / "texts")
        try:
            json.dumps(found.facts, allow_nan=False)
            symbols = found.vocabulary.decode(found.ids)
            if preprocessor == "plain" and config.min_count == 1:
                report = encoding.detect(path, errors=config.errors)
                text = "".join(encoding.iter_text(path, report, errors=config.errors))
                if not config.normalize and text != symbols:
                    raise Wrong("the symbols are not the text")
        finally:
            shutil.rmtree(found.folder)


class Page:
    """Requests to the page's server: answered or refused, never with status 500, and never from a foreign page."""

    def __init__(self, top: Path) -> None:
        from rnntk.decoding.language_model import LanguageModel
        from rnntk.play import app
        from rnntk.play.models import Models
        from rnntk.storage import folder

        self.loop = asyncio.new_event_loop()
        self.app = app.create(Models(LanguageModel.load(folder.open_run(top / RUN))))
        self.first = self.control()

    def control(self) -> bytes:
        """Check that a valid request still gets its answer."""
        body = json.dumps({"text": "3 is the square root"}).encode()
        headers = {"host": "127.0.0.1:8765", "content-type": "application/json"}
        status, answer = self.ask("POST", "/api/read", "", headers, [body])
        if status != 200:
            raise Wrong(f"a plain request is answered with {status}: {answer[:80]!r}")
        return answer

    def ask(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: list[bytes],
        patience: int = 10**9,
    ) -> tuple[int, bytes]:
        """Status and body of an answer; the client hangs up after `patience` messages."""
        status, answer = 0, bytearray()
        waiting = [{"type": "http.request", "body": part, "more_body": True} for part in body]
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop(0)
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status, patience
            patience -= 1
            if patience < 0:
                gone.set()
                raise OSError("the client has gone")
            status = message.get("status", status)
            answer.extend(message.get("body", b""))

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "root_path": "",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query.encode("utf-8", "replace"),
            "headers": [(k.encode(), v.encode("utf-8", "replace")) for k, v in headers.items()],
            "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8765),
        }  # fmt: skip

        async def asked() -> None:
            with contextlib.suppress(OSError):
                await asyncio.wait_for(self.app(scope, receive, send), STALL)

        self.loop.run_until_complete(asked())
        return status, bytes(answer)

    def attack(self, rng: Random) -> None:
        """Send one request."""
        bodies: dict[str, Any] = {
            "read": {"text": "1 is the square"},
            "units": {"text": "the root of 4", "quantity": "digit"},
            "unit": {"text": "the root", "layer": 0, "unit": 3, "quantity": "state"},
            "write": {
                "prime": "the ",
                "length": 20,
                "temperature": 0.7,
                "top_k": 5,
                "top_p": 0.9,
                "seed": 1,
            },
        }
        name = rng.choice((*bodies, "run", "training", "sample"))
        method, body, query = "GET", b"", ""
        headers = {"host": "127.0.0.1:8765"}
        if name in bodies:
            method = "POST"
            headers["content-type"] = "application/json"
            document = {
                **bodies[name],
                **({"step": rng.choice((*STEPS, 11))} if rng.random() < 0.3 else {}),
            }
            body = (
                mutations.json_file(rng, json.dumps(document).encode())
                if rng.random() < 0.9
                else json.dumps(document).encode()
            )
        elif name == "sample":
            query = "step=" + rng.choice(
                (*map(str, STEPS), "11", "²", "-1", "", "9" * 300, "%00", "1e3", "🎲")
            )
        path = f"/api/{name}"
        foreign = False
        if rng.random() < 0.15:
            kinds = (
                ("host", ("evil.example", "127.0.0.1.evil.example", "", "[::1", "\xff", "LOCALHOST", "10.0.0.1")),
                ("origin", ("null", "http://evil.example", "http://127.0.0.1:8766", "https://127.0.0.1:8765", "")),
                ("sec-fetch-site", ("cross-site", "same-site", "same-origin", "none", "x")),
                ("content-type", ("text/plain", "", "application/json; charset=utf-16", "multipart/form-data")),
                ("content-length", ("-1", "9" * 30, "x")),
                ("transfer-encoding", ("chunked",)),
            )  # fmt: skip
            key, values = rng.choice(kinds)
            headers[key] = rng.choice(values)
            foreign = "evil" in headers[key] or headers[key] in (
                "cross-site",
                "same-site",
                "null",
                "10.0.0.1",
            )
        elif rng.random() < 0.1:
            path = rng.choice(
                (
                    "/",
                    "/page/app.js",
                    "/page/../app.py",
                    "/page/%2e%2e",
                    "/page/\x00",
                    "/api/²",
                    "//",
                    "/api/read/",
                    "/" + "a" * 9000,
                )
            )
            method = rng.choice(("GET", "POST", "HEAD", "OPTIONS", "PUT", "\x00", "get"))
        parts = (
            [body]
            if rng.random() < 0.8
            else [body[k : k + 7] for k in range(0, min(len(body), 700), 7)]
        )
        patience = rng.choice((1, 2, 3)) if rng.random() < 0.1 else 10**9
        status, answer = self.ask(method, path, query, headers, parts, patience)
        if status not in (0, 200, 307, 400, 403, 404, 405, 503) or (status == 0 and patience > 9):
            raise Wrong(f"answered with {status}")
        if foreign and status not in (403, 0):
            raise Wrong(f"a foreign request is answered with {status}")
        if (
            status in (400, 403, 503)
            and patience > 9
            and method != "HEAD"
            and "error" not in json.loads(answer)
        ):
            raise Wrong(f"refused without a message: {answer[:80]!r}")
        if status == 200 and path == f"/api/{name}" and method != "HEAD" and patience > 9:
            for line in answer.decode().splitlines():
                json.loads(line, parse_constant=_not_json)
        if rng.random() < 0.01 and self.control() != self.first:
            raise Wrong("a plain request is answered otherwise than at first")
        if status not in (0, 200):
            raise RnntkError(str(status))


def _not_json(constant: str) -> None:
    raise Wrong(f"{constant} in an answer is not JSON")


# Formats with their share of the inputs: the faster a format is read, the larger.
FORMATS: dict[str, tuple[Callable[[Path], Any], int]] = {
    "run": (Run, 4),
    "metrics": (Metrics, 6),
    "vocabulary": (Words, 20),
    "prepared": (Prepared, 10),
    "checkpoint": (Checkpoint, 8),
    "forged": (Forged, 4),
    "kernels": (Objects, 15),
    "card": (Card, 10),
    "config": (Config, 5),
    "images": (Idx, 8),
    "pickle": (Pickle, 16),
    "tf1": (Tf1, 1),
    "text": (Text, 4),
    "page": (Page, 10),
}


def example(top: Path) -> None:
    """Write files of every kind as rnntk writes them."""
    (top / "text.txt").write_text(campaign.TEXT)
    (top / "korean.txt").write_text(
        "각시가 말했다. “값이 얼마요?” ㅋㅋ 하고 웃었다.\n하늘은 맑고 바람은 차다.\n" * 5
    )
    (top / "english.txt").write_text(
        "It was the best of times, it was the worst of times — “so far”, café.\n" * 5
    )
    (top / "russian.txt").write_text("Все счастливые семьи похожи друг на друга.\n" * 5)
    words = [
        "--input",
        "text.txt",
        "--run",
        RUN,
        "--max-steps",
        str(STEPS[-1]),
        "--checkpoint-every",
        str(STEPS[0]),
    ]
    command = [
        sys.executable,
        "-m",
        "rnntk",
        "train",
        "--quiet",
        *words,
        *campaign.TINY,
        "--val-fraction",
        "0.1",
        "--val-every",
        "9",
    ]
    subprocess.run(command, cwd=top, check=True, stdout=subprocess.DEVNULL)


def worker(
    name: str, top: Path, seed: int, cases: range, state: mmap.mmap, report: int, seconds: float
) -> None:
    """Attack one format with these inputs; `state` holds the current number, findings go to the pipe `report`."""
    warnings.simplefilter("error")
    for package in ("matplotlib", "pyparsing"):  # as in pyproject.toml
        warnings.filterwarnings("ignore", "", DeprecationWarning, package)
    logging.getLogger("rnntk").addHandler(logging.NullHandler())
    logging.getLogger("rnntk").propagate = False
    os.chdir(top)
    target = FORMATS[name][0](top)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, _slow)
    accepted = 0
    with os.fdopen(report, "w") as out:
        for case in cases:
            state[:16] = struct.pack("<QQ", case, accepted)
            rng = Random(f"{name} {seed} {case}")
            try:
                signal.setitimer(signal.ITIMER_PROF, seconds)
                target.attack(rng)
                accepted += 1
            except RnntkError:
                pass
            except (Exception, Slow) as error:
                signal.setitimer(signal.ITIMER_PROF, 0)
                out.write(json.dumps([case, *_described(error)]) + "\n")
                out.flush()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        state[:16] = struct.pack("<QQ", cases.stop, accepted)


def _slow(*_: object) -> None:
    raise Slow


def _described(error: BaseException) -> tuple[str, str]:
    """The kind of a finding (its type and its place in rnntk) and its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(PACKAGE)] or frames[-1:]
    place = "/".join(Path(ours[-1].filename).parts[-2:]) + f":{ours[-1].lineno}"
    kind = f"{type(error).__name__} at {place}"
    if isinstance(error, Wrong):
        kind = f"wrong: {str(error).split(':')[0]}"
    return kind, "".join(traceback.format_exception(error, limit=-8))[-3000:]


def attack(
    name: str, example_top: Path, seed: int, cases: range, seconds: float, findings: Findings
) -> tuple[int, float]:
    """Attack one format in a child process; if an input kills it, start another one after that input.

    Returns:
        The number of inputs accepted, and the seconds taken.
    """
    began, next_case, accepted = time.monotonic(), cases.start, 0
    while next_case < cases.stop:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory()) as folder:
            top = Path(folder).resolve() / "world"
            shutil.copytree(example_top, top)
            state = mmap.mmap(-1, 16)
            state[:16] = struct.pack("<QQ", 2**63, 0)
            inlet, outlet = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(inlet)
                code = 1
                try:
                    worker(name, top, seed, range(next_case, cases.stop), state, outlet, seconds)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            os.close(outlet)
            ended = _watched(pid, state, inlet, name, findings)
            at, good = struct.unpack("<QQ", state[:16])
            accepted += good
            if at == 2**63:
                findings.add(f"{name}: cannot be prepared", f"--format {name} --only {next_case}")
                break
            if at < cases.stop:
                findings.add(f"{name}: {ended}", f"--format {name} --only {at}")
            next_case = at + 1
    return accepted, time.monotonic() - began


def _watched(pid: int, state: mmap.mmap, inlet: int, name: str, findings: Findings) -> str:
    """Pass on a worker's findings until it ends; returns how it ended."""
    os.set_blocking(inlet, False)
    seen, since, rest, ended = b"", time.monotonic(), "", ""
    with os.fdopen(inlet, "rb", 0) as pipe:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            while data := pipe.read(1 << 16):
                *lines, rest = (rest + data.decode()).split("\n")
                for line in lines:
                    case, kind, detail = json.loads(line)
                    findings.add(f"{name}: {kind}", f"--format {name} --only {case}", detail)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return ended or (
                    f"the process dies of {signal.Signals(-code).name}"
                    if code < 0
                    else f"exit {code}"
                )
            if state[:8] != seen:
                seen, since = state[:8], time.monotonic()
            elif time.monotonic() - since > STALL and seen != struct.pack("<Q", 2**63):
                ended = "hangs"
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def _memory() -> str | None:
    """A folder in memory, if the system has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000, help="of all formats together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--format", choices=FORMATS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--only", type=int, help="only the input of this number")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of processor time for each input"
    )
    asked = parser.parse_args()
    findings = Findings(f"python tests/acceptance/fuzz.py --seed {asked.seed}")
    names = asked.format or list(FORMATS)
    shares = sum(FORMATS[name][1] for name in names)
    total, lines = 0, []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        top = Path(folder).resolve()
        os.environ["RNNTK_CACHE"] = str(top / "cache")
        example(top)
        os.environ["RNNTK_CACHE"] = "cache"  # relative: of the worker's copy
        for name in names:
            cases = range(max(1, asked.inputs * FORMATS[name][1] // shares))
            if asked.only is not None:
                cases = range(asked.only, asked.only + 1)
            accepted, seconds = attack(name, top, asked.seed, cases, asked.seconds, findings)
            total += len(cases)
            lines.append(
                f"{name:<12}{len(cases):>10,} inputs{accepted:>10,} accepted{seconds:>8.0f} s"
            )
            print(lines[-1], flush=True)
    findings.exit(f"{total:,} inputs")


if __name__ == "__main__":
    main()
