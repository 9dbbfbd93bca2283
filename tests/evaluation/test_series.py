"""A user's series with labels: how files are read, what the figures are, and what is said of files that are none."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from logllm.errors import ConfigError, SourceError
from logllm.evaluation.series import SeriesResult, evaluate_series

STEP_S = 300
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SPIKES = (1000, 1600)


def values(points: int = 2000) -> list[float]:
    series = [10.0 + math.sin(at / 9.0) + (at * 7919 % 13) / 26.0 for at in range(points)]
    for at in SPIKES:
        series[at] = 60.0 + at / 10.0
    return series


def write(path: Path, head: str | None, rows: list[str]) -> Path:
    path.write_text("\n".join([*([head] if head else []), *rows]) + "\n", encoding="utf-8")
    return path


def iso(at: int) -> str:
    return (BEGIN + timedelta(seconds=STEP_S * at)).isoformat()


def rows(*, odd: range | None = None) -> list[str]:
    """The first spike stands at the third point of its window, the second in none."""
    window = odd or range(998, 1003)
    return [f"{iso(at)},{value},{int(at in window)}" for at, value in enumerate(values())]


def same_figures(*results: SeriesResult) -> bool:
    return all(result == results[0] for result in results)


def test_a_window_is_found_by_one_point_in_it_and_what_is_outside_is_false(tmp_path: Path) -> None:
    found = evaluate_series(write(tmp_path / "a.csv", "timestamp,value,label", rows()))

    assert (found.points, found.skipped, found.windows) == (2000, 0, 1)
    assert found.days == pytest.approx(1999 * STEP_S / 86_400)
    assert found.figures.found == 1
    assert found.figures.recall == 1.0
    assert found.figures.false_alerts >= 1
    assert found.figures.precision == 1 / (1 + found.figures.false_alerts)
    assert found.figures.delay_s == 2 * STEP_S
    assert found.figures.alerts_per_day == pytest.approx((1 + found.figures.false_alerts) / found.days)


def test_the_oracle_is_told_apart_and_never_worse(tmp_path: Path) -> None:
    found = evaluate_series(write(tmp_path / "a.csv", "timestamp,value,label", rows()))

    assert found.oracle is not None
    assert found.oracle.f1 >= found.figures.f1
    assert found.oracle.threshold != found.figures.threshold == 0.5


def test_no_head_other_names_and_other_times_read_the_same(tmp_path: Path) -> None:
    epoch = [
        f"{BEGIN.timestamp() + STEP_S * at},{value},{'true' if 998 <= at < 1003 else 'false'}"
        for at, value in enumerate(values())
    ]
    milliseconds = [f"{float(row.split(',')[0]) * 1000:.0f},{row.split(',', 1)[1]}" for row in epoch]
    turned = [",".join(reversed(row.split(","))) for row in rows()]

    assert same_figures(
        evaluate_series(write(tmp_path / "a.csv", "timestamp,value,label", rows())),
        evaluate_series(write(tmp_path / "b.csv", None, rows())),
        evaluate_series(write(tmp_path / "c.csv", "ts,y,is_anomaly", epoch)),
        evaluate_series(write(tmp_path / "d.csv", None, milliseconds)),
        evaluate_series(write(tmp_path / "e.csv", "Label,Value,Time", turned)),
        evaluate_series(write(tmp_path / "f.csv", "﻿timestamp,value,label", rows())),
    )


def test_windows_may_stand_in_a_file_as_nab_has_them(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    by_column = evaluate_series(write(tmp_path / "a.csv", "timestamp,value,label", rows()))
    series = write(tmp_path / "real" / "b.csv", "timestamp,value", [row.rsplit(",", 1)[0] for row in rows()])
    window = [iso(998).removesuffix("+00:00"), iso(1002).replace("T", " ")]
    alone, named = tmp_path / "alone.json", tmp_path / "named.json"
    alone.write_text(json.dumps([window]), encoding="utf-8")
    named.write_text(json.dumps({"other/b.csv": [], "b.csv": [], "real/b.csv": [window]}), encoding="utf-8")

    assert same_figures(by_column, evaluate_series(series, alone), evaluate_series(series, named))


def test_missing_values_are_counted_and_no_windows_are_no_oracle(tmp_path: Path) -> None:
    bare = [f"{iso(at)},{'' if at % 100 == 3 else 'NaN' if at % 100 == 4 else at % 7}" for at in range(1000)]
    windows = tmp_path / "w.json"
    windows.write_text("[]", encoding="utf-8")

    found = evaluate_series(write(tmp_path / "a.csv", "time,value", bare), windows)

    assert found.skipped == 20
    assert found.oracle is None
    assert (found.figures.recall, found.figures.f1, found.figures.delay_s) == (0.0, 0.0, 0.0)


def test_one_point_is_a_series_of_no_length(tmp_path: Path) -> None:
    found = evaluate_series(write(tmp_path / "a.csv", None, ["5,1.0,1"]))

    assert (found.points, found.days, found.windows) == (1, 0.0, 1)
    assert found.figures.alerts_per_day == 0.0


@pytest.mark.parametrize(
    ("head", "lines", "message"),
    [
        ("timestamp,value,label", ["2026-03-01,1,0", "soon,2,0"], r"a\.csv, row 3: time 'soon', expected ISO 8601"),
        ("timestamp,value,label", ["inf,2,0"], r"a\.csv, row 2: time 'inf', expected ISO 8601"),
        ("timestamp,value,label", ["2026-03-01,many,0"], r"a\.csv, row 2: value 'many', expected a number"),
        ("timestamp,value,label", ["2026-03-01,1,perhaps"], r"a\.csv, row 2: label 'perhaps', expected 0 or 1"),
        ("timestamp,value,label", ["2026-03-01,1"], r"a\.csv, row 2: too few columns \(2\), expected 3"),
        ("timestamp,load,label", ["2026-03-01,1,0"], r"a\.csv, row 1: no column of a value among .*expected value"),
        ("when,value,label", ["2026-03-01,1,0"], r"a\.csv, row 1: no column of a time among .*expected time"),
        ("value", ["1"], r"a\.csv, row 1: one column, expected time and value"),
        ("timestamp,value", ["2026-03-01,1"], r"a\.csv: no labels, expected a column"),
        ("timestamp,value,label", [], r"a\.csv: no points, expected"),
        ("timestamp,value,label", ['2026-03-01,"1,0'], r"a\.csv: no CSV file: .* unexpected end of data"),
    ],
)
def test_a_file_that_is_none_is_refused_by_line(tmp_path: Path, head: str, lines: list[str], message: str) -> None:
    path = write(tmp_path / "a.csv", head, lines)

    with pytest.raises((ConfigError, SourceError), match=message):
        evaluate_series(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"w\.json: .*expected lists of windows"),
        ('[["2026-03-01"]]', r"w\.json: .*expected lists of windows"),
        ('[["2026-03-02", "2026-03-01"]]', r"w\.json, window 1: .*expected the begin first"),
        ('[["2026-03-01", "later"]]', r"w\.json, window 1: time 'later', expected ISO 8601"),
        ('{"other.csv": []}', r"w\.json: no windows of .*a\.csv, expected its name among 1"),
    ],
)
def test_windows_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    series = write(tmp_path / "a.csv", None, ["2026-03-01,1"])
    windows = tmp_path / "w.json"
    windows.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        evaluate_series(series, windows)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    series = write(tmp_path / "a.csv", None, ["2026-03-01,1"])
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SourceError, match=r"none\.csv: cannot read: No such file"):
        evaluate_series(tmp_path / "none.csv")
    with pytest.raises(SourceError, match=r"none\.json: No such file"):
        evaluate_series(series, tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"b\.csv, row 1: one column"):
        evaluate_series(tmp_path / "b.csv")


def test_points_above_the_threshold_that_follow_each_other_are_one_false_alert(tmp_path: Path) -> None:
    series = [*values()[:1602]]
    series[1601] = 1e9
    lines = [f"{iso(at)},{value},0" for at, value in enumerate(series)]

    one = evaluate_series(write(tmp_path / "a.csv", None, lines[:1601]))
    both = evaluate_series(write(tmp_path / "b.csv", None, lines))
    apart = evaluate_series(write(tmp_path / "c.csv", None, [*lines[:1601], f"{iso(1601)},10.0,0", *lines[1601:]]))

    assert both.figures.false_alerts == one.figures.false_alerts
    assert apart.figures.false_alerts == one.figures.false_alerts + 1
