"""Further fields of records: found, read and bounded, and the same however the records were cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import StateError
from logllm.events import Chunk, Columns, Fields
from logllm.fields import Wanted, dimension, is_id, number_of
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from logllm.sources.decode_values import FieldFinder, joined, merged, numbers_of, words_of
from logllm.sources.formats.detect import detect

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_NS = 1_700_000_000_000_000_000
ODD = [None, True, "", "fast", "17 ms", float("nan"), float("inf"), -1e308, 2**63, [1], {"a": 1}, b"\xff", "1e999"]


def block_of(records: Sequence[object]) -> bytes:
    return b"".join(msgpack.packb([1_700_000_000 + at, record]) for at, record in enumerate(records))


def decode(records: Sequence[object], decoder: Decoder | None = None) -> Fields:
    block = block_of(records)
    columns = (decoder or Decoder()).decode(Chunk("app.web", len(records), len(block), block=block), NOW_NS)
    return columns.fields or Fields({}, {})


def said(fields: Fields | None, count: int) -> dict[str, list[Any]]:
    """What each record says, NaN and absent words as None."""
    if fields is None:
        return {}
    numbers = {name: [None if np.isnan(v) else v for v in values.tolist()] for name, values in fields.numbers.items()}
    words = {
        name: [texts[code] if code >= 0 else None for code in codes.tolist()]
        for name, (codes, texts) in fields.words.items()
    }
    assert all(len(column) == count for column in (numbers | words).values())
    return numbers | words


def file_fields(lines: list[str]) -> dict[str, list[Any]]:
    columns = detect(lines, reference_ns=NOW_NS).parse(lines)
    return said(columns.fields, len(columns))


@pytest.mark.parametrize("filler", [1, 200], ids=["read by Python", "scanned"])
def test_durations_sizes_and_words_of_a_forward_record_are_read_by_column(filler: int) -> None:
    records = [{"log": "x" * filler, "took": 3, "status": 200, "user": "ann"}] * 40
    records[7] = {"log": "y", "took": "0.35s", "status": "404"}

    fields = said(decode(records), 40)

    assert fields["took"][6:9] == [3.0, 350.0, 3.0]
    assert fields["status"][6:9] == ["200", "404", "200"]
    assert fields["user"][6:9] == ["ann", None, "ann"]


def test_a_field_inside_a_map_is_named_by_its_path_and_what_a_shipper_adds_is_left_alone() -> None:
    record = {"log": "x", "http": {"response": {"status_code": 500}, "took_ms": 7}, "kubernetes": {"user": "root"}}

    fields = said(decode([record] * 3), 3)

    assert fields == {"http.response.status_code": ["500"] * 3, "http.took_ms": [7.0] * 3}


def test_records_without_such_fields_have_none() -> None:
    records = [{"log": "x", "level": "info", "pid": 7, "time_ms": 5}] * 50

    assert decode(records) == Fields({}, {})


def test_a_message_that_is_json_itself_has_its_fields_read() -> None:
    inner = [json.dumps({"level": "info", "msg": f"done {at}", "duration_ms": at}) for at in range(30)]

    fields = decode([{"log": line} for line in inner], Decoder(detected))

    assert said(fields, 30)["duration_ms"][10] == 10.0


def test_configured_fields_are_read_and_nothing_else_where_nothing_is_to_be_discovered() -> None:
    wanted = Wanted(names=frozenset({"queue.depth", "zone"}), words=frozenset({"shard"}), discover=False)
    records = [{"log": "x", "queue": {"depth": 4}, "zone": "eu", "shard": 7, "duration_ms": 1}] * 3

    fields = said(decode(records, Decoder(None, wanted)), 3)

    assert fields == {"queue.depth": [4.0] * 3, "zone": ["eu"] * 3, "shard": ["7"] * 3}


def test_json_lines_have_their_fields_read_where_some_lines_are_no_json() -> None:
    lines = [
        json.dumps({"time": "2024-01-01T00:00:00Z", "msg": "m", "latency": at, "u": {"ip": "::1"}}) for at in "123"
    ]
    lines.insert(1, "not json at all")

    assert file_fields(lines)["latency"] == [1.0, None, 2.0, 3.0]
    assert file_fields(lines)["u.ip"] == ["::1", None, "::1", "::1"]


def test_logfmt_has_its_fields_read_and_not_what_stands_within_quotes() -> None:
    lines = [
        'time=2024-01-01T00:00:00Z level=info msg="x took=9ms" took=17ms user="an na"',
        'time=2024-01-01T00:00:01Z level=info msg="y" user=bob',
        "took=4ms level=info msg=z time=2024-01-01T00:00:02Z",
    ]

    assert file_fields(lines) == {"took": [17.0, None, 4.0], "user": ["an na", "bob", None]}


def test_both_streams_of_a_container_keep_their_fields() -> None:
    def line(at: int) -> str:
        body = json.dumps({"msg": "m", "level": "info", "duration_ms" if at % 2 else "bytes": at})
        return f"2024-01-01T00:00:{at:02}Z {'stdout' if at % 2 else 'stderr'} F {body}"

    assert file_fields([line(at) for at in range(10)]) == {
        "duration_ms": [at if at % 2 else None for at in range(10)],
        "bytes": [None if at % 2 else at for at in range(10)],
    }


values = st.one_of(st.sampled_from(ODD), st.integers(-(2**62), 2**64 - 1), st.floats(), st.text(max_size=5))
records_of = st.lists(
    st.dictionaries(st.sampled_from(["took", "user", "log", "http", "a\nb"]), values | st.builds(dict, took=values)),
    max_size=90,
)


@given(records_of, st.lists(st.integers(0, 90), max_size=4), st.integers(0, 4))
def test_fields_do_not_depend_on_how_records_are_cut_nor_on_a_restart(
    records: list[dict[str, Any]], cuts: list[int], restart_at: int
) -> None:
    whole = said(decode(records), len(records))
    decoder = Decoder()

    got: dict[str, list[Any]] = {}
    ends = sorted({min(cut, len(records)) for cut in cuts} | {len(records)})
    for part, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if part == restart_at:
            again = Decoder()
            again.restore(msgpack.unpackb(msgpack.packb(decoder.state())))
            decoder = again
        for name, column in said(decode(records[start:end], decoder), end - start).items():
            got.setdefault(name, [None] * len(records))[start:end] = column

    assert got == whole


@given(st.lists(st.dictionaries(st.sampled_from(["took", "user", "msg"]), values), min_size=1, max_size=40))
def test_lines_of_json_say_the_same_as_the_records_in_messagepack(records: list[dict[str, Any]]) -> None:
    plain = [{"level": "info", **{k: v for k, v in r.items() if not isinstance(v, bytes)}} for r in records]
    # JSON has no NaN and no infinity.
    plain = [{k: v for k, v in r.items() if not isinstance(v, float) or np.isfinite(v)} for r in plain]
    lines = [json.dumps(record) for record in plain]
    columns: Columns = detect(lines, reference_ns=NOW_NS).parse(lines, join=False)

    assert said(columns.fields, len(lines)) == said(decode(plain), len(plain))


def test_fields_met_late_are_found_and_read_from_there_on() -> None:
    records: list[dict[str, Any]] = [{"log": "x"}] * 3000
    records[500:] = [{"log": "x", "took": 1}] * 2500

    took = said(decode(records), 3000)["took"]

    assert took[1023:1025] == [None, 1.0]


def test_which_records_are_looked_at_does_not_depend_on_chunks() -> None:
    records: list[dict[str, Any]] = [{"log": "x"} | ({"took": 1} if at >= 1500 else {}) for at in range(3000)]
    decoder = Decoder()

    took: list[Any] = []
    for at in range(0, 2800, 700):
        took += said(decode(records[at : at + 700], decoder), 700).get("took", [None] * 700)

    assert took == said(decode(records), 3000)["took"][:2800]


def test_the_fields_of_a_tag_are_bounded() -> None:
    wanted = Wanted(most=5)

    fields = decode([{f"a{at}_ms": 1, f"b{at}_ms": 2} for at in range(40)], Decoder(None, wanted))

    assert len(fields.numbers) == 5


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_an_odd_value_is_a_finite_number_or_none(value: object) -> None:
    numbers = numbers_of("took", [1, value, 2.5])
    codes, words = words_of(["a", value, 3])

    assert np.isnan(numbers[1]) or np.isfinite(numbers[1])
    assert numbers[[0, 2]].tolist() == [1.0, 2.5]
    assert [words[code] for code in codes[[0, 2]]] == ["a", "3"]


def test_a_huge_whole_number_is_no_number_but_a_bounded_word() -> None:
    assert np.isnan(numbers_of("took", [10**400])).all()
    assert len(words_of([10**400])[1][0]) == 256


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("took", "17 ms", 17.0),
        ("took", "0.35s", 350.0),
        ("duration_s", "350ms", 0.35),
        ("latency_us", "1.5 ms", 1500.0),
        ("elapsed", "1h2m3s", 3_723_000.0),
        ("elapsed", "1.5µs", 0.0015),
        ("size", "1.5 MiB", 1_572_864.0),
        ("size_kb", "2MB", 2000.0),
        ("load", "45%", 45.0),
        ("took", "12.5", 12.5),
        ("took", "-1", -1.0),
    ],
)
def test_a_number_written_with_its_unit_comes_in_the_unit_of_the_name(name: str, text: str, number: float) -> None:
    assert number_of(name, text) == pytest.approx(number, rel=1e-9)


@pytest.mark.parametrize("text", ["", "abc", "1 2", "1_000", "nan", "inf", "0x10", "9" * 50, "17 parsecs", "٣"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert np.isnan(number_of("took", text))


def test_dimensions_and_ids_are_told_apart() -> None:
    assert [dimension(text) for text in ("17ms", "2 KB", "17", "m")] == ["time", "size", "", ""]
    assert [is_id(name) for name in ("requestId", "http.request_id", "trace.id", "path")] == [True, True, True, False]


def test_what_two_readers_found_of_the_same_records_is_one() -> None:
    first = Fields({"a": np.array([1.0, np.nan])}, {"w": (np.array([0, -1], np.int32), ["x"])})
    second = Fields({"a": np.array([9.0, 2.0])}, {"w": (np.array([0, 1], np.int32), ["y", "x"])})

    assert said(merged(first, second), 2) == {"a": [1.0, 2.0], "w": ["x", "x"]}
    parts = [(first, np.array([0, 2])), (second, np.array([1, 3]))]
    assert said(joined(parts, 4), 4) == {"a": [1.0, 9.0, None, 2.0], "w": ["x", "y", None, "x"]}


@pytest.mark.parametrize("state", [{}, {"records": 1, "found": [[["a"], "odd", 0]]}, {"records": "x", "found": []}])
def test_damaged_saved_fields_are_refused(state: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="saved fields are damaged"):
        FieldFinder(Wanted()).restore(state)


words = st.sampled_from([None, "", "a", "b", "é", "200", "a\0", "\0", "x" * 300, "x" * 256])
wholes = st.sampled_from([None, 0, 1, 200, -3, 2**70, 10**300])
others = st.sampled_from([True, False, 1.0, 2.5, b"a", b"\xff", [1], {"a": 1}, float("nan")])


@given(st.lists(words) | st.lists(wholes) | st.lists(words | wholes | others))
def test_words_are_told_apart_all_together_as_one_by_one(values: list[Any]) -> None:
    def word(value: object) -> str:
        codes, found = words_of([value])
        return found[0] if codes[0] == 0 else ""

    codes, found = words_of(values)

    assert [found[code] if code >= 0 else "" for code in codes.tolist()] == [word(value) for value in values]
    assert found == list(dict.fromkeys(found[code] for code in codes.tolist() if code >= 0))
