"""The page's files, and all of them as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any

FOLDER = resources.files("rnntk.play") / "page"
# Each module after those it imports.
_MODULES = ("dom", "source", "text", "write", "read", "inside", "chart", "training", "main")
SCRIPTS = tuple(f"{name}.js" for name in _MODULES)
# The only files that are served.
TYPES = {"index.html": "text/html", "style.css": "text/css"}
TYPES |= dict.fromkeys(SCRIPTS, "text/javascript")
_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) )", re.MULTILINE)


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def single(data: dict[str, Any]) -> str:
    """The page as one HTML file that shows `data` offline.

    Its security policy allows only this script and style. The modules declare distinct names, so they can be joined.
    """
    modules = "".join(read(name).decode("utf-8") for name in SCRIPTS)
    script = _EXPORT.sub("", _IMPORT.sub("", modules))
    style = read("style.css").decode("utf-8")
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:"
    inlined = json.dumps(data, separators=(",", ":"), allow_nan=False)
    inlined = inlined.replace("<", "\\u003c")  # `<` could end the script element
    page = read("index.html").decode("utf-8")
    meta = '<meta charset="utf-8">'
    replacements = {
        meta: f'{meta}\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="stylesheet" href="page/style.css">': f"<style>{style}</style>",
        '<script type="module" src="page/main.js"></script>': (
            f'<script type="application/json" id="report-data">{inlined}</script>\n'
            f'<script type="module">{script}</script>'
        ),
    }
    for old, new in replacements.items():
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    return page


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
