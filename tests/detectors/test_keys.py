"""Keys number what they see, in the order it comes, within bounds."""

from __future__ import annotations

import itertools

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.keys import Keys
from logllm.errors import StateError

_RECORDS = st.lists(st.tuples(st.sampled_from("abcdefghijklm"), st.integers(0, 12)), max_size=60)
_CUTS = st.lists(st.integers(0, 60), max_size=8)


def _feed(keys: Keys, records: list[tuple[str, int]], cuts: list[int] | None = None) -> tuple[list[int], list[int]]:
    """Numbers and tallies records in chunks; each chunk names its services in alphabetical order."""
    numbers: list[int] = []
    new: list[int] = []
    edges = sorted({0, len(records), *(cut for cut in cuts or [] if cut < len(records))})
    for start, end in itertools.pairwise(edges):
        part = records[start:end]
        names = sorted({service for service, _ in part})
        codes = np.array([names.index(service) for service, _ in part], np.int32)
        given_out, fresh = keys.number(codes, names, np.array([template for _, template in part], np.int32))
        keys.tally(given_out, np.arange(start, end, dtype=np.int64) + 1, np.zeros(end - start, np.uint8))
        numbers += given_out.tolist()
        new += fresh
    return numbers, new


@given(_RECORDS, _CUTS)
@settings(max_examples=120, deadline=None)
def test_pairs_are_numbered_in_the_order_of_their_first_records_however_these_are_cut(
    records: list[tuple[str, int]], cuts: list[int]
) -> None:
    keys = Keys()

    numbers, new = _feed(keys, records, cuts)

    order = list(dict.fromkeys(records))
    assert numbers == [order.index(record) for record in records]
    assert new == list(range(len(order)))
    assert keys.services == list(dict.fromkeys(service for service, _ in records))
    assert [(keys.services[keys.service[k]], int(keys.template[k])) for k in range(keys.count)] == order


@given(_RECORDS, _CUTS)
@settings(max_examples=60, deadline=None)
def test_totals_and_times_are_those_of_the_records(records: list[tuple[str, int]], cuts: list[int]) -> None:
    keys = Keys()

    numbers, _ = _feed(keys, records, cuts)

    for key in range(keys.count):
        places = [at for at, number in enumerate(numbers) if number == key]
        assert keys.total[key] == len(places)
        assert (keys.first_ns[key], keys.last_ns[key]) == (places[0] + 1, places[-1] + 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 999), st.sampled_from([0, 9, 13, 17])), min_size=1))
@settings(max_examples=60, deadline=None)
def test_times_out_of_order_give_the_earliest_and_the_latest(rows: list[tuple[int, int, int]]) -> None:
    keys = Keys()
    templates, times, severity = (np.array(column) for column in zip(*rows, strict=True))

    numbers, _ = keys.number(np.zeros(len(rows), np.int32), ["a"], templates.astype(np.int32))
    half = len(rows) // 2
    for part in (slice(0, half), slice(half, None)):
        if len(numbers[part]):
            keys.tally(numbers[part], times[part].astype(np.int64), severity[part].astype(np.uint8))

    for key in range(keys.count):
        mine = numbers == key
        assert (keys.first_ns[key], keys.last_ns[key]) == (times[mine].min(), times[mine].max())
        assert keys.severity[key] == severity[mine].max()


@given(_RECORDS, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_restored_keys_go_on_as_the_saved_ones(records: list[tuple[str, int]], cut: int) -> None:
    steady, saved = (Keys(max_keys=20, max_services=5) for _ in range(2))
    _feed(steady, records[:cut])
    _feed(saved, records[:cut])

    restored = Keys(max_keys=20, max_services=5)
    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))

    assert _feed(restored, records[cut:]) == _feed(steady, records[cut:])
    assert restored.state() | {"overflowed": 0} == steady.state() | {"overflowed": 0}


def test_past_its_bound_a_service_shares_one_key_for_all_further_templates() -> None:
    keys = Keys(max_keys=3)

    numbers, new = _feed(keys, [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("a", 3), ("b", 1), ("a", 0), ("a", 3)])

    assert numbers == [0, 1, 2, 3, 3, 4, 0, 3]
    assert new == [0, 1, 2, 3, 4]
    assert keys.overflowed == 3


def test_ten_thousand_services_and_templates_stay_within_the_bounds() -> None:
    keys = Keys(max_keys=500, max_services=50)

    numbers, _ = _feed(keys, [(f"service-{n % 10_000}", n % 7_919) for n in range(20_000)], [5_000, 12_000])

    assert len(keys.services) == 51
    assert keys.services[-1] == "(other)"
    assert keys.count <= 500 + 51
    assert int(keys.total.sum()) == len(numbers) == 20_000
    assert keys.overflowed > 0


def test_a_template_that_became_part_of_another_adds_up_or_takes_its_name() -> None:
    keys = Keys()
    _feed(keys, [("a", 0), ("a", 0), ("a", 1), ("b", 0)])

    pairs = keys.merge_templates(0, 1)
    numbers, new = _feed(keys, [("a", 1), ("b", 1)])

    assert pairs == [(0, 1)]
    assert (numbers, new) == ([1, 2], [])
    assert keys.total[:3].tolist() == [0, 4, 2]
    assert keys.template[2] == 1


def test_a_shared_key_is_no_templates_own_and_is_never_merged_away() -> None:
    keys = Keys(max_keys=1)
    _feed(keys, [("a", 0), ("a", 1), ("a", 2)])

    into_shared = keys.merge_templates(0, 1)
    from_shared = keys.merge_templates(2, 1)

    assert (into_shared, from_shared) == ([], [])
    assert _feed(keys, [("a", 1), ("a", 7)])[0] == [0, 1]
    assert keys.total[:2].tolist() == [2, 3]


def test_the_number_of_a_key_that_is_gone_is_given_again_only_when_all_are_in_use() -> None:
    keys = Keys(max_keys=3)
    _feed(keys, [("a", 0), ("a", 1)])
    gone = keys.retire([0])
    retired = int(keys.template[0])
    keys.free(gone)

    numbers, new = _feed(keys, [("b", 8), ("b", 9), ("a", 0)])

    assert gone == [0]
    assert retired == -1
    assert (numbers, new) == ([2, 0, 3], [2, 0, 3])
    assert keys.services[keys.service[0]] == "b"
    assert keys.total[0] == 1


def test_of_template_names_the_key_of_each_service() -> None:
    keys = Keys()
    _feed(keys, [("a", 5), ("b", 5), ("a", 6)])

    assert keys.of_template(5) == [0, 1]
    assert keys.of_template(999) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("shared", [[0, 99]]), ("free", [99]), ("free", [-1]), ("services", []), ("services", ["a", "a"])],
)
def test_a_saved_state_that_names_what_is_not_there_is_refused(name: str, value: object) -> None:
    keys = Keys()
    _feed(keys, [("a", 0), ("b", 1)])
    state = keys.state() | {name: value}

    with pytest.raises(StateError):
        Keys().restore(state)
