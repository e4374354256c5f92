"""The processes of a distributed job, from `workers` and `index` or `TF_CONFIG`; no TensorFlow, to fail early."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnntk.errors import UsageError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The `host:port` of each process, chief first, and the index of this one."""

    addresses: tuple[str, ...]
    index: int

    def to_json(self) -> str:
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def find(workers: str | None, index: int | None) -> Cluster:
    """The cluster from `workers` (comma-separated addresses) and `index`, or from `TF_CONFIG`.

    Raises `UsageError` if both are missing, one is malformed, or they contradict each other.
    """
    stated = os.environ.get(VARIABLE)
    if workers is None:
        if not stated:
            raise UsageError(
                '`distribute="multiworker"` needs `workers` HOST:PORT,HOST:PORT,... (of all processes) '
                f"and `index` 0, 1, ... (of this process), or {VARIABLE}."
            )
        return from_tf_config(stated)
    if index is None:
        raise UsageError(
            f"`index` is missing. Give this process's place in `workers`, 0 to {workers.count(',')}."
        )
    addresses = tuple(part.strip() for part in workers.split(","))
    _check(addresses, "`workers`", index, "`index`")
    found = Cluster(addresses, index)
    if stated and from_tf_config(stated) != found:
        raise UsageError(
            f"`workers` and `index` contradict {VARIABLE} ({stated}). Leave them out, or unset it."
        )
    return found


def from_tf_config(text: str) -> Cluster:
    """The cluster of a `TF_CONFIG`, its `chief` first. Raises `UsageError` if it is malformed.

    Source: https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _malformed(f"it is not JSON ({error})") from error
    cluster, task = _part(config, "cluster"), _part(config, "task")
    others = sorted(set(cluster) - {"chief", "worker"})
    if others:
        raise UsageError(
            f"{VARIABLE} has tasks of the kind {', '.join(others)}. "
            "Remove them: rnntk supports workers and a chief."
        )
    jobs = {kind: cluster[kind] for kind in ("chief", "worker") if kind in cluster}
    for name, listed in jobs.items():
        if not isinstance(listed, list) or not all(isinstance(a, str) for a in listed):
            raise _malformed(f"cluster.{name} must be a list of addresses")
    kind, index = task.get("type"), task.get("index")
    if kind not in jobs:
        has = ", ".join(jobs) or "no task at all"
        raise _malformed(f"task.type is {kind!r}, but the cluster has {has}")
    if isinstance(index, str) and index.isdigit():  # as some schedulers write it
        index = int(index)
    count = len(jobs[kind])
    if type(index) is not int or not 0 <= index < count:
        raise _malformed(f"task.index is {index!r}, but there are {count} tasks of the kind {kind}")
    chiefs = jobs.get("chief", [])
    if len(chiefs) > 1:
        raise _malformed("there can be only one chief")
    addresses = tuple(address for listed in jobs.values() for address in listed)
    place = index + (len(chiefs) if kind == "worker" else 0)
    _check(addresses, VARIABLE, place, "task.index")
    return Cluster(addresses, place)


def _part(config: Any, name: str) -> Mapping[str, Any]:
    part = config.get(name) if isinstance(config, dict) else None
    if not isinstance(part, dict) or not part:
        raise _malformed(f"it has no {name!r}")
    return part


def _malformed(what: str) -> UsageError:
    return UsageError(f"{VARIABLE} cannot be used: {what}. It should look like {_EXAMPLE}")


def _check(addresses: tuple[str, ...], where: str, index: int, index_name: str) -> None:
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(
                f"{where} has {address!r}, but an address must be HOST:PORT, such as node1:2222."
            )
    if twice := sorted({a for a in addresses if addresses.count(a) > 1}):
        raise UsageError(
            f"{where} repeats {', '.join(twice)}. Give each process its own address (on one "
            "machine, its own port)."
        )
    if not 0 <= index < len(addresses):
        raise UsageError(
            f"{index_name} is {index}, but {where} names {len(addresses)} processes: use 0 to "
            f"{len(addresses) - 1}."
        )
