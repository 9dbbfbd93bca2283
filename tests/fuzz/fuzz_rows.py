"""Labelled data of anybody's as CSV: sessions with their labels, lines, and series with their windows."""

from __future__ import annotations

import os
from functools import cache

from logllm.errors import LogllmError
from logllm.evaluation.lines import evaluate_lines
from logllm.evaluation.series import evaluate_series
from logllm.evaluation.sessions import evaluate_sessions
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_IDLE_S = (None, 60.0)
_APART = b"\n%%%\n"


@cache
def _memory(name: str) -> int:
    """A file without a place on disk."""
    return os.memfd_create(name)


def _file(name: str, text: bytes) -> str:
    file = _memory(name)
    os.ftruncate(file, 0)
    os.pwrite(file, text, 0)
    return f"/proc/self/fd/{file}"


def check(data: bytes) -> None:
    """Two texts are data and its labels, with figures that agree with each other, or are refused in a line."""
    choices = Choices(data)
    play = choices.one_of((_sessions, _lines, _series))
    how = choices.below(4)
    first, _, second = choices.rest().partition(_APART)
    paths = _file("first.csv", first), _file("second.csv", second)
    try:
        play(*paths, how)
    except LogllmError as error:
        check_refusal(error)


def _sessions(events: str, labels: str, how: int) -> None:
    found = evaluate_sessions(events, labels, session="session", warm_up=how & 1, idle_s=_IDLE_S[how >> 1])
    assert max(found.f1, found.precision, found.recall) <= 1.0
    assert found.f1 <= found.oracle.f1 + 1e-9
    assert max(found.flagged, found.anomalous) <= found.sessions <= found.events
    assert len(set(found.odd)) == len(found.odd)
    assert found.sessions <= found.with_warm_up.sessions <= found.sessions + found.warm_up


def _lines(path: str, _labels: str, how: int) -> None:
    found = evaluate_lines(
        path,
        label="label",
        message="message",
        time="time" if how & 1 else None,
        level="level" if how & 2 else None,
        answers=how,
    )
    assert max(found.f1, found.precision, found.recall) <= 1.0
    assert found.asked <= how
    assert found.asked <= found.alerts
    assert len(found.flagged_lines) == found.flagged <= found.lines
    assert found.delay_s is None or found.delay_s >= 0.0


def _series(path: str, labels: str, how: int) -> None:
    found = evaluate_series(path, labels if how & 1 else None)
    figures = found.figures
    amounts = figures.f1, figures.precision, figures.recall, figures.delay_s, figures.alerts_per_day, found.days
    assert min(amounts) >= 0.0
    assert max(figures.f1, figures.precision, figures.recall) <= 1.0
    assert figures.found <= found.windows
    assert (found.oracle is None) == (found.windows == 0)


def seeds() -> list[bytes]:
    """Each kind as it usually is, under other names and orders, with what spoils it."""
    events = b"time,session,message\n" + b"".join(
        b"%d,s%d,step %d done\n" % (9 * at, at % 7, at % 3) for at in range(30)
    )
    labels = b"session,label\ns3,Anomaly\ns1,Normal\ns2,0\n"
    lines = b"label,time,level,message\n" + b"".join(
        b"%s,%d,%s,%s\n"
        % ((b"-", 60 * at, b"INFO", b"all well") if at % 4 else (b"X", 60 * at, b"ERROR", b"disk lost"))
        for at in range(20)
    )
    series = b"timestamp,value,label\n" + b"".join(b"%d,%d,%d\n" % (300 * at, at % 5, at == 17) for at in range(30))
    windows = b'[["1970-01-01 01:00:00", "1970-01-01 02:00:00"]]'
    loghub = b"Session;EventId;Date;Time\na;E1;081109;203518\na;E2;081109;203519\nb;E1;81110;1\n"
    far = b"time,value,label\n0001-01-01T00:00:00+14:00,1,0\n9999-12-31T23:59:59-14:00,2,1\n"
    columns = b"message,label,time,level\n"
    pairs = [
        (0, events, labels),
        (0, b"\xef\xbb\xbf" + events.replace(b"\n", b"\r\n"), labels.replace(b"\n", b"\r")),
        (0, loghub, b"x,anomaly\na,1\nb,nan\n"),
        (0, events.replace(b"step", b'"st\0ep'), b"session\n"),
        (0, b"session,session\na,b\n", b""),
        (0, b"", labels),
        (1, lines, b""),
        (1, lines.replace(b",", b"\t"), b""),
        (1, columns + b"x,1,1e19,3\ny,0,-1,?\n", b""),
        (1, columns + b"x,1,2026-01-01T00:00:00+14:00,FATAL\n\ny\n", b""),
        (1, b"label\n", b""),
        (2, series, windows),
        (2, series, b'{"first.csv": []}'),
        (2, b"1,2\n2,nan\n3,1e400\n1,5\n", windows),
        (2, series, b"[" * 400),
        (2, far, b'[["0001-01-01", "1e19"]]'),
    ]
    return [
        (bytes([kind, how]) + first + _APART + second)[:MAX_BYTES] for kind, first, second in pairs for how in range(4)
    ]
