"""Twenty texts at once for a minute: no error, quick first characters, steady memory."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

STREAMS = 20
SECONDS = 60


def resident(pid: int) -> float:
    """MB that a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.acceptance
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc, to see the memory")
def test_twenty_texts_for_a_minute(tmp_path, make_run, capsys) -> None:
    run = make_run(tmp_path / "r", H=128)
    server = subprocess.Popen(
        [sys.executable, "-m", "rnntk", "play", str(run.path), "--port", "0", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
    firsts: list[float] = []
    errors: list[str] = []
    characters = [0] * STREAMS
    barrier = threading.Barrier(STREAMS)
    ends = [0.0]

    def client(k: int) -> None:
        try:
            barrier.wait()
            ends[0] = ends[0] or time.monotonic() + SECONDS
            while time.monotonic() < ends[0]:
                body = json.dumps({"prime": "int f(void)\n", "length": 20_000, "seed": k})
                began = time.perf_counter()
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("POST", "/api/write", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                first = True
                while line := answer.readline():
                    found = json.loads(line)
                    assert "error" not in found, found
                    if pieces := found.get("pieces"):
                        if first:
                            firsts.append(time.perf_counter() - began)
                        first = False
                        characters[k] += len(pieces)
                connection.close()
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=client, args=(k,)) for k in range(STREAMS)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        memory.append(resident(server.pid))
    server.terminate()
    server.wait(timeout=20)
    server.stdout.close()
    firsts.sort()
    settled = memory[len(memory) // 3 :]
    with capsys.disabled():
        print(
            f"\n{len(firsts)} texts in {STREAMS} streams, {sum(characters):,} characters; first character: median "
            f"{1000 * firsts[len(firsts) // 2]:.0f} ms, longest {1000 * firsts[-1]:.0f} ms; memory "
            f"{min(settled):.0f} to {max(settled):.0f} MB; characters of a stream "
            f"{min(characters):,} to {max(characters):,}"
        )
    assert errors == []
    assert firsts[-1] < 0.2
    assert max(settled) - min(settled) < 20
    assert min(characters) > 0.5 * max(characters)
