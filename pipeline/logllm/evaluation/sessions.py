"""Sessions with labels, judged as they would have been as the log came: what is flagged, and how much of it rightly.

How it is played. Events are read in time order, a minute at a time; their messages are mined as in the pipeline. A
session is judged with the minute of its last event (or, with `idle_s`, as the service does it: when nothing has come
of it for so long, and again when it goes on), by what has been learned from all sessions up to then, odd ones too.
No label is read for it. The first `warm_up` sessions to end are learned from and not judged: they are in no figure but
those of `with_warm_up`, where they count as not flagged.
"""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from logllm.detectors.sessions.rarity import WARM_UP, Rarity
from logllm.errors import ConfigError
from logllm.evaluation.session_files import SessionEvents, read_labels
from logllm.evaluation.session_play import Play
from logllm.events import WINDOW_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Figures", "Oracle", "SessionsResult", "evaluate_sessions"]

_WINDOW_S = WINDOW_NS / 1e9
_ROWS_A_WINDOW = 1_000
"""Where no time can be read, so many events are a window."""

_ROWS_AT_ONCE = 5_000


class Figures(msgspec.Struct, frozen=True):
    """How flags and labels agree. A figure that nothing is known for (no flag, no anomaly) is 0."""

    f1: float
    precision: float
    recall: float
    sessions: int
    flagged: int
    anomalous: int

    @classmethod
    def of(cls, flagged: NDArray[np.bool_], anomalous: NDArray[np.bool_]) -> Figures:
        """Compare. Shapes: flagged, anomalous: bool[m]."""
        both, flags, odd = int((flagged & anomalous).sum()), int(flagged.sum()), int(anomalous.sum())
        f1 = 2 * both / (flags + odd) if flags + odd else 0.0
        return cls(f1, both / max(flags, 1), both / max(odd, 1), len(flagged), flags, odd)


class Oracle(msgspec.Struct, frozen=True):
    """The best F1 that any one threshold on the score reaches: chosen with the labels, so of no use but to compare."""

    f1: float
    precision: float
    recall: float
    flagged: int
    threshold: float


class SessionsResult(msgspec.Struct, frozen=True):
    """What came of it; all but `oracle` without a label.

    Args:
        sessions: Sessions judged that have a label; the figures are of these.
        warm_up: Sessions that were only learned from.
        with_warm_up: The figures over all sessions, those taken as not flagged.
        unlabelled: Sessions judged without a label: in no figure.
        without_events: Labels of sessions that have no events: in no figure either.
        level: The rarity below which a session is odd, as it stood at the end.
        events: Events read.
        templates: Kinds of event.
        odd: The sessions that were flagged, in the order in which they ended.
    """

    f1: float
    precision: float
    recall: float
    sessions: int
    flagged: int
    anomalous: int
    warm_up: int
    oracle: Oracle
    with_warm_up: Figures
    unlabelled: int
    without_events: int
    level: float
    events: int
    templates: int
    odd: list[str] = []


def evaluate_sessions(
    events: Path | str,
    labels: Path | str,
    *,
    session: str,
    event: str | None = None,
    time: str | None = None,
    label: str | None = None,
    warm_up: int = WARM_UP,
    idle_s: float | None = None,
    scoring: type[Rarity] = Rarity,
) -> SessionsResult:
    """Play sessions through, see the head of this file; the columns are those of `SessionEvents` and `read_labels`.

    Reads the events twice. Cost: about 10 microseconds an event. Memory: what the sessions that are open have shown.

    Args:
        warm_up: Sessions that must have ended before one is judged.
        idle_s: Judge a session when it has been idle for so long, instead of at its last event.
        scoring: What judges; another one to compare with.

    Raises:
        SourceError: A file cannot be read.
        ConfigError: A column is missing, a label says neither, or there are no times to be idle in.
    """
    source = SessionEvents(Path(events), session=session, event=event, time=time)
    known = read_labels(Path(labels), session=session, label=label)
    if idle_s is not None and not source.columns.time:
        raise ConfigError(f"{events}: no times can be read, so no session can be idle; expected --time")
    names, slots, windows = _outline(source)
    if not names:
        raise ConfigError(f"{events}: no events of a session, expected a head and a row an event")
    last = np.zeros(len(names), np.int64)
    np.maximum.at(last, slots, windows)
    play = Play(
        last,
        warm_up=warm_up,
        idle_windows=None if idle_s is None else math.ceil(idle_s / _WINDOW_S),
        is_text=source.columns.is_text,
        scoring=scoring,
    )
    texts = (event for _, event, _ in source.rows())
    for start in range(0, len(slots), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        play.take(windows[part], slots[part], list(islice(texts, _ROWS_AT_ONCE)))
    play.finish()
    return _result(play, names, known, len(slots))


def _outline(source: SessionEvents) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The sessions in order of their first events; and of each event its session and its window.

    What comes out of order is of the latest window, as when it would have come.
    """
    numbers: dict[str, int] = {}
    slots: list[int] = []
    windows: list[int] = []
    window = 0
    for row, (name, _, at_s) in enumerate(source.rows()):
        slots.append(numbers.setdefault(name, len(numbers)))
        if source.columns.time:
            window = max(window, 0 if at_s is None else int(at_s // _WINDOW_S))
        else:
            window = row // _ROWS_A_WINDOW
        windows.append(window)
    return list(numbers), np.array(slots, np.int64), np.array(windows, np.int64)


def _result(play: Play, names: list[str], known: dict[str, bool], events: int) -> SessionsResult:
    order = np.argsort(play.rank, kind="stable")
    labelled = np.array([name in known for name in names], np.bool_)
    anomalous = np.array([known.get(name, False) for name in names], np.bool_)
    scored = play.judged & labelled
    figures = Figures.of(play.flagged[scored], anomalous[scored])
    return SessionsResult(
        f1=figures.f1,
        precision=figures.precision,
        recall=figures.recall,
        sessions=figures.sessions,
        flagged=figures.flagged,
        anomalous=figures.anomalous,
        warm_up=int((~play.judged).sum()),
        oracle=_oracle(play.tails[scored], anomalous[scored]),
        with_warm_up=Figures.of(play.flagged[labelled], anomalous[labelled]),
        unlabelled=int((play.judged & ~labelled).sum()),
        without_events=len(known.keys() - set(names)),
        level=play.rarity.level,
        events=events,
        templates=play.templates,
        odd=[names[slot] for slot in order.tolist() if play.flagged[slot]],
    )


def _oracle(tails: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> Oracle:
    """Try each score as the threshold: all up to it would be flagged."""
    if not anomalous.any():
        return Oracle(0.0, 0.0, 0.0, 0, 0.0)
    order = np.argsort(tails, kind="stable")
    ranked = tails[order]
    both = np.cumsum(anomalous[order])
    flagged = np.arange(1, len(order) + 1)
    f1 = 2.0 * both / (flagged + both[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = 0.0  # equal scores are flagged together
    best = int(np.argmax(f1))
    precision, recall = float(both[best] / flagged[best]), float(both[best] / both[-1])
    return Oracle(float(f1[best]), precision, recall, int(flagged[best]), float(ranked[best]))
