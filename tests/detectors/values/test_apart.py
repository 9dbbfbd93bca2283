"""Messages of a template taken apart together: as one by one, and as each number read by itself."""

from __future__ import annotations

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.values.apart import Apart, readings
from logllm.detectors.values.places import Place, places_of, reading
from logllm.templates.parameters import values_in

pieces = st.sampled_from(["", " ", " ms", " for user", "x", "took ", "=", ", ", "<", ".*", " a a "])
parameters = st.sampled_from(["<num>", "<*>", "<path>", "<id>", "<time>"])
values = st.sampled_from(
    ["", "1", "a", " ", "  ", "\t", "\n", "x y", "took 3 ms", "\ud800", "é", "\u2003", "{", "=" * 300]
)
templates = st.tuples(pieces, st.lists(st.tuples(parameters, pieces), min_size=1, max_size=6))


@given(templates, st.lists(st.lists(values, min_size=6, max_size=6), min_size=1, max_size=6), st.booleans())
def test_messages_are_taken_apart_together_as_they_are_one_by_one(
    parts: tuple[str, list[tuple[str, str]]], fillings: list[list[str]], other: bool
) -> None:
    first, rest = parts
    template = first + "".join(parameter + piece for parameter, piece in rest)
    count, places = places_of(template)
    texts = [first + "".join(value + piece for value, (_, piece) in zip(each, rest, strict=False)) for each in fillings]
    texts += ["another message"] * other
    one = Apart(template)
    slow = one.columns(texts, partial(values_in, template))

    for _ in range(70):
        fast = one.columns(texts, partial(values_in, template))

    apart = [(at, found) for at, text in enumerate(texts) if len(found := values_in(template, text)) == count]
    expected = [at for at, _ in apart], [tuple(found[place.at] for _, found in apart) for place in places]
    if places:
        assert (list(slow[0]), slow[1]) == expected
        assert (list(fast[0]), fast[1]) == expected


def test_a_pattern_takes_the_place_of_asking_where_a_template_has_many_messages() -> None:
    asked: list[str] = []

    def values_of(text: str) -> list[str]:
        asked.append(text)
        return values_in("took <num> ms", text)

    one = Apart("took <num> ms")
    for at in range(200):
        one.columns([f"took {at} ms"], values_of)

    assert 0 < len(asked) < 100
    assert one.columns(["took 7 ms", "else", "took  9 ms"], values_of) == ([0, 2], [("7", "9")])


def test_a_long_line_that_almost_fits_takes_no_longer_than_its_length() -> None:
    one = Apart("a".join(["<path>"] * 30) + "b")
    texts = ["a" * 1000] * 70

    assert one.columns(texts, lambda _: []) == ([], [()] * 3)
    assert one.columns(texts, lambda _: []) == ([], [()] * 3)


written = st.sampled_from(
    ["1", "17", "3.5", ".5", "5.", ".", "1.2.3", "17ms", "18ms", "1.5s", "2s", "1m30s", "4KiB", "-3", "1e5", "nan"]
) | st.sampled_from(["inf", "1_0", "7,", "(8)", "٣", "5µs", "6µs", "9parsecs", "12%", "", "1" * 26])
somewhere = st.sampled_from(
    [Place(0, "in", "unit"), Place(0, "took", "number"), Place(0, "took", "number", "ms"), Place(0, "wait_s", "number")]
)


@given(st.lists(written, min_size=1, max_size=4), somewhere)
def test_a_column_of_numbers_is_read_as_each_of_them(column: list[str], place: Place) -> None:
    expected: dict[str, tuple[list[int], list[float]]] = {}
    for at, value in enumerate(column):
        name, number = reading(place, value)
        if not math.isnan(number):
            where, what = expected.setdefault(name, ([], []))
            where.append(at)
            what.append(number)

    found = readings(place, column)

    assert {name: (list(where), what) for name, (where, what) in found.items()} == expected


@pytest.mark.parametrize("template", ["<num> " * 33, "no parameter"])
def test_nothing_is_read_in_what_has_no_parameter_or_very_many(template: str) -> None:
    assert places_of(template)[1] == ()
