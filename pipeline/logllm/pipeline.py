"""The synchronous core: chunks in, incidents out. Bytes, numbers and time come in; no clock, thread or socket in here.

The same `Pipeline` runs under `tail`, `serve` and in your own program.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from logllm.checkpoint import STATE_VERSION
from logllm.config import Config
from logllm.detectors.budget import Budget
from logllm.detectors.detection import LEARNING_WINDOWS, Detection
from logllm.detectors.keys import Keys
from logllm.detectors.lexicon import sounds_like
from logllm.detectors.survey import Survey
from logllm.detectors.windows import Slice, Windows
from logllm.errors import StateError
from logllm.events import WINDOW_NS, IncidentEvent, Severity
from logllm.explain.redact import Redactor
from logllm.explain.runbooks import Catalogue
from logllm.incidents.compose import Composer, Lookups
from logllm.incidents.grouper import Grouper, Incident
from logllm.incidents.recent import Recent
from logllm.report import Report
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from pathlib import Path

    from logllm.events import Chunk
    from logllm.incidents.grouper import EventName

__all__ = ["Pipeline"]

LIVE_NS = 3_600_000_000_000
FUTURE_NS = 600_000_000_000
RUNBOOK_OF_KIND = {"silence": "heartbeat-missing", "release": "release-new-templates"}
"""For what shows in no record's text."""


class Pipeline:
    """Learns what is normal in a stream of chunks and tells what is odd.

    Feed it chunks in any sizes: what it finds depends on the records and their order alone. It says nothing in its
    first hour of event time, except of fatal messages; with `look_back` it keeps what it finds for `report`, which
    then also looks back on the whole input (what dominates, bursts, is rare), as `tail` does with a file's past.

    Args:
        config: Budget, runbooks and the like.
        look_back: Hold incidents until `report` is called, which ranks them.

    >>> from logllm import Pipeline, read_file
    >>> pipeline = Pipeline()
    >>> for chunk in read_file("samples/disk.log"):
    ...     for event in pipeline.feed(chunk):
    ...         if event.event == "open":
    ...             print(event.service, event.seen)  # doctest: +ELLIPSIS
    orders ...
    """

    def __init__(self, config: Config | None = None, *, look_back: bool = False) -> None:
        self.config = config or Config()
        self.miner = Miner()
        self.keys = Keys()
        self.windows = Windows()
        self.budget = Budget(self.config.detect)
        self.detection = Detection(self.keys, self.budget, self.severity_of)
        self.grouper = Grouper(self.keys, self.budget, self.template_id)
        self.recent = Recent()
        self.redactor = Redactor()
        self.records = 0
        self.bytes = 0
        self.anomalies: dict[str, int] = {}
        self._sounds: list[int] = []
        self._first_names: list[tuple[str, str]] = []
        self._bad = np.zeros(0, np.bool_)
        self._known = np.zeros(0, np.bool_)
        self._pending: dict[int, list[int]] = {}
        self._report: Report | None = None
        self._decoder = Decoder(detected)
        self.ahead = 0
        self._first_window = -1
        self._catalogue: Catalogue | None = None
        self._composer = Composer(
            self.keys,
            self.recent,
            Lookups(
                text=self.template_text,
                template_id=self.template_id,
                parameters=lambda key, text: self.miner.parameters(int(self.keys.template[key]), text),
                mask=self._mask,
                runbook=self._runbook,
                runbook_of_kind=self._runbook_of_kind,
                shows=self._shows,
            ),
        )
        if look_back:
            self._report = Report(self.keys, Survey(self.keys, self.severity_of), self.template_id)

    @classmethod
    def from_config(cls, path: str | Path) -> Pipeline:
        """A pipeline as a TOML file describes it. Raises ConfigError, naming the key."""
        return cls(Config.load(path))

    def template_id(self, key: int) -> str:
        """The stable id of a key's template."""
        return self._template(key)[0]

    def template_text(self, key: int) -> str:
        """A key's template, its parameters typed."""
        return self._template(key)[1]

    def _template(self, key: int) -> tuple[str, str]:
        try:
            template = self.miner.template(int(self.keys.template[key]))
        except IndexError:  # evicted: what it was called when it was first seen
            return self._first_names[key] if key < len(self._first_names) else ("", "(a template long gone)")
        return template.id, template.text

    def severity_of(self, key: int) -> int:
        """What a key's records say of themselves, or how its template sounds."""
        return int(self.keys.severity[key]) or self._sounds[key]

    @property
    def learning(self) -> str | None:
        """What is still missing before detectors may speak, in words; None when they do."""
        missing = self.detection.learning
        return f"learning: {missing} more minutes of log before it can tell what is odd" if missing else None

    def feed(self, chunk: Chunk, now_ns: int | None = None) -> list[IncidentEvent]:
        """Take a chunk in; returns what opened, changed or ended by it.

        Args:
            now_ns: The wall clock, where the chunk has just been received: records that claim to be from more than
                FUTURE_NS after it are taken to be of now, so that one wrong clock cannot close everyone's windows.
        """
        columns = chunk.columns if chunk.columns is not None else self._decoder.decode(chunk, now_ns or 0)
        if not len(columns):
            return []
        if now_ns is not None:
            ahead = columns.time_ns > now_ns + FUTURE_NS
            if ahead.any():
                self.ahead += int(ahead.sum())
                columns.time_ns = np.where(ahead, now_ns, columns.time_ns)
        templates = self.miner.ids(columns.messages)
        self._follow_merges()
        keys, new = self.keys.number(columns.service_codes, columns.service_names, templates)
        self._listen(new)
        self.keys.tally(keys, columns.time_ns, columns.severity)
        self._expect_new(new)
        self.records += len(columns)
        self.bytes += chunk.size_bytes
        self.recent.add(columns, keys, chunk.origin.peer or chunk.tag, chunk.size_bytes, new)
        severe = np.where(columns.severity > 0, columns.severity >= Severity.ERROR, self._bad[keys])
        return self._judge(self.windows.add(columns.time_ns, keys, severe, self.keys.count))

    def _follow_merges(self) -> None:
        changes = self.miner.drain_changes()
        for template in changes.evicted:
            for key in self.keys.of_template(template):
                self.detection.rate.forget(key)
        for old, new in changes.merged:
            self._mark_known(max(old, new))
            self._known[new] |= self._known[old]
            for old_key, new_key in self.keys.merge_templates(old, new):
                self.detection.rate.merge(old_key, new_key)
                if self._report is not None:
                    self._report.survey.merge(old_key, new_key)
                self._pending = {
                    window: [new_key if key == old_key else key for key in keys]
                    for window, keys in self._pending.items()
                }

    def _mark_known(self, template: int) -> None:
        if template >= len(self._known):
            self._known = np.pad(self._known, (0, max(1024, template + 1 - len(self._known))))

    def _listen(self, new: list[int]) -> None:
        for key in new:
            name = self._template(key)
            self._first_names.append(name)
            sound = int(sounds_like(name[1]))
            self._sounds.append(sound)
        if new:
            sounds = np.array(self._sounds[new[0] :], np.int64)
            self._bad = np.concatenate([self._bad, sounds >= Severity.ERROR])

    def _expect_new(self, new: list[int]) -> None:
        for key in new:
            template = int(self.keys.template[key])
            self._mark_known(template)
            if not self._known[template]:
                self._known[template] = True
                self._pending.setdefault(int(self.keys.first_ns[key]) // WINDOW_NS, []).append(key)

    def tick(self, now_ns: int) -> list[IncidentEvent]:
        """The wall clock's time: closes windows although nothing came, so that silence is noticed.

        An input whose latest record is more than an hour old is a past being read, and no clock's business.
        """
        if now_ns - self.windows.watermark_ns > LIVE_NS:
            return []
        return self._judge(self.windows.advance(now_ns, self.keys.count))

    def _judge(self, slices: list[Slice]) -> list[IncidentEvent]:
        events: list[IncidentEvent] = []
        for window_slice in slices:
            keys = window_slice.counts.shape[1]
            due = [window for window in self._pending if window < window_slice.first + len(window_slice)]
            new: dict[int, list[int]] = {}
            for window in due:
                # What was late for its own window is news in the first one that is still judged.
                new.setdefault(max(window, window_slice.first), []).extend(self._pending.pop(window))
            if self._first_window < 0:
                self._first_window = window_slice.first
            anomalies = self.detection.judge(window_slice, new, self.grouper.held(keys))
            for anomaly in anomalies:
                self.anomalies[anomaly.kind] = self.anomalies.get(anomaly.kind, 0) + 1
            if self._report is not None:
                self._report.survey.add(window_slice)
            for what, incident in self.grouper.take(anomalies, window_slice.first, window_slice.counts):
                event = self._tell(what, incident)
                if event is not None:
                    events.append(event)
        return events

    def _tell(self, what: EventName, incident: Incident) -> IncidentEvent | None:
        window = incident.last if what == "open" else incident.ended if incident.ended is not None else incident.last
        watched = float(max(incident.started - self._first_window, 0))
        event = self._composer.event(incident, what, (window + 1) * WINDOW_NS, watched=watched)
        if self._report is not None:
            self._report.hold(incident, event)
            return None
        return event

    def finish(self) -> list[IncidentEvent]:
        """The input has ended: close the windows that are still open. Incidents that have not ended stay open."""
        return self._judge(self.windows.finish(self.keys.count))

    def report(self, limit: int = 10) -> list[IncidentEvent]:
        """What the look back found, oddest first, at most `limit`; afterwards incidents are told as they come."""
        if self._report is None:
            return []
        report, self._report = self._report, None
        found = report.found(self.records, self._composer, self.windows.watermark_ns, self.budget.per_day)
        return found[:limit]

    @property
    def held_back(self) -> int:
        """Incidents that the budget did not cover."""
        return self.budget.held_back

    @property
    def looks_back(self) -> bool:
        """True until `report` was called, where it was asked for."""
        return self._report is not None

    def change_of(self, key: int) -> str:
        """How a key's rate of late compares with its usual one, in words; empty where too little is known."""
        baseline = self.detection.rate.baseline
        if key >= baseline.size or baseline.seen[key] < LEARNING_WINDOWS:
            return ""
        usual, now = baseline.usual(key), baseline.lately(key)
        if usual <= 0.0 or 0.67 <= now / usual <= 1.5:
            return "steady"
        return f"{now / usual:.1f} times as often lately" if now > usual else f"down to {100 * now / usual:.0f} %"

    def use_catalogue(self, catalogue: Catalogue) -> None:
        """Take runbooks from here instead of loading them."""
        self._catalogue = catalogue

    @property
    def catalogue(self) -> Catalogue:
        """The runbooks, loaded when they are first asked for."""
        if self._catalogue is None:
            self._catalogue = Catalogue.load(self.config.explain.runbooks)
        return self._catalogue

    def _runbook(self, text: str) -> str | None:
        best = self.catalogue.best(text)
        return best.id if best else None

    def _runbook_of_kind(self, kind: str) -> str | None:
        book = RUNBOOK_OF_KIND.get(kind)
        return book if book in self.catalogue.by_id else None

    def _shows(self, runbook: str, text: str) -> float:
        """How well a text shows a runbook's problem; authors list the most telling signals first."""
        book = self.catalogue.by_id[runbook]
        words = set(re.findall(r"[a-z]{2,}", text.lower()))
        signals = [set(re.findall(r"[a-z]{2,}", signal.lower())) for signal in book.signals]
        place = next((n for n, signal in enumerate(signals) if len(signal & words) >= 0.75 * len(signal)), 99)
        return min(self.catalogue.shows(book, text), 0.8) + 1.0 / (1 + place)

    def _mask(self, text: str) -> str:
        return self.redactor.mask(text)

    def state(self) -> dict[str, Any]:
        """All that was learned, msgpack-able: restore it and feed the rest, and the incidents are the same."""
        return {
            "version": STATE_VERSION,
            "miner": self.miner.state(),
            "keys": self.keys.state(),
            "windows": self.windows.state(),
            "detection": self.detection.state(),
            "budget": self.budget.state(),
            "open": self.grouper.state(),
            "redactor": self.redactor.state(),
            "records": self.records,
            "bytes": self.bytes,
            "first_window": self._first_window,
            "known": np.flatnonzero(self._known).tolist(),
            "pending": {str(window): keys for window, keys in self._pending.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state back. Raises StateError; the pipeline is then of no use, make a new one."""
        if state.get("version") != STATE_VERSION:
            raise StateError(f"saved state has version {state.get('version')}, expected {STATE_VERSION}")
        try:
            self.miner = Miner.restore(state["miner"])
            self.keys.restore(state["keys"])
            self.windows.restore(state["windows"])
            self.detection.restore(state["detection"])
            self.budget.restore(state["budget"])
            self.grouper.restore(state["open"])
            self.redactor = Redactor.from_state(state["redactor"])
            self.records, self.bytes = int(state["records"]), int(state["bytes"])
            self._first_window = int(state["first_window"])
            self._pending = {int(window): list(keys) for window, keys in state["pending"].items()}
            known: list[int] = state["known"]
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            raise StateError(f"saved state is damaged: {error!r}") from error
        if known:
            self._mark_known(max(known))
            self._known[known] = True
        self._sounds, self._first_names = [], []
        self._bad = np.zeros(0, np.bool_)
        self._listen(list(range(self.keys.count)))
