"""The page's files, one by one or as a single HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

FOLDER = resources.files("rnntk.play") / "page"
# Each module after those that it imports. The worker runs the model of an exported page.
_PAGE = (
    "dom", "codec", "source", "text", "sheet", "write", "read", "cell", "heatmap", "inside", "chart", "training",
    "lessons", "draw", "mistakes", "main",
)  # fmt: skip
_WORKER = ("codec", "product", "network", "random", "sampler", "visible", "worker")
SCRIPTS = tuple(f"{name}.js" for name in dict.fromkeys(_WORKER + _PAGE))
# All files that are served.
TYPES = {"index.html": "text/html", "style.css": "text/css"}
TYPES |= dict.fromkeys(SCRIPTS, "text/javascript")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) )", re.MULTILINE)


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def single(data: dict[str, Any]) -> str:
    """The page as one HTML file that shows `data` offline."""
    return _single({"report-data": ("application/json", _inlined(data))})


def with_model(description: dict[str, Any], weights: bytes) -> str:
    """The page as one HTML file that runs a model offline.

    `description` is made by `exchange.html`; `weights` is gzipped, in the layout of `unpack` in network.js.
    """
    blocks = {
        "model-data": ("application/json", _inlined(description)),
        "model-weights": ("text/plain", base64.b64encode(weights).decode("ascii")),
        "model-worker": ("text/plain", _joined(_WORKER)),
    }
    # The worker starts from a blob, because a page opened from disk may not load other files.
    return _single(blocks, scripts=" 'wasm-unsafe-eval'", more="; worker-src blob:")


def _single(blocks: dict[str, tuple[str, str]], scripts: str = "", more: str = "") -> str:
    """The page as one HTML file with `blocks`, (type, content) by id; its policy allows `scripts` and `more`."""
    script, style = _joined(_PAGE), read("style.css").decode("utf-8")
    policy = f"default-src 'none'; script-src '{_hash(script)}'{scripts}; "
    policy += f"style-src '{_hash(style)}'; img-src data:{more}"
    elements = [
        f'<script type="{kind}" id="{name}">{content}</script>'
        for name, (kind, content) in blocks.items()
    ]
    page = read("index.html").decode("utf-8")
    meta = '<meta charset="utf-8">'
    replacements = {
        meta: f'{meta}\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="stylesheet" href="page/style.css">': f"<style>{style}</style>",
        '<script type="module" src="page/main.js"></script>': "\n".join(
            [*elements, f'<script type="module">{script}</script>']
        ),
    }
    for old, new in replacements.items():
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    return page


def _joined(names: Iterable[str]) -> str:
    """Modules as one script; their names are distinct."""
    modules = "".join(read(f"{name}.js").decode("utf-8") for name in names)
    return _EXPORT.sub("", _IMPORT.sub("", modules))


def _inlined(data: dict[str, Any]) -> str:
    """JSON that cannot end a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
