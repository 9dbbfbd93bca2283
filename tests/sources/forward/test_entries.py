"""Entries taken apart in runs, against a slow obvious way; and a payload that is made to cost time."""

from __future__ import annotations

import random

import pytest

from logllm.sources.forward.entries import NOT_A_MAP, Entries, Fault, entries_of_stream

GOOD = b"\x92\1\x81\xa1k\2"
KINDS: dict[bytes, str | None] = {
    GOOD: None,
    b"\x92\x92\1\x80\x80": None,
    b"\x92\xc0\x80": None,
    b"\xdc\0\2\xcb\0\0\0\0\0\0\0\0\x80": None,
    b"\x92\1\x81\1\2": None,
    b"\x92\1\2": NOT_A_MAP,
    b"\7": "not an array of two",
    b"\x93\1\x80\x80": "not an array of two",
    b"\x92\x92\xd7\0\xff\xff\xff\xff\0\0\0\0\x80\x80": "marker",
}


def one_by_one(entries: list[bytes]) -> Entries:
    good: list[bytes] = []
    faults: list[Fault] = []
    markers, fresh = 0, True
    for entry in entries:
        reason = KINDS[entry]
        if reason == "marker":
            markers += 1
        elif reason is None:
            good.append(entry)
        elif not fresh and faults and faults[-1].reason == reason:
            faults[-1] = Fault(faults[-1].entry + entry, reason, faults[-1].count + 1)
            continue
        else:
            faults.append(Fault(entry, reason))
            fresh = False
            continue
        fresh = True
    return Entries(b"".join(good), len(good), tuple(faults), markers)


@pytest.mark.parametrize("oddness", [0.0, 0.0005, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 2, 17, 4095, 4096, 4097, 13_000])
def test_entries_in_runs_are_told_apart_as_one_by_one(oddness: float, count: int) -> None:
    chance = random.Random(count + int(oddness * 1000))
    entries = [chance.choice(list(KINDS)) if chance.random() < oddness else GOOD for _ in range(count)]

    found = entries_of_stream(b"".join(entries), 0)

    expected = one_by_one(entries)
    assert (found.block, found.count) == (expected.block, expected.count)
    assert (found.faults, found.markers) == (expected.faults, expected.markers)


@pytest.mark.parametrize("part", [b"\0", b"\x92\1\2", GOOD + b"\0"], ids=["numbers", "pairs of numbers", "every other"])
def test_a_payload_of_millions_of_odd_values_is_not_looked_through_to_its_end(part: bytes) -> None:
    stream = GOOD + part * 2_000_000

    found = entries_of_stream(stream, 0)

    *looked_at, rest = found.faults
    assert rest.reason == "behind 200000 that had to be looked at one by one"
    assert sum(fault.count for fault in looked_at) < 220_000
    assert len(found.block) + sum(len(fault.entry) for fault in found.faults) == len(stream)


def test_a_single_odd_value_among_a_million_entries_costs_them_nothing() -> None:
    found = entries_of_stream(GOOD * 500_000 + b"\7" + GOOD * 500_000, 0)

    assert found.count == 1_000_000
    assert [fault.entry for fault in found.faults] == [b"\7"]


def test_as_many_odd_values_as_are_looked_at_leave_nothing_behind() -> None:
    found = entries_of_stream(b"\7" * 200_704, 0)

    assert [(fault.reason, fault.count) for fault in found.faults] == [("not an array of two", 200_704)]
