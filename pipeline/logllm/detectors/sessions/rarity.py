"""How strange a session is: its rarest event, or the most usual one that it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.detectors.sessions.opened import Courses

__all__ = ["RARE", "WARM_UP", "Rarity", "Strangeness"]

RARE = 0.05
"""One session in twenty: what fewer show, or fewer lack, is rare. On HDFS 0.03 to 0.1 find the same."""

MOST_ODD = 0.15
"""Where more than so many of the sessions of late are that strange, it is how sessions are here. Anomalies come in
bursts: on HDFS a bound below 0.08 cuts into them."""

WARM_UP = 500
"""Before that a share of a twentieth rests on a handful of sessions."""

REMEMBERED = 200_000
"""Sessions begun after which everything counts half, so that what is normal can change."""

_MOST_EXPECTED = 256
_HALF_LIFE_SESSIONS = 1_000.0
_PRIOR_SESSIONS = 200.0
"""Ordinary sessions that the share of odd ones starts from: a fifth of what it looks back on."""

_NEVER_SEEN = 0.5
"""Sessions that stand for none."""

_BINS_A_DECADE = 20
_BINS = 8 * _BINS_A_DECADE
"""Of how many other sessions there are like it: the number for what is new each time, which its share is not."""


@dataclass(frozen=True, slots=True)
class Strangeness:
    """What was found of some closed sessions, in their order.

    Shapes:
        tail: float64[m], the share of sessions that hold its rarest event, or lack what it lacks: the smaller one.
        lead: int32[m], the key of that event. missing: bool[m], whether it is one that the session lacks.
        odd: bool[m], tail below the level.
    """

    tail: NDArray[np.float64]
    lead: NDArray[np.int32]
    missing: NDArray[np.bool_]
    odd: NDArray[np.bool_]


class Rarity:
    """Counts how many sessions hold each event, and judges those that have ended by it.

    Shares are among the sessions that have shown anything of the event's service: where each service has requests of
    its own, they are what is compared, and a trace that passes through several is judged in each.

    An event counts when a session first shows it, not when the session ends: sessions that end early are often the
    broken ones, and a count of ended sessions would take their course for the usual one. So what most open sessions
    have yet to reach is not missed in the one that has ended. Learns from everything and needs no labels. The level is
    a rarity, not a share of sessions: how many are odd follows from the log, up to MOST_ODD.

    Does not see: unusual counts, orders and durations of usual events (as terms of their own they cost more in
    precision than they found); what only one of several kinds of session of a service lacks; anything where every
    session holds rare events, as with a template for each path of a web server: there MOST_ODD lowers the level; what
    happens in services that fewer than `warm_up` sessions have passed.

    Cost: a few microseconds a session. Memory: 16 bytes a key.

    Args:
        warm_up: Sessions that must have ended before the next one is judged.

    Shapes:
        has: float64[k], sessions that showed each key. among: float64[s], sessions that showed any key of a service.
        service: int32[k], the service of each key that was shown.
    """

    rare: ClassVar[float] = RARE

    def __init__(self, *, warm_up: int = WARM_UP) -> None:
        self._warm_up = warm_up
        self.has, self.among = np.zeros(0), np.zeros(0)
        self.service = np.zeros(0, np.int32)
        self.begun = 0.0
        self.ended = 0
        self.records = 0.0
        self._spread = np.zeros(_BINS)
        self._spread[-1] = _PRIOR_SESSIONS

    def copy(self) -> Rarity:
        """One that goes on for itself."""
        other = type(self)(warm_up=self._warm_up)
        other.has, other._spread = self.has.copy(), self._spread.copy()
        other.among, other.service = self.among.copy(), self.service.copy()
        other.begun, other.ended, other.records = self.begun, self.ended, self.records
        return other

    @property
    def typical_records(self) -> float:
        """Mean records of a session."""
        return self.records / self.begun if self.begun else 0.0

    @property
    def is_warm(self) -> bool:
        """Whether enough sessions have ended for those that end now to be judged."""
        return self.ended >= self._warm_up

    @property
    def level(self) -> float:
        """The tail below which a session is odd now."""
        crowded = int(np.argmax(np.cumsum(self._spread) > MOST_ODD * self._spread.sum()))
        others: float = _NEVER_SEEN * 10.0 ** (crowded / _BINS_A_DECADE)
        return min(self.rare, others / max(self.begun, 1.0))

    def show(
        self, begun: int, keys: NDArray[np.int64], records: int, came: NDArray[np.int64], service: NDArray[np.int32]
    ) -> None:
        """Sessions have begun, and sessions have shown keys for the first time, in so many records.

        Shapes:
            keys: int64[c], one entry for each session and key. came: int64[d], one for each session and service it
            has shown something of for the first time. service: int32[at least all keys], the service of each key.
        """
        if len(keys):
            counts = np.bincount(keys, minlength=len(self.has))
            self.has = np.pad(self.has, (0, len(counts) - len(self.has))) + counts
            self.service = np.pad(self.service, (0, len(counts) - len(self.service)))
            self.service[keys] = service[keys]
            counts = np.bincount(came, minlength=max(len(self.among), int(self.service.max(initial=0)) + 1))
            self.among = np.pad(self.among, (0, len(counts) - len(self.among))) + counts
        self.begun += begun
        self.records += records
        while self.begun > REMEMBERED:
            self.begun *= 0.5
            self.records *= 0.5
            self.has *= 0.5
            self.among *= 0.5

    def _among(self) -> NDArray[np.float64]:
        """float64[k]: the sessions among which each key's share is."""
        among: NDArray[np.float64] = np.maximum(self.among[self.service], 1.0)
        return among

    def judge(self, courses: Courses) -> Strangeness:
        """How strange sessions are; they must have been shown."""
        among = self._among()
        # Of the others: a session is no example for itself.
        shares = np.maximum(self.has - 1.0 + _NEVER_SEEN, _NEVER_SEEN) / among
        shares[among < self._warm_up] = 1.0
        held = shares[courses.keys]
        tail = np.minimum.reduceat(held, courses.starts)
        owner = courses.owners
        first = np.flatnonzero(held == tail[owner])
        lead = courses.keys[first[np.unique(owner[first], return_index=True)[1]]].astype(np.int32)
        missing = np.zeros(len(tail), np.bool_)
        services = self.service[courses.keys]
        passed = {service: owner[services == service] for service in np.unique(services).tolist()}
        for key, share in zip(*self._expected(services), strict=True):
            lacks = np.zeros(len(tail), np.bool_)
            lacks[passed[int(self.service[key])]] = True
            lacks[owner[courses.keys == key]] = False
            worse = lacks & (share < tail)
            tail[worse], lead[worse], missing[worse] = share, key, True
        return Strangeness(tail, lead, missing, tail < self.level)

    def _expected(self, services: NDArray[np.int32]) -> tuple[list[int], list[float]]:
        """The events that nearly every session in these services shows, and the share that lacks each."""
        among = self._among()
        lacking = np.maximum(among - self.has - 1.0 + _NEVER_SEEN, _NEVER_SEEN) / among
        wanted = np.zeros(len(self.among), np.bool_)
        wanted[services] = True
        usual = np.flatnonzero((lacking < self.rare) & (among >= self._warm_up) & wanted[self.service])
        usual = usual[np.argsort(lacking[usual], kind="stable")][:_MOST_EXPECTED]
        return usual.tolist(), lacking[usual].tolist()

    def why(self, keys: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """What is rare in a session of these keys, and what it lacks; the rarest first."""
        among, level = self._among()[keys], self.level
        shares = np.maximum(self.has[keys] - 1.0 + _NEVER_SEEN, _NEVER_SEEN) / among
        shares[among < self._warm_up] = 1.0
        rare = keys[np.argsort(shares, kind="stable")][: int((shares < level).sum())]
        shown = set(keys.tolist())
        lacking = zip(*self._expected(self.service[keys]), strict=True)
        return rare.tolist(), [key for key, share in lacking if share < level and key not in shown]

    def learn(self, found: Strangeness) -> None:
        """Take in how strange sessions were that have ended."""
        if self.is_warm:
            others = found.tail * max(self.begun, 1.0) / _NEVER_SEEN
            bins = np.clip((np.log10(others) * _BINS_A_DECADE).astype(np.int64), 0, _BINS - 1)
            self._spread *= 0.5 ** (len(bins) / _HALF_LIFE_SESSIONS)
            self._spread += np.bincount(bins, minlength=_BINS)
        self.ended += len(found.tail)

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`. Sessions that held both count twice until they are forgotten."""
        if old < len(self.has):
            more = max(0, new + 1 - len(self.has))
            self.has, self.service = np.pad(self.has, (0, more)), np.pad(self.service, (0, more))
            self.service[new] = self.service[old]
            self.has[new] = min(self.has[new] + self.has[old], self.among[self.service[new]])
            self.has[old] = 0.0

    def forget(self, keys: Sequence[int]) -> None:
        """Nothing is known of some keys any more."""
        self.has[[key for key in keys if key < len(self.has)]] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {
            "has": pack_array(self.has),
            "among": pack_array(self.among),
            "service": pack_array(self.service),
            "spread": pack_array(self._spread),
            "begun": self.begun,
            "ended": self.ended,
            "records": self.records,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            has, spread = unpack_array(state["has"], np.float64), unpack_array(state["spread"], np.float64)
            among, service = unpack_array(state["among"], np.float64), unpack_array(state["service"], np.int32)
            begun, ended, records = float(state["begun"]), int(state["ended"]), float(state["records"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"saved sessions: what is usual is damaged: {error}") from error
        numbers = np.concatenate([has.ravel(), among.ravel(), spread.ravel(), [begun, ended, records]])
        if has.ndim != 1 or spread.shape != (_BINS,) or not np.isfinite(numbers).all() or (numbers < 0).any():
            raise StateError(f"saved sessions: what is usual has shapes {has.shape} and {spread.shape}")
        places = service.shape == has.shape and among.ndim == 1
        if not places or int(service.min(initial=0)) < 0 or int(service.max(initial=-1)) >= len(among):
            raise StateError("saved sessions: events are of services that are not there")
        self.among, self.service = among, service
        self.has, self._spread, self.begun, self.ended, self.records = has, spread, begun, ended, records
