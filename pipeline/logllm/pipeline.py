"""The synchronous core: chunks in, incidents out. Bytes, numbers and time come in; no clock, thread or socket here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.arrivals import Arrivals
from logllm.config import Config
from logllm.detectors.budget import Budget
from logllm.detectors.contract import Seen
from logllm.detectors.detection import LEARNING_WINDOWS, Detection
from logllm.detectors.keys import Keys
from logllm.detectors.names import FirstSight, Names
from logllm.detectors.survey import Survey
from logllm.detectors.windows import Windows
from logllm.events import WINDOW_NS, IncidentEvent, Severity
from logllm.explain.redact.redactor import Redactor, without_secrets
from logllm.explain.runbooks.advice import Advice
from logllm.filtering import Filtering
from logllm.incidents.changes import ChangeWatch
from logllm.incidents.compose import Composer, Lookups
from logllm.incidents.describe import span_of
from logllm.incidents.feedback import Feedback
from logllm.incidents.grouper import Grouper, Incident
from logllm.incidents.recent import Recent
from logllm.pipeline_changes import forget, merge
from logllm.pipeline_detectors import decoder_for, detectors_of
from logllm.pipeline_signals import hear
from logllm.pipeline_state import restore_into, state_of
from logllm.report import Report
from logllm.signals import Raised
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice
    from logllm.events import Chunk, Columns
    from logllm.filters.host import Signal
    from logllm.incidents.grouper import EventName
    from logllm.sinks.reduce.reducer import Reducer
    from logllm.templates.edits import TemplateEdits
    from logllm.templates.template import Changes

__all__ = ["Pipeline"]

LIVE_NS = 3_600_000_000_000


class Pipeline:
    """Learns what is normal in a stream of chunks and tells what is odd.

    Feed it chunks in any sizes: what it finds depends on the records and their order alone. It says nothing in its
    first hour of event time, except of fatal messages; with `look_back` it keeps what it finds for `report`, which
    then also looks back on the whole input (what dominates, bursts, is rare), as `tail` does with a file's past.

    Args:
        config: Budget, runbooks and the like.
        look_back: Hold incidents until `report` is called, which ranks them.
        filtering: The plugins; by default those that `config` names.

    Attributes:
        reducer: Where one is set, it is shown each record under its key, and each incident with what that rests on.

    >>> from logllm import Pipeline, read_file
    >>> pipeline = Pipeline()
    >>> for chunk in read_file("samples/disk.log"):
    ...     for event in pipeline.feed(chunk):
    ...         if event.event == "open":
    ...             print(event.service, event.seen)  # doctest: +ELLIPSIS
    orders ...
    """

    def __init__(
        self, config: Config | None = None, *, look_back: bool = False, filtering: Filtering | None = None
    ) -> None:
        self.config = config or Config()
        self.filtering = filtering or Filtering.of(self.config)
        self.miner, self.keys = Miner(hide=without_secrets), Keys()
        self.windows = Windows(whole_blocks=look_back)
        self.names = Names(self.keys, self._template)
        self.budget = Budget(self.config.detect)
        detect = self.config.detect
        others = detectors_of(
            detect, self.keys, self.names.severity, self._parameters, self._typed, lambda: self.redactor
        )
        self.detection = Detection(self.keys, self.budget, self.names.severity, others)
        self.feedback = Feedback(self.keys, self.names.of, self._resolved)
        self.grouper = Grouper(self.keys, self.budget, self.template_id, self.feedback.is_real)
        self.recent = Recent()
        self.changes = ChangeWatch(self.template_text, self._mask)
        self.redactor = Redactor()
        self.records = self.bytes = 0
        self.anomalies: dict[str, int] = {}
        self.first_sight, self.raised, self.arrivals = FirstSight(), Raised(), Arrivals()
        self.first_window = -1
        self.reducer: Reducer | None = None
        self.decoder = decoder_for(detect)
        self.advice = Advice(self.config.explain.runbooks)
        self._composer = Composer(
            self.keys,
            self.recent,
            self.changes,
            self.grouper,
            Lookups(
                text=self.template_text,
                template_id=self.template_id,
                parameters=self._parameters,
                mask=self._mask,
                mask_lines=lambda texts: self.redactor.mask_lines(texts),  # noqa: PLW0108 - restoring makes another
                runbook=self.advice.runbook,
                runbook_of_kind=self.advice.of_kind,
                shows=self.advice.shows,
            ),
        )
        survey = Survey(self.keys, self.names.severity)
        self._report = Report(self.keys, survey, self.template_id) if look_back else None

    @classmethod
    def from_config(cls, path: str | Path) -> Pipeline:
        """A pipeline as a TOML file describes it. Raises ConfigError, naming the key."""
        return cls(Config.load(path))

    def template_id(self, key: int) -> str:
        """The stable id of a key's template."""
        return self.names.of(key)[0]

    def template_text(self, key: int) -> str:
        """A key's template, its parameters typed."""
        return self.names.of(key)[1]

    def _template(self, index: int) -> tuple[str, str]:
        template = self.miner.template(index)
        return template.id, template.shown

    def _mask(self, text: str) -> str:
        return self.redactor.mask(text)

    def _resolved(self, template_id: str) -> int | None:
        return self.miner.resolve(template_id)

    def _typed(self, key: int) -> str:
        """A key's template as it was mined, whatever people call it; "" where it is forgotten."""
        try:
            return self.miner.text(int(self.keys.template[key]))
        except IndexError:
            return ""

    def _parameters(self, key: int, text: str) -> list[str]:
        return self.miner.parameters(int(self.keys.template[key]), text)

    @property
    def learning(self) -> str | None:
        """What is still missing before detectors may speak, in words; None when they do."""
        missing = self.detection.learning
        return f"{missing} more minutes of log before it can tell what is odd" if missing else None

    @property
    def missing(self) -> list[str]:
        """What is still being learned, in words, the soonest first."""
        return [f"{each.what}: {span_of(each.windows)} more" for each in self.detection.missing()]

    def feed(self, chunk: Chunk, now_ns: int | None = None) -> list[IncidentEvent]:
        """Filter a chunk and take it in; returns what opened, changed or ended by it.

        Args:
            now_ns: The wall clock, where the chunk has just been received: records that claim to be from more than
                ten minutes after it are taken to be of now, so that one wrong clock cannot close everyone's windows.

        Raises:
            PluginStopped: A plugin failed whose `on_error` is `stop`.
        """
        return self.take(*self.filtering.ingest(chunk), now_ns)

    def take(self, chunk: Chunk, signals: list[Signal], now_ns: int | None = None) -> list[IncidentEvent]:
        """Take a filtered chunk in, with the anomalies that filters raised. `feed` is both."""
        columns = chunk.columns if chunk.columns is not None else self.decoder.decode(chunk, now_ns or 0)
        n = len(columns)
        if n and now_ns is not None:
            columns = self.arrivals.at_most_now(columns, now_ns)
        source = chunk.origin.peer or chunk.tag
        if signals:
            hear(self, signals, columns, self.windows.watermark_ns, source)
        events: list[IncidentEvent] = []
        at = 0
        while at < n:
            # Nothing that comes after a window has closed may have a part in how it is judged and told.
            end = at + self.windows.stretch(columns.time_ns[at:])
            size_bytes = chunk.size_bytes * end // n - chunk.size_bytes * at // n
            # Messages may stay in the block they came in, which is larger than it was on the wire if compressed.
            held_bytes = max(size_bytes, len(chunk.block or b"") * (end - at) // n)
            events += self._take(columns if end - at == n else columns.part(at, end), source, size_bytes, held_bytes)
            at = end
        return events

    def _take(self, columns: Columns, source: str, size_bytes: int, held_bytes: int) -> list[IncidentEvent]:
        templates, changes = self._templates(columns)
        keys, new = self.keys.number(columns.service_codes, columns.service_names, templates)
        self.names.listen(new)
        self.first_sight.expect(new, self.keys.template)
        self.keys.tally(keys, columns.time_ns, columns.severity)
        self.records += len(columns)
        self.bytes += size_bytes
        bad = self.names.bad[keys]
        severe = np.where(columns.severity > 0, columns.severity >= Severity.ERROR, bad)
        self.recent.add(columns, keys, source, held_bytes, new)
        self.changes.see(columns, keys, self.keys.service, source, new)
        self.raised.read(new, self.recent, self.keys.service)
        if self.reducer is not None:
            closed_ns = self.windows.watermark_ns // WINDOW_NS * WINDOW_NS
            where, learning = self.keys.service[keys], self.detection.learning > 0
            self.reducer.see(columns, keys, where, bad, closed_ns, self.recent.records, learning=learning)
        self.detection.see(Seen(columns, keys, np.maximum(columns.time_ns // WINDOW_NS, self.windows.oldest_open)))
        events = self._judge(self.windows.add(columns.time_ns, keys, severe, self.keys.count))
        if changes.evicted:
            self._forget(changes)
        return events

    def _templates(self, columns: Columns) -> tuple[NDArray[np.int32], Changes]:
        services = self.keys.services_of(columns.service_codes, columns.service_names)
        templates = self.miner.ids(columns.messages, columns.text_codes, services)
        changes = self.miner.drain_changes()
        if changes.merged:
            self._merge(changes)
            distinct, which = np.unique(templates, return_inverse=True)
            templates = np.array([self.miner.canonical(index) for index in distinct.tolist()], np.int32)[which]
        return templates, changes

    def _merge(self, changes: Changes) -> None:
        parts = (self.grouper, self.recent, self.changes, self.raised, self.feedback, self._report, self.reducer)
        merge(self, changes, parts)

    def edit_templates(self, edits: TemplateEdits) -> None:
        """What people have made of templates, in place of what they had. Raises ConfigError and changes nothing."""
        self.miner.edit(edits)
        changes = self.miner.drain_changes()
        self._merge(changes)
        self._forget(changes)

    def _forget(self, changes: Changes) -> None:
        spoken_of = {key for incident in self.grouper.open for key in incident.concerned} | self.raised.keys
        spoken_of |= set() if self._report is None else self._report.held_keys
        forget(self, changes, spoken_of, (self.recent, self.changes, self.reducer, self.feedback))
        self.miner.reuse()

    def tick(self, now_ns: int) -> list[IncidentEvent]:
        """What plugins need not hold back any longer, then `advance`."""
        return self._flush(now_ns, at_end=False) + self.advance(now_ns)

    def advance(self, now_ns: int) -> list[IncidentEvent]:
        """The wall clock's time: closes windows although nothing came, so that silence is noticed.

        It waits as long as records have been under way of late. An input whose latest record is more than an hour
        old is a past being read, and no clock's business.
        """
        now_ns -= self.arrivals.lag_ns
        is_past = now_ns - self.windows.watermark_ns > LIVE_NS
        return [] if is_past else self._judge(self.windows.advance(now_ns, self.keys.count))

    def _flush(self, now_ns: int, *, at_end: bool) -> list[IncidentEvent]:
        held = self.filtering.flush(now_ns, at_end=at_end)
        return [event for chunk, signals in held for event in self.take(chunk, signals)]

    def _judge(self, slices: list[Slice]) -> list[IncidentEvent]:
        events: list[IncidentEvent] = []
        for window_slice in slices:
            if self.first_window < 0 or window_slice.gap < 0:
                self.first_window = window_slice.first
            anomalies = self.detection.judge(window_slice, self.first_sight.counted(window_slice))
            anomalies = self.raised.among(anomalies, window_slice.first + len(window_slice) - 1)
            anomalies = self.feedback.heed(anomalies, window_slice.first, window_slice.counts)
            for anomaly in anomalies:
                self.anomalies[anomaly.kind] = self.anomalies.get(anomaly.kind, 0) + 1
            if self._report is not None:
                self._report.survey.add(window_slice)
            told, held = self.grouper.take(anomalies, window_slice.first, window_slice.counts)
            self.detection.learn(window_slice, held)
            events += [event for what, incident in told if (event := self._tell(what, incident)) is not None]
        if slices and self.reducer is not None:
            self.reducer.judged(self.grouper.open)
        return events

    def _tell(self, what: EventName, incident: Incident) -> IncidentEvent | None:
        window = incident.last if what == "open" else incident.ended if incident.ended is not None else incident.last
        watched = float(max(incident.started - self.first_window, 0))
        wanted = self._report is None or self._report.wants(incident, ended=what == "resolve")
        event = self._composer.event(incident, what, (window + 1) * WINDOW_NS, watched=watched) if wanted else None
        if event is not None and self.reducer is not None:
            self.reducer.cite(incident, self._composer.cited)
        self.raised.cited(event, self._composer.cited, window, self.keys.service)
        if self._report is None:
            return event
        self._report.hold(incident, event)
        return None

    def finish(self) -> list[IncidentEvent]:
        """The input has ended: close the windows that are still open. Incidents that have not ended stay open."""
        return self._flush(self.windows.watermark_ns, at_end=True) + self._judge(self.windows.finish(self.keys.count))

    def report(self, limit: int = 10) -> list[IncidentEvent]:
        """What the look back found, oddest first, at most `limit`; afterwards incidents are told as they come."""
        if self._report is None:
            return []
        for still_open in self.windows.peek(self.keys.count):
            self._report.survey.add(still_open)
        report, self._report = self._report, None
        self.windows.whole_blocks = False
        found = report.found(self.records, self._composer, self.windows.watermark_ns, self.budget.per_day)
        return [event for event in found if not self.feedback.holds_back(event, self.windows.watermark_ns)][:limit]

    @property
    def looks_back(self) -> bool:
        """True until `report` was called, where it was asked for."""
        return self._report is not None

    def change_of(self, key: int) -> str:
        """How a key's rate of late compares with its usual one, in words; empty where too little is known."""
        return self.detection.rate.baseline.change(key, LEARNING_WINDOWS)

    def state(self) -> dict[str, Any]:
        """All that was learned, msgpack-able: restore it and feed the rest, and the incidents are the same."""
        return state_of(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state back. Raises StateError; the pipeline is then of no use, make a new one."""
        restore_into(self, state)
