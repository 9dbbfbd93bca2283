"""Anomalies, keys and purses made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from logllm.events import Anomaly, Columns, IncidentEvent, Severity

__all__ = ["Full", "HandMadeKeys", "columns", "event", "odd"]

SECOND_NS = 1_000_000_000


def odd(
    kind: str = "rate",
    window: int = 100,
    *,
    service: int = 0,
    key: int = 0,
    keys: list[int] | None = None,
    span: int = 1,
    expected: float = 1.0,
    seen: float = 20.0,
    surprise: float = 8.0,
    severity: int = int(Severity.WARN),
) -> Anomaly:
    """An anomaly with what matters in a test said, the rest ordinary."""
    return Anomaly(kind, window, span, service, key, keys or [key], expected, seen, surprise, severity)


@dataclass
class HandMadeKeys:
    """Two keys a service: template `k` of service `k // 2`, unless told otherwise."""

    service: NDArray[np.int32] = field(default_factory=lambda: np.array([0, 0, 1, 1, 2, 2], np.int32))
    template: NDArray[np.int32] = field(default_factory=lambda: np.array([0, 1, 2, 3, 4, 5], np.int32))
    services: list[str] = field(default_factory=lambda: ["web", "db", "mail"])


@dataclass
class Full:
    """A purse that is always full, or always empty but for what is critical; remembers what it was asked."""

    covers: bool = True
    covers_critical: bool = True
    asked: list[tuple[int, bool, bool]] = field(default_factory=list)

    def spend(self, now_ns: int, *, critical: bool, again: bool = False, service: str = "") -> bool:
        """Says what it was made to say."""
        self.asked.append((now_ns, critical, again))
        return self.covers_critical if critical else self.covers


def columns(rows: list[tuple[int, str]], *, first_line: int | None = None) -> Columns:
    """Rows of (seconds, message) of one service."""
    count = len(rows)
    return Columns(
        np.array([int(seconds * SECOND_NS) for seconds, _ in rows], np.int64),
        [message for _, message in rows],
        np.zeros(count, np.uint8),
        np.zeros(count, np.int32),
        ["web"],
        None if first_line is None else np.arange(first_line, first_line + count, dtype=np.int64),
    )


def event(number: int, what: str = "open", *, started: str | None = None) -> IncidentEvent:
    """An event of incident `number`."""
    return IncidentEvent(
        id=f"inc-{number:010x}",
        event=what,  # type: ignore[arg-type]
        time="2026-01-01T00:00:00.000Z",
        severity="warning",
        service="web",
        kinds=["rate"],
        title=f"title of {number}, {what}",
        expected="",
        seen="",
        template="",
        count=number,
        runbook=None,
        evidence=[],
        started=started or f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
        fingerprint=f"{number % 7:016x}",
    )
