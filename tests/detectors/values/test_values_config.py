"""Settings, places of templates and series numbers."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.values.config import ValuesConfig
from logllm.detectors.values.leading import leading
from logllm.detectors.values.places import places_of, reading
from logllm.detectors.values.series import Series
from logllm.errors import StateError


def test_the_wanted_fields_are_those_of_the_settings() -> None:
    wanted = ValuesConfig(fields=["depth"], words=["shard"], most_fields=3).wanted()

    assert (wanted.names, wanted.words, wanted.discover, wanted.most) == (
        frozenset({"depth"}),
        frozenset({"shard"}),
        True,
        3,
    )
    assert not ValuesConfig(enabled=False, fields=["depth"]).wanted().names


@pytest.mark.parametrize("setting", [{"most_series": 0}, {"fields": [""]}, {"feilds": []}, {"discover": "yes"}])
def test_a_wrong_setting_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(setting, ValuesConfig)


@pytest.mark.parametrize(
    ("template", "value", "name", "number"),
    [
        ("took <num> ms", "17", "took_ms", 17.0),
        ("took <num>", "17ms", "took_ms", 17.0),
        ("duration=<num>", "0.5", "duration", 0.5),
        ("request done in <num>", "1.5s", "in_ms", 1500.0),
        ("read <num> bytes", "42", "read_bytes", 42.0),
        ("latency: <*>", "3ms", "latency_ms", 3.0),
        ("elapsed_s=<num>", "20ms", "elapsed_s", 0.02),
    ],
)
def test_a_number_is_named_by_what_stands_before_it_and_its_unit(
    template: str, value: str, name: str, number: float
) -> None:
    count, places = places_of(template)
    numbers = [place for place in places if place.kind != "word"]

    assert count == 1
    assert reading(numbers[0], value) == (name, number)


@pytest.mark.parametrize("template", ["retry <num>", "port <num> closed", "at <time>", "id <uuid>", "plain"])
def test_other_numbers_are_not_measured(template: str) -> None:
    _, places = places_of(template)

    assert all(math.isnan(reading(place, "17")[1]) for place in places if place.kind != "word")


def test_words_are_read_where_someone_or_something_is_named() -> None:
    _, places = places_of("Failed password for <user> from <ip> port <num> status=<num>")

    assert [(place.name, place.kind) for place in places if place.kind == "word"] == [
        ("for", "word"),
        ("from", "word"),
        ("status", "word"),
    ]


@given(
    st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 4), min_size=6, max_size=6), st.integers(0, 60)
)
def test_the_first_of_each_group_are_the_same_however_they_are_cut(
    groups: list[int], room: list[int], cut: int
) -> None:
    array, left = np.array(groups, np.int64), np.array(room, np.int64)
    whole = leading(array, left).tolist()

    first = leading(array[:cut], left)
    rest = leading(array[cut:], left - np.bincount(array[:cut][first], minlength=6))

    assert [*first.tolist(), *(rest + min(cut, len(groups))).tolist()] == whole
    assert all(whole.count(at) == 1 for at in whole)
    for group in range(6):
        mine = [at for at in range(len(groups)) if groups[at] == group]
        assert [at for at in whole if groups[at] == group] == mine[: room[group]]


def test_numbers_of_series_that_are_gone_are_given_again() -> None:
    series = Series(2)
    first, second = series.number(3, "a"), series.number(9, "b")

    refused = series.number(4, "a")
    series.drop([first])

    assert refused == -1
    assert series.number(4, "a") == first
    assert series.pair(second) == (9, "b")
    again = Series(2)
    again.restore(series.state())
    assert again.of_key(4) == [("a", first)]


@pytest.mark.parametrize("state", [{}, {"pairs": [None], "free": [], "refused": 0}, {"pairs": [[-1, "a"]], "free": []}])
def test_damaged_series_are_refused(state: dict[str, object]) -> None:
    with pytest.raises(StateError, match="saved series are damaged"):
        Series(2).restore(state)
