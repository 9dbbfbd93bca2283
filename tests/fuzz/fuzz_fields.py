"""Further fields of records: any record's, found and read by column as one would read them one by one."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from logllm.events import Chunk, Fields
from logllm.fields import Wanted, number_of
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from tests.fuzz.frames import ENTRIES, let_in
from tests.fuzz.inputs import Choices
from tests.sources.odd_entries import Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_NOW = 1_800_000_000_000_000_000
_SOME = Wanted(names=frozenset(("n", "a.b", "a.b.c")), words=frozenset(("w", "log")), most=3)
_WANTED = (Wanted(), _SOME, Wanted(most=1))
# To make one costs more than to use it. What it has learned of a tag is not used for the next input.
_DECODERS = tuple((wanted, Decoder(wanted=wanted), Decoder(detected, wanted)) for wanted in _WANTED)
_numbers = count()


def check(data: bytes) -> None:
    """Columns of numbers and words, bounded, that say what the records do, however these are cut."""
    choices = Choices(data)
    wanted, plain, reading = choices.one_of(_DECODERS)
    cut = choices.below(8)
    times = choices.one_of((1, 1, 40))
    block, number = let_in(choices.rest(), as_messages=False)
    if not number:
        return
    fields = _fields(plain, block * times, number * times)
    _check_bounds(fields, number * times, wanted)
    _check_bounds(_fields(reading, block * times, number * times), number * times, wanted)
    _check_values(fields, block)
    parts = _entries(block) * times
    tag = f"{next(_numbers)}.app"
    first, second = parts[:cut], parts[cut:]
    whole = [_said(plain, tag, b"".join(each), len(each)) for each in (first, second) if each]
    joined: dict[str, list[object]] = {}
    lengths = [len(each) for each in (first, second) if each]
    for name in dict.fromkeys(name for part in whole for name in part):
        joined[name] = [
            value for part, length in zip(whole, lengths, strict=True) for value in part.get(name, [None] * length)
        ]
    assert joined == _plain(fields)


def _fields(decoder: Decoder, block: bytes, number: int, tag: str = "") -> Fields:
    chunk = Chunk(tag or f"{next(_numbers)}.app", number, 0, block=block)
    return decoder.decode(chunk, _NOW).fields or Fields({}, {})


def _said(decoder: Decoder, tag: str, block: bytes, number: int) -> dict[str, list[object]]:
    return _plain(_fields(decoder, block, number, tag))


def _plain(fields: Fields) -> dict[str, list[object]]:
    numbers = {name: [None if np.isnan(v) else v for v in each.tolist()] for name, each in fields.numbers.items()}
    words = {
        name: [texts[code] if code >= 0 else None for code in codes.tolist()]
        for name, (codes, texts) in fields.words.items()
    }
    return {**numbers, **words}


def _check_bounds(fields: Fields, number: int, wanted: Wanted) -> None:
    assert not fields.numbers.keys() & fields.words.keys()
    assert len(fields.numbers) + len(fields.words) <= wanted.most
    for name, values in fields.numbers.items():
        assert name.isprintable()
        assert (values.dtype, len(values)) == (np.dtype("f8"), number)
        assert not np.isinf(values).any()
    for name, (codes, words) in fields.words.items():
        assert name.isprintable()
        assert (codes.dtype, len(codes)) == (np.dtype("i4"), number)
        assert all(-1 <= code < len(words) for code in codes.tolist())
        assert len(set(words)) == len(words)
        assert all(word.encode() and len(word) <= 256 and "\0" not in word for word in words)


def _check_values(fields: Fields, block: bytes) -> None:
    """A number that a record has by its own name is what `number_of` says of it, or is not read before it was met."""
    try:
        records = [msgpack.unpackb(entry, strict_map_key=False)[1] for entry in _entries(block)]
    except (ValueError, TypeError, UnicodeDecodeError):
        return
    for name, values in fields.numbers.items():
        for record, value in zip(records, values.tolist(), strict=False):
            if isinstance(record, dict) and name in record and "." not in name and not np.isnan(value):
                assert value == number_of(name, record[name])


def _entries(block: bytes) -> list[bytes]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(block) + 1)
    unpacker.feed(block)
    at, found = 0, []
    while at < len(block):
        unpacker.skip()
        found.append(block[at : unpacker.tell()])
        at = unpacker.tell()
    return found


def seeds() -> list[bytes]:
    """Records with measures and names of every form, nested and flat, and such as nobody sends."""
    values: list[Any] = [
        0, -1, 2**63, 1.5, float("nan"), float("inf"), True, None, "", "17 ms", "1m30s", "1e999", "fast", b"\xff\0",
        b"12", [1], {"a": 1}, "x" * 300, "\0", "\u202e", "\ud7ff", "９", "1" * 41, {"took": {"took_ms": {"took": 1}}},
    ]  # fmt: skip
    names = ("took", "duration_ms", "http.status", "status", "user", "trace_id", "n", "w", "a.b", "a", "log", "size")
    records: list[Any] = [{name: value, "log": "hi"} for value in values for name in names[:3]]
    records += [dict.fromkeys(names, value) for value in values]
    records += [
        {"a": {"b": {"c": {"d": 1}}}},
        {"http": {"took_ms": 3}, "http.took_ms": 4},
        {1: 2},
        {"took": 1, b"took": 2},
    ]
    records += [{f"d{at}_ms": at for at in range(40)}, {"": {"": 1}}, {"took\n": 1}, {"took" * 50: 1}]
    packed = [bytes(msgpack.packb([1_700_000_000, record])) for record in records]
    bodies = [b"".join(packed[at : at + 4]) for at in range(0, len(packed), 2)] + [b"".join(ENTRIES)]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(10)]
    doubled = b"\x92\5\x82\xa4took\1\xa4took\2"
    bodies += [doubled, doubled * 3, b"\x92\5\x81\xa4took\xa2\xc3\x28", b"\x92\5\x81\xa2\xff\xfe\1"]
    return [bytes([at % 3, at % 5, at % 3]) + body[: MAX_BYTES - 3] for at, body in enumerate(bodies)]
