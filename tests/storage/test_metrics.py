"""Reading metrics files: complete, half written, damaged, large."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.errors import RunError
from rnntk.storage import metrics


def write(path: Path, *lines: dict[str, object] | str, end: str = "\n") -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + end, encoding="utf-8")
    return path


def test_columns_have_nan_for_missing_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"step": 1, "loss": 3.5}, {"step": 2, "val_loss": 3}, {"step": 2})
    found = metrics.read(path)
    assert found.columns["step"].tolist() == [1, 2, 2]
    assert np.array_equal(found.columns["loss"], [3.5, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(found.columns["val_loss"], [np.nan, 3, np.nan], equal_nan=True)
    assert found.names == ["loss", "val_loss"]
    assert set(metrics.read(path, ["loss"]).columns) == {"step", "loss"}


def test_a_half_written_last_line_is_skipped_silently(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"step": 1}, '{"step": 2, "lo', end="")
    found = metrics.read(path)
    assert found.columns["step"].tolist() == [1]
    assert found.skipped == 0
    assert metrics.last(path) == {"step": 1}


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[1]",
        "3",
        '{"loss": 1}',
        '{"step": "x"}',
        '{"step": NaN}',
        "{},{}",
        '{"step": 1},{"step": 9}',
    ],
)
def test_a_damaged_line_is_counted_and_skipped(tmp_path: Path, line: str) -> None:
    found = metrics.read(write(tmp_path / "m", {"step": 1}, line, {"step": 3}))
    assert found.skipped == 1
    assert found.columns["step"].tolist() == [1, 3]


def test_a_string_in_place_of_a_number_is_nan(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"step": 1, "loss": "high"}, {"step": 2, "loss": 2.0})
    assert np.array_equal(metrics.read(path).columns["loss"], [np.nan, 2.0], equal_nan=True)
    assert metrics.last(path) == {"step": 2, "loss": 2.0, "mean_loss": 2.0}


def test_the_time_of_a_validation_is_interpolated(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m",
        {"step": 1, "seconds": 10.0, "loss": 1},
        {"step": 2, "val_loss": 1},
        {"step": 3, "seconds": 20.0, "loss": 1},
    )
    steps, seconds, values = metrics.read(path).series("val_loss")
    assert (steps.tolist(), seconds.tolist(), values.tolist()) == ([2], [15], [1])
    assert [len(part) for part in metrics.read(path).series("nothing")] == [0, 0, 0]


def test_an_empty_file_has_no_metrics_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    assert len(metrics.read(tmp_path / "m")) == 0
    assert metrics.last(tmp_path / "m") == {}
    assert metrics.last(tmp_path / "nowhere") == {}
    with pytest.raises(RunError, match="cannot be read"):
        metrics.read(tmp_path / "nowhere")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40), st.integers(1, 200))
def test_any_chunk_size_reads_the_same(values: list[float], chunk: int) -> None:
    lines = [{"step": i, "loss": v} for i, v in enumerate(values)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_CHUNK", chunk)
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            found = metrics.read(path)
    assert found.columns["step"].tolist() == list(range(len(values)))
    assert found.columns.get("loss", np.empty(0)).tolist() == values


def test_last_reads_only_the_end_and_finds_rare_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m",
        {"step": 0, "early": 1},
        *(
            {"step": i, "loss": i / 2, **({"val_loss": 7.0} if i == 9990 else {})}
            for i in range(1, 10_001)
        ),
    )
    assert path.stat().st_size > metrics._TAIL
    mean = sum(i / 2 for i in range(9901, 10_001)) / metrics.MEAN_STEPS
    expected = {"step": 10_000, "loss": 5000, "val_loss": 7.0, "mean_loss": mean}
    assert metrics.last(path) == pytest.approx(expected)


@given(st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_the_mean_loss_matches_a_plain_mean_of_the_steps(values: list[float]) -> None:
    one_by_one, whole = metrics.MeanLoss(), metrics.trailing_mean(np.array(values, float))
    steps = [one_by_one.add(value) for value in values]
    assert whole.tolist() == pytest.approx(steps, abs=1e-6)
    assert steps == pytest.approx(
        [np.mean(values[max(0, i - 99) : i + 1]) for i in range(len(steps))], abs=1e-6
    )


def test_means_after_a_spike_are_exact() -> None:
    values = np.array([1.0, 1e30, *[1.0] * 10])
    assert metrics.trailing_mean(values, 4)[5:].tolist() == [1.0] * 7


def test_a_follower_reads_each_whole_line_once(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"step": 1}, "nonsense", '{"step": 2, "lo', end="")
    follower = metrics.Follower(path)
    assert [row for rows in follower.added() for row in rows] == [{"step": 1}]
    assert follower.skipped == 1
    with path.open("a", encoding="utf-8") as file:
        file.write('ss": 0.5}\n')
    assert [row for rows in follower.added() for row in rows] == [{"step": 2, "loss": 0.5}]
    assert list(follower.added()) == []
    assert not follower.cut_back()
    write(path, {"step": 1})
    assert follower.cut_back()


def test_a_large_file_is_read_within_seconds(tmp_path: Path) -> None:
    line = (
        '{"step": %d, "epoch": 0, "grad_norm": 0.2278452, "loss": 2.3110576, "seconds": 103.426}\n'
    )
    path = tmp_path / "m"
    path.write_text("".join(line % i for i in range(100_000)))
    begin = time.process_time()
    assert len(metrics.read(path, ["loss"])) == 100_000
    assert time.process_time() - begin < 5, "0.4 s where it was written"
