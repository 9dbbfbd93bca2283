"""Odd windows against the rate detector on a simulated fleet: what each finds at one false alert a day.

    python tests/bench/odd_windows.py [SEED...]

Twenty services of thirty messages for ten days: a daily season each, over-dispersed counts, six pairs of messages that
go together (started, finished), and in each third service a job that runs every quarter, half or whole hour. From the
fifth day on three sorts of trouble, ten to thirty minutes each: one message spikes; of a pair the second falls by half
and others take its place, so that the total stays; two thirds of all messages move by 1.3 to 1.8 together.

Prints what the rate detector finds alone and together with `OddWindows`, and what other models would find in the same
vectors: river's half-space trees, and of pyod those named in MODELS; with CPU seconds a day of windows.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.keys import Keys
from logllm.detectors.odd.followed import MOST_SERVICES
from logllm.detectors.odd.vectors import LEAST_SPREAD, Vectors
from logllm.detectors.odd.windows import OddWindows
from logllm.detectors.rate import Rate
from logllm.detectors.slices import BLOCK, Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SERVICES, MESSAGES, PAIRS, DAYS, DAY = 20, 30, 6, 10, 1440
QUIET_DAYS = 4
SORTS = ("spike", "mix", "many")
MODELS = ("ECOD", "COPOD", "IForest", "LODA", "PCA", "MCD", "KNN")
REFIT, TRAIN = 480, 2880


@dataclass(frozen=True)
class Trouble:
    """`sort` indexes SORTS; windows from `start` to before `end` of one service."""

    sort: int
    start: int
    end: int
    service: int


def fleet(seed: int) -> tuple[NDArray[np.int64], list[Trouble]]:
    """int64[windows, SERVICES, MESSAGES], and what is wrong in them."""
    source = np.random.default_rng(seed)
    windows = DAYS * DAY
    at = np.arange(windows)
    counts = np.zeros((windows, SERVICES, MESSAGES), np.int64)
    for service in range(SERVICES):
        season = 1.0 + source.uniform(0.1, 0.8) * np.sin(2 * np.pi * (at / DAY + source.random()))
        rates = np.exp(source.uniform(np.log(0.3), np.log(60.0), MESSAGES))
        spread = source.uniform(0.05, 0.4, MESSAGES)
        for message in range(MESSAGES):
            if message < 2 * PAIRS and message % 2:
                continue
            phi = spread[message]
            counts[:, service, message] = source.poisson(rates[message] * season * source.gamma(1 / phi, phi, windows))
        for first in range(0, 2 * PAIRS, 2):
            done = source.binomial(counts[:, service, first], 1.0 - source.uniform(0.005, 0.05))
            later = source.binomial(done, 0.1)
            counts[:, service, first + 1] = done - later
            counts[1:, service, first + 1] += later[:-1]
        if service % 3 == 0:
            every, length = int(source.choice([15, 30, 60])), int(source.integers(2, 5))
            runs = (at - int(source.integers(every))) % every < length
            for message in source.choice(np.arange(2 * PAIRS, MESSAGES), 3, replace=False):
                chance = 10.0 / (10.0 + source.uniform(20.0, 100.0))
                counts[runs, service, message] += source.negative_binomial(10, chance, int(runs.sum()))
    return counts, _trouble(counts, source)


def _trouble(counts: NDArray[np.int64], source: np.random.Generator) -> list[Trouble]:
    found: list[Trouble] = []
    start = QUIET_DAYS * DAY
    while start < len(counts) - 60:
        service, end = int(source.integers(SERVICES)), start + int(source.integers(10, 30))
        part = counts[start:end, service]
        sort = len(found) % len(SORTS)
        (_spike, _mix, _many)[sort](part, source)
        found.append(Trouble(sort, start, end, service))
        start += int(source.integers(50, 150))
    return found


def _spike(part: NDArray[np.int64], source: np.random.Generator) -> None:
    message = int(source.integers(MESSAGES))
    part[:, message] = source.poisson(part[:, message] * source.uniform(3.0, 10.0))


def _mix(part: NDArray[np.int64], source: np.random.Generator) -> None:
    second = 2 * int(source.integers(PAIRS)) + 1
    lost = source.binomial(part[:, second], source.uniform(0.4, 0.7))
    part[:, second] -= lost
    others = source.integers(2 * PAIRS, MESSAGES, 3)
    for row, many in enumerate(lost.tolist()):
        np.add.at(part[row], others, source.multinomial(many, [1 / 3] * 3))


def _many(part: NDArray[np.int64], source: np.random.Generator) -> None:
    factor, all_up = source.uniform(1.3, 1.8), source.random() < 0.6
    units = [[first, first + 1] for first in range(0, 2 * PAIRS, 2)] + [[one] for one in range(2 * PAIRS, MESSAGES)]
    for unit in source.choice(len(units), 16, replace=False).tolist():
        times = factor if all_up or source.random() < 0.5 else 1.0 / factor
        first = units[unit][0]
        before = part[:, first].copy()
        more = source.poisson(before * max(0.0, times - 1.0)) - source.binomial(before, max(0.0, 1.0 - times))
        for message in units[unit][1:]:
            part[:, message] += np.rint(more * part[:, message] / np.maximum(before, 1)).astype(np.int64)
        part[:, first] += more
    np.maximum(part, 0, out=part)


def keys_of_the_fleet() -> Keys:
    """A key for each message of each service, in order."""
    keys = Keys()
    for service in range(SERVICES):
        templates = np.arange(MESSAGES, dtype=np.int32) + service * MESSAGES
        keys.number(np.zeros(MESSAGES, np.int32), [f"service-{service}"], templates)
    return keys


def slices(counts: NDArray[np.int64]) -> Iterator[Slice]:
    """A slice a block; the last two messages of a service are errors."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    severe = np.where(np.arange(flat.shape[1]) % MESSAGES >= MESSAGES - 2, flat, 0.0)
    for first in range(0, len(flat), BLOCK):
        yield Slice(first, flat[first : first + BLOCK], severe[first : first + BLOCK], 0, True)


def rate_surprise(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[windows, SERVICES]: -log of the least tail of a service's keys."""
    rate = Rate()
    found = []
    for each in slices(counts):
        rate.enter(each)
        scores = rate.score(each)
        rate.learn(each, scores, np.any(scores.spike < 1e-6, axis=0))
        least = scores.spike.reshape(len(each), SERVICES, MESSAGES).min(axis=2)
        found.append(-np.log(np.maximum(least, 1e-300)))
    return np.concatenate(found)


def odd_surprise(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same of `OddWindows`, as it tells it."""
    odd = OddWindows(keys_of_the_fleet())
    found = np.zeros(counts.shape[:2])
    nothing = np.zeros(SERVICES * MESSAGES, np.bool_)
    for each in slices(counts):
        for anomaly in odd.judge(each, 1e-2):
            found[anomaly.window, anomaly.service] = anomaly.surprise * np.log(10.0)
        odd.learn(each, nothing)
    return found


def vectors_of(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[windows, SERVICES, f]: the vectors that models see, in order of services."""
    vectors = Vectors(keys_of_the_fleet())
    found = []
    for each in slices(counts):
        found.append(vectors.of(each))
        vectors.learn(each, np.zeros(SERVICES * MESSAGES, np.bool_))
    return np.concatenate(found)[:, np.argsort(vectors.followed.services[:MOST_SERVICES])]


def scores_of(fit: Callable[[NDArray[np.float64]], Any] | None, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores by a model fitted anew each REFIT windows on the TRAIN before, of all services; None: plain distance."""
    found = np.zeros(vectors.shape[:2])
    entries = vectors.shape[2]
    for at in range(DAY, len(vectors), REFIT):
        past, now = vectors[max(0, at - TRAIN) : at], vectors[at : at + REFIT]
        low, mid, high = np.quantile(past, (0.1, 0.5, 0.9), axis=0)
        spread = np.maximum((high - low) / 2.56, LEAST_SPREAD)
        train, these = (np.clip((each - mid) / spread, -8.0, 8.0).reshape(-1, entries) for each in (past, now))
        # pyod's PCA divides by the spread along each axis: an entry that never moves would be all it sees.
        moving = train.std(axis=0) > 0.0
        train, these = train[:: max(1, len(train) // 6000)][:, moving], these[:, moving]
        scores = (these**2).sum(axis=1) if fit is None else fit(train)(these)
        found[at : at + REFIT] = scores.reshape(len(now), -1)
    return found


def half_space_trees(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """River's, learning from each window after it has scored it, entries scaled to 0..1."""
    from river.anomaly import HalfSpaceTrees

    trees: Any = HalfSpaceTrees(n_trees=25, height=8, window_size=2000, seed=1)

    def learning(_: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        def score(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            scores = []
            for row in (0.5 + rows / 16.0).tolist():
                entries = dict(enumerate(row))
                scores.append(trees.score_one(entries))
                trees.learn_one(entries)
            return np.array(scores)

        return score

    return scores_of(learning, vectors)


def of_pyod(name: str) -> Callable[[NDArray[np.float64]], Any]:
    """Fits a model of pyod's and gives its scores."""
    import importlib

    kind = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)
    fixed = {"random_state": 1} if name in ("IForest", "LODA", "MCD", "PCA") else {}
    options = {"n_neighbors": 10} if name == "KNN" else {"n_bins": 30} if name == "LODA" else {}

    def fit(train: NDArray[np.float64]) -> Any:
        return kind(**fixed, **options).fit(train).decision_function

    return fit


def surprise_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log of a tail by ranks in the quiet days, each service for itself; past them an exponential."""
    found = np.zeros(scores.shape)
    top = 60
    for service in range(scores.shape[1]):
        mine, quiet = scores[:, service], np.sort(scores[2 * DAY : QUIET_DAYS * DAY, service])
        rank = 1.0 - np.searchsorted(quiet, mine) / (len(quiet) + 1.0)
        upper, above = quiet[-top], max(1e-9, float((quiet[-top:] - quiet[-top]).mean()))
        over = np.log(len(quiet) / top) + (mine - upper) / above
        found[:, service] = np.where(mine > upper, over, -np.log(np.maximum(rank, top / len(quiet))))
    return found


def found_at_one_a_day(surprises: list[NDArray[np.float64]], troubles: list[Trouble]) -> tuple[list[int], list[int]]:
    """Found of each sort by any of the detectors, which share one false episode a day evenly; and how many there are.

    False are episodes of half an hour in which nothing was wrong with the service, nor in the hour before.
    """
    wrong = np.zeros(surprises[0].shape, np.bool_)
    for each in troubles:
        wrong[each.start : each.end + 60, each.service] = True
    days = DAYS - QUIET_DAYS
    seen = np.zeros(len(troubles), np.bool_)
    for surprise in surprises:
        quiet = np.where(wrong, -np.inf, surprise)[QUIET_DAYS * DAY :]
        episodes = np.sort(quiet[: len(quiet) // 30 * 30].reshape(-1, 30, quiet.shape[1]).max(axis=1).ravel())
        limit = episodes[-1 - days // len(surprises)]
        seen |= np.array([surprise[each.start : each.end + 5, each.service].max() > limit for each in troubles])
    sort = np.array([each.sort for each in troubles])
    return [int(seen[sort == kind].sum()) for kind in range(len(SORTS))], np.bincount(sort, minlength=3).tolist()


class Table:
    """What each way finds over some seeds, and what it costs."""

    def __init__(self) -> None:
        self.found: dict[str, NDArray[np.int64]] = {}
        self.seconds: dict[str, float] = {}
        self.of = np.zeros(len(SORTS), np.int64)

    def timed(self, name: str, run: Callable[..., NDArray[np.float64]], *given: Any) -> NDArray[np.float64]:
        """Run it and note its CPU seconds a day of windows."""
        begun = time.process_time()
        done = run(*given)
        self.seconds[name] = self.seconds.get(name, 0.0) + (time.process_time() - begun) / DAYS
        return done

    def add(self, name: str, surprises: list[NDArray[np.float64]], troubles: list[Trouble]) -> None:
        """Note what is found."""
        found, _ = found_at_one_a_day(surprises, troubles)
        self.found[name] = self.found.get(name, np.zeros(len(SORTS), np.int64)) + np.array(found, np.int64)

    def print(self, seeds: int) -> None:
        """Print it."""
        print(
            f"{'at one false alert a day':30} "
            + " ".join(f"{name:>6} of {self.of[sort]:3}" for sort, name in enumerate(SORTS))
        )
        for name, found in self.found.items():
            cost = f"  {self.seconds[name] / seeds:5.2f} s of CPU a day of windows" if name in self.seconds else ""
            print(f"{name:30} " + " ".join(f"{each:13}" for each in found) + cost)


def measure(seed: int, table: Table) -> float:
    """Add a fleet to the table; returns the false episodes a day of odd windows at the level of one a day."""
    counts, troubles = fleet(seed)
    table.of += np.bincount([each.sort for each in troubles], minlength=len(SORTS))
    rate = table.timed("rate", rate_surprise, counts)
    odd = table.timed("odd windows", odd_surprise, counts)
    vectors = table.timed("vectors", vectors_of, counts)
    distance = surprise_of(table.timed("distance", scores_of, None, vectors))
    table.add("rate", [rate], troubles)
    table.add("odd windows", [odd], troubles)
    table.add("rate + odd windows", [rate, odd], troubles)
    table.add("distance", [distance], troubles)
    table.add("rate + distance", [rate, distance], troubles)
    for name in ("half-space trees", *MODELS):
        trees = name == "half-space trees"
        scores = table.timed(name, *((half_space_trees,) if trees else (scores_of, of_pyod(name))), vectors)
        table.add(name, [surprise_of(scores)], troubles)
        table.add(f"rate + {name}", [rate, surprise_of(scores)], troubles)
        table.add(f"distance and {name}", [distance + surprise_of(scores)], troubles)
    clear = np.ones(odd.shape, np.bool_)
    for each in troubles:
        clear[each.start : each.end + 60, each.service] = False
    told = (np.where(clear, odd, 0.0) > np.log(DAY * SERVICES))[QUIET_DAYS * DAY :]
    days = DAYS - QUIET_DAYS
    return float(told[: len(told) // 30 * 30].reshape(-1, 30, SERVICES).any(axis=1).sum()) / days


def main(*seeds: int) -> None:
    """Print the table."""
    table = Table()
    seeds = seeds or (1, 2)
    false = [measure(seed, table) for seed in seeds]
    table.print(len(seeds))
    print(f"odd windows at the level of one alert a day: {sum(false) / len(false):.2f} false episodes a day")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB resident at most")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*map(int, sys.argv[1:]))
