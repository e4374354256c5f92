"""A stranger's run folder cannot make a command read, write or download what its author chose."""

from __future__ import annotations

import json
import os
import shutil
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnntk import stored
from rnntk.storage import checkpoint, folder
from rnntk.text import corpus as corpora

SECRET = "the secret is 1234\n" * 40
SMALL = ["--batch-size", "4", "--seq-length", "16", "--max-steps", "2", "--sample-every", "0"]


@pytest.fixture
def stranger(
    untrained: Callable[..., Path], text: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A run with a forged `run.json`, on another machine, without network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)

    def make(settings: dict[str, Any] | None = None, **corpus: Any) -> Path:
        run = untrained("evil", val=0.2, input=(str(text),))
        file = run / "run.json"
        record = json.loads(file.read_text())
        record["settings"] |= settings or {}
        record["corpus"] |= corpus
        file.write_text(json.dumps(record))
        shutil.rmtree(os.environ["RNNTK_CACHE"])
        text.unlink()
        return run

    return make


def commands(run: Path) -> list[list[str]]:
    return [
        ["eval", str(run)],
        ["train", "--resume", str(run), "--max-steps", "9"],
        ["train", "--init-from", str(run), "--run", "new", *SMALL],
    ]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("where", ["input", "inputs", "prepared", "data_dir", "folder"])
def test_files_it_names_are_not_shown_or_cached(
    rnntk: Any, stranger: Callable[..., Path], here: Path, number: int, where: str
) -> None:
    secret = here / "secret" / "demo_ko" / "input.txt"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(SECRET.encode() + b"\xff\xfe\x00")  # detection would report it, too
    named = [str(secret)]
    settings, inputs = {
        "input": ({"input": named}, []),
        "inputs": ({}, named),
        "prepared": ({}, []),
        "data_dir": ({"input": [], "corpus": "demo_ko", "data_dir": str(here / "secret")}, []),
        "folder": ({"input": [str(here / "secret")], "glob": "*"}, [str(here / "secret")]),
    }[where]
    run = stranger(settings, inputs=inputs, prepared=str(secret.parent))
    result = rnntk(*commands(run)[number])
    assert result.exit_code == 1, result.output
    assert "Error: " in result.stderr
    assert "1234" not in result.output + result.stderr
    assert "0xff" not in result.output + result.stderr
    cache = Path(os.environ["RNNTK_CACHE"])
    assert not [p for p in cache.rglob("*") if p.is_file() and b"1234" in p.read_bytes()]
    assert not list(cache.glob("prepared/*"))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("what", ["card", "url", "stdin", "pipe"])
def test_cards_urls_and_pipes_it_names_are_not_read(
    rnntk: Any, stranger: Callable[..., Path], here: Path, number: int, what: str
) -> None:
    card = here / "evil.toml"
    card.write_text(
        'name = "evil"\ntitle = "x"\nkind = "text"\n[[sources]]\nurl = "https://attacker.example/x.txt"\n'
    )
    if what == "pipe":
        os.mkfifo(here / "pipe")
    changed: dict[str, dict[str, Any]] = {
        "card": {"input": [], "corpus": str(card), "accept_licence": True},
        "url": {"input": [], "corpus": "tinyshakespeare", "offline": False, "accept_licence": True},
        "stdin": {"input": ["-"]},
        "pipe": {"input": [str(here / "pipe")]},
    }
    run = stranger(changed[what], inputs=changed[what]["input"], path=str(here / "gone.txt"))
    result = rnntk(*commands(run)[number])
    assert result.exit_code in (1, 2), result.output
    assert "Error: " in result.stderr
    assert "attacker.example" not in result.stderr
    if what == "url":
        assert "rnntk prep --corpus tinyshakespeare" in result.stderr or number == 2


def test_consent_and_hosts_never_come_from_a_file(stranger: Callable[..., Path]) -> None:
    run = stranger(
        {"accept_licence": True, "distribute": "multiworker", "workers": "evil:1,evil:2"}
    )
    config = folder.open_run(run).config
    assert (config.accept_licence, config.distribute, config.workers) == (False, "none", None)  # type: ignore[union-attr]
    assert "accept_licence" not in config.to_json()


def test_the_right_text_is_used_wherever_it_is(
    rnntk: Any, untrained: Callable[..., Path], text: Path, here: Path
) -> None:
    run = untrained("own", val=0.2, input=("tiny.txt",))
    shutil.rmtree(os.environ["RNNTK_CACHE"])
    assert rnntk("eval", run, "--no-baselines").exit_code == 0
    done = rnntk("train", "--init-from", run, "--run", "new", *SMALL)
    assert done.exit_code == 0, done.output
    text.write_text("another text\n" * 100)
    refused = rnntk("train", "--init-from", run, "--run", "other", *SMALL)
    assert refused.exit_code == 1
    assert "is not the text of the run. To use it anyway, give it with --input" in refused.stderr
    named = rnntk("train", "--init-from", run, "--input", "tiny.txt", "--run", "other", *SMALL)
    assert named.exit_code == 0, named.output


def test_a_card_of_the_user_is_found_by_its_text(
    rnntk: Any, untrained: Callable[..., Path], text: Path, here: Path
) -> None:
    (here / "data" / "mine").mkdir(parents=True)
    shutil.copy(text, here / "data" / "mine" / "input.txt")
    (here / "mine.toml").write_text('name = "mine"\ntitle = "my text"\nkind = "text"\n')
    try:
        corpora.find(corpora.TextConfig(corpus="./mine.toml"))
    except Exception as error:
        pytest.skip(f"the card's keys have changed: {error}")
    run = untrained("own", val=0.2, corpus="./mine.toml")
    (here / "mine.toml").unlink()
    shutil.rmtree(os.environ["RNNTK_CACHE"])
    assert rnntk("eval", run, "--no-baselines").exit_code == 0


@pytest.mark.parametrize("name", ["\x1b[31mred", "\x9b31m", "a\u202eb", "a\rb\x07"])
def test_names_with_escape_sequences_are_shown_safely(
    rnntk: Any, stranger: Callable[..., Path], name: str
) -> None:
    run = stranger(name=name, path=name, source=name)
    words = [["runs", "--runs-dir", "."], ["runs", "show", run], ["eval", run]]
    for command in (*words, ["sample", run, "--corpus", name]):
        result = rnntk(*command)
        printed = result.stdout + result.stderr
        assert not set(name) & set("\x1b\x9b\u202e\r\x07") & set(printed), command


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: (r / "run.json").write_text("[" * 100_000),
        lambda r: (r / "run.json").write_text('{"format_version": ' + "9" * 5000 + "}"),
        lambda r: (r / "metrics.jsonl").write_text('{"step": 1, "loss": ' + "9" * 400 + "}\n"),
        lambda r: (r / "checkpoints" / "step-²").mkdir(),
        lambda r: os.utime(r / "metrics.jsonl", (1e15, 1e15)),
        lambda r: ((r / "metrics.jsonl").unlink(), os.mkfifo(r / "metrics.jsonl")),
        lambda r: ((r / "run.json").unlink(), os.mkfifo(r / "run.json")),
        lambda r: ((r / "run.json").unlink(), (r / "run.json").symlink_to("/dev/zero")),
    ],
)
def test_a_damaged_run_does_not_affect_the_others(
    rnntk: Any, untrained: Callable[..., Path], text: Path, damage: Callable
) -> None:
    untrained("runs/good", input=(str(text),))
    bad = untrained("runs/bad", input=(str(text),))
    damage(bad)
    for command in (
        ["runs"],
        ["runs", "--json"],
        ["runs", "show", "good"],
        ["sample", "good", "--length", "3"],
    ):
        result = rnntk(*command)
        assert result.exit_code == 0, result.output
    assert "good" in rnntk("runs").stdout
    latest = rnntk("sample", "--length", "3")
    assert latest.exit_code == 0, latest.output
    assert rnntk("sample", "good", "--checkpoint", "²").exit_code == 1
    long = "x" * 300
    names = (
        ["sample"],
        ["eval"],
        ["runs", "show"],
        ["train", "--resume"],
        ["train", "--init-from"],
    )
    for words in names:
        command = [*words, long]
        result = rnntk(*command)
        assert result.exit_code == 1, command
        assert f"There is no run {long}, here or in" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "code", "expected"),
    [
        ("chosen", {"units": {"why": "it is short"}}, 1, "corpus.chosen.units lacks value"),
        ("facts", {"symbols": None, "vocabulary_size": 4}, 0, "corpus        tiny, "),
    ],
)
def test_wrong_values_in_the_record_of_the_text_are_no_crash(
    rnntk: Any,
    untrained: Callable[..., Path],
    text: Path,
    name: str,
    value: Any,
    code: int,
    expected: str,
) -> None:
    path = untrained("runs/odd", input=(str(text),)) / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["corpus"][name] = value
    path.write_text(json.dumps(record), encoding="utf-8")
    result = rnntk("runs", "show", "odd")
    assert result.exit_code == code
    assert expected in result.stdout + result.stderr


def test_a_forged_checkpoint_is_skipped_for_the_one_before(
    rnntk: Any, untrained: Callable[..., Path], text: Path
) -> None:
    run = folder.open_run(untrained("r", input=(str(text),)))
    made = run.checkpoints / "step-00000004"
    for step, change in enumerate(
        [
            lambda p: (p / "states.safetensors").unlink(),
            lambda p: (p / "weights.safetensors").write_bytes(
                (1 << 50).to_bytes(8, "little") + b"{}"
            ),
        ],
        start=5,
    ):
        bad = run.checkpoints / checkpoint.folder_name(step)
        shutil.copytree(made, bad)
        progress = json.loads((bad / "progress.json").read_text()) | {"step": step}
        (bad / "progress.json").write_text(json.dumps(progress))
        change(bad)
        manifest = stored.file_sums(p for p in bad.iterdir() if p.name != "manifest.json")
        (bad / "manifest.json").write_text(json.dumps(manifest))
    (run.checkpoints / "step-00000007").mkdir()
    (run.checkpoints / "step-00000007" / "manifest.json").write_text('{"files": {}}')
    result = rnntk("sample", "r", "--length", "3")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Using the checkpoint before it.") == 3
