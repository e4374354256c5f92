"""Everything that people read is plain English; `prose.py` is the check, `prose.toml` has its rules."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROSE = FOLDER / "prose.py"
spec = importlib.util.spec_from_file_location("prose", PROSE)
assert spec
assert spec.loader
prose = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prose)

LONG = "The " + "very " * 40 + "long sentence ends here."
CLEAN = "Saves a checkpoint every 100 steps. The loss is 1.5 nats per character, and training continues."


def messages(source: str, name: str) -> list[str]:
    return [str(hit) for hit in prose.check_text(source, name)]


def test_every_file_is_plain_english() -> None:
    hits = [str(hit) for path in prose.files() for hit in prose.check(path)]
    assert not hits, f"{len(hits)} to mend (python tests/prose.py):\n" + "\n".join(hits)


def test_all_that_people_read_is_checked() -> None:
    names = {path.relative_to(prose.ROOT).as_posix() for path in prose.files()}
    assert names >= {
        "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/guide.md", "benchmarks/README.md", "data/README.md",
        "configs/shakespeare.toml", "docs/notebooks/linux_kernel.ipynb", "docs/pictures/draw.py", "rnntk/cli/help.toml",
        "rnntk/meanings.toml", "rnntk/cli/train.py", "rnntk/play/page/index.html", "rnntk/play/page/main.js",
        "benchmarks/train_step.py", "tests/conftest.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("CHANGELOG.md", "# Title\n\nIt reaches 1.5\nnats a character.\n"),
        ("CHANGELOG.md", "| a | b |\n|---|---|\n| c | 1.5 nats a character |\n"),
        ("CHANGELOG.md", "```\nrnntk train    # to 1.5 nats a character\n```\n"),
        ("a.py", '"""It reaches 1.5\nnats a character."""\n'),
        ("a.py", "x = 1\n# It reaches 1.5\n# nats a character.\n"),
        ("a.py", 'print(f"It reaches {x} nats a character.")\n'),
        ("a.py", 'raise Error(\n    "It reaches 1.5 "\n    "nats a character.")\n'),
        ("tests/a.py", 'def test_a():\n    """It reaches 1.5 nats a character."""\n'),
        ("configs/a.toml", "x = 1\ny = 2  # reaches 1.5 nats a character\n"),
        ("a.js", "f(/[\"']/g);\n// It reaches 1.5 nats a character.\n"),
        ("a.js", 'say(/"/.test(x) ? "It reaches 1.5 nats a character." : "");\n'),
        ("a.js", "say(`It reaches ${x} nats a character.`);\n"),
        ("a.html", "<p>It reaches <b>1.5</b>\nnats a character.</p>\n"),
        ("a.html", '<button title="It reaches 1.5 nats a character">x</button>\n'),
        (
            "a.ipynb",
            '{"cells": [\n{"cell_type": "markdown", "source":\n["It reaches 1.5 nats a character."]}]}',
        ),
    ],
)
def test_a_phrase_is_found_with_its_line_and_replacement(name: str, source: str) -> None:
    (message,) = messages(source, name)
    line = next(i for i, text in enumerate(source.split("\n"), 1) if "nats" in text)
    assert message.endswith(
        ': "nats a character": write "nats per character", "bits per character"'
    )
    assert message.startswith((f"{name}:{line}:", f"{name}:{line - 1}:"))


@pytest.mark.parametrize(
    "text",
    [
        "It samples with the prime.", "170 batches an epoch.", "A row of the batch is a lane.",
        "A loss that is no number.",
        "The text cannot be had here.", "As is said below.", "Training goes on.", "The name stands in the card.",
        "It is no character model.", "It pays for each character what it is worth.", "A text never seen in training.",
    ],
)  # fmt: skip
def test_each_of_these_is_refused(text: str) -> None:
    assert len(messages(text, "CHANGELOG.md")) == 1, text


@pytest.mark.parametrize(
    "text",
    [
        CLEAN, "`--prime` and `the prime` are code.", "C headers stand in for it.", "There is no file of that name.",
        "A prime number.", "It took a second chance.", "The list goes on an extra page.", "Prices and costs.",
        "Its options are " + ", ".join(f"option {i}" for i in range(25)) + " and more.",
        "Twenty words before a colon " * 5 + ": then twenty after it " + "and more words " * 7,
    ],
)  # fmt: skip
def test_plain_text_passes(text: str) -> None:
    assert messages(text, "CHANGELOG.md") == []
    assert messages(f'"""{text}"""\n', "a.py") == []


def test_a_file_may_have_a_word_in_its_own_meaning() -> None:
    source = '"""Eight SIMD lanes."""\n'
    assert messages(source, "rnntk/kernels/code.py") == []
    assert len(messages(source, "rnntk/training/step.py")) == 1


def test_a_long_sentence_is_found_where_it_begins() -> None:
    (message,) = messages(f"Short.\n\nShort. {LONG} Short.\n", "CHANGELOG.md")
    assert (
        message
        == 'CHANGELOG.md:3: "The very very very very ...": 45 words; at most 40 in a sentence'
    )
    assert len(messages(f"def f():\n    # {LONG}\n    pass\n", "a.py")) == 1


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    source = 'def f():\n    """{}\n\n    What follows may be a clause.\n    """\n'
    (message,) = messages(source.format("What a line is."), "a.py")
    assert message.startswith('a.py:2: "What a line is. ...": begin with')
    assert messages(source.format("What is a line?"), "a.py") == []
    assert messages(source.format("Lines of a file."), "a.py") == []


def test_examples_and_code_are_left_out() -> None:
    docstring = f'"""Doc.\n\nExamples:\n    # {LONG}\n\n    >>> "the prime"\n    "the lane"\n"""\n'
    assert messages(docstring, "a.py") == []
    assert messages(f'X = "{LONG}"\n', "tests/a.py") == []
    assert messages('import re\nX = re.compile(r"the prime \\w+ of it")\n', "a.py") == []


@pytest.mark.parametrize(
    ("name", "text", "hits"),
    [
        ("docs/a.md", "# A\n\nThe loss in nats.\n", ["docs/a.md:3"]),
        ("docs/a.md", "# A\n\nThe loss in [nats](guide.md#nats).\n", []),
        ("docs/a.md", "# A\n\nWords: [glossary](guide.md#glossary).\n\n## B\nThe loss in nats.\n", []),
        ("docs/a.md", "# A\n\nIn nats.\n\n## B\nWords: [glossary](guide.md#glossary).\n", ["docs/a.md:3"]),
        ("docs/a.md", "# A\n\n```\nnats\n```\n\nUse `nats`.\n", []),
        ("docs/guide.md", "# A\n\nIn nats.\n\nIn [nats](#nats).\n\n## Glossary\n### xz\nxz\n", ["docs/guide.md:3"]),
        ("CHANGELOG.md", "- The loss in nats.\n", []),
    ],
)  # fmt: skip
def test_a_term_is_linked_at_its_first_use(name: str, text: str, hits: list[str]) -> None:
    found = prose.check_text(text, name)
    assert [f"{hit.path}:{hit.line}" for hit in found] == hits
    assert all("glossary" in hit.message for hit in found)


def test_as_a_program(tmp_path: Path) -> None:
    def run(*paths: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROSE), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")

    clean, faulty = tmp_path / "clean.md", tmp_path / "sub" / "faulty.md"
    faulty.parent.mkdir()
    clean.write_text(CLEAN, encoding="utf-8")
    faulty.write_text("Training goes on.\n", encoding="utf-8")
    done = run(clean)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "nothing to mend")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stdout.strip().endswith('faulty.md:1: "goes on": write "continue"')
