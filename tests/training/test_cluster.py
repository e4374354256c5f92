"""`--workers` and TF_CONFIG: valid values, and one message per mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rnntk.config import DistributeConfig
from rnntk.errors import UsageError
from rnntk.training import cluster
from rnntk.training.cluster import Cluster

TWO = "node1:2222,node2:2223"


@pytest.fixture(autouse=True)
def _no_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)


def tf_config(task: object = None, **jobs: object) -> str:
    return json.dumps({"cluster": jobs, "task": task or {"type": "worker", "index": 0}})


def test_workers_and_index_write_a_tf_config() -> None:
    found = cluster.find(" node1:2222, node2:2223", 1)
    assert found == Cluster(("node1:2222", "node2:2223"), 1)
    assert cluster.from_tf_config(found.to_json()) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (tf_config(worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 0)),
        (tf_config({"type": "worker", "index": 1}, worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 1)),
        (tf_config({"type": "chief", "index": 0}, worker=["a:1"], chief=["c:3"]), Cluster(("c:3", "a:1"), 0)),
        (tf_config({"type": "worker", "index": 0}, worker=["a:1"], chief=["c:3"]), Cluster(("c:3", "a:1"), 1)),
        (tf_config({"type": "worker", "index": "1"}, worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 1)),
        (tf_config(worker=["[::1]:2222"]), Cluster(("[::1]:2222",), 0)),
    ],
)  # fmt: skip
def test_tf_config_is_read_like_tensorflow_reads_it(
    text: str, expected: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.find(None, None) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{cluster", "is not JSON"),
        ("[]", "has no 'cluster'"),
        ('{"cluster": {"worker": ["a:1"]}}', "has no 'task'"),
        (tf_config(worker="a:1"), "cluster.worker must be a list"),
        (tf_config(worker=["a:1"], ps=["p:1"]), "tasks of the kind ps"),
        (tf_config({"type": "chief", "index": 0}, worker=["a:1"]), "task.type is 'chief', but the cluster has worker"),
        (tf_config({"type": "worker", "index": 2}, worker=["a:1", "b:1"]), "task.index is 2, but there are 2"),
        (tf_config({"type": "worker", "index": True}, worker=["a:1", "b:1"]), "task.index is True"),
        (tf_config({"type": "worker"}, worker=["a:1"]), "task.index is None"),
        (tf_config({"type": "worker", "index": 0}, worker=["a:1"], chief=["c:1", "d:1"]), "only one chief"),
        (tf_config(worker=["a"]), "TF_CONFIG has 'a', but an address must be HOST:PORT"),
        (tf_config(worker=["a:1", "a:1"]), "repeats a:1"),
    ],
)  # fmt: skip
def test_a_malformed_tf_config_is_one_message(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=message):
        cluster.find(None, None)


@pytest.mark.parametrize(
    ("workers", "index", "message"),
    [
        (None, None, "workers HOST:PORT,HOST:PORT.*or TF_CONFIG"),
        (TWO, None, "index is missing. Give this process.s place in workers, 0 to 1"),
        (TWO, 2, "index is 2, but workers names 2 processes: use 0 to 1"),
        ("node1:2222,", 0, "workers has '', but"),
        ("node1", 0, "workers has 'node1', but an address must be HOST:PORT"),
        ("node1:http", 0, "has 'node1:http'"),
        (":2222", 0, "has ':2222'"),
        ("node1:70000", 0, "has 'node1:70000'"),
        ("n:1,n:1", 0, "repeats n:1.*its own port"),
    ],
)
def test_malformed_workers_are_refused(
    workers: str | None, index: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cluster.find(workers, index)


def test_workers_that_contradict_tf_config_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster.find(TWO, 1).to_json())
    assert cluster.find(TWO, 1).index == 1
    for workers, index in ((TWO, 0), ("node1:2222,node3:2223", 1)):
        with pytest.raises(UsageError, match=r"contradict TF_CONFIG .*unset it\."):
            cluster.find(workers, index)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": TWO, "index": 0}, 'workers needs distribute="multiworker"'),
        ({"index": 0, "distribute": "mirrored"}, 'index needs distribute="multiworker"'),
        ({"index": 0, "distribute": "multiworker"}, "Give workers HOST:PORT"),
        ({"distribute": "multi"}, "Did you mean 'multiworker'"),
    ],
)
def test_contradicting_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DistributeConfig(**values)


def test_a_mistake_is_reported_without_tensorflow() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from rnntk.cli.main import group\n"
        "r = CliRunner().invoke(group, ['train', '--distribute', 'multiworker', '--workers', 'a', '--index', '0'])\n"
        "assert r.exit_code == 2 and 'HOST:PORT' in r.output, r.output\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
