"""What a plugin did, for `/metrics`, `logllm plugins` and logs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.events import rfc3339
from logllm.filters.host import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Errors", "PluginStatus", "Tally", "total"]

_MOST_NAMES = 1_000
_LOG_EVERY_S = 10.0


class PluginStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin, since the start of the process.

    Args:
        version: What its section names, "" for none.
        instances, memory_bytes: Alive now, and their linear memory together.
        calls: Into `process`, those to find a poison record included.
        records_in, records_out: Given to the plugin by the chain, and given on.
        dropped: Of those given, by its own will or by `on_error`.
        failures: Calls that failed, by reason; "load" is an instance that could not be made.
        failed_records: Records it failed at, and those there was no time to try, treated as `on_error` says.
        bypassed_records: Those that came while it was bypassed.
        restarts: Instances made anew after a failure.
        seconds: Time spent in it.
        bypassed: Whether it is bypassed now, for any tenant; `bypassed_tenants` counts them.
        reloads: Times a changed file was taken.
        reload_error: Why the file that is there now was not taken, "" for none.
        last_error, last_error_time: RFC 3339; "" for none.
        lost: What went over the bounds of its imports: log_lines, anomalies, asks, kv, metrics.
        metrics: What it counted itself.
    """

    name: str
    path: str
    abi: str
    sha256: str
    stage: Literal["ingest", "egress"]
    match: str
    version: str
    instances: int
    memory_bytes: int
    calls: int
    records_in: int
    records_out: int
    dropped: int
    failures: dict[str, int]
    failed_records: int
    bypassed_records: int
    restarts: int
    seconds: float
    bypassed: bool
    bypassed_tenants: int
    reloads: int
    reload_error: str
    last_error: str
    last_error_time: str
    lost: dict[str, int]
    metrics: dict[str, int]


@dataclass(slots=True)
class Tally:
    """The counters of one tenant, written by whoever holds its lock, read by anybody."""

    calls: int = 0
    records_in: int = 0
    records_out: int = 0
    dropped: int = 0
    failed_records: int = 0
    bypassed_records: int = 0
    restarts: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    lost: Counts = field(default_factory=Counts)

    def failed(self, reason: str) -> None:
        """Count a failure."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def add(self, other: Tally) -> None:
        """Take another's numbers in. Names of metrics are bounded."""
        for name in ("calls", "records_in", "records_out", "dropped", "failed_records", "bypassed_records", "restarts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds += other.seconds
        # A copy in one step: its owner may be adding to it.
        for reason, count in other.failures.copy().items():
            self.failures[reason] = self.failures.get(reason, 0) + count
        for name, count in other.metrics.copy().items():
            if name in self.metrics or len(self.metrics) < _MOST_NAMES:
                self.metrics[name] = self.metrics.get(name, 0) + count
        for name in Counts.__slots__:
            setattr(self.lost, name, getattr(self.lost, name) + getattr(other.lost, name))


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of many."""
    found = Tally()
    for tally in tallies:
        found.add(tally)
    return found


class Errors:
    """The last thing that went wrong with a plugin, and whether to write it to the log.

    Args:
        clock_s, clock_ns: The monotonic and the wall clock.
        burst: So many lines at once, then one in ten seconds.
    """

    def __init__(
        self, clock_s: Callable[[], float], clock_ns: Callable[[], int] = time.time_ns, burst: int = 1
    ) -> None:
        self.last = ""
        self.last_ns = 0
        self._clock_s = clock_s
        self._clock_ns = clock_ns
        self._burst = burst
        self._lines: float = burst
        self._lines_s = clock_s()
        self._quiet = 0

    def note(self, text: str) -> str | None:
        """Keep it. What to write to the log: the text and how many were not written before it; None for nothing."""
        self.last, self.last_ns = text, self._clock_ns()
        now_s = self._clock_s()
        self._lines = min(self._burst, self._lines + (now_s - self._lines_s) / _LOG_EVERY_S)
        self._lines_s = now_s
        if self._lines < 1:
            self._quiet += 1
            return None
        self._lines -= 1
        quiet, self._quiet = self._quiet, 0
        return f"{text} ({quiet} more since the last such line)" if quiet else text

    @property
    def last_time(self) -> str:
        """RFC 3339, "" for never."""
        return rfc3339(self.last_ns) if self.last_ns else ""
