"""Further detectors under `Detection`: asked, weighed, held back, saved like the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.config import ServiceConfig, Shares
from logllm.detectors.contract import Seen
from logllm.detectors.detection import LEARNING_WINDOWS, Detection
from logllm.detectors.keys import Keys
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import Anomaly, Columns, Severity
from tests.detectors.counts import slices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Detector

QUIET = 400
"""Windows that are judged before anything odd comes."""


class _Last:
    """A detector whose tail probability is made of a key's last digit: a count of 10*n+d says 10 to the -4*d."""

    def __init__(self, kind: str = "value") -> None:
        self.kind = kind
        self.tested = 2
        self.asked: list[float] = []
        self.learned = 0
        self.held = 0
        self.merged: list[tuple[int, int]] = []
        self.forgotten: list[int] = []
        self.seen = 0

    def judge(self, window_slice: Slice, level: float) -> list[Anomaly]:
        self.asked.append(level)
        return [
            Anomaly(self.kind, window_slice.first + row, 1, 0, key, [key], 1.0, 9.0, 4.0 * digit, int(Severity.WARN))
            for row, key in np.argwhere(window_slice.counts % 10 > 0).tolist()
            for digit in [int(window_slice.counts[row, key]) % 10]
            if 10.0 ** (-4.0 * digit) < level
        ]

    def see(self, seen: Seen) -> None:
        self.seen += len(seen.keys)

    def learn(self, window_slice: Slice, held: NDArray[np.bool_]) -> None:
        self.learned += len(window_slice)
        self.held += int(held.sum())

    def merge(self, old: int, new: int) -> None:
        self.merged.append((old, new))

    def forget(self, keys: Sequence[int]) -> None:
        self.forgotten += keys

    def state(self) -> dict[str, Any]:
        return {"learned": self.learned}

    def restore(self, state: dict[str, Any]) -> None:
        self.learned = int(state["learned"])


def _detection(
    *extras: Detector, config: BudgetConfig | None = None, services: Sequence[str] = ("a", "a")
) -> Detection:
    keys = Keys()
    names = list(dict.fromkeys(services))
    codes = np.array([names.index(name) for name in services], np.int32)
    numbers, _ = keys.number(codes, names, np.arange(len(services), dtype=np.int32))
    keys.tally(numbers, np.zeros(len(services), np.int64), np.zeros(len(services), np.uint8))
    return Detection(keys, Budget(config), lambda _key: int(Severity.WARN), extras)


def _run(detection: Detection, slices: list[Slice]) -> list[Anomaly]:
    found: list[Anomaly] = []
    for each in slices:
        found += detection.judge(each, {})
        detection.learn(each, np.zeros(each.counts.shape[1], np.bool_))
    return found


def _counts(*odd: tuple[int, int, int], windows: int = QUIET + 200) -> NDArray[np.float64]:
    """Ten records of each key a window but for (window, key, digit)."""
    counts = np.full((windows, 2), 10.0)
    for window, key, digit in odd:
        counts[window, key] = 10.0 + digit
    return counts


def _told(found: list[Anomaly]) -> list[tuple[str, int, int]]:
    return [(anomaly.kind, anomaly.window, anomaly.key) for anomaly in found if anomaly.kind not in {"rate", "silence"}]


def test_what_is_below_its_level_is_told_and_what_is_merely_below_the_reference_is_not() -> None:
    detection = _detection(extra := _Last())

    found = _run(detection, slices_of(_counts((QUIET, 0, 2), (QUIET + 60, 1, 1))))

    assert _told(found) == [("value", QUIET, 0)]
    assert 1e-4 < max(extra.asked) < 0.01
    assert extra.learned == QUIET + 200


def test_nothing_of_it_is_told_while_learning() -> None:
    found = _run(_detection(_Last()), slices_of(_counts((LEARNING_WINDOWS - 1, 0, 9))))

    assert _told(found) == []


def test_the_same_again_waits() -> None:
    detection = _detection(_Last())

    found = _run(detection, slices_of(_counts((QUIET, 0, 2), (QUIET + 40, 0, 2), (QUIET + 80, 0, 2))))

    assert _told(found) == [("value", QUIET, 0), ("value", QUIET + 80, 0)]
    assert detection.cooldown.held_back == 1


def test_two_kinds_of_one_service_are_told_together() -> None:
    both = _detection(_Last(), _Last("odd"))
    alone = _detection(_Last())

    found = _run(both, slices_of(_counts((QUIET, 0, 3))))

    assert sorted(_told(found)) == [("odd", QUIET, 0), ("value", QUIET, 0)]
    assert _told(_run(alone, slices_of(_counts((QUIET, 0, 3))))) == [("value", QUIET, 0)]


def test_a_service_that_is_set_quiet_is_never_told_of() -> None:
    quiet = BudgetConfig(5.0, services=[ServiceConfig("a", quiet=True)])

    found = _run(_detection(_Last(), config=quiet), slices_of(_counts((QUIET, 0, 9))))

    assert found == []


def test_a_service_that_weighs_more_is_told_at_a_larger_probability() -> None:
    def level(weight: float) -> float:
        config = BudgetConfig(5.0, services=[ServiceConfig("b", weight=weight)])
        extra = _Last()
        detection = _detection(extra, config=config, services=("a", "b"))
        _run(detection, slices_of(_counts(windows=BLOCK * 8)))
        ratios = [
            float(
                detection._weighing.ratios(
                    "value", 10**9, np.array([key]), np.full(1, -20.0), detection._budget.special(["a", "b"])
                )[0]
            )
            for key in (0, 1)
        ]
        return ratios[0] - ratios[1]

    assert level(1.0) == pytest.approx(0.0)
    assert level(8.0) == pytest.approx(math.log(8.0))


def test_a_kind_without_a_share_is_never_told_but_learns() -> None:
    extra = _Last()
    detection = _detection(extra, config=BudgetConfig(5.0, shares=Shares(value=0.0)))

    found = _run(detection, slices_of(_counts((QUIET, 0, 9))))

    assert _told(found) == []
    assert extra.learned == QUIET + 200


def test_merges_and_forgotten_keys_are_passed_on() -> None:
    detection = _detection(extra := _Last())
    _run(detection, slices_of(_counts(windows=30)))

    detection.merge(0, 1)
    detection.forget([0])

    assert (extra.merged, extra.forgotten) == ([(0, 1)], [0])


def test_records_go_to_those_that_read_them() -> None:
    class Deaf(_Last):
        see = None  # type: ignore[assignment]

    reader, deaf = _Last(), Deaf("odd")
    columns = Columns(np.zeros(3, np.int64), ["a", "b", "c"], np.zeros(3, np.uint8), np.zeros(3, np.int32), ["a"])

    _detection(reader, deaf).see(Seen(columns, np.zeros(3, np.int32), np.zeros(3, np.int64)))

    assert (reader.seen, deaf.seen) == (3, 0)


@pytest.mark.parametrize("cuts", [range(QUIET + 200), (401, 403, 407), (7, 150, 402)])
def test_what_is_told_does_not_depend_on_how_blocks_are_cut(cuts: Sequence[int]) -> None:
    odd = _counts((QUIET, 0, 2), (QUIET + 1, 1, 1), (QUIET + 40, 0, 2), (QUIET + 90, 1, 2), (70, 0, 1), (130, 0, 1))

    whole = _run(_detection(_Last()), slices_of(odd))

    assert _told(_run(_detection(_Last()), slices_of(odd, cuts=cuts))) == _told(whole)
    assert len(_told(whole)) == 2


@pytest.mark.parametrize("cut", [90, 397, 403, 431])
def test_a_restored_detection_goes_on_like_the_saved_one_and_a_detector_it_did_not_know_begins_anew(cut: int) -> None:
    odd = _counts((QUIET, 0, 2), (QUIET + 40, 0, 2), (QUIET + 90, 1, 2))
    saved, restored = _detection(_Last(), _Last("odd")), _detection(_Last(), fresh := _Last("session"))
    _run(saved, slices_of(odd[:cut]))

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))

    rest = slices_of(odd[cut:], first=cut)
    own = [each for each in _told(_run(saved, rest)) if each[0] == "value"]
    assert [each for each in _told(_run(restored, rest)) if each[0] == "value"] == own
    assert fresh.learned == QUIET + 200 - cut


def test_what_is_still_missing_is_told_with_the_windows_it_takes() -> None:
    detection = _detection()
    at_first = detection.missing()

    _run(detection, slices_of(_counts(windows=BLOCK * 8)))
    later = detection.missing()
    detection.windows = 10_000

    assert [(each.kind, each.windows) for each in at_first] == [
        ("all", 60),
        ("release", 180),
        ("budget", 1440),
        ("season", 2880),
    ]
    assert [each.kind for each in later] == ["release", "budget", "season"]
    assert detection.missing() == []
