"""Is the budget kept where nothing is wrong? Fourteen quiet days of simulated fleets, through detection and grouping.

    python tests/bench/quiet_days.py [--rough | --sample | --shop] [BUDGET...]

A fleet is a thousand templates of forty services, built like the one beside the checkout (lognormal rates, gamma
over-dispersed, a daily season each) but with nothing injected: whatever is told is a false alert. `--rough` is the
same with what real logs have and no model assumes: bursts with heavy tails, services whose templates rise and fall
together, batch jobs by the hour and by the night, deploys that bring new templates, forty minutes without input, and
clocks that change to summer time. `--sample` replays the quiet day of `samples/` through the whole pipeline, as
fourteen days; `--shop` feeds it the records of `shop.py`, texts, fields and sessions, with no problem among them. For
each budget and seed: incidents told, and what the purse had to hold back.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logllm import Pipeline, read_file
from logllm.config import Config
from logllm.detectors.budget import Budget, BudgetConfig
from logllm.detectors.change import ChangePoint
from logllm.detectors.config import DetectConfig
from logllm.detectors.detection import Detection
from logllm.detectors.keys import Keys
from logllm.detectors.odd.windows import OddWindows
from logllm.detectors.slices import BLOCK, Slice
from logllm.events import Severity
from logllm.incidents.grouper import Grouper
from tests.bench.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.detectors.contract import Detector

__all__ = ["Days", "Fleet", "watch"]

DAY = 1440
DAYS = 14
TEMPLATES = 1000
SERVICES = 40
FIRST = 29_000_160
"""The first window: a midnight, so that the days counted are the log's."""

SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE_DAY = date(2026, 3, 11)

DEPLOYS = (4, 8, 11)
NEW_TEMPLATES = 30
SUMMER_TIME_DAY = 9
OUTAGE = (6 * DAY + 700, 6 * DAY + 740)


class Fleet:
    """Counts of a fleet in which nothing is wrong, minute by minute, the same for the same seed."""

    def __init__(self, seed: int, *, rough: bool = False) -> None:
        self._rng = np.random.default_rng(seed)
        self._rough = rough
        rng = self._rng
        self.base = np.exp(rng.normal(-1.5, 2.2, TEMPLATES)).clip(1e-4, 300)
        self._depth, self._phase = rng.uniform(0, 0.8, TEMPLATES), rng.uniform(0, 2 * np.pi, TEMPLATES)
        self._shape = np.exp(rng.normal(1.5, 1.0, TEMPLATES))
        # A few services log most of the templates.
        self.service = rng.choice(SERVICES, TEMPLATES, p=_zipf(SERVICES)).astype(np.int32)
        self.severity = rng.choice(
            [int(Severity.INFO), int(Severity.WARN), int(Severity.ERROR)], TEMPLATES, p=[0.5, 0.4, 0.1]
        )
        self._mood = np.zeros(SERVICES)
        self._wild = rng.random(TEMPLATES) < 0.1
        self._hourly = rng.random(TEMPLATES) < 0.02
        self._nightly = rng.random(TEMPLATES) < 0.02
        self.born = np.zeros(TEMPLATES, np.int64)
        if rough:
            for day, service in zip(DEPLOYS, (0, 1, 2), strict=True):
                fresh = np.flatnonzero(self.service == service)[:NEW_TEMPLATES]
                self.born[fresh] = day * DAY + 10 * 60

    def minutes(self, first: int, rows: int) -> NDArray[np.float64]:
        """float64[rows, TEMPLATES]: the counts from minute `first` on; ask in order."""
        minute = np.arange(first, first + rows)
        clock = minute + 60 * (minute >= SUMMER_TIME_DAY * DAY) if self._rough else minute
        season = 1 + self._depth * np.sin(2 * np.pi * clock[:, None] / DAY + self._phase)
        mean = self.base * season * self._rng.gamma(self._shape, 1 / self._shape, (rows, TEMPLATES))
        if self._rough:
            mean *= self._weather(rows, minute)
            mean[:, self._hourly] += 40.0 * (clock % 60 == 7)[:, None]
            mean[:, self._nightly] += 60.0 * (np.abs(clock % DAY - 130) < 10)[:, None]
            mean *= minute[:, None] >= self.born
            mean *= ((minute < OUTAGE[0]) | (minute >= OUTAGE[1]))[:, None]
        return self._rng.poisson(mean).astype(np.float64)

    def _weather(self, rows: int, minute: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the templates of a service share, which lasts for minutes, and the bursts of the wild ones."""
        factor = np.ones((rows, TEMPLATES))
        for row in range(rows):
            self._mood = 0.9 * self._mood + self._rng.normal(0, 0.12, SERVICES)
            factor[row] = np.exp(self._mood[self.service])
        heavy = self._rng.pareto(2.5, (rows, TEMPLATES)).clip(0, 40) + 0.4
        return np.where(self._wild, factor * heavy, factor)


def _zipf(n: int) -> NDArray[np.float64]:
    weight = 1.0 / np.arange(1, n + 1)
    share: NDArray[np.float64] = weight / weight.sum()
    return share


@dataclass
class Days:
    """What came of it. Shapes: told, held_back: incidents of each day."""

    told: list[int] = field(default_factory=list)
    held_back: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)

    def within(self, per_day: float) -> float:
        """The share of days with at most twice the budget."""
        return sum(told <= 2.0 * per_day for told in self.told) / len(self.told)


def of_counts(keys: Keys) -> Sequence[Detector]:
    """The further detectors that look at nothing but counts."""
    return ChangePoint(keys), OddWindows(keys)


def watch(
    fleet: Fleet,
    per_day: float,
    extras: Callable[[Keys], Sequence[Detector]] = lambda _keys: (),
    days: int = DAYS,
) -> Days:
    """Run a fleet's days through all detectors, the grouper and the purse."""
    keys = Keys()
    names = [f"service-{n}" for n in range(SERVICES)]
    numbers, _ = keys.number(fleet.service, names, np.arange(TEMPLATES, dtype=np.int32))
    order = np.argsort(numbers)
    keys.tally(numbers, np.zeros(TEMPLATES, np.int64), np.zeros(TEMPLATES, np.uint8))
    severity = fleet.severity[order]
    budget = Budget(BudgetConfig(per_day))
    detection = Detection(keys, budget, lambda key: int(severity[key]), extras(keys))
    grouper = Grouper(keys, budget, lambda key: f"t{key}")
    severe = severity >= Severity.ERROR
    seen = np.zeros(TEMPLATES, np.bool_)
    result = Days()
    for day in range(days):
        told, before = 0, budget.held_back
        for window_slice in _slices(fleet, day, order, severe):
            found = detection.judge(window_slice, _first_seen(window_slice, seen))
            result.anomalies.update(anomaly.kind for anomaly in found)
            events, held = grouper.take(found, window_slice.first, window_slice.counts)
            detection.learn(window_slice, held)
            for what, incident in events:
                # A release costs nothing: it is told as information.
                if what == "open" and incident.kinds != ["release"]:
                    told += 1
                    result.kinds[incident.kinds[0]] += 1
        result.told.append(told)
        result.held_back.append(budget.held_back - before)
    return result


def watch_sample(per_day: float, days: int = DAYS) -> Days:
    """The quiet sample's day, again and again under the next date, through the whole pipeline."""
    pipeline = Pipeline(Config(detect=DetectConfig(per_day)))
    day = (SAMPLES / "quiet.log").read_text()
    result = Days()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(days):
            path = Path(folder) / f"{number}.log"
            path.write_text(day.replace(SAMPLE_DAY.isoformat(), (SAMPLE_DAY + timedelta(number)).isoformat()))
            before = pipeline.budget.held_back
            opened = [event for chunk in read_file(path) for event in pipeline.feed(chunk) if event.event == "open"]
            told = [event for event in opened if event.kinds != ["release"]]
            result.kinds.update(event.kinds[0] for event in told)
            result.told.append(len(told))
            result.held_back.append(pipeline.budget.held_back - before)
    result.anomalies.update(pipeline.anomalies)
    return result


def watch_shop(seed: int, per_day: float, days: int = DAYS) -> Days:
    """A shop's days without problems through the whole pipeline, all detectors at work."""
    pipeline = Pipeline(Config(detect=DetectConfig(per_day)))
    # As where a file's past is read; a window at a time finds the same and takes twice as long.
    pipeline.windows.whole_blocks = True
    result = Days([0] * days, [0] * days)
    for hour, chunk in enumerate(Shop(seed, days).hours()):
        before = pipeline.budget.held_back
        opened = [event for event in pipeline.feed(chunk) if event.event == "open" and event.kinds != ["release"]]
        result.kinds.update(event.kinds[0] for event in opened)
        result.told[hour // 24] += len(opened)
        result.held_back[hour // 24] += pipeline.budget.held_back - before
    result.anomalies.update(pipeline.anomalies)
    return result


def _slices(fleet: Fleet, day: int, order: NDArray[np.int64], severe: NDArray[np.bool_]) -> Iterator[Slice]:
    for first in range(day * DAY, (day + 1) * DAY, BLOCK):
        counts = fleet.minutes(first, BLOCK)[:, order]
        yield Slice(FIRST + first, counts, counts * severe, 0, True)


def _first_seen(window_slice: Slice, seen: NDArray[np.bool_]) -> dict[int, list[int]]:
    new: dict[int, list[int]] = {}
    for key in np.flatnonzero(window_slice.counts.any(axis=0) & ~seen).tolist():
        seen[key] = True
        new.setdefault(window_slice.first + int((window_slice.counts[:, key] > 0).argmax()), []).append(key)
    return new


def main(*arguments: str) -> None:
    """Print a line for each budget and seed."""
    flags = {text for text in arguments if text.startswith("-")}
    for per_day in [float(text) for text in arguments if text not in flags] or [1.0, 5.0, 20.0]:
        for seed in (0,) if "--sample" in flags else (21, 22):
            begun = time.perf_counter()
            if "--sample" in flags:
                days = watch_sample(per_day)
            elif "--shop" in flags:
                days = watch_shop(seed, per_day)
            else:
                days = watch(Fleet(seed, rough="--rough" in flags), per_day, of_counts)
            print(
                f"budget {per_day:4.0f} a day, seed {seed}: {np.mean(days.told):5.2f} told a day, at most "
                f"{max(days.told):3}, {100 * days.within(per_day):3.0f} % of days within twice; the purse held back "
                f"{np.mean(days.held_back):6.2f} a day ({time.perf_counter() - begun:.0f} s)\n"
                f"    told {dict(days.kinds)}; anomalies {dict(days.anomalies)}\n    {days.told} | {days.held_back}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
