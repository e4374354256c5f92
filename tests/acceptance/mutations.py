"""Seeded mutations of bytes, JSON, TOML, safetensors, compressed files and pickles."""

from __future__ import annotations

import gzip
import json
import lzma
import pickle
import re
import struct
from functools import cache
from random import Random
from typing import Any

DEEP = 100_000

# Text that json.dumps cannot write; it is inserted into the document afterwards.
RAW = (
    "9" * 400,
    "-" + "9" * 5000,
    "1e400",
    "1" + "0" * 18,
    "[" * DEEP + "]" * DEEP,
    '{"a":' * 3000 + "1" + "}" * 3000,
    "NaN",
    "-Infinity",
    r'"\ud800"',
    "0x10",
    "1_000",
    "+1",
    "",
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, 16.5, -0.0, 1e308, 5e-324, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63),
    "", " ", "0", "1", "²", "٣", "\x00", "\x1b[2J\x1b]0;x\x07", "a" * 300, "a" * 70_000, "\u202e", "가", "😀", "\ufeff",
    "/dev/zero", "/dev/full", "..", "../../../etc/passwd", "/", ".", "nan", "`units`", "%s{0}", "<script>", "last",
    [], {}, [[]], [None], [1, 2, 3], ["a", "b"], {"a": 1}, {"": None}, [[[[]]]], [0] * 5000,
    *(f"@raw:{k}@" for k in range(len(RAW))),
)  # fmt: skip
TOML_ODD = (
    "true", "false", "0", "1", "-1", "16.5", "1.0", "1e400", "nan", "inf", "-inf", "9223372036854775808", "9" * 5000,
    "0x10", "1_000", '""', '"²"', '"a"', "'b'", '"""x\ny"""', "[]", "[1]", "[[1]]", '["a", "b"]', "[1, 'a']", "{}",
    "{a = 1}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[" * DEEP, "[" * 500 + "]" * 500,
    '"\\u0000"', '"\x1b[2J"', '"../.."', '"/dev/zero"', "", '"' + "a" * 70_000 + '"', '"1"', '"true"', '"@latest"',
    '"%s"',
)  # fmt: skip
BOMB = 1 << 30
"""Bytes that a compression bomb expands to."""


def flipped(rng: Random, data: bytes) -> bytes:
    """One to eight bits flipped."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(rng: Random, data: bytes) -> bytes:
    """Its beginning, its end, or all but a piece."""
    a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
    return rng.choice((data[:a], data[a:], data[:a] + data[b:], b""))


def spliced(rng: Random, data: bytes) -> bytes:
    """A piece of it, or other bytes, inserted at or written over another place."""
    a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
    piece = rng.choice(
        (
            data[a : a + rng.randint(1, 64)],
            rng.randbytes(rng.randint(1, 64)),
            b"\x00" * rng.randint(1, 5000),
            b"\xff" * rng.randint(1, 16),
            rng.choice(
                (b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\x1b[2J")
            ),
        )
    )
    over = rng.choice((0, len(piece)))
    return data[:b] + piece + data[b + over :]


def giant(rng: Random, data: bytes) -> bytes:
    """A decimal or binary number in it replaced by another."""
    if rng.random() < 0.5 and (found := list(re.finditer(rb"\d+", data[:100_000]))):
        start, end = rng.choice(found).span()
        digits = (b"0", b"-1", b"1e999", b"9" * 25, b"9" * 4301, b"4294967296", b"\xc2\xb2")
        return data[:start] + rng.choice(digits) + data[end:]
    at, size = rng.randint(0, max(0, len(data) - 1)), rng.choice((1, 2, 4, 8))
    number = rng.choice(
        (0, 1, 2**7, 2**8 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
    )
    packed = (number % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + packed + data[at + size :]


def binary(rng: Random, data: bytes) -> bytes:
    """One to three mutations of bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice((flipped, flipped, cut, spliced, giant))(rng, data)
    return data


def odd(rng: Random, value: Any, depth: int = 0) -> Any:
    """A JSON value with one element replaced, removed, added or of another type."""
    if depth < 12 and isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key, action = rng.choice(keys), rng.random()
        changed: Any = dict(value) if isinstance(value, dict) else list(value)
        if action < 0.7:
            changed[key] = odd(rng, value[key], depth + 1)
        elif action < 0.85:
            del changed[key]
        elif isinstance(changed, dict):
            changed[rng.choice(("", "²", "__class__", "a" * 300, *map(str, keys)))] = rng.choice(
                ODD
            )
        else:
            changed.insert(rng.randint(0, len(changed)), rng.choice((value[key], rng.choice(ODD))))
        return changed
    other_type = (str(value)[:1000], [value], {"a": value}, not value, len(str(value)))
    nudged = [value + d for d in (1, -1, 0.5)] if type(value) in (int, float) else []
    return rng.choice(
        (rng.choice(ODD), rng.choice(ODD), rng.choice(other_type), *nudged[:1], *nudged)
    )


def _written(value: Any, **layout: Any) -> bytes:
    text = json.dumps(value, **layout)
    text = re.sub(r'"@raw:(\d+)@"', lambda found: RAW[int(found[1])], text)
    return text.encode("utf-8", "surrogatepass")


def json_file(rng: Random, data: bytes) -> bytes:
    """JSON with an odd value, or damaged bytes."""
    if rng.random() < 0.2:
        return binary(rng, data)
    if rng.random() < 0.05:
        return _written(rng.choice(ODD))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # damaged already
        return binary(rng, data)
    for _ in range(rng.choice((1, 1, 2))):
        value = odd(rng, value)
    return _written(value, indent=rng.choice((None, 2)), ensure_ascii=rng.random() < 0.9)


def json_lines(rng: Random, data: bytes) -> bytes:
    """JSON lines with odd or damaged ones."""
    if rng.random() < 0.3:
        return binary(rng, data)
    lines = data.splitlines()
    for _ in range(rng.choice((1, 1, 3))):
        k = rng.randrange(len(lines))
        lines[k] = rng.choice((json_file, json_file, binary))(rng, lines[k])
        if not lines[k].startswith(b"{"):
            break
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b"\r\n", b""))


def toml_file(rng: Random, data: bytes) -> bytes:
    """TOML with an odd value, key or table, or damaged bytes."""
    if rng.random() < 0.2:
        return binary(rng, data)
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2))):
        k = rng.randrange(len(lines))
        key, equals, _ = lines[k].partition("=")
        if equals and rng.random() < 0.85:
            lines[k] = f"{key}= {rng.choice(TOML_ODD)}"
        else:
            line = f"{rng.choice(('x', 'seed', 'name', '²', 'a.b.c', '[x]', '[[x]]'))} = {rng.choice(TOML_ODD)}"
            lines.insert(
                k, rng.choice((line, lines[rng.randrange(len(lines))], "[train]", "[[sources]]"))
            )
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def safetensors(rng: Random, data: bytes) -> bytes:
    """Arrays with an odd header, or damaged bytes."""
    if rng.random() < 0.4 or len(data) < 8:
        return binary(rng, data)
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.15:
        sizes = (0, 1, length + 1, 2**31, 2**40, 2**63, 2**64 - 1)
        return struct.pack("<Q", rng.choice(sizes)) + data[8:]
    header, rest = json_file(rng, data[8 : 8 + length].strip()), data[8 + length :]
    return struct.pack("<Q", len(header)) + header + rest


@cache
def bomb(kind: str, size: int = BOMB) -> bytes:
    """A small file of `size` zero bytes, compressed."""
    if kind == "xz":
        return lzma.compress(bytes(size), preset=0)
    block = gzip.compress(bytes(size // 64))
    return block * 64


def compressed(rng: Random, data: bytes) -> bytes:
    """A gzip file with mutated content, or itself damaged; rarely a bomb."""
    action = rng.random()
    if action < 0.5:
        return gzip.compress(binary(rng, gzip.decompress(data)), 1)
    if action < 0.505:
        return bomb("gzip")
    if action < 0.55:
        return gzip.compress(data, 1)
    return binary(rng, data)


def pickled(rng: Random, data: bytes) -> bytes:
    """A pickle of an odd object, a program of odd instructions, or damaged bytes."""
    action = rng.random()
    if action < 0.5:
        return binary(rng, data)
    if action < 0.8:
        value = rng.choice((pickle.loads(data, encoding="latin-1"), ODD[: -len(RAW)]))
        value = rng.choice((odd(rng, value), rng.choice(ODD), {rng.choice("abc"): rng.choice(ODD)}))
        return pickle.dumps(value, rng.randrange(5))
    codes = (
        b"(", b"t", b"l", b"]", b"}", b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"N", b"K\x01", b"I1\n", b"L1L\n",
        b"\x85", b"\x86", b"\x87", b"q\x00", b"h\x00", b"p0\n", b"g0\n", b"r\x00\x00\x00\x7f", b"p99999999\n",
        b"X\x01\x00\x00\x00a", b"\x8c\x01b", b"\x94", b"c__builtin__\neval\n", b"R", b"b", b"\x8f", b"\x90",
        b"\x8a\xff", b"G" + bytes(8), b"\x97",
        b"\x98", b"Pa\n",
    )  # fmt: skip
    program = [rng.choice(codes) for _ in range(rng.randint(1, 60))]
    if rng.random() < 0.2:  # doubles with each round
        program = [b"(", *[b"2\x86"] * rng.choice((10, 30, 5000))]
    return b"\x80" + bytes([rng.randrange(6)]) + b"".join(program) + b"."


ENCODINGS = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp949", "euc-kr", "johab", "iso2022_kr", "cp932", "euc_jp",
    "iso2022_jp", "gb18030", "big5", "hz", "cp1251", "koi8-r", "iso8859-5", "cp866", "cp1252", "latin-1", "cp1253",
    "utf-7", "cp037",
)  # fmt: skip


def text(rng: Random, data: bytes) -> bytes:
    """UTF-8 text re-encoded, in a mixture of two encodings, or with damaged bytes."""
    words = data.decode()
    if rng.random() < 0.5:
        codec = rng.choice(ENCODINGS)
        data = words.encode(codec, rng.choice(("replace", "ignore")))
    if rng.random() < 0.1:
        data += words.encode(rng.choice(ENCODINGS), "replace")
    if rng.random() < 0.6:
        data = binary(rng, data)
    action = rng.random()
    if action < 0.1:
        data = gzip.compress(data, 1)
    elif action < 0.15:
        data = lzma.compress(data, preset=0)
    return binary(rng, data) if rng.random() < 0.1 else data
