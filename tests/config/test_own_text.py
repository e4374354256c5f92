"""Settings chosen for the user's text: a shipped config by size, adapted to the length."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.config import TrainConfig, own_text
from rnntk.errors import DataError
from rnntk.training.batches import Split


def values(symbols: int, **fixed: Any) -> dict[str, Any]:
    return {name: choice.value for name, choice in own_text.choose(symbols, fixed).items()}


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (3_000, {"layers": 1, "batch_size": 4, "seq_length": 64, "epochs": 101, "val_fraction": 0}),
        (20_000, {"layers": 1, "batch_size": 16, "seq_length": 64, "epochs": 62, "val_every": 100}),
        (200_000, {"layers": 2, "units": 192, "batch_size": 32, "epochs": 40, "val_every": 200}),
        (1_000_000, {"layers": 2, "units": 128, "batch_size": 50, "epochs": 20, "dropout": 0.1}),
        (10_000_000, {"units": 256, "batch_size": 64, "epochs": 5, "val_fraction": 0.02}),
        (1_000_000_000, {"units": 256, "batch_size": 64, "epochs": 1, "val_fraction": 0.0002}),
        (300_000_000, {"epochs": 1, "val_every": 1000}),
    ],
)
def test_the_config_depends_on_the_size(symbols: int, expected: dict[str, Any]) -> None:
    found = values(symbols)
    assert {name: found.get(name) for name in expected} == expected


@given(
    st.integers(300, 10**9),
    st.fixed_dictionaries(
        {},
        optional={
            "batch_size": st.integers(1, 12),
            "seq_length": st.integers(1, 8),
            "val_fraction": st.sampled_from([0.0, 0.3]),
            "test_fraction": st.sampled_from([0.0, 0.3]),
            "epochs": st.integers(1, 9),
            "max_steps": st.none() | st.integers(1, 9),
            "patience": st.none() | st.just(3),
        },
    ),
)
def test_every_length_trains_and_given_settings_stay(symbols: int, fixed: dict[str, Any]) -> None:
    if fixed.get("patience") and fixed.get("val_fraction") == 0:
        return
    found = own_text.choose(symbols, fixed)
    assert not set(found) & set(fixed)
    assert all(choice.why for choice in found.values())
    config = TrainConfig(**fixed, **{name: choice.value for name, choice in found.items()})
    split = Split.of(symbols, config)
    batches = split.train // (config.batch_size * config.seq_length)
    assert batches >= 1
    if "epochs" not in fixed and symbols < 10**7:
        assert config.epochs * batches > 500


def test_given_settings_change_the_chosen_ones() -> None:
    assert values(20_000, batch_size=64)["seq_length"] == 32
    assert values(100, batch_size=7)["seq_length"] == 8
    assert values(20_000, seq_length=512)["batch_size"] == 4
    assert values(20_000, max_steps=20)["checkpoint_every"] == 10
    assert values(3_000, patience=2)["val_fraction"] == 0.1
    assert "needs validation" in own_text.choose(3_000, {"patience": 2})["val_fraction"].why
    assert values(20_000, test_fraction=0.99)["val_fraction"] == 0
    assert "val_every" not in values(20_000, val_fraction=0.0)


def test_the_shortest_trainable_text() -> None:
    with pytest.raises(DataError, match="99 symbols and needs 100"):
        own_text.choose(99, {"batch_size": 1})
    assert own_text.choose(99, {"batch_size": 1, "seq_length": 2})["units"].value == 256


def test_each_choice_has_a_reason() -> None:
    found = own_text.choose(20_000, {})
    assert found["units"].why == "for texts of about 20,000 symbols (configs/text_20kB.toml)"
    assert found["epochs"].why == "about 1,113 steps of 18 batches per epoch"
    words = "256 units, batch size 16, sequence length 64, 62 epochs, 5 % validation"
    assert own_text.summary(found) == words
    assert own_text.summary(own_text.choose(3_000, {"units": 9})).endswith("no validation")
    assert own_text.summary({}) == ""


@pytest.mark.parametrize(
    ("steps", "often"), [(3, 10), (19, 10), (20, 20), (99, 50), (148, 100), (500, 500)]
)
def test_intervals_are_round(steps: float, often: int) -> None:

    assert own_text._round(steps) == often
