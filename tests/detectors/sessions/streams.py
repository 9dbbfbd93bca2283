"""Sessions made by hand, and what runs over them."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from logllm.detectors.contract import Seen
from logllm.detectors.keys import Keys
from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.sessions.novelty import SessionNovelty
from logllm.detectors.windows import Windows
from logllm.events import WINDOW_NS, Columns, Fields, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from logllm.events import Anomaly

__all__ = ["KEYS", "LEVEL", "Event", "Watched", "columns_of", "usual", "with_odd"]

KEYS = 12
LEVEL = 1e-3
_START_NS = 1_700_000_040_000_000_000 // WINDOW_NS * WINDOW_NS


class Event(NamedTuple):
    """One record: when, of which session ("" for none), under which key, and its text."""

    second: float
    session: str
    key: int
    text: str = ""


def usual(sessions: int, *, every_s: float = 10.0, first_s: float = 0.0, name: str = "s", seed: int = 1) -> list[Event]:
    """Sessions that each show the keys 0 to 3 within seconds, and every third of them key 4 too."""
    source = random.Random(seed)
    events = []
    for number in range(sessions):
        begin = first_s + number * every_s
        for key in (0, 1, 2, 3, *([4] if number % 3 == 0 else [])):
            events.append(Event(begin + key + source.random(), f"{name}{number}", key))
    return sorted(events)


def with_odd(events: list[Event], *more: Event) -> list[Event]:
    """The same with further events, in order of time."""
    return sorted([*events, *more])


def columns_of(events: Sequence[Event], *, field: str | None = "trace_id") -> Columns:
    """The records of some events; the session's id in a field, or nowhere but in the text."""
    n = len(events)
    fields = None
    if field is not None:
        names = list(dict.fromkeys(event.session for event in events))
        codes = np.array([names.index(event.session) if event.session else -1 for event in events], np.int32)
        fields = Fields({}, {field: (codes, names)})
    return Columns(
        time_ns=np.array([_START_NS + int(event.second * 1e9) for event in events], np.int64),
        messages=[event.text for event in events],
        severity=np.zeros(n, np.uint8),
        service_codes=np.zeros(n, np.int32),
        service_names=["app"],
        fields=fields,
    )


class Watched:
    """A detector behind windows, fed as the pipeline feeds it."""

    def __init__(
        self,
        config: SessionsConfig | None = None,
        *,
        field: str | None = "trace_id",
        whole_blocks: bool = False,
        level: float = LEVEL,
        severities: dict[int, int] | None = None,
    ) -> None:
        self.keys = Keys()
        numbers, _ = self.keys.number(np.zeros(KEYS, np.int32), ["app"], np.arange(KEYS, dtype=np.int32))
        self.keys.tally(numbers, np.zeros(KEYS, np.int64), np.zeros(KEYS, np.uint8))
        given = severities or {}
        self.detector = SessionNovelty(
            config or SessionsConfig(), self.keys, lambda key: given.get(key, int(Severity.INFO))
        )
        self.windows = Windows(lateness_ns=0, whole_blocks=whole_blocks)
        self._field = field
        self._level = level
        self.found: list[Anomaly] = []

    def feed(self, events: Sequence[Event], cuts: Iterable[int] = ()) -> list[Anomaly]:
        """Some records, in chunks that begin at `cuts`; returns all that has been found so far."""
        edges = sorted({0, len(events), *(cut for cut in cuts if 0 < cut < len(events))})
        for start, stop in itertools.pairwise(edges):
            columns = columns_of(events[start:stop], field=self._field)
            keys = np.array([event.key for event in events[start:stop]], np.int32)
            at = 0
            while at < len(keys):
                end = at + self.windows.stretch(columns.time_ns[at:])
                part = columns.part(at, end)
                # What is behind is counted in the oldest window that is open.
                window = np.maximum(part.time_ns, self.windows.watermark_ns) // WINDOW_NS
                self.detector.see(Seen(part, keys[at:end], window))
                severe = np.zeros(end - at, np.bool_)
                for each in self.windows.add(part.time_ns, keys[at:end], severe, KEYS):
                    self.found += self.detector.judge(each, self._level)
                    self.detector.learn(each, np.zeros(KEYS, np.bool_))
                at = end
        return self.found

    def finish(self) -> list[Anomaly]:
        """The input has ended."""
        for each in self.windows.finish(KEYS):
            self.found += self.detector.judge(each, self._level)
            self.detector.learn(each, np.zeros(KEYS, np.bool_))
        return self.found
