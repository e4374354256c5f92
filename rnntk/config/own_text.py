"""Default settings for the user's own text: a shipped config by size, fitted to the length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from rnntk.config.configs import TrainConfig
from rnntk.config.files import corpus_settings
from rnntk.errors import DataError

RECIPES = {  # shipped configs, by the number of symbols they are made for
    "text_20kB": 20_000, "text_200kB": 200_000, "text_1MB": 1_000_000, "text_10MB": 10_000_000,
}  # fmt: skip
LEAST = 100  # symbols in a text
HELD_OUT = 5_000  # symbols of the shortest text with a held-out part
MOST_HELD_OUT = 200_000  # symbols; validation reads them in one row, which is slow
BATCHES = 8  # per epoch, at least
FEWEST_ROWS, SHORTEST = 4, 16  # rows and length are lowered to these, then rows below


class Choice(NamedTuple):
    """A value chosen for a setting, and the reason."""

    value: Any
    why: str


def too_short(symbols: int) -> str:
    """The message for a text of fewer than `LEAST` symbols."""
    number = f"{symbols:,} symbol{'s' * (symbols != 1)}"
    return f"The text has {number} and needs {LEAST}, better a few thousand. Add more text."


def choose(symbols: int, fixed: Mapping[str, Any]) -> dict[str, Choice]:
    """Choose settings of `TrainConfig` for a text, by field name.

    Args:
        symbols: length of the text.
        fixed: settings that stay; the others are fitted to them.

    Raises `DataError` for fewer than `LEAST` symbols, unless batch size and sequence length are both fixed.
    """
    both = {"batch_size", "seq_length"} <= set(fixed)
    if symbols < LEAST and not both:
        raise DataError(too_short(symbols))
    name = min(RECIPES, key=lambda recipe: abs(math.log(max(symbols, 1) / RECIPES[recipe])))
    recipe = corpus_settings(name, "train", TrainConfig.names())
    why = f"for texts of about {RECIPES[name]:,} symbols (configs/{name}.toml)"
    chosen = {key: Choice(value, why) for key, value in recipe.items()}
    now = {**TrainConfig().part(TrainConfig), **recipe, **fixed}

    def change(key: str, value: Any, why: str) -> None:
        if key not in fixed and value != now[key]:
            now[key], chosen[key] = value, Choice(value, why)

    needs = [key for key in ("patience", "val_every") if now[key]]
    needs += ["schedule"] if now["schedule"] == "plateau" else []
    if needs:
        change("val_fraction", 0.1, f"{needs[0]} needs validation")
    elif symbols < HELD_OUT or now["val_fraction"] + now["test_fraction"] >= 1:
        change("val_fraction", 0.0, "the text is too short to hold some out")
    elif symbols * now["val_fraction"] > MOST_HELD_OUT:
        few = float(f"{MOST_HELD_OUT / symbols:.1g}")
        change("val_fraction", few, f"about {MOST_HELD_OUT:,} symbols are enough to validate on")

    of_recipe = RECIPES[name] * (1 - recipe["val_fraction"])
    steps = recipe["epochs"] * of_recipe // (recipe["batch_size"] * recipe["seq_length"])
    part = max(symbols * (1 - now["val_fraction"] - now["test_fraction"]), 1)
    rows, length = _fitted(part, now["batch_size"], now["seq_length"], fixed)
    batches = max(int(part / (rows * length)), 1)
    reason = f"so that the text makes {batches:,} batches"
    change("batch_size", rows, reason)
    change("seq_length", length, reason)
    epochs = max(round(steps / batches), 1)
    change("epochs", epochs, f"about {steps:,.0f} steps of {batches:,} batches per epoch")

    total = min(now["epochs"] * batches, now["max_steps"] or math.inf)
    interval = _round(total / 10)
    for key in ("checkpoint_every", "sample_every", "log_every"):
        if interval < now[key]:
            change(key, interval, f"about ten times in {total:,.0f} steps")
    if now["val_fraction"] and not interval <= batches <= 2000:
        change("val_every", min(interval, 1000), f"an epoch has {batches:,} steps")
    return {key: choice for key, choice in chosen.items() if key not in fixed}


def _fitted(symbols: float, rows: int, length: int, fixed: Mapping[str, Any]) -> tuple[int, int]:
    """Batch rows and sequence length, halved until there are `BATCHES` batches."""
    while symbols < BATCHES * rows * length:
        if "batch_size" not in fixed and rows > FEWEST_ROWS:
            rows //= 2
        elif "seq_length" not in fixed and length > SHORTEST:
            length //= 2
        elif "batch_size" not in fixed and rows > 1:
            rows //= 2
        elif "seq_length" not in fixed and length > 1 and symbols < rows * length:
            length //= 2
        else:
            break
    return rows, length


def _round(steps: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten, at least 10."""
    power = 10 ** max(int(math.log10(max(steps, 10))), 1)
    return power * max(digit for digit in (1, 2, 5) if digit == 1 or digit * power <= steps)


def summary(choices: Mapping[str, Choice]) -> str:
    """Describe the main choices in a few words; empty if there are none."""
    words = {
        "units": "{} units", "batch_size": "batch size {}", "seq_length": "sequence length {}",
        "epochs": "{:,} epochs", "preprocessor": "preprocessor {}",
    }  # fmt: skip
    found = [text.format(choices[key].value) for key, text in words.items() if key in choices]
    if held_out := choices.get("val_fraction"):
        found.append(
            f"{100 * held_out.value:g} % validation" if held_out.value else "no validation"
        )
    return ", ".join(text for text in found if text != "preprocessor plain")
