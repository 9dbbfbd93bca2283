"""What a format of log lines is, and what carries over from one block of a file to the next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from logllm.errors import ConfigError
from logllm.events import Columns
from logllm.fields import Wanted
from logllm.sources.multiline import join_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from logllm.events import Fields

__all__ = ["EARLIEST_NS", "LineFormat", "Reading", "columns_of", "zone_named"]

# A record dated before 1990 is a clock that was never set (1970, 1980), not an old log.
EARLIEST_NS = 631_152_000 * 1_000_000_000


class LineFormat(Protocol):
    """One way of writing records as lines of text. Stateful: give it the blocks of one file in order.

    `misses` counts the lines of the last `parse` that did not fit the format, so that a caller can notice that the
    file changed its format half-way.
    """

    name: str
    misses: int

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """Lines (without line ends) to columns.

        With `join` a record that spans several lines becomes one entry, its lines joined by "\\n", and blank lines
        between records vanish; without it there is exactly one entry a line. `position` is the index in `lines` of
        the record's first line. Never raises on what the lines hold.
        """
        ...

    def unfinished(self, lines: list[str]) -> int:
        """How many of the last lines belong to a record that the next line may still continue."""
        ...


@dataclass(slots=True)
class Reading:
    """What is known while one file is read: shared by a format, the formats inside it and any that replace it.

    Args:
        reference_ns: No time without a year may lie after it: the file's mtime, or the clock while following.
        default_service: The service of records that name none.
        zone: The zone of times that name none; None is UTC.
        max_record_lines: Lines a joined record may have; more are cut and counted.
        max_record_chars: Characters a joined record may have; more are cut and counted.
        first_year: the year of the first date that names none, where that is known.
        wanted: the further fields that are read, where a format has fields.
    """

    reference_ns: int
    default_service: str = ""
    zone: ZoneInfo | None = None
    max_record_lines: int = 256
    max_record_chars: int = 32_768
    first_year: int | None = None
    last_ns: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    wanted: Wanted = field(default_factory=Wanted)

    def joined(self, lines: list[str], messages: list[str], starts: NDArray[np.intp]) -> list[str]:
        """See `multiline.join_records`: within this file's bounds, what is cut counted here."""
        return join_records(
            lines,
            messages,
            starts,
            self.counts,
            max_lines=self.max_record_lines,
            max_chars=self.max_record_chars,
        )

    def settle(self, times: NDArray[np.int64], ok: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Replace times that are not `ok` by the last good one before, and remember the last.

        Records before the first good time of a file take that one; with none at all, `reference_ns`.
        """
        count = len(times)
        if not count:
            return times
        ok = ok & (times >= EARLIEST_NS)
        if not ok.all():
            good = np.flatnonzero(ok)
            start = self.last_ns
            if start is None:
                start = int(times[good[0]]) if len(good) else self.reference_ns
            index = np.where(ok, np.arange(count), -1)
            np.maximum.accumulate(index, out=index)
            times = np.where(index >= 0, times[index], start)
            if not len(good):
                return times
        self.last_ns = int(times[-1])
        return times

    def untimed(self, count: int) -> NDArray[np.int64]:
        """The times of `count` records that carry none."""
        return np.full(count, self.reference_ns if self.last_ns is None else self.last_ns, np.int64)


def columns_of(
    times: NDArray[np.int64],
    messages: list[str],
    severity: NDArray[np.uint8] | None,
    services: Sequence[str] | str,
    position: NDArray[np.int64],
    fields: Fields | None = None,
) -> Columns:
    """Columns from what a format found; `services` is one name for all, or one a record."""
    count = len(messages)
    if severity is None:
        severity = np.zeros(count, np.uint8)
    if isinstance(services, str):
        names = [services]
        codes = np.zeros(count, np.int32)
    else:
        names = list(dict.fromkeys(services))
        index = {name: number for number, name in enumerate(names)}
        codes = np.fromiter(map(index.__getitem__, services), np.int32, count)
    return Columns(times, messages, severity, codes, names if count else [], position, fields=fields)


def zone_named(name: str) -> ZoneInfo | None:
    """The zone of a name such as `Europe/Berlin`; None for UTC.

    Raises:
        ConfigError: there is no such zone.
    """
    if name.upper() in {"UTC", "Z", "GMT", "ETC/UTC"}:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"tz: no time zone {name!r}, expected a name such as `UTC` or `Europe/Berlin`") from error
