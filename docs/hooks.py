"""Pages of the documentation site (`make docs`) that are made from other files, and links to them.

README.md and its like become pages, and so does every other file that a page links to. Each command gets a page with
its options. In a page, `<!-- commands -->` and `<!-- settings: CLASS -->` become tables, and text between
`<!-- github -->` and `<!-- /github -->` is left out.
"""

from __future__ import annotations

import dataclasses
import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from rnntk import config as settings
from rnntk.cli.help import grouped, shown_default
from rnntk.cli.main import COMMANDS, GROUPS, load_command
from rnntk.errors import rendered

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "data/README.md": "corpora.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")
EVERYWHERE = ("config", "json", "quiet", "verbose")  # options that commands.md describes
# In help: a command, an option, a variable, a file name, a path with <placeholders>.
CODE = re.compile(
    rf"(rnntk (?:{'|'.join(COMMANDS)})(?: --?[a-z][\w-]*)*|(?<![\w/-])--[a-z][\w-]*\w|\$?RNNTK_\w+|\$TF_CONFIG"
    r"|\w+\.(?:json|toml|txt)|[\w.]+/<[^ ,]*\w>?[\w.-]*(?:<\w+>)*|<\w+>/[\w.]+)"
)
LANGUAGES = {".py": "python", ".toml": "toml", ".cff": "yaml", ".yml": "yaml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the commands to the navigation."""
    (commands,) = (entry["Commands"] for entry in config.nav if "Commands" in entry)
    commands += [f"commands/{name}.md" for name in COMMANDS]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    made = {page: (ROOT / source).read_text(encoding="utf-8") for source, page in PAGES.items()}
    made |= {f"commands/{name}.md": command_page(name) for name in COMMANDS}
    texts = {**{f"docs/{f.src_uri}": f.content_string for f in files.documentation_pages()}}
    texts |= {source: made[page] for source, page in PAGES.items()}
    linked = [target for source, text in texts.items() for target in targets(source, text)]
    for target in linked:
        uri = site_uri(target)
        path = ROOT / target
        if uri in made or not uri.endswith(".md") or files.get_file_from_path(uri):
            continue
        if path.is_dir():
            members = sorted(m for m in path.iterdir() if m.suffix in (".toml", ".ipynb"))
            linked += [f"{target}/{member.name}" for member in members]
            made[uri] = folder_page(target, members)
        elif path.exists():  # otherwise the build warns of the link
            made[uri] = notebook_page(path) if path.suffix == ".ipynb" else file_page(target, path)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to the pages of the site, and fill in tables."""
    uri = page.file.src_uri
    source = next((source for source, name in PAGES.items() if name == uri), f"docs/{uri}")
    markdown = re.sub(r"<!-- github -->.*?<!-- /github -->\n*", "", markdown, flags=re.DOTALL)
    if not page.parent:  # alone in its tab
        page.meta["hide"] = ["navigation"]
    if uri == "index.md":
        markdown = re.sub(
            r"^\| (`rnntk (\w+)`)", r"| [\1](docs/commands/\2.md)", markdown, flags=re.M
        )
    if not uri.startswith("files/"):
        markdown = outside_code(
            markdown, lambda text: LINK.sub(lambda m: lead(m[1], source, uri), text)
        )
    markdown = outside_code(markdown, blank_lines)
    markdown = markdown.replace("<!-- commands -->", commands_table())
    return re.sub(r"<!-- settings: (\w+) -->", lambda found: settings_table(found[1]), markdown)


# Links


def targets(source: str, text: str) -> list[str]:
    """Files of the repository that a page links to."""
    folder = posixpath.dirname(source)
    return [posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(text)]


def site_uri(target: str) -> str:
    """The page or picture of the site that shows a file of the repository."""
    if target in PAGES:
        return PAGES[target]
    if target.startswith("docs/notebooks/"):
        return target.removeprefix("docs/").removesuffix(".ipynb") + ".md"
    if target.startswith("docs/") and Path(target).suffix in (".md", ".png", ".svg"):
        return target.removeprefix("docs/")
    return f"files/{target.removeprefix('docs/')}.md"


def lead(link: str, source: str, uri: str) -> str:
    """The link of a page of the repository, as one of the site."""
    (target,) = targets(source, f"]({link})")
    return posixpath.relpath(site_uri(target), posixpath.dirname(uri) or ".")


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Change a page without its code blocks."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def blank_lines(text: str) -> str:
    """Set off lists and tables by blank lines, which Python-Markdown needs and GitHub does not."""
    return re.sub(r"^(?!- |\||\d+\. |\s|:|#)(.*\S.*)\n(?=- |\||1\. )", r"\1\n\n", text, flags=re.M)


# Files


def file_page(target: str, path: Path) -> str:
    """A page with a file of the repository."""
    language = LANGUAGES.get(path.suffix, "text")
    text = path.read_text(encoding="utf-8").strip("\n")
    return f"# {target}\n\n````{language}\n{text}\n````\n"


def folder_page(target: str, members: list[Path]) -> str:
    """A page that lists files of a folder, each with its first comment or title."""
    rows = []
    for path in members:
        link = posixpath.relpath(
            site_uri(f"{target}/{path.name}"), posixpath.dirname(site_uri(target))
        )
        rows.append(f"- [`{path.name}`]({link}): {about(path)}")
    return f"# {target}\n\n" + "\n".join(rows) + "\n"


def about(path: Path) -> str:
    """The title of a notebook, or the first comment of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "".join(json.loads(text)["cells"][0]["source"]).partition("\n")[0].lstrip("# ")
    comment = re.match(r"(?:#.*\n)+", text)
    words = " ".join(line.lstrip("# ") for line in comment[0].splitlines()) if comment else ""
    return escaped(re.split(r"(?<=\.)\s", words)[0])


def notebook_page(path: Path) -> str:
    """The cells of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = (("".join(cell["source"]), cell["cell_type"]) for cell in cells)
    return "\n\n".join(f"```python\n{t}\n```" if kind == "code" else t for t, kind in texts)


# Commands


def commands_table() -> str:
    """The commands by group, each with its page."""
    rows = ["| command | purpose |", "|---|---|"]
    for title, commands in GROUPS.items():
        rows.append(f"| **{title}** | |")
        rows += [f"| [`rnntk {n}`](commands/{n}.md) | {escaped(h)} |" for n, h in commands.items()]
    return "\n".join(rows)


def command_page(name: str) -> str:
    """The help of a command with all its options, and of its subcommands."""
    command = load_command(name)
    parts = list(command_parts(command, f"rnntk {name}", 1))
    for sub in getattr(command, "commands", {}).values():
        parts += command_parts(sub, f"rnntk {name} {sub.name}", 2)
    return "\n\n".join(parts) + "\n"


def command_parts(command: click.Command, path: str, level: int) -> Iterator[str]:
    """A title, the help, the usage, the examples, and the options by group."""
    yield f"{'#' * level} {path}"
    yield prose(re.sub(r"\n(?!\n)", " ", (command.help or "").replace("\n\n", "\n\n\n")).strip())
    context = click.Context(command)
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    words = [word for argument in arguments for word in argument.get_usage_pieces(context)]
    subs = ["COMMAND"] if isinstance(command, click.Group) else []
    yield f"```\n{' '.join([path, '[OPTIONS]', *words, *subs])}\n```"
    examples = (command.epilog or "").partition("Examples:\n")[2]
    if examples.strip():
        yield f"Examples:\n\n```\n{inset(examples)}\n```"
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    own = [option for option in options if option.name not in EVERYWHERE]
    for title, members in grouped(command, own).items():
        yield f"{'#' * (level + 1)} {title}"
        yield "\n\n".join(option_entry(option) for option in members)
    common = [f"`{', '.join(sorted(o.opts, key=len))}`" for o in options if o not in own]
    yield f"As for [every command](../commands.md#options-of-every-command): {', '.join(common)}."


def inset(text: str) -> str:
    """Lines without their common margin."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(line[min(len(one) - len(one.lstrip()) for one in lines) :] for line in lines)


def option_entry(option: click.Option) -> str:
    """An option with its value, its help, its default and its other names."""
    short = [name for name in option.opts if len(name) == 2]
    name, *aliases = [name for name in option.opts if len(name) > 2]
    term = ", ".join([*short, name])
    if option.secondary_opts:
        term += f" / {option.secondary_opts[0]}"
    if not option.is_flag:
        term += f" {option.metavar}"
    text, bracket, default = (option.help or "").partition("[default: ")
    text = prose(text.strip())
    if bracket:
        text += f" Default: {prose(default.rstrip('] '))}."
    elif option.show_default:
        text += f" Default: `{shown_default(option)}`."
    if aliases:
        text += f" Also {', '.join(f'`{alias}`' for alias in aliases)}."
    if option.envvar != f"RNNTK_{(option.name or '').upper()}":
        text += f" Environment variable: `{option.envvar}`."
    return f"`{term}`\n:   {text.replace(chr(10), chr(10) + '    ')}"


def escaped(text: str) -> str:
    """Plain text as Markdown."""
    return re.sub(r"([*_\[\]|])", r"\\\1", html.escape(text, quote=False))


def prose(text: str) -> str:
    """Plain text as Markdown, with options, variables and paths as code."""
    parts = CODE.split(text)
    return "".join(f"`{part}`" if i % 2 else escaped(part) for i, part in enumerate(parts))


# Python


def settings_table(name: str) -> str:
    """The fields of a configuration with defaults and help."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(getattr(settings, name)):
        text = rendered(field.metadata["help"], lambda word: f"`{word}`")
        text, _, default = text.partition("  [default: ")
        shown = prose(default.rstrip("]")) if default else f"`{python(field.default)}`"
        parts = re.split(r"(`[^`]*`)", text)
        text = "".join(part if i % 2 else prose(part) for i, part in enumerate(parts))
        valid = field.metadata["valid"]
        words = ", ".join(f"`{python(word)}`" for word in valid) if isinstance(valid, tuple) else ""
        rows.append(
            f"| `{field.name}` | {shown} | {text}{' One of ' + words + '.' if words else ''} |"
        )
    return "\n".join(rows)


def python(value: Any) -> str:
    """A value as Python code, with double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)
