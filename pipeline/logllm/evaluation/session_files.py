"""Events and labels of sessions, as CSV files hold them: whichever columns they have, in whatever order."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from logllm.errors import ConfigError, SourceError
from logllm.sources.csv_rows import csv_rows, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["EventColumns", "SessionEvents", "read_labels", "read_time"]

_TEXT_COLUMNS = ("content", "message", "msg", "log", "text", "body", "line", "raw", "event")
_ID_COLUMNS = ("eventid", "templateid", "event", "eventtemplate", "template", "eventtype", "key", "logkey")
_TIME_COLUMNS = ("time", "timestamp", "datetime", "eventtime", "ts", "date")
_LABEL_COLUMNS = ("label", "anomaly", "isanomaly", "anomalous", "isanomalous", "abnormal", "class", "target", "truth")
_ODD = frozenset(("anomaly", "anomalous", "abnormal", "true", "yes", "fail", "failed", "failure", "fault", "positive"))
_USUAL = frozenset(("normal", "false", "no", "-", "", "success", "ok", "benign", "none", "negative"))
_LONGEST_TIME = 60
_NOT_A_LETTER = re.compile(r"[^a-z0-9]")


class EventColumns(NamedTuple):
    """Which columns of the events are read. `is_text`: the event is a message to be mined, else it is an id."""

    session: str
    event: str
    is_text: bool
    time: tuple[str, ...]


class SessionEvents:
    """A CSV file, or one compressed with gzip, of events in time order, a row an event.

    Args:
        session: The column that says which session an event is of, in any case.
        event: The column of the message, or of a template or event id; by default the first that is named like one,
            a message rather than an id.
        time: The column of the time, ISO 8601 or a number since the epoch; by default one that is named like it, or
            loghub's Date and Time.

    Raises:
        SourceError: The file cannot be read.
        ConfigError: It has no such column.
    """

    def __init__(self, path: Path, *, session: str, event: str | None = None, time: str | None = None) -> None:
        self._path = path
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise SourceError(f"{path}: a pipe or device, expected a file: it is read more than once")
        with csv_rows(path) as rows:
            head = next(rows, [])
            first = next(rows, [])
        session = _column(path, head, session)
        rest = [name for name in head if name != session]
        if event is not None:
            event = _column(path, head, event)
            is_text = _plain(event) not in _ID_COLUMNS or _plain(event) in _TEXT_COLUMNS
        else:
            found = _named(rest, _TEXT_COLUMNS)
            is_text = found is not None
            event = found or _named(rest, _ID_COLUMNS)
            if event is None:
                there = f"--event with one of {listed(rest)}" if rest else "one beside that of the session"
                raise ConfigError(f"{path}: no column looks like a message, expected {there}")
        times = self._time_columns(head, rest, time)
        places = [head.index(name) for name in times]
        if time is None and read_time([_cell(first, place) for place in places]) is None:
            times = ()
        self.columns = EventColumns(session, event, is_text, times)
        self._head = head

    def _time_columns(self, head: list[str], rest: list[str], time: str | None) -> tuple[str, ...]:
        if time is not None:
            return (_column(self._path, head, time),)
        of = {_plain(name): name for name in rest}
        if "date" in of and "time" in of:
            return of["date"], of["time"]
        found = _named(rest, _TIME_COLUMNS)
        return () if found is None else (found,)

    def rows(self) -> Iterator[tuple[str, str, float | None]]:
        """Session, event, and time in seconds since the epoch or None; rows that name no session are left out."""
        with csv_rows(self._path) as rows:
            next(rows, None)
            session, event = (self._head.index(name) for name in (self.columns.session, self.columns.event))
            times = [self._head.index(name) for name in self.columns.time]
            said: list[str] = []
            at: float | None = None
            for row in rows:
                name = _cell(row, session)
                if not name:
                    continue
                cells = [_cell(row, place) for place in times]
                if cells != said:
                    said, at = cells, read_time(cells)
                yield name, _cell(row, event).replace("\0", " "), at


def read_labels(path: Path, *, session: str, label: str | None = None) -> dict[str, bool]:
    """Which sessions are anomalous: by words such as Anomaly and Normal, true and false, or a number that is 0 or not.

    Args:
        session: The column of the session; where there is none of that name, the first one.
        label: The column of the label; by default one that is named like it, or the last one.

    Raises:
        SourceError: The file cannot be read.
        ConfigError: It has no such column, or a label that says neither.
    """
    with csv_rows(path) as rows:
        head = next(rows, [])
        if len(head) < 2:
            raise ConfigError(f"{path}: its head is {listed(head)}, expected a column of sessions and one of labels")
        found = next((name for name in head if _plain(name) == _plain(session)), head[0])
        if label is not None:
            label = _column(path, head, label)
        else:
            rest = [name for name in head if name != found]
            label = _named(rest, _LABEL_COLUMNS) or rest[-1]
        who, what = head.index(found), head.index(label)
        return {
            name: _is_odd(path, number, _cell(row, what))
            for number, row in enumerate(rows, 2)
            if (name := _cell(row, who))
        }


def _is_odd(path: Path, row: int, label: str) -> bool:
    word = label.lower()
    if word in _ODD or word in _USUAL:
        return word in _ODD
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ConfigError(
            f"{path}: row {row} is labelled {label[:40]!r}, expected Anomaly or Normal, true or false, 1 or 0"
        )
    return number != 0.0


def read_time(cells: list[str]) -> float | None:
    """Seconds since the epoch; None where it is no time: a number, ISO 8601, or loghub's date and time."""
    text = " ".join(cells).strip()[:_LONGEST_TIME]
    for read in (_read_number, _read_iso, _read_loghub):
        try:
            return read(text)
        except (ValueError, OverflowError):
            continue
    return None


def _read_number(text: str) -> float:
    number = float(text)
    if not 0.0 <= number < 1e20:
        raise ValueError(text)
    # Seconds, or thousandths of them, as far as they must be for the year to be one of ours.
    while number > 1e11:
        number /= 1e3
    return number


def _read_iso(text: str) -> float:
    when = datetime.fromisoformat(text.replace(",", "."))
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _read_loghub(text: str) -> float:
    date, _, time = text.partition(" ")
    return datetime.strptime(f"{date:0>6} {time:0>6}", "%y%m%d %H%M%S").replace(tzinfo=UTC).timestamp()


def _plain(name: str) -> str:
    return _NOT_A_LETTER.sub("", name.lower())


def _named(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The column whose name comes first among those wanted."""
    of = {_plain(name): name for name in reversed(names)}
    return next((of[name] for name in wanted if name in of), None)


def _column(path: Path, head: list[str], wanted: str) -> str:
    exact = [name for name in head if name == wanted] or [name for name in head if _plain(name) == _plain(wanted)]
    if not exact:
        raise ConfigError(f"{path}: no column {wanted!r}, expected one of {listed(head)}")
    return exact[0]


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""
