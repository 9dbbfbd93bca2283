"""Numbers of distinct words: what is found, what is not, and the laws of a detector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detectors.slices import BLOCK
from logllm.detectors.values.config import ValuesConfig
from logllm.detectors.values.distinct import DistinctJump
from logllm.detectors.values.messages import Messages
from logllm.detectors.values.shift import ValueShift
from logllm.errors import StateError
from tests.detectors.values.streams import FIRST, Records, drive

MINUTES = 300
EVENT = 240


def users(
    *, usual: int = 40, event: int = 40, a_minute: int = 30, surge: int = 1, dominant: float = 0.0, seed: int = 3
) -> Records:
    rng = np.random.default_rng(seed)
    rate = np.where(np.arange(MINUTES) >= EVENT, a_minute * surge, a_minute)
    minute = np.repeat(np.arange(MINUTES), rng.poisson(rate))
    late = minute >= EVENT
    number = np.where(late, rng.integers(0, event, len(minute)), rng.integers(0, usual, len(minute)))
    number[late & (rng.random(len(minute)) < dominant)] = 7
    return Records(minute, rng.integers(0, 2, len(minute)), words=[f"u{each}" for each in number.tolist()])


def test_many_more_users_than_usual_are_told_with_how_many() -> None:
    found = drive(DistinctJump(), users(event=2000, a_minute=60), MINUTES)

    assert found
    assert found[0].window < FIRST + EVENT + 10
    assert {(anomaly.about, anomaly.kind, anomaly.service) for anomaly in found} == {("user", "distinct", 0)}
    most = max(found, key=lambda anomaly: anomaly.seen)
    assert most.seen > 2 * most.expected
    assert most.seen == pytest.approx(900, rel=0.35)


def test_one_user_who_does_nearly_everything_is_told_as_fewer() -> None:
    found = drive(DistinctJump(), users(dominant=0.9), MINUTES)

    assert found
    assert all(anomaly.seen < anomaly.expected for anomaly in found)
    assert min(anomaly.seen for anomaly in found) < 2


def test_twice_as_many_records_of_the_same_users_are_for_the_rate_to_tell() -> None:
    assert drive(DistinctJump(), users(usual=400, event=400, surge=2), MINUTES) == []


def test_quiet_hours_are_quiet() -> None:
    found = [anomaly for seed in range(3) for anomaly in drive(DistinctJump(), users(seed=seed), MINUTES, level=1e-5)]

    assert found == []


def test_fields_that_are_always_new_are_not_counted() -> None:
    records = users()
    detector = DistinctJump()
    seen = records.seen(0, 50)
    assert seen.columns.fields is not None
    seen.columns.fields.words["trace_id"] = np.arange(50, dtype=np.int32), [f"t{at}" for at in range(50)]

    detector.see(seen)
    named = DistinctJump(ValuesConfig(words=["trace_id"]))
    named.see(seen)

    assert [detector._series.pair(number)[1] for number in range(detector._series.count)] == ["user"]
    assert named._series.count == 2


@settings(max_examples=8)
@given(cut=st.sampled_from([0, 1, 13]), rows=st.sampled_from([1, 3, 15]), restarts=st.booleans())
def test_what_is_found_depends_on_neither_cuts_nor_slices_nor_restarts(cut: int, rows: int, restarts: bool) -> None:
    records = users(event=900, a_minute=12)

    whole = drive(DistinctJump(), records, MINUTES, level=1e-4)
    other = drive(
        DistinctJump(), records, MINUTES, cut=cut, rows=rows, level=1e-4, restart=DistinctJump if restarts else None
    )

    assert whole
    assert other == whole


def test_what_lasts_two_hours_is_the_new_normal() -> None:
    rng = np.random.default_rng(1)
    minutes = 900
    minute = np.repeat(np.arange(minutes), 60)
    number = np.where(minute >= EVENT, rng.integers(0, 2000, len(minute)), rng.integers(0, 40, len(minute)))
    records = Records(minute, np.zeros_like(minute), words=[f"u{each}" for each in number.tolist()])

    found = drive(DistinctJump(), records, minutes)

    assert found
    assert max(anomaly.window for anomaly in found) < FIRST + EVENT + 12 * BLOCK


def test_series_are_bounded_and_what_finds_no_room_is_counted() -> None:
    detector = DistinctJump(ValuesConfig(most_sketches=3), lambda keys: keys.astype(np.int64))
    minute = np.zeros(100, np.int64)

    drive(detector, Records(minute, np.arange(100), words=["a"] * 100), 1)

    assert detector._series.count == 3
    assert detector.refused == 97


def words_of(key: int, text: str) -> list[str]:
    return [text.rpartition(" ")[2]]


def test_many_users_at_one_place_of_a_message_are_told_where_it_was_one() -> None:
    rng = np.random.default_rng(2)
    minute = np.repeat(np.arange(MINUTES), 40)
    number = np.where(minute >= EVENT, rng.integers(0, 500, len(minute)), 0)
    texts = [f"Failed password for u{each}" for each in number.tolist()]
    messages = Messages(words_of, lambda key: "Failed password for <user>")
    shift = ValueShift(messages=messages)
    detector = DistinctJump(service_of=lambda keys: keys.astype(np.int64) + 4, messages=messages)

    found = drive(detector, Records(minute, np.zeros_like(minute), texts=texts), MINUTES, beside=shift)

    assert found
    assert found[0].window <= FIRST + EVENT + 1
    assert {(anomaly.about, anomaly.key, anomaly.service) for anomaly in found} == {("for", 0, 4)}
    assert found[0].expected == pytest.approx(1.0, abs=0.1)
    assert found[0].seen >= 10


def test_a_merged_and_a_forgotten_key_leave_nothing_behind() -> None:
    messages = Messages(words_of, lambda key: "for <user>")
    shift, detector = ValueShift(messages=messages), DistinctJump(messages=messages)
    minute = np.repeat(np.arange(60), 20)
    drive(detector, Records(minute, np.zeros_like(minute), texts=["for a"] * len(minute)), 60, beside=shift)

    detector.merge(0, 5)
    known = [name for name, _ in detector._texts.of_key(5)]
    detector.forget([5])

    assert known == ["for"]
    assert detector._texts.living().tolist() == []
    assert not detector._tracks["text"].usual.ready.any()


@pytest.mark.parametrize("damage", ["series", "sketches", "count", "text"])
def test_a_damaged_state_is_refused(damage: str) -> None:
    detector = DistinctJump()
    drive(detector, users(), 20)
    state = detector.state()

    for broken in ({}, 7, {"since": 0, "open": [[1, {}, {}, {}, {}]], "closed": []}):
        with pytest.raises(StateError):
            DistinctJump().restore({**state, damage: broken})
