"""The server over loopback: answers, refusals and limits."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time

import numpy as np
import pytest

from rnntk.errors import UsageError
from rnntk.hosts import Names, is_loopback
from rnntk.play import answers, app, limits, pages, serve
from rnntk.play.models import Models


def test_the_run_is_described(client) -> None:
    found = client.json("/api/run")
    assert found["name"] == "plain"
    assert (found["cell"], found["layers"], found["units"]) == ("lstm", 2, 12)
    assert found["steps"] == [10, 20, 30]
    assert not found["hangul"]


def test_a_text_is_written_as_sample_draws_it(client, plain: Models) -> None:
    asked = {"prime": "int ", "length": 60, "seed": 5, "temperature": 1, "top_k": 8, "top_p": 0.9}
    head, *parts, end = client.lines(asked)
    text = "".join(text for part in parts for text, _ in part["pieces"])
    model = plain.get()
    assert text == "".join(model.stream("int ", seed=5, length=60, top_k=8, top_p=0.9))
    assert head == {"seed": 5, "step": 30, "prime": "int ", "skipped": []}
    assert end == {"end": True}
    nats = [nats for part in parts for _, nats in part["pieces"]]
    assert len(nats) == 60
    assert min(nats) >= 0


def test_another_checkpoint_writes_another_text(client) -> None:
    asked = {"prime": "int ", "length": 60, "seed": 5}
    assert client.lines(asked)[1:] != client.lines({**asked, "step": 10})[1:]


def test_what_the_model_has_never_seen_is_left_out_and_said(client) -> None:
    head = client.lines({"prime": "in漢t", "length": 1})[0]
    assert (head["prime"], head["skipped"]) == ("int", ["漢"])
    assert client.json("/api/read", {"text": "in漢t"})["skipped"] == ["漢"]


def test_reading_ranking_units_and_one_unit_agree(client, plain_text: str) -> None:
    read = client.json("/api/read", {"text": plain_text})
    ranked = client.json("/api/units", {"text": plain_text})
    assert read["text"] == ranked["text"] == plain_text
    assert ranked["quantity"] == "c"
    best = ranked["features"][0]["best"][0]
    one = client.json(
        "/api/unit",
        {"text": plain_text, "quantity": "c", "layer": best["layer"], "unit": best["unit"]},
    )
    assert len(one["values"]) == len(plain_text)
    title = ranked["features"][0]["title"]
    assert [f["score"] for f in one["follows"] if f["title"] == title] == [best["score"]]


def test_the_gates_of_a_unit_can_be_asked_for(client, plain_text: str) -> None:
    ranked = client.json("/api/units", {"text": plain_text, "quantity": "f"})
    assert ranked["quantity"] == "f"
    asked = {"text": plain_text, "quantity": "f", "layer": 1, "unit": 11}
    one = client.json("/api/unit", asked)
    assert one["gate"]
    assert 0 <= min(one["values"]) <= max(one["values"]) <= 1


def test_training_and_samples(client) -> None:
    found = client.json("/api/training")
    assert found["loss"][0] == [1, 2.95]
    assert [step for step, _ in found["val_loss"]] == [10, 20, 30]
    assert found["steps"] == found["checkpoints"] == [10, 20, 30]
    assert client.json("/api/sample?step=20")["step"] == 20


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/write", {"prime": 3}, "'prime' must be of type str"),
        ("/api/write", {}, "lacks 'prime'"),
        ("/api/write", {"prime": "a", "temperature": -1}, "must be at least 0"),
        ("/api/write", b'{"prime": "int", "temperature": NaN}', "must be at least 0 and finite"),
        ("/api/write", {"prime": "a", "top_p": 0}, "must be above 0 and at most 1"),
        ("/api/write", {"prime": "a", "top_k": True}, "top_k must be a whole number, got True"),
        (
            "/api/write",
            {"prime": "a", "length": limits.LENGTH + 1},
            "length must be at most 20,000",
        ),
        (
            "/api/write",
            {"prime": "a", "seed": 2**32},
            "must be at least 0 and at most 4,294,967,295",
        ),
        ("/api/write", {"prime": "a" * (limits.TEXT + 1)}, "shorten it to 10,000."),
        ("/api/write", {"prime": "a", "step": 11}, "has no checkpoint '11'"),
        ("/api/write", {"prime": "\ud800"}, "surrogate"),
        ("/api/read", {"text": ""}, "fewer than two symbols"),
        ("/api/read", b"x" * (limits.BODY + 1), "The request is over"),
        ("/api/read", b"[1]", "must be a JSON object"),
        ("/api/read", b"{", "not JSON"),
        ("/api/read", b"[" * 20000, "not JSON"),
        (
            "/api/unit",
            {"text": "int", "layer": 0, "unit": 12, "quantity": "c"},
            "Unit 12 does not exist",
        ),
        (
            "/api/unit",
            {"text": "int", "layer": 9, "unit": 0, "quantity": "c"},
            "Layer 9 does not exist",
        ),
        ("/api/units", {"text": "int", "quantity": "z"}, "has no 'z'"),
        ("/api/sample?step=x", None, "is not a number"),
        ("/api/sample?step=11", None, "has no checkpoint 11"),
    ],
)
def test_a_wrong_request_gets_one_clear_message(client, path: str, body, message: str) -> None:
    status, headers, data = client.ask(path, body)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert message in json.loads(data)["error"]


def test_a_text_of_the_largest_size_fits_the_largest_request(client) -> None:
    text = (
        "\U0001f600" * (limits.TEXT - 2) + "ii"
    )  # escaped as two surrogates each, the longest there is
    assert client.json("/api/read", {"text": text})["text"] == "ii"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"host": "localhost:{port}"}, True),
        ({"host": "[::1]:{port}"}, True),
        ({"host": "evil.example:{port}"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "192.168.0.7:{port}"}, False),
        ({"host": ""}, False),
        ({"origin": "http://127.0.0.1:{port}"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "http://localhost:{port}"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
    ],
)
def test_only_its_own_page_may_ask(client, headers: dict[str, str], allowed: bool) -> None:
    filled = {name: value.format(port=client.port) for name, value in headers.items()}
    for path, body in (("/api/run", None), ("/api/read", {"text": "int"})):
        status, got, _ = client.ask(path, body, headers=filled)
        assert status == (200 if allowed else 403), (path, filled)
        assert "default-src 'none'" in got["content-security-policy"]


def test_a_link_from_elsewhere_may_open_the_page_but_no_form_may_post(client) -> None:
    linked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.ask("/", headers=linked)[0] == 200
    assert client.ask("/api/read", {"text": "int"}, headers=linked)[0] == 403
    form = {"content-type": "text/plain"}
    assert client.ask("/api/read", b'{"text": "int"}', headers=form)[0] == 400


def test_bound_to_all_it_takes_addresses_but_no_names() -> None:
    everywhere = Names("0.0.0.0")
    assert "192.168.0.7:8765" in everywhere
    assert "[fe80::1]:8765" in everywhere
    assert "evil.example:8765" not in everywhere
    assert "teacher.local:8765" in Names("teacher.local")
    assert is_loopback("127.8.9.1")
    assert not is_loopback("0.0.0.0")


def test_every_file_of_the_page_and_nothing_else(client) -> None:
    status, headers, data = client.ask("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"http:" not in data
    assert b"https:" not in data
    for name, kind in pages.TYPES.items():
        status, headers, data = client.ask(f"/page/{name}")
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
        assert headers["x-content-type-options"] == "nosniff"
    assert {p.name for p in pages.FOLDER.iterdir()} == set(pages.TYPES)
    for path in ("/page/x.js", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/page/", "/app.py"):
        assert client.ask(path)[0] == 404, path
    assert client.ask("/api/read")[0] == 405


def test_more_texts_than_the_limit_are_refused_and_places_come_back(
    plain: Models, serving, monkeypatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS", 2)
    with serving(plain) as client:
        slow = [open_stream(client.port) for _ in range(2)]
        for one in slow:
            receive_until(one, b'"seed"')
        status, headers, data = client.ask("/api/write", {"prime": "int"})
        assert status == 503
        assert headers["retry-after"] == "1"
        assert "busy" in json.loads(data)["error"]
        assert client.json("/api/read", {"text": "int"})["text"] == "int"
        for one in slow:
            one.close()
        until = time.monotonic() + 10
        while client.ask("/api/write", {"prime": "int", "length": 1})[0] != 200:
            assert time.monotonic() < until, "the places of clients that went away are not free"
            time.sleep(0.05)


def test_a_client_that_takes_nothing_is_dropped_and_stalls_nobody(
    plain: Models, serving, monkeypatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    monkeypatch.setattr(limits, "STREAMS", 2)
    with serving(plain) as client:
        stalled = open_stream(client.port, length=limits.LENGTH, buffer=2048)
        began = time.monotonic()
        assert client.lines({"prime": "int", "length": 2000, "seed": 1})[-1] == {"end": True}
        assert time.monotonic() - began < 5
        until = time.monotonic() + 20
        other = open_stream(client.port, length=limits.LENGTH, buffer=2048)
        while client.ask("/api/write", {"prime": "int", "length": 1})[0] != 200:
            assert time.monotonic() < until, (
                "the place of the client that takes nothing is not free"
            )
            time.sleep(0.1)
        stalled.close()
        other.close()


def test_a_request_that_does_not_come_is_ended(plain: Models, serving, monkeypatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with serving(plain) as client, socket.create_connection(("127.0.0.1", client.port)) as slow:
        slow.sendall(
            f"POST /api/read HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{".encode()
        )
        slow.settimeout(10)
        receive_until(slow, b"took too long")


HALF = [
    "",
    "GET",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-More: ",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\nGET / HT",
]


@pytest.mark.parametrize("sent", HALF)
def test_half_sent_headers_are_ended(plain: Models, serving, monkeypatch, sent: str) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with serving(plain) as client, socket.create_connection(("127.0.0.1", client.port)) as slow:
        slow.sendall(sent.format(port=client.port).encode())
        slow.settimeout(0.2)
        began, got = time.monotonic(), b""
        with contextlib.suppress(ConnectionError):  # ended without goodbye
            while time.monotonic() - began < 10:
                try:
                    more = slow.recv(65536)
                    if not more:
                        break
                    got += more
                except TimeoutError:
                    slow.sendall(b"x" if sent.endswith(": ") else b"")  # a byte now and then
        assert 0.3 < time.monotonic() - began < 5
        assert (b"200 OK" in got) == (sent.count("GET") == 2)


def test_an_answer_that_is_not_taken_is_dropped(plain: Models, serving, monkeypatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with serving(plain) as client:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", client.port))
        ask = f"GET /page/main.js HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode()

        def ask_and_take_nothing() -> None:
            for _ in range(100):
                slow.sendall(ask * 50)
                time.sleep(0.1)

        with pytest.raises(ConnectionError):
            ask_and_take_nothing()
        slow.close()
        assert client.json("/api/read", {"text": "int"})["text"] == "int"


def test_a_request_under_way_is_no_idle_connection(plain: Models, serving, monkeypatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    with serving(plain) as client:
        lines = client.lines({"prime": "int", "length": limits.LENGTH, "seed": 1})
        assert lines[-1] == {"end": True}


def test_connections_over_the_limit_are_told(plain: Models, serving, monkeypatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    with serving(plain) as client:
        waiting = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(3)]
        assert client.ask("/api/run")[0] == 503
        for one in waiting:
            one.close()


def test_too_many_readings_are_refused(plain: Models, monkeypatch) -> None:
    """The limit is looked at before any work, so it holds however fast the work is."""
    import asyncio

    monkeypatch.setattr(limits, "JOBS", 0)
    api = app.Api(plain)
    try:
        with pytest.raises(answers.Busy):
            asyncio.run(api.answer(dict))
    finally:
        api.scheduler.close()


def test_a_port_that_is_taken() -> None:
    with serve.bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match="Choose another port"):
            serve.bind("127.0.0.1", port)
        assert serve.url(first) == f"http://127.0.0.1:{port}/"


def test_the_usual_port_gives_way_when_it_is_taken(monkeypatch) -> None:
    with serve.bind("127.0.0.1", 0) as first:
        monkeypatch.setattr(serve, "PORT", first.getsockname()[1])
        with serve.bind("127.0.0.1", None) as second:
            assert second.getsockname()[1] != first.getsockname()[1]


def test_an_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="host 'no.such"):
        serve.bind("no.such.name.invalid", 0)


def open_stream(port: int, length: int = limits.LENGTH, buffer: int | None = None) -> socket.socket:
    """A client that has requested a text and reads nothing yet."""
    found = socket.socket()
    if buffer:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    found.settimeout(10)
    found.connect(("127.0.0.1", port))
    body = json.dumps({"prime": "int", "length": length}).encode()
    found.sendall(
        f"POST /api/write HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return found


def receive_until(client: socket.socket, wanted: bytes) -> None:
    """Receives until this has come; an answer may come in any number of parts."""
    got = b""
    while wanted not in got:
        got += (more := client.recv(4096))
        assert more, got


def test_all_units_of_a_layer(client, plain_text: str) -> None:
    asked = {"text": plain_text, "quantity": "h", "layer": 1}
    found = client.json("/api/layer", asked)
    values = np.frombuffer(base64.b64decode(found["values"]), np.int8).reshape(12, -1) / 127
    one = client.json("/api/unit", {**asked, "unit": 5})["values"]
    assert np.allclose(values[5], one, atol=0.005)
