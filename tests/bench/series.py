"""The detector of one series on the labelled series beside the checkout: its NAB score, and its speed.

    python tests/bench/series.py

Reads ../shared/bench/nab_score.py and ../shared/data/nab; says so where they are absent. Prints the score of the
standard profile with the threshold that is best for the whole corpus, and with the one that is built in; then with the
threshold chosen on one half of the series and scored on the other, over 20 random splits both ways; then the points a
second, in processor time, and as a ratio to a plain loop of an exponentially weighted z-score in the same run.
"""

from __future__ import annotations

import importlib.util
import math
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logllm.detectors.series import ALERT, SeriesDetector

if TYPE_CHECKING:
    from types import ModuleType

SHARED = Path(__file__).parents[2] / ".." / "shared"
SCORER = SHARED / "bench" / "nab_score.py"
DATA = SHARED / "data" / "nab"

_SPLITS = 20


def nab() -> ModuleType | None:
    """The scorer; None where it or the series are not beside the checkout."""
    if not SCORER.exists() or not DATA.exists():
        return None
    spec = importlib.util.spec_from_file_location("nab_score", SCORER)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whole(scorer: ModuleType, scores: list[Any]) -> tuple[float, float]:
    """The standard profile's score over all series, and the threshold it is reached at."""
    score, threshold, *_ = scorer.nab_from_scores(scores)["standard"]
    return score, threshold


def at(scorer: ModuleType, scores: list[Any], subset: list[int], threshold: float) -> float:
    """The standard profile's score of some series at a given threshold: what is above is an alert, all else none."""
    # The scorer picks the threshold itself, so it is left only this one to pick, or none at all.
    told = [(series >= threshold).astype(float) for series in scores]
    try:
        score, picked, *_ = scorer.nab_from_scores(told, subset)["standard"]
    except ZeroDivisionError:
        return math.nan
    return float(score) if 0.0 < picked <= 1.0 else math.nan


def halves(scorer: ModuleType, scores: list[Any]) -> list[float]:
    """Scores of halves of the series with the threshold of the other half."""
    reached = []
    choose = random.Random(0)
    every = range(len(scores))
    for _ in range(_SPLITS):
        first = sorted(choose.sample(every, len(scores) // 2))
        second = [series for series in every if series not in first]
        for chosen, tried in ((first, second), (second, first)):
            _, threshold, *_ = scorer.nab_from_scores(scores, chosen)["standard"]
            reached.append(at(scorer, scores, tried, threshold))
    return [score for score in reached if not math.isnan(score)]


def weighted_z(values: list[float]) -> float:
    """A plain loop to compare with: |value - mean| / deviation, both exponentially weighted."""
    mean, variance, highest = values[0], 1.0, 0.0
    for value in values:
        error = value - mean
        highest = max(highest, abs(error) / (math.sqrt(variance) + 1e-9))
        mean += 0.01 * error
        variance += 0.01 * (error * error - variance)
    return highest


def main() -> None:
    """Print the figures."""
    scorer = nab()
    if scorer is None:
        print(f"{SCORER} or {DATA} is not there: nothing to measure")
        return
    every = scorer.load()
    points = sum(len(series.v) for series in every)
    values = [series.v.tolist() for series in every]
    begun = time.process_time()
    for each in values:
        weighted_z(each)
    plain_s = time.process_time() - begun
    begun = time.process_time()
    scores, _ = scorer.run_detector(lambda _: SeriesDetector())
    ours_s = time.process_time() - begun
    score, threshold = whole(scorer, scores)
    fixed = at(scorer, scores, list(range(len(scores))), ALERT)
    split = halves(scorer, scores)
    print(f"{len(every)} series, {points:,} points")
    print(f"NAB, standard profile           {score:6.2f} at threshold {threshold:.4f}")
    print(f"at the threshold built in       {fixed:6.2f} at threshold {ALERT}")
    print(f"threshold of the other half     {statistics.mean(split):6.2f} +- {statistics.pstdev(split):.2f}")
    print(f"{points / ours_s:,.0f} points/s, {plain_s / ours_s:.3f} of a plain loop's {points / plain_s:,.0f}")


if __name__ == "__main__":
    main()
