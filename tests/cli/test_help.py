"""Help pages, aliases of options, and suggestions for wrong words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rnntk.cli import help as pages
from rnntk.cli.help import shown_default
from rnntk.cli.main import COMMANDS, group, load_command
from rnntk.config import TrainConfig
from rnntk.errors import ALIASES, UsageError, did_you_mean, near

SCREENS = Path(__file__).parent / "help"


def commands(
    parent: click.Command | None = None, path: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Every command by name, those of groups included."""
    below = parent.commands if isinstance(parent, click.Group) else {}
    found = {name: load_command(name) for name in COMMANDS} if parent is None else below
    for name, command in found.items():
        yield f"{path} {name}".strip(), command
        yield from commands(command, f"{path} {name}".strip())


ALL = dict(commands())


def options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option)]


def page(name: str, flag: str = "--help") -> str:
    """A help page at 80 columns."""
    context = click.Context(group, info_name="rnntk", terminal_width=78, **group.context_settings)
    for word in name.split():
        command = context.command.get_command(context, word)
        context = click.Context(command, parent=context, info_name=word)
    context.meta[pages._ALL] = flag == "--help-all"
    return context.command.get_help(context)


def test_the_list_of_commands_is_complete() -> None:
    assert {*COMMANDS, "runs show", "runs rename", "runs delete", "cache clean"} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_in_one_group(name: str) -> None:
    command = ALL[name]
    sections = pages.grouped(command, options(command))
    assert "Other" not in sections, sections["Other"]
    placed = Counter(option.name for members in sections.values() for option in members)
    assert placed == Counter(option.name for option in options(command))
    shown = page(name, "--help-all")
    titles = re.findall(r"^(\w.*):$", shown, re.MULTILINE)
    known = {"Commands", "Most used", *pages.layout()["groups"]}
    assert set(titles) <= known
    listed = shown[
        shown.index(f"{titles[0]}:") :
    ]  # a line of the text above may begin with an option
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", listed, re.MULTILINE)
    longest = [next(o for o in p.opts if o.startswith("--")) for p in options(command)]
    assert sorted(flags) == sorted([*longest, "--help"])


def test_option_groups_name_existing_options_only() -> None:
    own = {p.name for command in ALL.values() for p in options(command)}
    by_command = {f"{c.name}.{p.name}" for c in ALL.values() for p in options(c)}
    named = [name for names in pages.layout()["groups"].values() for name in names.split()]
    assert max(Counter(named).values()) == 1
    assert set(named) <= own | by_command
    assert set(pages.layout()["rare"].split()) <= own
    for name, first in pages.layout()["most_used"].items():
        assert len(first.split()) == 5
        assert {f"{name}.{one}" for one in first.split()} <= by_command


@pytest.mark.parametrize("name", ALL)
def test_help_fits_two_screens_and_names_the_long_form(name: str) -> None:
    short = page(name)
    lines, examples = short.splitlines(), short.index("Examples:")
    assert len(lines) <= 48
    assert max(map(len, short[:examples].splitlines())) <= 80
    whole = page(name, "--help-all")
    assert ("--help-all: all" in short) == (len(whole.splitlines()) > len(lines))
    if name in pages.layout()["most_used"]:
        assert re.findall(r"^\w.*:$", short, re.MULTILINE)[0] == "Most used:"


@pytest.mark.parametrize("name", ALL)
def test_help_shows_every_default_once_and_no_types(name: str) -> None:
    whole = page(name, "--help-all")
    assert not re.search(r"INTEGER|FLOAT|RANGE|BOOLEAN|<=|\[default: [^\]]*\[", whole)
    options_part = re.sub(r"^\S.*:$", "", whole.partition("Examples:")[0], flags=re.MULTILINE)
    entries = [
        " ".join(e.split()) for e in re.split(r"^  (?=-)", options_part, flags=re.MULTILINE)[1:]
    ]
    by_flag = {re.search(r"--[\w-]+", entry)[0]: entry for entry in entries}
    for option in options(ALL[name]):
        entry = by_flag[next(o for o in option.opts if o.startswith("--"))]
        if option.show_default:
            assert entry.endswith(f"[default: {shown_default(option)}]")
        assert entry.count("[default") <= 1


def test_mnist_shows_the_defaults_of_its_config() -> None:
    text = " ".join(page("mnist", "--help-all").split())
    for words in ("[default: 10]", "[default: 0.002]", "[default: 0.85]", "[default: 0.2]"):
        assert words in text
    assert "[default: 0.001]" not in text


@pytest.mark.parametrize("columns", [80, 50])
@pytest.mark.parametrize("name", ["rnntk", "train", "sample"])
def test_help_screens_match_the_kept_ones(name: str, columns: int) -> None:
    """RNNTK_WRITE_SCREENS=1 rewrites the kept screens; review the diff."""
    words = [sys.executable, "-m", "rnntk", *([] if name == "rnntk" else [name]), "--help"]
    environment = {**os.environ, "COLUMNS": str(columns)}
    shown = subprocess.run(
        words, env=environment, capture_output=True, check=True, text=True
    ).stdout
    assert "\x1b" not in shown
    path = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("RNNTK_WRITE_SCREENS"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
    long = [line for line in shown.splitlines() if len(line) > columns]
    assert all(re.match(" +(rnntk|echo) ", line) for line in long), "commands to paste stay whole"


def test_commands_are_listed_in_order_of_use_one_line_each(rnntk) -> None:
    shown = page("")
    listed = re.findall(
        r"^  (\w+) +\S.*[^.]\.$", shown.partition("First commands:")[2], re.MULTILINE
    )
    assert listed == list(COMMANDS)
    assert listed[:3] == ["train", "sample", "play"]
    assert rnntk("help").stdout == rnntk("--help").stdout


@pytest.mark.parametrize("name", ["train", "runs", "runs delete"])
def test_the_help_command_prints_a_page(rnntk, name: str) -> None:
    assert rnntk("help", *name.split()).stdout == rnntk(*name.split(), "--help").stdout
    refused = rnntk("help", "trian")
    assert (refused.exit_code, "Did you mean 'train'?" in refused.stderr) == (2, True)


def test_the_runs_group_has_a_help_command(rnntk) -> None:
    assert rnntk("runs", "help", "show").stdout == rnntk("runs", "show", "--help").stdout
    assert rnntk("runs", "help").stdout == rnntk("runs", "--help").stdout


def parsed(command: str, *args: str) -> dict[str, object]:
    parent = click.Context(group, **group.context_settings)
    return ALL[command].make_context(command, list(args), parent=parent).params


@pytest.mark.parametrize(
    ("command", "typed", "name", "value"),
    [
        ("train", "--lr 0.1", "learning_rate", 0.1),
        ("train", "--hidden 8", "units", 8),
        ("train", "--hidden-size 8", "units", 8),
        ("train", "--hidden_size=8", "units", 8),
        ("train", "--num-layers 3", "layers", 3),
        ("train", "--n_layer=3", "layers", 3),
        ("train", "--batch_size 7", "batch_size", 7),
        ("train", "--bs 7", "batch_size", 7),
        ("train", "--seq-len 9", "seq_length", 9),
        ("train", "--block_size 9", "seq_length", 9),
        ("train", "--steps 5", "max_steps", 5),
        ("train", "--max_iters 5", "max_steps", 5),
        ("train", "--validation-split 0.1", "val_fraction", 0.1),
        ("train", "--cell LSTM", "cell", "lstm"),
        ("train", "--optimizer Adam", "optimizer", "adam"),
        ("mnist", "--lr 0.1", "learning_rate", 0.1),
        ("sample", "--temp 0.5", "temperature", 0.5),
        ("sample", "--prompt x", "prime", "x"),
        ("sample", "--max_new_tokens 5", "length", 5),
        ("sample", "--num_samples 2", "num", 2),
        ("plot", "-o a.png", "output", Path("a.png")),
        ("plot", "--x TIME", "x", "time"),
        ("export", "-o a.keras --format Keras", "format", "keras"),
        ("prep", "-o folder", "output", Path("folder")),
        ("eval", "--split VAL", "split", "val"),
    ],
)
def test_aliases_are_accepted(command: str, typed: str, name: str, value: object) -> None:
    assert parsed(command, *typed.split())[name] == value


def test_aliases_are_unambiguous_and_hidden() -> None:
    for name, command in ALL.items():
        words = Counter(word for p in options(command) for word in (*p.opts, *p.secondary_opts))
        assert max(words.values()) == 1, name
    shown = page("train", "--help-all")
    for also in ("--lr", "--hidden", "--bs", "--steps"):
        assert not re.search(rf"{also}\b", shown)
    assert set(ALIASES) <= {p.name for command in ALL.values() for p in options(command)}


def test_the_long_help_shows_what_the_short_one_omits(rnntk) -> None:
    short, whole = rnntk("train", "--help").stdout, rnntk("train", "--help-all").stdout
    assert "--gru-reset" not in short
    assert "  --gru-reset after|before" in whole
    assert "--help-all: all" in short
    assert "--help-all" not in whole


def test_a_wrong_value_of_an_alias_names_the_option(rnntk) -> None:
    result = rnntk("train", "--lr", "much")
    assert "Invalid value for '--learning-rate': must be a number, got 'much'" in result.stderr


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("generate", "'sample'"),
        ("fit", "'train'"),
        ("learn", "'train'"),
        ("ls", "'runs'"),
        ("list", "'runs' or 'prep --list'"),
        ("rm", "'runs delete' or 'cache clean'"),
        ("tensorboard", "'board'"),
        ("serve", "'play'"),
        ("web", "'play'"),
        ("evaluate", "'eval'"),
        ("test", "'eval'"),
        ("hlep", "'help'"),
        ("resume", "'train --resume'"),
        ("runs rm", "'delete'"),
        ("runs mv", "'rename'"),
        ("cache clear", "'clean'"),
        ("train --lrate 1", "'--learning-rate'"),
        ("train -lr 1", "'--learning-rate'"),
        ("train --hiden_size 8", "'--units'"),
        ("train --hiden=8", "'--units'"),
        ("train --regularization=1", "'--dropout'"),
        ("train --gpu", "'--device'"),
        ("train --file a.txt", "'--input'"),
        ("train --data a.txt", "'--corpus' or '--input'"),
        ("train --val 0.1", "'--val-every' or '--val-fraction'"),
        ("train --every 5", "'--val-every', '--checkpoint-every' or '--log-every'"),
        ("sample --nucleus 0.9", "'--top-p'"),
        ("sample --tempreature 1", "'--temperature'"),
        ("board --logdir x", "'--runs-dir'"),
        ("train --optimizer adamw", "'adam'"),
        ("train --corpus shakespear", "'tinyshakespeare'"),
        ("prep --corpus Demo_KO", "'demo_ko'"),
        ("prep --corpus demo_ko --preprocessor Hangul", "'hangul'"),
        ("plot --x tiem", "'time'"),
        ("eval --split validation", "'val'"),
    ],
)
def test_an_unknown_word_suggests_the_nearest_by_meaning(rnntk, typed: str, advice: str) -> None:
    result = rnntk(*typed.split())
    assert result.exit_code == 2
    assert f"Did you mean {advice}?" in result.stderr


def test_an_unknown_word_without_a_match_gets_no_suggestion(rnntk) -> None:
    assert f"The commands are {', '.join(COMMANDS)}." in rnntk("xyzzy").stderr
    assert "The commands are show, rename, delete;" in rnntk("runs", "xyzzy").stderr
    assert rnntk("train", "--xyzzy", 1).stderr.endswith("There is no option --xyzzy.\n")


def test_python_and_toml_suggest_the_real_name_for_an_alias(rnntk, here: Path) -> None:
    with pytest.raises(UsageError, match="no setting 'lr'. Did you mean 'learning_rate'?"):
        TrainConfig(lr=0.1)
    (here / "c.toml").write_text("[train]\nhidden_size = 8\n")
    result = rnntk("train", "--config", "c.toml")
    assert (result.exit_code, "Did you mean 'units'?" in result.stderr) == (2, True)


def test_near_returns_at_most_three_distinct_names() -> None:
    assert near("a-1", ["a-2", "a-3", "a-4", "a-5", "a-2"]) == ["a-2", "a-3", "a-4"]
    assert near("anything", []) == []
    assert did_you_mean("a-1", ["a-2", "a-3"]) == " Did you mean 'a-2' or 'a-3'?"
    assert did_you_mean("linux_kernel", ["LINUX_KERNEL", "linux_kernal"]).startswith(
        " Did you mean 'LINUX_KERNEL'"
    )
