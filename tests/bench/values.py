"""Shifts of latencies and jumps of distinct values found in a simulated fleet, against false alerts a day.

    python tests/bench/values.py [SEED] [DAYS]

40 services, one key each; 1 to 300 requests a minute (lognormal) that rise and fall with the day, lognormal latencies
whose median follows a season of its own and wanders from minute to minute; some have a second mode (cache and no
cache), and one request in a thousand takes ten times as long anywhere. Users are drawn from a population of some
hundred, unevenly. After a warm-up of two days 10 events of each kind are put in, 20 to 60 minutes long: medians times
1.5, 2 and 4, one request in twelve times 10 (tail), users from five times the population (distinct), one user with nine
requests in ten (dominant). The level is a budget of one alert a day.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.contract import Seen
from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.values.distinct import TESTS, DistinctJump
from logllm.detectors.values.shift import TESTS as LEVEL_TESTS
from logllm.detectors.values.shift import ValueShift
from logllm.events import Columns, Fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from logllm.events import Anomaly

SERVICES, WARM_UP, HOLD, SLACK = 40, 2 * 1440, 60, 15
KINDS = {"x1.5": 1.5, "x2": 2.0, "x4": 4.0, "tail": 1.0, "distinct": 1.0, "dominant": 1.0}
EVENTS = 10
WINDOWS_A_DAY = 1440
FIRST = 28_000_000 - 28_000_000 % BLOCK


@dataclass(frozen=True, slots=True)
class Event:
    """Something put in."""

    kind: str
    service: int
    start: int
    end: int


class Fleet:
    """The simulated services. Shapes: all float64[SERVICES]."""

    def __init__(self, seed: int, days: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.minutes = days * WINDOWS_A_DAY
        self.rate = np.exp(rng.normal(2.7, 1.3, SERVICES)).clip(1, 300)
        self.depth, self.phase = rng.uniform(0, 0.8, SERVICES), rng.uniform(0, 2 * np.pi, SERVICES)
        self.median = np.exp(rng.normal(4, 1.5, SERVICES))
        self.sigma = rng.uniform(0.2, 1.0, SERVICES)
        self.swing, self.swing_phase = rng.uniform(0, 0.5, SERVICES), rng.uniform(0, 2 * np.pi, SERVICES)
        self.wander = rng.uniform(0.01, 0.12, SERVICES)
        self.second = np.where(rng.random(SERVICES) < 0.3, rng.uniform(0.1, 0.5, SERVICES), 0.0)
        self.users = rng.integers(50, 800, SERVICES)
        self.events = self._events()

    def _events(self) -> list[Event]:
        found: list[Event] = []
        room = self.minutes - WARM_UP - 180
        for number in range(EVENTS * len(KINDS)):
            start = WARM_UP + 60 + int(self.rng.integers(0, room))
            length = int(self.rng.integers(20, 60))
            found.append(
                Event(list(KINDS)[number % len(KINDS)], int(self.rng.integers(SERVICES)), start, start + length)
            )
        return found

    def windows(self) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]]:
        """Minute, and of each record in it: service, latency in ms, user."""
        rng, noise = self.rng, np.zeros(SERVICES)
        for minute in range(self.minutes):
            turn = 2 * np.pi * minute / WINDOWS_A_DAY
            noise = 0.8 * noise + 0.6 * rng.normal(0, self.wander)
            mean = self.rate * (1 + self.depth * np.sin(turn + self.phase)) * rng.gamma(20, 1 / 20, SERVICES)
            service = np.repeat(np.arange(SERVICES, dtype=np.int32), rng.poisson(mean))
            level = np.log(self.median) + self.swing * np.sin(turn + self.swing_phase) + noise
            latency = np.exp(level[service] + rng.normal(0, 1, len(service)) * self.sigma[service])
            latency *= np.where(rng.random(len(service)) < self.second[service], 20.0, 1.0)
            latency *= np.where(rng.random(len(service)) < 0.001, 10.0, 1.0)
            user = (rng.random(len(service)) ** 2 * self.users[service]).astype(np.int64)
            for event in self.events:
                if event.start <= minute < event.end:
                    mine = service == event.service
                    latency[mine] *= KINDS[event.kind]
                    if event.kind == "tail":
                        latency *= np.where(mine & (rng.random(len(mine)) < 1 / 12), 10.0, 1.0)
                    elif event.kind == "distinct":
                        user[mine] = rng.integers(0, 5 * self.users[event.service], int(mine.sum()))
                    elif event.kind == "dominant":
                        user = np.where(mine & (rng.random(len(mine)) < 0.9), 3, user)
            order = rng.permutation(len(service))
            yield minute, service[order], latency[order], user[order]


def seen_of(minute: int, service: NDArray[np.int32], latency: NDArray[np.float64], user: NDArray[np.int64]) -> Seen:
    """A minute's records as a detector sees them."""
    n = len(service)
    words, codes = np.unique(user, return_inverse=True)
    fields = Fields(
        {"duration_ms": latency}, {"user": (codes.astype(np.int32), [f"u{word}" for word in words.tolist()])}
    )
    times = np.full(n, (FIRST + minute) * 60_000_000_000, np.int64)
    columns = Columns(times, [""] * n, np.zeros(n, np.uint8), np.zeros(n, np.int32), ["fleet"], fields=fields)
    return Seen(columns, service, np.full(n, FIRST + minute, np.int64))


def slice_at(minute: int, service: NDArray[np.int32]) -> Slice:
    """A window as it closes."""
    window = FIRST + minute
    counts = np.bincount(service, minlength=SERVICES).astype(np.float64)[None]
    return Slice(window, counts, np.zeros_like(counts), 0, (window + 1) % BLOCK == 0)


def scored(fleet: Fleet, anomalies: list[Anomaly], wanted: tuple[str, ...]) -> tuple[dict[str, int], int, float]:
    """Events of the wanted kinds found, false alerts, and false alerts a day."""
    found: set[Event] = set()
    false = 0
    last: dict[tuple[int, str], int] = {}
    for anomaly in anomalies:
        minute = anomaly.window - FIRST
        if minute < WARM_UP:
            continue
        hits = [e for e in fleet.events if e.service == anomaly.service and e.start <= minute < e.end + SLACK]
        found |= set(hits)
        place = anomaly.service, anomaly.about
        if not hits and minute - last.get(place, -HOLD - 1) > HOLD:
            false += 1
        last[place] = minute
    counts = {kind: sum(event.kind == kind for event in found) for kind in wanted}
    return counts, false, false / ((fleet.minutes - WARM_UP) / WINDOWS_A_DAY)


def main() -> None:
    """Print a line for each set of tests."""
    seed, days = int(sys.argv[1]) if sys.argv[1:] else 7, int(sys.argv[2]) if sys.argv[2:] else 7
    fleet = Fleet(seed, days)
    shifts = {
        "all": ValueShift(service_of=lambda key: key),
        "share alone": ValueShift(service_of=lambda key: key, tests=frozenset(("share",))),
        **{
            f"without {test}": ValueShift(service_of=lambda key: key, tests=LEVEL_TESTS - {test})
            for test in ("share", "down")
        },
    }
    jumps = {
        f"distinct{name}": DistinctJump(service_of=lambda keys: keys.astype(np.int64), tests=tests)
        for name, tests in (("", TESTS), (" count", ("count",)), (" mix", ("mix",)))
    }
    raised: dict[str, list[Anomaly]] = {name: [] for name in (*shifts, *jumps)}
    spent = dict.fromkeys(raised, 0.0)
    records = 0
    for minute, service, latency, user in fleet.windows():
        seen, window_slice = seen_of(minute, service, latency, user), slice_at(minute, service)
        records += len(service)
        held = np.zeros(SERVICES, np.bool_)
        detectors: dict[str, ValueShift | DistinctJump] = {**shifts, **jumps}
        for name, detector in detectors.items():
            before = time.process_time()
            detector.see(seen)
            level = 1.0 / (WINDOWS_A_DAY * max(detector.tested, 1))
            raised[name] += detector.judge(window_slice, level)
            detector.learn(window_slice, held)
            spent[name] += time.process_time() - before
    for name in raised:
        wanted = ("distinct", "dominant") if name in jumps else ("x1.5", "x2", "x4", "tail")
        counts, false, a_day = scored(fleet, raised[name], wanted)
        each = ", ".join(f"{kind} {count} of {EVENTS}" for kind, count in counts.items())
        print(f"{name}: {each}; {false} false, {a_day:.2f} a day; {spent[name] / records * 1e6:.2f} us a record")


if __name__ == "__main__":
    main()
