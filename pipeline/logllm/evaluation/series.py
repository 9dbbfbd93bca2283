"""A numeric series with labels, scored as it would have been while it came: what is found, how late, at what cost.

How it is played. Points are scored one by one in the file's order, by a detector that has seen nothing else. No label
is read for it. A label is a window of time; one is found where a point in it scores the threshold or more. What scores
so outside of all windows is a false alert, and all such points that follow each other are one.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.detectors.series import ALERT, SeriesDetector
from logllm.errors import ConfigError, SourceError
from logllm.sources.csv_rows import csv_rows, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SeriesFigures", "SeriesResult", "evaluate_series"]

_TIME_COLUMNS = ("time", "timestamp", "datetime", "date", "ts")
_VALUE_COLUMNS = ("value", "val", "count", "y")
_LABEL_COLUMNS = ("label", "is_anomaly", "anomaly", "is_anomalous")
_ODD = frozenset({"1", "1.0", "true", "yes", "anomaly", "anomalous", "abnormal"})
_USUAL = frozenset({"", "0", "0.0", "false", "no", "normal", "-"})
_MISSING = frozenset({"", "nan", "null", "none", "na"})
_DAY_S = 86_400.0
_FINER_FROM = 1e11
"""Epoch times from here on are milliseconds or finer: in seconds, it would be the year 5138."""

_NO_TIME_FROM = 1e20
"""Nanoseconds do not reach as far for 3 000 years."""

_MOST_THRESHOLDS = 100
"""So many are tried at most, spread over the windows' highest scores: each is a pass over the points."""

Window = tuple[float, float]


class SeriesFigures(msgspec.Struct, frozen=True):
    """What one threshold gives. A figure of which nothing is known (no alert, no window) is 0.

    Args:
        precision: Found windows of found windows and false alerts.
        recall: Found windows of all.
        delay_s: Mean time from a found window's begin to its first alert.
        alerts_per_day: Found windows and false alerts, a day of the series.
        false_alerts: Runs of points outside of all windows at the threshold or above.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    found: int
    false_alerts: int
    delay_s: float
    alerts_per_day: float


class SeriesResult(msgspec.Struct, frozen=True):
    """What came of it; `figures` are at the threshold that is built in, `oracle` at the best one.

    Args:
        oracle: The highest F1 that any threshold reaches: chosen with the labels, so of no use but to compare. None
            where there are no windows.
        skipped: Points without a number: they are scored 0.
        days: Between the first time and the last.
    """

    points: int
    skipped: int
    days: float
    windows: int
    figures: SeriesFigures
    oracle: SeriesFigures | None


def evaluate_series(path: Path | str, labels: Path | str | None = None) -> SeriesResult:
    """Score a CSV file of times and values.

    With a head, its columns are found by name: `timestamp` or `time`, `value`, and `label` or `is_anomaly`; points in a
    row that are labelled are one window. Without one, they are in this order, the label left out or not.

    Args:
        path: Times are ISO 8601, or seconds since 1970, or milli-, micro- or nanoseconds. A value may be missing
            (`NaN`, or nothing).
        labels: A JSON file of windows as NAB has them, instead of a column: `[[from, to], ...]`, or an object of
            such lists, of which the one is taken whose name ends the series' path.

    Cost: about 10 microseconds a point. Memory: a few numbers a point.

    Raises:
        SourceError: A file cannot be read.
        ConfigError: It is not such a file; the message says which line, what is there and what was expected.
    """
    path = Path(path)
    detector = SeriesDetector()
    times: list[float] = []
    scores: list[float] = []
    odd: list[bool] = []
    labelled = False
    for time, value, label in _points(path):
        times.append(_seconds(time))
        scores.append(detector.score(time, value))
        odd.append(bool(label))
        labelled = labelled or label is not None
    if not times:
        raise ConfigError(f"{path}: no points, expected a row of time and value each")
    if labels is not None:
        windows = _read_windows(Path(labels), path)
    elif labelled:
        windows = _runs(times, odd)
    else:
        raise ConfigError(f"{path}: no labels, expected a column `label` or `is_anomaly`, or a JSON file of windows")
    days = (max(times) - min(times)) / _DAY_S
    marked = _marks(times, windows)
    figures = _figures(times, scores, marked, windows, days, ALERT)
    return SeriesResult(
        points=len(times),
        skipped=detector.skipped,
        days=days,
        windows=len(windows),
        figures=figures,
        oracle=_oracle(times, scores, marked, windows, days),
    )


def _points(path: Path) -> Iterator[tuple[datetime | float, float, bool | None]]:
    """Time, value and, where there is one, the label of each row."""
    with csv_rows(path, strict=True) as rows:
        places: tuple[int, int, int | None] | None = None
        for number, row in enumerate(rows, 1):
            where = f"{path}, row {number}"
            if not row:
                continue
            if places is None:
                places, is_head = _columns(row, where)
                if is_head:
                    continue
            time_at, value_at, label_at = places
            if max(time_at, value_at, label_at or 0) >= len(row):
                raise ConfigError(
                    f"{where}: too few columns ({len(row)}), expected {max(time_at, value_at, label_at or 0) + 1}"
                )
            label = None if label_at is None else _label(row[label_at], where)
            yield _time(row[time_at], where), _value(row[value_at], where), label


def _columns(row: list[str], where: str) -> tuple[tuple[int, int, int | None], bool]:
    """Places of time, value and label; and whether this row is a head."""
    if len(row) < 2:
        raise ConfigError(f"{where}: one column, expected time and value")
    names = [name.strip().lower() for name in row]
    time_at, value_at, label_at = (_place(names, wanted) for wanted in (_TIME_COLUMNS, _VALUE_COLUMNS, _LABEL_COLUMNS))
    if time_at is not None and value_at is not None:
        return (time_at, value_at, label_at), True
    if time_at is not None or value_at is not None:
        lacking = "a value" if value_at is None else "a time"
        expected = _VALUE_COLUMNS if value_at is None else _TIME_COLUMNS
        raise ConfigError(f"{where}: no column of {lacking} among {listed(row)}, expected {' or '.join(expected)}")
    return (0, 1, 2 if len(row) > 2 else None), False


def _place(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _time(text: str, where: str) -> datetime | float:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            number = nan
    if not abs(number) < _NO_TIME_FROM:
        raise ConfigError(f"{where}: time {text[:40]!r}, expected ISO 8601 or seconds since 1970")
    while abs(number) >= _FINER_FROM:
        number /= 1000.0
    return number


def _seconds(time: datetime | float) -> float:
    if not isinstance(time, datetime):
        return time
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _value(text: str, where: str) -> float:
    text = text.strip()
    if text.lower() in _MISSING:
        return nan
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{where}: value {text[:40]!r}, expected a number") from None


def _label(text: str, where: str) -> bool:
    plain = text.strip().lower()
    if plain not in _ODD and plain not in _USUAL:
        raise ConfigError(f"{where}: label {text[:40]!r}, expected 0 or 1")
    return plain in _ODD


def _runs(times: list[float], odd: list[bool]) -> list[Window]:
    """Labelled points in a row are a window."""
    windows: list[Window] = []
    before = False
    for time, is_odd in zip(times, odd, strict=True):
        if is_odd:
            windows.append((windows.pop()[0] if before else time, time))
        before = is_odd
    return windows


def _read_windows(labels: Path, series: Path) -> list[Window]:
    try:
        found = msgspec.json.decode(labels.read_bytes(), type=dict[str, list[tuple[str, str]]] | list[tuple[str, str]])
    except OSError as error:
        raise SourceError(f"{labels}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{labels}: {error}, expected lists of windows, [from, to]") from error
    if isinstance(found, dict):
        whole = series.absolute().as_posix()
        named = [name for name in found if whole.endswith(f"/{name.lstrip('/')}")]
        if not named:
            raise ConfigError(f"{labels}: no windows of {series}, expected its name among {len(found)}")
        found = found[max(named, key=len)]
    windows = []
    for number, (begin, end) in enumerate(found, 1):
        where = f"{labels}, window {number}"
        window = _seconds(_time(begin, where)), _seconds(_time(end, where))
        if window[0] > window[1]:
            raise ConfigError(f"{where}: from {begin} to {end}, expected the begin first")
        windows.append(window)
    return sorted(windows)


def _marks(times: list[float], windows: list[Window]) -> list[int]:
    """The window each point is in; -1 for none. Where windows overlap it is the one that begins last."""
    begins = [begin for begin, _ in windows]
    marks = []
    for time in times:
        window = bisect_right(begins, time) - 1
        marks.append(window if window >= 0 and time <= windows[window][1] else -1)
    return marks


def _figures(
    times: list[float], scores: list[float], marks: list[int], windows: list[Window], days: float, threshold: float
) -> SeriesFigures:
    first: dict[int, float] = {}
    false_alerts = 0
    before = False
    for time, score, mark in zip(times, scores, marks, strict=True):
        alerts = score >= threshold
        if alerts and mark >= 0:
            first.setdefault(mark, time)
        false = alerts and mark < 0
        false_alerts += false and not before
        before = false
    found = len(first)
    precision = found / max(found + false_alerts, 1)
    recall = found / max(len(windows), 1)
    delays = [time - windows[mark][0] for mark, time in first.items()]
    return SeriesFigures(
        threshold=threshold,
        precision=precision,
        recall=recall,
        f1=2.0 * found / max(found + false_alerts + len(windows), 1),
        found=found,
        false_alerts=false_alerts,
        delay_s=sum(delays) / max(found, 1),
        alerts_per_day=(found + false_alerts) / days if days > 0.0 else 0.0,
    )


def _oracle(
    times: list[float], scores: list[float], marks: list[int], windows: list[Window], days: float
) -> SeriesFigures | None:
    """Try the thresholds that matter: where a window is found is where its highest score is."""
    if not windows:
        return None
    highest: dict[int, float] = {}
    for score, mark in zip(scores, marks, strict=True):
        if mark >= 0:
            highest[mark] = max(score, highest.get(mark, 0.0))
    thresholds = sorted({score for score in highest.values() if score > 0.0}) or [1.0]
    thresholds = thresholds[:: -(-len(thresholds) // _MOST_THRESHOLDS)]
    tried = (_figures(times, scores, marks, windows, days, threshold) for threshold in thresholds)
    return max(tried, key=lambda figures: figures.f1)
