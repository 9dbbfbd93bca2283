"""Which records are wanted: from a time on, of some services."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from logllm.errors import ConfigError
from logllm.events import Columns
from logllm.sources.decode_values import picked
from logllm.sources.formats.clock import Clock
from logllm.sources.formats.json_times import whole_notation
from logllm.sources.formats.line_format import Reading

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["only_service", "parse_since", "since"]

_UNITS_S = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "hr": 3600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
}  # fmt: skip
_part = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_span = re.compile(r"-?\s*((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+?)(?:\s*ago)?")
_date = re.compile(r"\d{4}-\d\d-\d\d")


def parse_since(text: str, now_ns: int) -> int:
    """A moment as a person writes it, in nanoseconds since the epoch; a time without zone is UTC.

    Spans back from now (`15m`, `-3h`, `1h30m`, `2 days ago`), times (RFC 3339, and all notations of log files), dates,
    `today`, `yesterday`, `now`, and epochs.

    Raises:
        ConfigError: it is none of these.

    >>> now = 1_700_000_000_000_000_000
    >>> now - parse_since("-3h", now)
    10800000000000
    """
    plain = text.strip()
    low = plain.lower()
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).replace(hour=0, minute=0, second=0)
    if low == "now":
        return now_ns
    if low in {"today", "yesterday"}:
        return _ns(today - timedelta(days=low == "yesterday"))
    if match := _span.fullmatch(low):
        parts = _part.findall(match[1])
        units = [_UNITS_S.get(unit) or _UNITS_S.get(unit.removesuffix("s")) for _, unit in parts]
        back_s = sum(float(number) * (unit or 0) for (number, _), unit in zip(parts, units, strict=True))
        if all(units) and back_s * 1e9 <= now_ns:
            return now_ns - int(back_s * 1e9)
    if _date.fullmatch(plain):
        plain += "T00:00:00"
    notation = whole_notation(plain)
    if notation is not None:
        times, ok = Clock(notation, Reading(now_ns)).read([plain])
        if ok[0]:
            return int(times[0])
    raise ConfigError(
        f"since: cannot read {text!r}, expected a span such as `3h`, a time such as "
        "`2026-11-22T10:00:00Z`, `today` or `yesterday`"
    )


def since(columns: Columns, start_ns: int) -> Columns:
    """The records at or after `start_ns`."""
    return _chosen(columns, columns.time_ns >= start_ns)


def only_service(columns: Columns, names: Collection[str]) -> Columns:
    """The records of the services in `names`."""
    wanted = np.array([name in names for name in columns.service_names], np.bool_)
    return _chosen(columns, wanted[columns.service_codes] if len(columns) else np.zeros(0, np.bool_))


def _chosen(columns: Columns, rows: NDArray[np.bool_]) -> Columns:
    if rows.all():
        return columns
    kept = np.flatnonzero(rows).tolist()
    used, codes = np.unique(columns.service_codes[rows], return_inverse=True)
    return Columns(
        columns.time_ns[rows],
        [columns.messages[row] for row in kept],
        columns.severity[rows],
        codes.astype(np.int32),
        [columns.service_names[code] for code in used.tolist()],
        None if columns.position is None else columns.position[rows],
        raw=None if columns.raw is None else [columns.raw[row] for row in kept],
        fields=picked(columns.fields, rows),
    )


def _ns(when: datetime) -> int:
    return int(when.timestamp()) * 1_000_000_000
