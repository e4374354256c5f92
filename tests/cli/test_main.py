"""The command group: help, names, precedence of settings, environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rnntk import __version__, cache
from rnntk import api as rnntk_api
from rnntk.cli.main import COMMANDS, group, load_command
from rnntk.config import Config, TrainConfig, files
from rnntk.config.files import read_toml
from rnntk.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rnntk.cli.main import group\n"
        "try: group(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'chardet', 'tensorboard'} & set(sys.modules)\n"
        "print(heavy, file=sys.stderr); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rnntk train novel.txt" in done.stdout


def test_python_m_and_version(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rnntk", "--version"], capture_output=True, text=True
    )
    assert done.stdout.strip() == f"rnntk, version {__version__}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(rnntk, name: str) -> None:
    for flag in ("-h", "--help"):
        result = rnntk(name, flag)
        assert result.exit_code == 0
        assert re.search(rf"Examples:\n(.*\n)* +rnntk {name}", result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_an_environment_variable(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, param
            assert param.envvar, param


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`rnntk {name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_misspelt_command_suggests_the_nearest(rnntk) -> None:
    result = rnntk("trian")
    assert result.exit_code == 2
    assert "Did you mean 'train'?" in result.stderr


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("--json runs", "There is no option --json. Write it after the command."),
        ("--hlep", "Did you mean '--help'?"),
        ("train --hlep", "Did you mean '--help'?"),
        ("version", "Did you mean '--version'?"),
        ("runs list", "The commands are show, rename, delete; rnntk runs alone is a command too."),
        ("mnist one.png", "Repeat --image before each file."),
        ("mnist --image a.png b.png", "Repeat --image before each file."),
        ("train -dash.txt", "There is no option -dash.txt. For the file, write ./-dash.txt."),
        ("plot a b --y x/y", "There is no run a"),
    ],
)
def test_likely_mistakes_get_a_hint(rnntk, here: Path, command: str, hint: str) -> None:
    (here / "-dash.txt").write_text("text")
    result = rnntk(*command.split())
    assert result.exit_code != 0
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rnntk train no", "file,no"),
        ("rnntk train --input no", "file,no"),
        ("rnntk train --cell g", "plain,gru"),
        ("rnntk train --corpus linux", "plain,linux_kernel"),
        ("rnntk train --lea", "plain,--learning-rate"),
        ("rnntk train --lr", ""),
        ("rnntk sample tal", "dir,tal\nplain,tale-1"),
        ("rnntk train --resume tal", "dir,tal\nplain,tale-1"),
    ],
)
def test_the_shell_completes_files_words_and_runs(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    expected: str,
) -> None:
    (here / "runs" / "tale-1").mkdir(parents=True)
    monkeypatch.setenv("_RNNTK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        group.main([], prog_name="rnntk", complete_var="_RNNTK_COMPLETE")
    assert capsys.readouterr().out.strip() == expected


def test_flag_wins_over_environment_over_file_over_corpus(rnntk, here: Path, monkeypatch) -> None:
    """The config of python_stdlib sets 50 batch rows; each stronger source overrides it."""
    (here / "c.toml").write_text(
        'corpus = "python_stdlib"\n[train]\nbatch-size = 7\nunits = 8\nmax_steps = 1\n'
    )
    small = ["--seq-length", 5, "--embedding", 4, "--sample-every", 0, "--quiet"]

    def batch(*more: object) -> tuple[int, int]:
        result = rnntk("train", "--config", "c.toml", *small, *more, "--json")
        assert result.exit_code == 0, result.output
        run = Path(json.loads(result.stdout)["run"])
        made = json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]
        assert made["units"] == 8
        assert made["learning_rate"] == 0.004, "from the corpus' own config"
        return made["batch_size"]

    assert batch() == 7
    monkeypatch.setenv("RNNTK_BATCH_SIZE", "6")
    assert batch() == 6
    assert batch("--batch-size", 5) == 5


def test_a_text_replaces_the_corpus_of_a_weaker_source(rnntk, here: Path, monkeypatch) -> None:
    (here / "tale.txt").write_text("once upon a time\n" * 20)
    (here / "c.toml").write_text('corpus = "demo_ko"\n')

    def name(*more: object) -> str:
        result = rnntk("prep", *more, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["corpus"]["name"]

    assert name("tale.txt", "--config", "c.toml") == "tale"
    monkeypatch.setenv("RNNTK_CORPUS", "demo_ko")
    assert name("tale.txt") == name("--input", "tale.txt") == "tale"
    monkeypatch.setenv("RNNTK_INPUT", "tale.txt")
    assert name("--corpus", "demo_ko") == "demo_ko"
    both = rnntk("prep")
    assert (both.exit_code, "--corpus or --input, not both" in both.stderr) == (2, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "[train]\nlayer = 3\n",
            "'layer' in [train] is not a setting of rnntk train. Did you mean 'layers'?",
        ),
        ("layer = 3\n", "'layer' is not a setting of any command. Did you mean 'layers'?"),
        ("[trian]\nlayers = 3\n", "[trian] is not a command. Did you mean 'train'?"),
        ("[train\n", "is not a TOML file"),
        (
            '[train]\nlayers = "many"\n',
            "'layers' in c.toml, line 2: must be a whole number, got 'many'",
        ),
        ("[train]\nlayers = 0\n", "must be at least 1 and at most 64, got 0"),
    ],
)
def test_an_invalid_config_file_is_named(rnntk, here: Path, content: str, message: str) -> None:
    (here / "c.toml").write_text(content)
    result = rnntk("train", "--config", "c.toml")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_wrong_value_names_its_source(rnntk, here: Path, monkeypatch) -> None:
    def said(*more: object) -> str:
        result = rnntk("train", *more)
        assert result.exit_code == 2
        return " ".join(result.stderr.split()).partition("Error: ")[2]

    (here / "c.toml").write_text('batch-size = 0\nunits = "many"\n')
    wrong = "Invalid value for 'units' in c.toml, line 2: must be a whole number, got 'many'"
    assert said("--config", "c.toml").startswith(wrong)
    more = ["--config", "c.toml", "--units", 8]
    assert said(*more).startswith(
        "Invalid value for 'batch_size' in c.toml, line 1: must be at least 1, got 0"
    )
    monkeypatch.setenv("RNNTK_UNITS", "abc")
    assert said("--config", "c.toml").startswith(
        "Invalid value for RNNTK_UNITS in the environment: must be a whole number, got 'abc'"
    )
    assert said("--units", "x").startswith(
        "Invalid value for '--units': must be a whole number, got 'x'"
    )


def test_a_missing_config_file_is_named(rnntk) -> None:
    result = rnntk("train", "--config", "none.toml")
    assert result.exit_code == 2
    assert "There is no file none.toml" in result.stderr


@pytest.mark.parametrize(
    "name", ["demo_ko", "demo_ko.toml", "configs/demo_ko.toml", "configs/demo_ko"]
)
def test_a_shipped_config_is_found_by_name(rnntk, here: Path, name: str) -> None:
    (here / "demo_ko").mkdir()  # a folder is not a config
    result = rnntk("prep", "--config", name)
    assert result.exit_code == 0, result.output
    assert "--corpus demo_ko" in result.stderr


def test_a_file_of_the_user_wins_over_a_shipped_config(rnntk, here: Path) -> None:
    (here / "demo_ko.toml").write_text("layer = 3\n")
    result = rnntk("prep", "--config", "demo_ko.toml")
    assert "demo_ko.toml: 'layer' is not a setting" in result.stderr


@pytest.mark.parametrize("name", ["demo-ko", "configs/demo_k.toml", "elsewhere/demo_ko.toml"])
def test_a_misspelt_config_suggests_the_nearest(rnntk, name: str) -> None:
    result = rnntk("prep", "--config", name)
    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert f"There is no file {name}." in message
    wanted = "Shipped configs: demo_ko, " if "elsewhere" in name else "Did you mean 'demo_ko'?"
    assert wanted in message


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_and_names_its_command(path: Path) -> None:
    from rnntk import config

    text = path.read_text(encoding="utf-8")
    assert text.startswith("#")
    assert re.search(r"^#\s+rnntk \w+", text, re.MULTILINE)
    for name in set(read_toml(path)) & set(COMMANDS):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        known = [p.name for p in command.params]
        values = config.read_config(path, name, known)
        for key, value in values.items():
            param = next(p for p in command.params if p.name == key)
            param.type_cast_value(click.Context(command), value)


@pytest.mark.parametrize(
    ("command", "line", "told"),
    [
        ("train", "units = 16.5", "a whole number, got 16.5"),
        ("train", "units = 16.0", "a whole number, got 16.0"),
        ("train", 'units = "16"', "a whole number, got '16'"),
        ("train", "units = 1979-05-27", "a whole number, got datetime.date(1979, 5, 27)"),
        ("train", f"units = {'9' * 4000}", "at most 65,536, got a very long int"),
        ("train", "learning_rate = true", "a number, got True"),
        ("train", 'learning_rate = "0.1"', "a number, got '0.1'"),
        ("train", "learning_rate = inf", "above 0 and finite, got inf"),
        ("train", "seed = true", "a whole number, got True"),
        ("train", "max_time = false", "a number, got False"),
        ("train", "layer_norm = 1", "true or false, got 1"),
        ("train", 'normalize = "true"', "true or false, got 'true'"),
        ("train", "normalize = [true]", "true or false, got [True]"),
        ("train", "quiet = 1", "true or false, got 1"),
        ("train", "run = 3", "text, got 3"),
        ("train", "resume = true", "text, got True"),
        ("train", "corpus = 1.50", "text, got 1.5"),
        ("train", "input = 0.5", "text or a list of such, got 0.5"),
        ("train", "input = [3]", "text or a list of such, got 3"),
        ("train", "input = { a = 1 }", "text or a list of such, got {'a': 1}"),
        ("sample", "prime = 0x10", "text, got 16"),
        ("sample", "top_k = 2.0", "a whole number, got 2.0"),
        ("minchar", "seed = true", "a whole number, got True"),
        ("minchar", "input = [true]", "text, got True"),
        ("plot", "smooth = 2.9", "a whole number, got 2.9"),
        ("board", "port = true", "a whole number, got True"),
    ],
)
def test_config_values_of_a_wrong_type_are_refused_with_their_line(
    rnntk, here: Path, command, line, told
) -> None:
    """Values are never converted to fit."""
    name = line.split()[0]
    right = f"[mnist]\n{name} = 1\n\n['{command}']\n{name.replace('_', '-')}{line[len(name) :]}\n"
    (here / "c.toml").write_text(right.replace("mnist", "prep") if name in ("run",) else right)
    result = rnntk(command, "--config", "c.toml")
    assert result.exit_code == 2
    assert f"'{name}' in c.toml, line 5: must be " in " ".join(result.stderr.split())
    assert f"{told}." in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "values", [{"units": 16.5}, {"units": "16"}, {"learning_rate": True}, {"seed": True}]
)
def test_keywords_and_stored_settings_of_a_wrong_type_are_refused(
    values: dict[str, object],
) -> None:
    (name,) = values
    for make in (lambda: TrainConfig(**values), lambda: TrainConfig.from_json(values)):
        with pytest.raises(UsageError, match=f"^{name} must be a (whole )?number, got "):
            make()


def test_errors_from_python_name_the_line_of_a_config_file(here: Path, text: Path) -> None:
    (here / "c.toml").write_text("[train]\nlayers = 1\nunits = 16.5\n")
    with pytest.raises(UsageError, match="'units' in c.toml, line 3: must be a whole number"):
        rnntk_api.train(text, config="c.toml")


def test_a_config_may_give_a_checkpoint_number_and_a_single_input(
    rnntk, here: Path, trained: Path, text: Path
) -> None:
    (here / "c.toml").write_text(f"[sample]\ncheckpoint = 4\n[prep]\ninput = '{text}'\n")
    assert rnntk("sample", trained, "--config", "c.toml", "--length", 2).exit_code == 0
    assert rnntk("prep", "--config", "c.toml").exit_code == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"units = {'9' * 5000}", "a number in it is too long."),
        (f"units = {'[' * 5000}", "it is nested too deeply."),
        (f"units = {'{a=' * 5000}", "it is nested too deeply."),
        ("train = 3", "train must be a table, [train]."),
        ("[[train]]\nunits = 2", "train must be a table, [train]."),
        ("units = 1\nunits = 2", "Cannot overwrite a value"),
        (f"units{'.a' * 200} = 1", "[units] is not a command."),
        # It depends on the version of tomli.
        (f"units{'.a' * 2000} = 1", "[units] is not a command.|it is nested too deeply."),
    ],
)
def test_a_hostile_config_file_is_one_message(rnntk, here: Path, content: str, told: str) -> None:
    (here / "c.toml").write_text(content)
    result = rnntk("train", "--config", "c.toml")
    assert result.exit_code == 2
    assert any(words in " ".join(result.stderr.split()) for words in told.split("|"))
    assert len(result.stderr) < 500


def test_a_duration_is_read_in_several_forms(rnntk) -> None:
    forms = ("90", "90s", "2m", "1h30m", "1.5", 7)
    seconds = [TrainConfig(max_time=form).max_time for form in forms]
    assert seconds == [90, 90, 120, 5400, 1.5, 7]
    for wrong in ("0", "soon", "-5", "m", ""):
        result = rnntk("train", "--max-time", wrong)
        assert result.exit_code == 2
        assert "must be a time such as 90s, 2m or 1h30m" in result.stderr
    for unclear, units in (("1h30", "ms"), ("2m30", "s"), ("1h5m30", "s")):
        result = rnntk("train", "--max-time", unclear)
        assert result.exit_code == 2
        wanted = " or ".join(unclear + unit for unit in units)
        assert f"must end in a unit, {wanted}, got '{unclear}'." in result.stderr


def test_debug_shows_the_traceback(rnntk, monkeypatch) -> None:
    monkeypatch.setenv("RNNTK_DEBUG", "1")
    with pytest.raises(UsageError):
        rnntk("train", "--corpus", "nothing_like_it")


def test_parameters_that_are_not_settings_are_listed() -> None:
    """Python code that reads a config file ignores them."""
    fields = files._names_of(Config)
    own = {p.name for name in COMMANDS for p in load_command(name).params} - fields
    assert own - {"config"} == files.COMMAND_ONLY
    assert sorted(files.TABLES) == sorted(COMMANDS)


@pytest.mark.parametrize(("ended", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_a_signal_that_an_import_turns_into_an_error_ends_quietly(
    rnntk, monkeypatch: pytest.MonkeyPatch, ended: BaseException, code: int
) -> None:
    def entries() -> None:
        try:
            raise ended
        except BaseException as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(cache, "entries", entries)
    result = rnntk("cache")
    assert (result.exit_code, result.stderr) == (code, "")
