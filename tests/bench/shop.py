"""A simulated shop: the records of twenty services, day after day, with problems put in or none.

Each service takes requests that rise and fall with the day, each of them several messages: accepted, steps, finished.
Every second service is traced, with ids, durations, users and status codes in fields; the others say milliseconds and
numbers in the text. Besides they log heartbeats, caches, warnings, the usual errors and a report each hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.events import WINDOW_NS, Chunk, Columns, Fields, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["DAY", "FIRST", "KINDS", "WARM_UP_DAYS", "Problem", "Shop"]

DAY, HOUR = 1440, 60
FIRST = 29_000_160
"""The first window: a midnight."""

WARM_UP_DAYS = 3
APART = 5 * HOUR
"""Minutes between problems of one service."""

KINDS = {
    "rate": 15,
    "silence": 40,
    "stopped": 40,
    "missed": 4 * HOUR,
    "new": 10,
    "release": 10,
    "severity": 20,
    "latency": 40,
    "tail": 60,
    "distinct": 40,
    "session": 75,
    "change": DAY,
    "ratio": 60,
}
"""Kinds of problems, and for how many minutes each is a problem; a release and a change remain."""

_NAMES = (
    "basket",
    "billing",
    "carrier",
    "catalog",
    "checkout",
    "coupon",
    "customs",
    "email",
    "fraud",
    "images",
    "invoice",
    "ledger",
    "login",
    "orders",
    "payment",
    "pricing",
    "search",
    "shipping",
    "stock",
    "webhooks",
)
_STEPS = ("priced %d positions", "asked the warehouse for %d positions", "wrote %d rows")
_PLAIN = (
    ("heartbeat, %d threads", Severity.INFO, 2.0),
    ("cache refreshed with %d entries", Severity.INFO, 0.3),
    ("pool grew to %d connections", Severity.INFO, 0.05),
    ("configuration read again, %d settings", Severity.INFO, 0.02),
    ("slow consumer, %d behind", Severity.WARN, 0.15),
    ("retrying upstream after %d tries", Severity.WARN, 0.4),
    ("certificate ends in %d days", Severity.WARN, 0.01),
    ("upstream answered 503 at try %d", Severity.ERROR, 0.08),
    ("deadlock found, rolled back %d statements", Severity.ERROR, 0.02),
    ("could not parse answer, byte %d", Severity.ERROR, 0.05),
    ("lock of row %d not granted", Severity.ERROR, 0.01),
    ("queue full, dropped %d", Severity.ERROR, 0.02),
    ("signature of message %d does not fit", Severity.ERROR, 0.01),
    ("no route to shard %d", Severity.ERROR, 0.01),
    ("replica answers late, lag %d", Severity.ERROR, 0.02),
    ("checksum of page %d differs", Severity.ERROR, 0.005),
    ("worker %d ended at once", Severity.ERROR, 0.01),
    ("hourly report written, %d rows", Severity.INFO, 0.0),
)
_HEARTBEAT, _RETRYING, _ERRORS, _REPORT = 0, 5, slice(7, 17), 17
_FEW_USERS = 30
_NEW = (
    "disk quota exceeded on volume %d",
    "token signature rejected by issuer %d",
    "schema version %d is not supported here",
    "out of file handles after %d sockets",
    "replica %d has diverged from its leader",
)
_RELEASE = (
    "warming %d prepared statements",
    "feature gate opened for cohort %d",
    "batch writer flushed %d parts",
    "compacted segment %d",
    "subscribed to partition %d",
    "prefetch window set to %d",
)
_OF_REQUESTS = frozenset(("latency", "tail", "distinct", "session", "change", "ratio"))
_BACK_AGAIN = 0.35
"""Requests that still finish while the ratio of finished to started is broken."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, from minute `start` up to `end`."""

    kind: str
    service: int
    start: int
    end: int


class Shop:
    """The same for the same seed. Ask for the hours once, in order.

    Args:
        each: Problems of each kind, after the first WARM_UP_DAYS.
    """

    def __init__(self, seed: int, days: int, each: int = 0) -> None:
        self.names = [f"{name}-api" for name in _NAMES]
        self.days = days
        self._rng = rng = np.random.default_rng(seed)
        many = len(self.names)
        self._rate = rng.permutation(np.geomspace(0.4, 3.2, many))
        self._depth, self._phase = rng.uniform(0.1, 0.6, many), rng.uniform(0, 1.5, many)
        self._plain = np.array([each for _, _, each in _PLAIN]) * np.exp(rng.normal(0, 0.5, (many, len(_PLAIN))))
        self._plain[:, _HEARTBEAT] = rng.uniform(1.2, 3.0, many)
        # Every second traced service is for machines, which are few.
        self._users = np.where(np.arange(many) % 4 == 0, rng.integers(5, _FEW_USERS, many), rng.integers(50, 400, many))
        self._report_at = rng.integers(0, HOUR, many)
        self._median, self._sigma = np.exp(rng.normal(4.0, 0.8, many)), rng.uniform(0.2, 0.7, many)
        self._steps = rng.integers(1, 3, many)
        self._traces = 0
        self.problems = self._place(each)
        self._texts, self._severity, self._new, self._release = self._messages()

    def traced(self, service: int) -> bool:
        """Whether its records have ids and fields."""
        return service % 2 == 0

    def _place(self, each: int) -> list[Problem]:
        """Where problems are: of each service far from one another, what needs ids on services that have them."""
        placed: list[Problem] = []
        busy: list[list[tuple[int, int]]] = [[] for _ in self.names]
        # What takes longest is placed first.
        for kind in sorted(KINDS, key=lambda kind: -KINDS[kind]):
            services = [at for at in range(len(self.names)) if self._fits(kind, at)]
            queue = np.resize(self._rng.permutation(services), each + 1_000).tolist()
            for number in range(each):
                for service in queue[number:]:
                    start = int(self._rng.integers(WARM_UP_DAYS * DAY, self.days * DAY - max(KINDS[kind], 2 * HOUR)))
                    end = start + KINDS[kind]
                    if all(end + APART < begin or start > stop + APART for begin, stop in busy[service]):
                        busy[service].append((start, end))
                        placed.append(Problem(kind, service, start, end))
                        break
                else:
                    raise ValueError(f"no room for {kind} number {number}")
        return sorted(placed, key=lambda problem: problem.start)

    def _fits(self, kind: str, service: int) -> bool:
        """Ids and users are on traced services alone; what happens to requests needs one a minute to be seen at all."""
        if kind in {"session", "ratio", "distinct"} and self.traced(service) == (kind == "ratio"):
            return False
        if kind == "distinct" and self._users[service] >= _FEW_USERS:
            return False
        return kind not in _OF_REQUESTS or float(self._rate[service]) >= 1.0

    def _messages(self) -> tuple[list[list[str]], NDArray[np.uint8], int, int]:
        """Texts of each service; severities; where the new errors and the release's messages begin."""
        plain = [text for text, _, _ in _PLAIN]
        texts = []
        for service, name in enumerate(_NAMES):
            took = "finished, %d bytes" if self.traced(service) else "finished in %d ms"
            # What another service has shown before is no news.
            own = [f"{name}: {text}" for text in (*_NEW, *_RELEASE)]
            texts.append([*plain, *own, *_STEPS, f"{name} request accepted, %d headers", f"{name} request {took}"])
        severity = np.full(len(texts[0]), int(Severity.INFO), np.uint8)
        severity[: len(plain)] = [int(level) for _, level, _ in _PLAIN]
        severity[len(plain) : len(plain) + len(_NEW)] = int(Severity.ERROR)
        return texts, severity, len(plain), len(plain) + len(_NEW)

    def hours(self) -> Iterator[Chunk]:
        """A chunk for each hour, records in order of time."""
        for hour in range(self.days * 24):
            parts = [self._service(service, hour * HOUR) for service in range(len(self.names))]
            yield self._chunk(hour, parts)

    def _service(self, service: int, first: int) -> NDArray[np.float64]:
        """float64[6, n]: of a service's records in an hour the minute, message, number in the text, duration, user,
        trace; NaN where they have none."""
        rng = self._rng
        now = [p for p in self.problems if p.service == service]
        minutes = np.arange(first, first + HOUR)
        season = 1 + self._depth[service] * np.sin(2 * np.pi * minutes / DAY + self._phase[service])
        mean = self._rate[service] * season * rng.gamma(25, 1 / 25, HOUR)
        plain = np.repeat(self._plain[service][None], HOUR, axis=0)
        extra: list[NDArray[np.float64]] = []
        for problem in now:
            within = (minutes >= problem.start) & (minutes < problem.end)
            if problem.kind == "rate":
                plain[within, _RETRYING] = 8.0 * plain[within, _RETRYING] + 2.0
            elif problem.kind == "silence":
                plain[within, _HEARTBEAT] = 0.0
            elif problem.kind == "severity":
                plain[:, _ERRORS] += 0.15 * within[:, None]
            elif problem.kind == "change":
                mean *= np.where(minutes >= problem.start, 2.5, 1.0)
            elif problem.kind == "new":
                which = self._new + problem.start % len(_NEW)
                extra.append(self._spread(minutes, np.where(within, 2.0, 0.0), which))
            elif problem.kind == "release":
                since = np.where(minutes >= problem.start, 0.4, 0.0)
                extra += [self._spread(minutes, since, self._release + more) for more in range(len(_RELEASE))]
        requests = self._requests(service, minutes, mean, now)
        lines = [self._spread(minutes, plain[:, which], which) for which in range(len(_PLAIN))]
        lines.append(self._report(service, first, now))
        records = np.concatenate([requests, *lines, *extra], axis=1)
        for problem in now:
            if problem.kind == "stopped":
                records = records[:, (records[0] < problem.start) | (records[0] >= problem.end)]
        return np.concatenate([records, np.full((1, records.shape[1]), float(service))])

    def _report(self, service: int, first: int, now: list[Problem]) -> NDArray[np.float64]:
        """The hour's report, within a minute of when it always comes, unless it is missed."""
        at = first + self._report_at[service] + self._rng.random()
        missed = any(problem.kind == "missed" and problem.start <= at < problem.end for problem in now)
        row = [at, float(_REPORT), float(self._rng.integers(1, 90)), np.nan, np.nan, np.nan]
        return np.zeros((6, 0)) if missed else np.array(row)[:, None]

    def _spread(self, minutes: NDArray[np.int64], mean: NDArray[np.float64], which: int) -> NDArray[np.float64]:
        at = np.repeat(minutes, self._rng.poisson(mean)).astype(np.float64)
        at += self._rng.random(len(at))
        none = np.full(len(at), np.nan)
        return np.stack([at, np.full(len(at), float(which)), self._rng.integers(1, 90, len(at)), none, none, none])

    def _requests(
        self, service: int, minutes: NDArray[np.int64], mean: NDArray[np.float64], now: list[Problem]
    ) -> NDArray[np.float64]:
        rng = self._rng
        at = np.repeat(minutes, rng.poisson(mean)).astype(np.float64)
        at += rng.random(len(at))
        n = len(at)
        took = self._median[service] * np.exp(rng.normal(0, self._sigma[service], n))
        user = (rng.random(n) ** 2 * self._users[service]).astype(np.float64)
        steps = np.ones((n, 2 + self._steps[service]), np.bool_)
        for problem in now:
            mine = (at >= problem.start) & (at < problem.end)
            if problem.kind == "latency":
                took[mine] *= 2.0
            elif problem.kind == "tail":
                took[mine & (rng.random(n) < 1 / 12)] *= 10.0
            elif problem.kind == "distinct":
                user[mine] = rng.integers(0, 20 * self._users[service], int(mine.sum()))
            elif problem.kind == "session":
                steps[mine & (rng.random(n) < 0.3) & (at < problem.start + 20), -1] = False
            elif problem.kind == "ratio":
                steps[mine & (rng.random(n) > _BACK_AGAIN), -1] = False
        trace = np.arange(self._traces, self._traces + n, dtype=np.float64)
        self._traces += n
        traced = self.traced(service)
        none = np.full(n, np.nan)
        all_texts = len(self._severity)
        of_steps = [all_texts - 2, *(all_texts - 2 - len(_STEPS) + step for step in range(self._steps[service]))]
        rows = []
        for place, which in enumerate([*of_steps, all_texts - 1]):
            later = at + place / (steps.shape[1] - 1) * took / 60_000.0
            last = place == steps.shape[1] - 1
            number = took if last and not traced else rng.integers(1, 90, n)
            duration = took if last and traced else none
            row = np.stack(
                [
                    later,
                    np.full(n, float(which)),
                    number,
                    duration,
                    user if traced and not place else none,
                    trace if traced else none,
                ]
            )
            rows.append(row[:, steps[:, place]])
        return np.concatenate(rows, axis=1)

    def _chunk(self, hour: int, parts: list[NDArray[np.float64]]) -> Chunk:
        records = np.concatenate(parts, axis=1)
        records = records[:, np.argsort(records[0], kind="stable")]
        at, which, number, took, user, trace, service = records
        messages = [
            self._texts[of][kind] % value
            for of, kind, value in zip(
                service.astype(int).tolist(), which.astype(int).tolist(), number.astype(int).tolist(), strict=True
            )
        ]
        fields = Fields(
            {"duration_ms": took},
            {"user": _words(user, "u"), "trace_id": _words(trace, "t-"), "status": _statuses(took)},
        )
        columns = Columns(
            (np.floor(at * 60_000.0).astype(np.int64) + FIRST * (WINDOW_NS // 1_000_000)) * 1_000_000,
            messages,
            self._severity[which.astype(np.int64)],
            service.astype(np.int32),
            self.names,
            fields=fields,
        )
        return Chunk(f"hour-{hour}", len(messages), 120 * len(messages), columns=columns)


def _words(values: NDArray[np.float64], mark: str) -> tuple[NDArray[np.int32], list[str]]:
    known = np.isfinite(values)
    distinct, codes = np.unique(values[known], return_inverse=True)
    all_codes = np.full(len(values), -1, np.int32)
    all_codes[known] = codes
    return all_codes, [f"{mark}{int(value):07d}" for value in distinct.tolist()]


def _statuses(took: NDArray[np.float64]) -> tuple[NDArray[np.int32], list[str]]:
    """Nearly all are 200; which are not follows from the digits of the duration."""
    missing = np.nan_to_num(took * 1_000.0).astype(np.int64) % 50 == 0
    return np.where(np.isfinite(took), missing, -1).astype(np.int32), ["200", "404"]
