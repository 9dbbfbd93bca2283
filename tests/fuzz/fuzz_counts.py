"""What of a block goes on, and with which count: one pair more in a record's map, every other byte as it came."""

from __future__ import annotations

from itertools import pairwise

import msgpack  # type: ignore[import-untyped]
import numpy as np

from logllm.sinks.reduce.chunk import AtHand
from logllm.sinks.reduce.count import Counter
from tests.fuzz.frames import ENTRIES, captures, let_in
from tests.fuzz.inputs import Choices
from tests.sinks.reduce.drive import See, apply, cut, reducer
from tests.sinks.reduce.reference import Made
from tests.sources.odd_entries import Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_COUNTS = (1, 0, 2, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1)
_NAMES = ("logllm_count", "n", "", "x" * 63)
_START_NS = 1_770_000_000_000_000_000


def check(data: bytes) -> None:
    """Each entry that goes on is one that came, in order; one that counts has the pair behind its others."""
    choices = Choices(data)
    name = choices.one_of(_NAMES)
    decided = [choices.below(256) for _ in range(8)]
    as_messages = choices.below(4) == 3
    block, count = let_in(choices.rest(), as_messages=as_messages)
    if not count:
        return
    entries = list(cut(block))
    assert len(entries) == count
    at = np.cumsum([0, *map(len, entries)])[:-1].astype(np.int64)
    counter = Counter(name)
    chunk = AtHand("app", block, at, 0, counter.mark)
    expected = []
    for row, entry in enumerate(entries):
        how = decided[row % 8] + row
        if how % 3 == 0:
            chunk.kept[row] = False
            continue
        chunk.count[row] = _COUNTS[how % len(_COUNTS)]
        expected.append((entry, int(chunk.count[row])))
    out, size = chunk.result(counter)
    assert size == len(expected)
    for (entry, said), went in zip(expected, cut(out), strict=True):
        if said == 1 or not name:
            assert went == entry
        else:
            _check_counted(entry, went, name, said)
    _check_reduced(block, entries, decided)


def _check_counted(entry: bytes, went: bytes, name: str, count: int) -> None:
    (at, before, body), (new_at, pairs, new_body) = _map_of(entry), _map_of(went)
    assert (new_at, pairs) == (at, before + 1)
    assert went[:at] == entry[:at]
    rest = entry[body:]
    assert went[new_body : new_body + len(rest)] == rest
    unpacker = msgpack.Unpacker()
    unpacker.feed(went[new_body + len(rest) :])
    assert [unpacker.unpack(), unpacker.unpack()] == [name, count]
    assert unpacker.tell() == len(went) - new_body - len(rest)


def _map_of(entry: bytes) -> tuple[int, int, int]:
    """Where an entry's map begins, how many pairs it has, where those begin."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(entry) + 1)
    unpacker.feed(entry)
    unpacker.read_array_header()
    unpacker.skip()
    at = unpacker.tell()
    return at, unpacker.read_map_header(), unpacker.tell()


def _check_reduced(block: bytes, entries: list[bytes], decided: list[int]) -> None:
    """A whole reducer over the block, three times: none comes out twice, and counts add up to all that came."""
    made = reducer(burst=1, per_hour=0, sample=decided[0] % 4 + 1, ring_bytes=decided[1] * 8, count_field="")
    made.ring.slab_bytes = 400
    starts = np.cumsum([0, *map(len, entries)])[:-1].astype(np.uint32)
    came: list[bytes] = []
    went: list[bytes] = []
    for turn in range(3):
        made.begin("odd", block, starts)
        rows = [
            Made(_START_NS + turn, decided[row % 8] % 3, severity=decided[row % 8] % 20) for row in range(len(entries))
        ]
        ends = sorted({0, decided[2] % (len(rows) + 1), len(rows)})
        for first, last in pairwise(ends):
            apply(made, See(tuple(rows[first:last]), _START_NS), decided[3] % 5)
        went += cut(made.end().block)
        came += entries
    made.flush()
    for out in made.late():
        went += cut(out.block)
    left = list(came)
    for entry in went:
        left.remove(entry)
    assert made.pending == 0
    total = made.meter.total
    assert (total.records_in, total.records_out) == (len(came), len(went))
    assert (total.bytes_in, total.bytes_out) == (sum(map(len, came)), sum(map(len, went)))


def seeds() -> list[bytes]:
    """Entries of every kind, in every form of a map, and such as nobody sends."""
    time = b"\xd7\0\x65\x53\xf1\0\0\0\0\7"
    heads = (
        b"\x80",
        b"\x8f" + b"\xa1k\1" * 15,
        b"\xde\0\1\xa1k\1",
        b"\xdf\0\0\0\1\xa1k\1",
        b"\xde\0\x0f" + b"\xa1k\1" * 15,
    )
    bodies = [b"".join(b"\x92" + time + head for head in heads), b"".join(ENTRIES[:5]), b"".join(ENTRIES)]
    bodies += [b"\x92" + time + b"\x82\xaclogllm_count\5\xa1n\2" + b"\x92" + time + b"\x81\xa1k\1" * 1]
    bodies += [(b"\x92" + time + b"\x81\xa1k\1") * 30, (b"\x92\x92" + time + b"\x81\xa1m\1\x81\xa1k\1") * 20]
    bodies += [capture[capture.find(b"\x92\x92") :] for capture in captures(600) if b"\x92\x92" in capture][:6]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(20)]
    found = []
    for number, body in enumerate(bodies):
        for turn in range(3):
            decided = bytes((number * 7 + turn * 5 + place * 3) % 256 for place in range(8))
            found.append(bytes([number % 4]) + decided + b"\0" + body)
    return [*found, *[bytes([0]) + bytes(range(8)) + b"\3" + entry[1:] for entry in ENTRIES]]
