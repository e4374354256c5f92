"""A text shaded by surprise, as one HTML file that needs nothing else."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from rnntk.cli import shading

SHOWN = 50_000
"""Characters shown at most: every one is an element, and browsers grow slow with more."""

_CLASSES = "abcdef"


def page(
    title: str,
    about: str,
    rows: Sequence[tuple[str, float]],
    text: str,
    bits: Sequence[float | None],
) -> str:
    """The page.

    Args:
        title: of the page.
        about: a sentence below it.
        rows: names and bits a character, for the table; the model's own row is called `this model`.
        text: what was evaluated.
        bits: what each of its characters costs, None where it is not known.
    """
    template = Path(__file__).with_name("eval_page.html").read_text(encoding="utf-8")
    most = max((value for _, value in rows), default=1.0)
    if len(text) > SHOWN:
        about += f" These are its first {SHOWN:,} characters."
    return Template(template).substitute(
        title=html.escape(title),
        about=html.escape(about),
        rows="\n".join(
            f"<tr{' class=own' if name == 'this model' else ''}><th scope=row>{html.escape(name)}</th>"
            f'<td>{value:.3f}</td><td><span style="width:{100 * value / most:.1f}%"></span></td></tr>'
            for name, value in rows
        ),
        key=" ".join(
            f"<i class={letter}>{low}</i>"
            for letter, low in zip(_CLASSES, shading.BITS, strict=True)
        ),
        text="".join(_characters(text[:SHOWN], bits)),
    )


def _characters(text: str, bits: Sequence[float | None]) -> Iterator[str]:
    for character, cost in zip(text, bits, strict=False):
        shade = shading.shade(cost) if cost is not None else 0
        names = _CLASSES[shade - 1] if shade else ""
        if character == "\n":
            names = f"{names} n".strip()
        tip = f' title="{cost:.2f} bits"' if cost is not None else ""
        yield f"<i{f' class={chr(34)}{names}{chr(34)}' if names else ''}{tip}>{_visible(character)}</i>"


def _visible(character: str) -> str:
    """The character as HTML. What HTML cannot hold (control characters, lone surrogates) gets a sign."""
    if character in "\n\t":
        return character
    if character == "\r":
        return "\u2190"
    if unicodedata.category(character) in ("Cc", "Cs"):
        return "\ufffd"
    return html.escape(character)
