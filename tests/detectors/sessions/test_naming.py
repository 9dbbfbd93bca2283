"""Which session a record is of: fields, patterns, and ids that are found out."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.sessions.discovery import AGAIN_RECORDS, SAMPLE_RECORDS, SAMPLES, Discovery
from logllm.detectors.sessions.naming import Naming
from logllm.detectors.sessions.pattern import READ_CHARS, compiled
from logllm.errors import StateError
from logllm.events import Columns, Fields

KINDS = ("Receiving {}", "Received {} of size 67108864", "Deleting {} file /data/1", "Verification of {} took 17 ms")


def columns(texts: list[str], words: dict[str, list[str | None]] | None = None) -> Columns:
    coded = {}
    for field, values in (words or {}).items():
        names = list(dict.fromkeys(value for value in values if value is not None))
        coded[field] = (np.array([-1 if one is None else names.index(one) for one in values], np.int32), names)
    n = len(texts)
    return Columns(
        np.zeros(n, np.int64),
        texts,
        np.zeros(n, np.uint8),
        np.zeros(n, np.int32),
        [""],
        fields=Fields({}, coded) if coded else None,
    )


def read(naming: Naming, given_columns: Columns, keys: list[int] | None = None) -> list[str | None]:
    n = len(given_columns)
    codes, names = naming.read(given_columns, np.array(keys or [0] * n, np.int32))
    return [None if code < 0 else names[code] for code in codes.tolist()]


def log(ids: list[str], kinds: tuple[str, ...] = KINDS) -> tuple[list[str], list[int]]:
    """Each id in each kind of message, those of some ids between those of others."""
    rows = [
        (kind.format(name), key)
        for at in range(0, len(ids), 10)
        for key, kind in enumerate(kinds)
        for name in ids[at : at + 10]
    ]
    return [text for text, _ in rows], [key for _, key in rows]


def blocks(count: int) -> list[str]:
    return [f"blk_{'-' if number % 2 else ''}{number * 7_919 + 10_000_000}" for number in range(count)]


def test_a_configured_field_says_it() -> None:
    naming = Naming("order")

    found = read(naming, columns(["a", "b", "c"], {"order": ["7", None, "8"], "trace_id": ["x", "y", "z"]}))

    assert found == ["7", None, "8"]
    assert naming.field == "order"


def test_of_well_known_fields_a_record_is_named_by_the_narrowest_it_has() -> None:
    words: dict[str, list[str | None]] = {
        "sessionId": ["s1", "s2", "s3"],
        "trace.id": ["t1", None, None],
        "http.request_id": [None, "r2", "-"],
        "user": ["u", "u", "u"],
    }

    assert read(Naming("auto"), columns(["a", "b", "c"], words)) == ["t1", "r2", "s3"]


def test_a_pattern_names_by_its_first_group_or_all_of_it() -> None:
    texts = ["Deleting blk_-17 file", "nothing", "blk_4 and blk_5"]

    assert read(Naming(r"re:blk_-?\d+"), columns(texts)) == ["blk_-17", None, "blk_4"]
    assert read(Naming(r"re:blk_(-?\d+)"), columns(texts)) == ["-17", None, "4"]


def test_an_id_far_behind_in_a_message_is_not_looked_for() -> None:
    texts = ["x" * (READ_CHARS - 6) + " blk_1", "x" * READ_CHARS + " blk_1"]

    assert read(Naming(r"re:blk_\d"), columns(texts)) == ["blk_1", None]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+b", "within a repeat"),
        ("(a|ab)*c", "within a repeat"),
        ("(?:x{2,}y)*z", "within a repeat"),
        (r"(a)\1", "refers back"),
        (".*.*.*x", "open-ended"),
        ("a*", "fits an empty text"),
        ("(a", "no regular expression"),
    ],
)
def test_a_pattern_that_a_message_could_make_slow_is_refused_where_it_is_configured(pattern: str, why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"key": f"re:{pattern}"}, SessionsConfig)


@pytest.mark.parametrize("pattern", [r"(?<=id=)\w+", "req-[0-9a-f]{8}", r"(?:trace|span)[=:]\s?(\w+)", r"\[(\d{4,})\]"])
def test_plain_patterns_are_taken(pattern: str) -> None:
    assert msgspec.convert({"key": f"re:{pattern}"}, SessionsConfig).key == f"re:{pattern}"
    assert compiled(pattern)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (blocks(2_000), "blk_-10007919"),
        ([f"{n:08x}-0000-4000-8000-{n:012x}" for n in range(2_000)], "00000001-0000-4000-8000-000000000001"),
        ([f"req-{n * 7_919 + 2**50:x}" for n in range(2_000)], "req-4000000001eef"),
        ([f"job={n + 1_000}" for n in range(2_000)], "job=1001"),
    ],
)
def test_ids_that_recur_over_several_kinds_of_message_are_found(ids: list[str], expected: str) -> None:
    naming = Naming("auto")
    texts, keys = log(ids)

    found = read(naming, columns(texts), keys)

    assert found[:SAMPLE_RECORDS] == [None] * SAMPLE_RECORDS
    assert set(found[SAMPLE_RECORDS:]) <= set(ids)
    assert read(naming, columns([KINDS[1].format(ids[1])])) == [expected]


@pytest.mark.parametrize(
    "ids",
    [
        [f"host-{n % 5 + 1_000}" for n in range(2_000)],
        [str(n + 10_000) for n in range(2_000)],
        [f"w{n}" for n in range(2_000)],
    ],
    ids=["few that never end", "numbers without a name", "too short"],
)
def test_what_only_looks_like_ids_names_no_sessions(ids: list[str]) -> None:
    naming = Naming("auto")
    texts, keys = log(ids)

    found = read(naming, columns(texts), keys)

    assert set(found) == {None}
    assert naming.pattern == ""


def test_ids_that_come_with_one_kind_of_message_only_name_no_sessions() -> None:
    naming = Naming("auto")
    texts, keys = log(blocks(8_000), KINDS[:1])

    assert set(read(naming, columns(texts), keys)) == {None}


def test_it_is_given_up_after_some_samples_without_a_finding() -> None:
    naming = Naming("auto")
    read(naming, columns(["nothing here"] * (SAMPLES * SAMPLE_RECORDS)))
    texts, keys = log(blocks(4_000))

    assert set(read(naming, columns(texts), keys)) == {None}


@given(st.lists(st.integers(1, 3_000_000), min_size=4, max_size=4))
def test_after_a_long_rest_it_looks_again(steps: list[int]) -> None:
    discovery = Discovery()
    for _ in range(SAMPLES):
        discovery.see(["nothing here"] * SAMPLE_RECORDS, [0] * SAMPLE_RECORDS)

    passed = sum(discovery.pass_over(step) for step in [*steps, AGAIN_RECORDS])

    assert passed == AGAIN_RECORDS
    assert discovery.wanted == SAMPLE_RECORDS
    assert discovery.pass_over(1) == 0


@settings(max_examples=10)
@given(st.lists(st.integers(1, 7_999), max_size=12), st.integers(0, 7_999))
def test_what_is_found_depends_neither_on_cuts_nor_on_a_restart(cuts: list[int], restart: int) -> None:
    texts, keys = log(blocks(2_000))
    naming = Naming("auto")
    found: list[str | None] = []
    edges = sorted({0, len(texts), restart, *cuts})
    for start, end in itertools.pairwise(edges):
        if start == restart:
            saved, naming = naming.state(), Naming("auto")
            naming.restore(saved)
        found += read(naming, columns(texts[start:end]), keys[start:end])

    assert found == read(Naming("auto"), columns(texts), keys)


def test_records_that_a_field_names_are_no_part_of_the_sample() -> None:
    naming = Naming("auto")
    texts, keys = log(blocks(2_000))

    found = read(naming, columns(texts, {"trace_id": ["t"] * len(texts)}), keys)

    assert set(found) == {"t"}
    assert naming.pattern == ""


@pytest.mark.parametrize(
    "damage", [{"sample": {"sampled": -1, "samples": 0, "shapes": {}}}, {"sample": 7}, {"pattern": "("}, {"key": None}]
)
def test_a_damaged_sample_is_refused(damage: dict[str, object]) -> None:
    state = Naming("auto").state() | damage
    if "key" in damage:
        del state["key"]

    with pytest.raises(StateError):
        Naming("auto").restore(state)
