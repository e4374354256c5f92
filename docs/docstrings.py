"""Docstrings as the documentation site reads them (an extension of Griffe)."""

from __future__ import annotations

import re
from typing import Any

import griffe

SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*(?:\n\1 +.*)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Read `Example:` as the section of examples, and `a, b: text` as two arguments."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            text = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
            obj.docstring.value = SEVERAL.sub(_one_by_one, text)


def _one_by_one(found: re.Match[str]) -> str:
    margin, names, text = found.groups()
    return "\n".join(f"{margin}{name}{text}" for name in names.split(", "))
