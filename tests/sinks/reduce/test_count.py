"""The field that counts: one pair more, every other byte as it came, whatever the entry."""

from __future__ import annotations

import struct
from collections import Counter as Multiset
from itertools import accumulate

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.sinks.json_value import head_at
from logllm.sinks.reduce.count import Counter, record_at, tail_at
from logllm.sinks.reduce.fold import equals
from tests.sinks.odd_blocks import OddBlocks
from tests.sinks.reduce.drive import See, apply, cut, reducer
from tests.sinks.reduce.reference import Made

STAMP = b"\xd7\0" + struct.pack(">II", 1_700_000_000, 7)


def map_of(pairs: int, head: bytes | None = None) -> bytes:
    body = b"".join(bytes(msgpack.packb(f"k{n}")) + bytes(msgpack.packb(n)) for n in range(pairs))
    return (bytes(msgpack.packb({f"k{n}": n for n in range(pairs)}))[: -len(body)] if head is None else head) + body


@pytest.mark.parametrize(
    ("head", "pairs", "expected"),
    [
        (b"\x80", 0, b"\x81"),
        (b"\x8e", 14, b"\x8f"),
        (b"\x8f", 15, b"\xde\x00\x10"),
        (b"\xde\x00\x03", 3, b"\xde\x00\x04"),
        (b"\xde\xff\xff", 65_535, b"\xdf\x00\x01\x00\x00"),
        (b"\xdf\x00\x00\x00\x02", 2, b"\xdf\x00\x00\x00\x03"),
    ],
)
@pytest.mark.parametrize(
    "time", [STAMP, b"\x92" + STAMP + b"\x80", b"\x01", b"\x92\xcb" + b"\0" * 8 + b"\x81\xa1a\x01"]
)
def test_the_head_of_the_map_grows_by_one_pair_in_its_own_form(
    time: bytes, head: bytes, pairs: int, expected: bytes
) -> None:
    body = map_of(pairs, head)[len(head) :]

    counted = Counter("logllm_count").counted(b"\x92" + time + head + body, 100)

    assert counted == b"\x92" + time + expected + body + b"\xaclogllm_count" + b"\x64"


@given(st.integers(0, 2**64 - 1), st.text(max_size=63).filter(lambda name: name.isprintable()))
@settings(deadline=None)
def test_any_count_under_any_name_is_read_back(count: int, name: str) -> None:
    entry = b"\x92" + STAMP + b"\x81\xa1k\x01"

    counted = Counter(name).counted(entry, count)

    pairs = [list(pair) for pair in msgpack.unpackb(counted[11:], object_pairs_hook=list)]
    assert pairs == [["k", 1], *([[name, count]] if name else [])]


@given(st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_odd_entries_keep_their_bytes_around_the_one_pair(seed: int) -> None:
    entry = OddBlocks(seed).entry()

    at = record_at(entry)
    counted = Counter("n").counted(entry, 5)

    _, body, pairs = head_at(entry, at)
    _, new_body, new_pairs = head_at(counted, at)
    assert counted[:at] == entry[:at]
    assert new_pairs == pairs + 1
    assert counted[new_body:] == entry[body:] + b"\xa1n\x05"


@pytest.mark.parametrize(
    "entry", [b"", b"\x92", b"\xc0", b"\x91\x01", b"\x92\x01\x90", b"\x92\x01\xdf\xff\xff\xff\xff"]
)
def test_what_is_no_entry_is_refused(entry: bytes) -> None:
    with pytest.raises(ValueError, match=r"entry|block"):
        Counter("n").counted(entry, 1)


def test_equal_records_are_told_by_all_but_their_time() -> None:
    entries = [
        b"\x92" + STAMP + b"\x81\xa1k\x01",
        b"\x92\x05" + b"\x81\xa1k\x01" + b"",
        b"\x92\x92" + STAMP + b"\x80" + b"\x81\xa1k\x01",
        b"\x92" + b"\xd7\0" + struct.pack(">II", 9, 9) + b"\x81\xa1k\x01",
        b"\x92" + STAMP + b"\x81\xa1k\x02",
        b"\x92\x92" + STAMP + b"\x80" + b"\x81\xa1k\x01",
        b"\x92\x92" + STAMP + b"\x81\xa1m\xc0" + b"\x81\xa1k\x01",
    ]
    starts = np.array([0, *accumulate(map(len, entries))][:-1])
    sizes = np.array([len(entry) for entry in entries])
    keys = np.zeros(len(entries), np.int32)

    later, firsts = equals(b"".join(entries), np.arange(len(entries)), keys, starts, sizes)

    assert (later, firsts) == ([3, 5], [0, 2])
    assert tail_at(entries[6]) == 12


def test_records_of_one_turn_that_are_equal_go_on_as_one_that_counts_them() -> None:
    made = reducer(burst=1, per_hour=0, sample=1)
    entries = [b"\x92" + b"\xd7\0" + struct.pack(">II", 1_700_000_000 + n, 0) + b"\x81\xa1k\x01" for n in range(50)]
    sent = []

    for _ in range(2):
        made.begin("app", b"".join(entries), np.arange(0, len(entries) * 15, 15).astype(np.uint32))
        apply(made, See(tuple(Made(1_700_000_000 * 10**9, 3) for _ in entries), 0), 10**6)
        sent.append(made.end())

    first, second = ([msgpack.unpackb(entry[11:]) for entry in cut(out.block)] for out in sent)
    assert first == [{"k": 1}, {"k": 1, "logllm_count": 49}]
    assert second == [{"k": 1, "logllm_count": 50}]
    assert made.pending == 0
    assert made.ring.records == 48 + 49


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_odd_records_come_out_once_each_and_byte_for_byte_but_for_the_pair(seed: int, sample: int) -> None:
    source = OddBlocks(seed)
    made = reducer(burst=1, per_hour=0, sample=sample, ring_bytes=500)
    made.ring.slab_bytes = 400
    came: list[bytes] = []
    went: list[bytes] = []

    for _ in range(6):
        entries = source.entries()
        if entries:
            starts = np.array([0, *accumulate(map(len, entries))][:-1], np.uint32)
            made.begin("odd", b"".join(entries), starts)
            apply(made, See(tuple(Made(1, len(entry) % 2) for entry in entries), 0), 3)
            went += pieces_of(made.end().block, [*entries, *came])
            came += entries
    made.flush()
    for out in made.late():
        went += pieces_of(out.block, came)

    assert Multiset(went) <= Multiset(came)
    assert made.meter.total.records_in == len(came)
    assert made.pending == 0


def pieces_of(block: bytes, came: list[bytes]) -> list[bytes]:
    """The entries of a block as they came: each begins with one of those, but for its map's head, and its pair."""
    found = []
    counter = Counter("logllm_count")
    known = {entry: entry for entry in came}
    known |= {counter.counted(entry, count): entry for entry in came for count in range(120)}
    for entry in cut(block):
        found.append(known[entry])
    return found
