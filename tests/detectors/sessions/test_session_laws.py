"""What holds whatever comes: cuts, slices and restarts change nothing, memory is bounded, hostile ids do no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.contract import Seen
from logllm.detectors.keys import Keys
from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.sessions.novelty import SessionNovelty
from logllm.detectors.slices import Slice
from logllm.errors import StateError
from logllm.events import Columns, Fields
from tests.detectors.sessions.streams import KEYS, Event, Watched, usual, with_odd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.events import Anomaly

NONE_HELD = np.zeros(KEYS, np.bool_)


def broken(name: str, second: float, key: int) -> list[Event]:
    return [Event(second + place, name, each) for place, each in enumerate((0, 1, key, 2, 3))]


EVENTS = with_odd(
    usual(1_300),
    *broken("b7", 7_000.0, 7),
    *broken("b8", 8_000.0, 8),
    *broken("late", 9_000.0, 7),
    Event(10_000.0, "cut", 0),
    Event(10_001.0, "cut", 1),
)


def whole() -> list[Anomaly]:
    return Watched(level=0.01).feed(EVENTS)


def copied(old: Watched, *, whole_blocks: bool = False) -> Watched:
    """What a restart makes of it."""
    new = Watched(level=0.01, whole_blocks=whole_blocks)
    saved = msgpack.unpackb(msgpack.packb([old.detector.state(), old.windows.state()]), strict_map_key=False)
    new.detector.restore(saved[0])
    new.windows.restore(saved[1])
    new.found = list(old.found)
    return new


def test_the_whole_finds_something_to_compare() -> None:
    assert [one.about for one in whole()] == ["b7", "b8", "cut"]


@settings(max_examples=8)
@given(st.lists(st.integers(1, len(EVENTS) - 1), max_size=30))
def test_what_is_found_does_not_depend_on_how_records_are_cut(cuts: list[int]) -> None:
    assert Watched(level=0.01).feed(EVENTS, cuts) == whole()


def test_what_is_found_does_not_depend_on_how_windows_are_cut_into_slices() -> None:
    by_blocks = Watched(level=0.01, whole_blocks=True)
    by_windows = Watched(level=0.01)

    by_blocks.feed(EVENTS)
    by_windows.feed(EVENTS)

    assert by_blocks.finish() == by_windows.finish()


@settings(max_examples=8)
@given(st.integers(1, len(EVENTS) - 1), st.booleans())
def test_what_is_found_does_not_depend_on_a_restart(at: int, whole_blocks: bool) -> None:
    first = Watched(level=0.01, whole_blocks=whole_blocks)
    first.feed(EVENTS[:at])

    second = copied(first, whole_blocks=whole_blocks)
    second.feed(EVENTS[at:])

    assert second.finish() == whole()


def test_judging_changes_nothing() -> None:
    watched = Watched(level=0.01)
    watched.feed(EVENTS[:5_000])
    before = msgpack.packb(watched.detector.state())
    far = Slice(
        int(watched.windows.watermark_ns // 60_000_000_000) + 100, np.zeros((3, KEYS)), np.zeros((3, KEYS)), 90, False
    )

    once, twice = watched.detector.judge(far, 0.01), watched.detector.judge(far, 0.01)

    assert once == twice
    assert msgpack.packb(watched.detector.state()) == before


def test_learning_without_judging_is_refused() -> None:
    watched = Watched()

    with pytest.raises(RuntimeError, match="must follow judge"):
        watched.detector.learn(Slice(1, np.zeros((1, KEYS)), np.zeros((1, KEYS)), 0, False), NONE_HELD)


def detector_of(config: SessionsConfig | None = None) -> SessionNovelty:
    keys = Keys()
    keys.number(np.zeros(KEYS, np.int32), ["app"], np.arange(KEYS, dtype=np.int32))
    return SessionNovelty(config or SessionsConfig(), keys, lambda key: 9)


def seen(names: list[str], window: int, key: int = 0) -> Seen:
    """A record of each session, in one window."""
    n = len(names)
    columns = Columns(
        np.full(n, window * 60_000_000_000, np.int64),
        [""] * n,
        np.zeros(n, np.uint8),
        np.zeros(n, np.int32),
        ["app"],
        fields=Fields({}, {"trace_id": (np.arange(n, dtype=np.int32), names)}),
    )
    return Seen(columns, np.full(n, key, np.int32), np.full(n, window, np.int64))


def minutes(detector: SessionNovelty, first: int, last: int) -> None:
    for window in range(first, last):
        each = Slice(window, np.zeros((1, KEYS)), np.zeros((1, KEYS)), 0, (window + 1) % 15 == 0)
        detector.judge(each, 0.01)
        detector.learn(each, NONE_HELD)


def ids(first: int, count: int) -> list[str]:
    return [f"{number * 2_654_435_761 % 2**32:08x}-{number}" for number in range(first, first + count)]


def test_a_million_sessions_are_followed_in_bounded_memory() -> None:
    detector = detector_of(SessionsConfig(max_open=2_000))

    for window in range(100):
        detector.see(seen(ids(10_000 * window, 10_000), window))
        minutes(detector, window, window + 1)
    state = detector.state()

    assert detector.counts["open"] <= 2_000 + 5 * 8_192
    assert detector.counts["thinned"] > 0
    assert len(state["names"]) <= 12 * 8_192
    assert len(msgpack.packb(state)) < 8 << 20


def test_where_it_cannot_follow_all_it_follows_some_as_a_whole() -> None:
    detector = detector_of(SessionsConfig(max_open=1_000))
    names = ids(0, 20_000)

    for window, key in enumerate((0, 1, 2, 3)):
        for start in range(0, len(names), 3_000):
            detector.see(seen(names[start : start + 3_000][:: -1 if key % 2 else 1], window, key))
        minutes(detector, window, window + 1)
    minutes(detector, 4, 6)
    opened = detector.state()["memory"]["opened"]
    cells = np.frombuffer(opened["cells"]["data"], np.int64)

    _, keys_each = np.unique(cells >> 24, return_counts=True)
    assert set(keys_each.tolist()) == {4}
    assert 400 < len(keys_each) <= 1_000


def hostile() -> Iterator[str]:
    yield "x" * 1_000_000
    yield "\ud800 lone"
    yield "new\nline\x1b[2J"
    yield "\0"
    yield "id"


def test_hostile_ids_are_kept_short_and_can_be_saved() -> None:
    detector = detector_of()

    detector.see(seen(list(hostile()), 3))
    minutes(detector, 3, 4)
    detector.restore(msgpack.unpackb(msgpack.packb(detector.state()), strict_map_key=False))

    assert detector.counts["open"] == 5
    assert max(map(len, detector.state()["names"])) == 128


@pytest.mark.parametrize("value", ["", "-", "null", "None", "0", "UNKNOWN"])
def test_what_says_that_there_is_no_id_is_none(value: str) -> None:
    detector = detector_of()

    detector.see(seen([value, "a"], 3))
    minutes(detector, 3, 4)

    assert detector.counts["open"] == 1


def test_a_key_that_became_part_of_another_is_that_one() -> None:
    merged, plain = detector_of(), detector_of()
    for detector, key in ((merged, 5), (plain, 6)):
        detector.see(seen(["a", "b"], 3, key))
        detector.see(seen(["a"], 3, 6))
        minutes(detector, 3, 4)
        detector.see(seen(["c"], 4, key))

    merged.merge(5, 6)
    for detector in (merged, plain):
        minutes(detector, 4, 5)

    assert merged.state()["memory"]["opened"] == plain.state()["memory"]["opened"]


def test_a_key_that_is_gone_takes_the_sessions_with_it_that_showed_nothing_else() -> None:
    detector = detector_of()
    detector.see(seen(["a", "b"], 3, 5))
    detector.see(seen(["a"], 3, 6))
    minutes(detector, 3, 4)

    detector.forget([5])
    minutes(detector, 4, 5)

    assert detector.counts["open"] == 1
    assert [name for name in detector.state()["names"] if name] == ["a"]


def test_another_key_for_sessions_starts_anew() -> None:
    old, new = detector_of(), detector_of(SessionsConfig(key="span"))
    old.see(seen(["a"], 3))
    minutes(old, 3, 4)

    new.restore(old.state())

    assert new.counts["open"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"naming": {}},
        {"names": []},
        {"names": ["a", "a"]},
        {"names": 7},
        {"arriving": {"windows": [[1, 0, {}, {}]]}},
        {"arriving": {}},
        {"memory": {}},
    ],
)
def test_damaged_state_is_refused(damage: dict[str, object]) -> None:
    detector = detector_of()
    detector.see(seen(["a", "b"], 3))
    minutes(detector, 3, 4)
    detector.see(seen(["b"], 4))
    state = detector.state() | damage

    with pytest.raises(StateError):
        detector_of().restore(state)
