"""A level that has changed for good: baselines follow at once, where they would have taken days."""

from __future__ import annotations

import numpy as np

from logllm.detectors.baseline import Baseline
from logllm.detectors.budget import Budget
from logllm.detectors.change import ChangePoint
from logllm.detectors.detection import Detection
from logllm.detectors.keys import Keys
from logllm.detectors.slices import BLOCK
from logllm.events import Severity
from tests.detectors.counts import slices_of

DAY = 1440


def _usual_after_a_rise(*, with_changes: bool) -> tuple[float, list[str]]:
    """The usual count of a key that came 20 a minute for five days and then 60 for five hours."""
    keys = Keys()
    keys.number(np.zeros(3, np.int32), ["app"], np.arange(3, dtype=np.int32))
    source = np.random.default_rng(7)
    counts = source.poisson(20.0, (5 * DAY + 300, 3)).astype(np.float64)
    counts[5 * DAY :, 0] = source.poisson(60.0, 300)
    detection = Detection(keys, Budget(), lambda _: int(Severity.INFO), [ChangePoint(keys)] if with_changes else [])
    kinds = []
    for each in slices_of(counts):
        kinds += [anomaly.kind for anomaly in detection.judge(each, {})]
        detection.learn(each, np.zeros(3, np.bool_))
    return detection.rate.baseline.usual(0), kinds


def test_a_new_normal_is_what_is_usual_from_then_on() -> None:
    slow, _ = _usual_after_a_rise(with_changes=False)
    found, kinds = _usual_after_a_rise(with_changes=True)

    assert "change" in kinds
    assert slow < 35.0
    assert 50.0 < found < 80.0


def test_seasons_are_drawn_to_the_new_level_and_other_keys_stay() -> None:
    baseline = Baseline()
    baseline.grow(2)
    for block in range(4 * DAY // BLOCK):
        history = np.full((14 + BLOCK, 2), 10.0)
        baseline.learn((block + 1) * BLOCK * 60_000_000_000, history, BLOCK, np.ones(2, np.bool_))
    before = baseline.season.mean.copy()

    baseline.rebase(np.array([1]), np.array([3.0]))

    assert np.allclose(baseline.season.mean[:, 1], 3.0 * before[:, 1])
    assert np.array_equal(baseline.season.mean[:, 0], before[:, 0])
    assert baseline.usual(0) == 10.0
    assert baseline.usual(1) == 30.0
