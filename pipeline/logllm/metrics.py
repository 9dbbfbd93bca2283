"""Every metric logllm exposes, in one table, and its rendering as Prometheus text.

Names follow Vector's component specification where it has one (`component_received_events_total`...). Nothing is
counted here: the stages keep plain integers, and whoever answers `/metrics` hands them to `render` at that moment.
Labels have few values by design: detectors, stages, reasons; never a template, a tag or a peer, but for the reducer's,
which tell of the fifty largest tags and of twenty templates.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

__all__ = ["CONTENT_TYPE", "METRICS", "Histogram", "Metric", "Value", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(msgspec.Struct, frozen=True):
    """One row of the table. `name` is without the `_total` that the text format gives to counters."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Histogram:
    """Observations sorted into buckets; `observe` is one bisection.

    >>> seconds = Histogram((0.5, 1.0))
    >>> for value in (0.2, 0.7, 9.0): seconds.observe(value)
    >>> seconds.counts, seconds.total
    ([1, 1, 1], 9.9)
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


Value = float | Histogram | Mapping[str | tuple[str, ...], float]
"""A number; a histogram; or a number for each combination of label values (one label: its value alone)."""


def _table(*rows: tuple[str, Literal["counter", "gauge", "histogram"], str, tuple[str, ...]]) -> dict[str, Metric]:
    return {f"logllm_{name}": Metric(f"logllm_{name}", kind, text, labels) for name, kind, text, labels in rows}


METRICS: dict[str, Metric] = _table(
    ("build_info", "gauge", "1, with the version as a label.", ("version",)),
    ("process_start_time_seconds", "gauge", "When this process started, Unix time.", ()),
    ("component_received_events", "counter", "Records taken from a source.", ("component",)),
    (
        "component_received_event_bytes",
        "counter",
        "Bytes those records took on the wire or in the file.",
        ("component",),
    ),
    ("component_sent_events", "counter", "Records handed to a sink.", ("component",)),
    ("component_sent_event_bytes", "counter", "Bytes handed to a sink.", ("component",)),
    (
        "component_discarded_events",
        "counter",
        "Records not passed on; intentional is true for what a rule or a filter dropped.",
        ("component", "intentional"),
    ),
    (
        "component_errors",
        "counter",
        "Failures of a sink; what it could not take is tried again.",
        ("component", "error_type"),
    ),
    ("delivery_seconds", "histogram", "From a whole chunk to its ack: filters, detectors, sinks.", ()),
    ("sink_up", "gauge", "0 while a sink fails; what it lacks is not acknowledged.", ("component",)),
    ("sink_retries", "counter", "Writes that were tried again.", ("component",)),
    ("sink_writes", "counter", "Writes that were made durable, each for all chunks that waited.", ("component",)),
    ("sink_write_seconds", "counter", "Seconds spent in them.", ("component",)),
    ("sink_waiting_events", "gauge", "Records waiting for a sink.", ("component",)),
    ("sink_waiting_bytes", "gauge", "Bytes waiting for a sink.", ("component",)),
    (
        "dead_letter_entries",
        "counter",
        "Entries that were no records, kept in the dead-letter file if there is one.",
        (),
    ),
    ("reduce_received_events", "counter", "Records that came to the reducer; the largest tags.", ("tag",)),
    ("reduce_received_event_bytes", "counter", "Bytes of MessagePack that those are.", ("tag",)),
    ("reduce_sent_events", "counter", "Records that went on, at once or after all; the largest tags.", ("tag",)),
    ("reduce_sent_event_bytes", "counter", "Bytes of MessagePack that those are.", ("tag",)),
    ("reduce_kept_events", "counter", "Records that went on at once, by why.", ("reason",)),
    ("reduce_late_events", "counter", "Culled records that went on after all.", ()),
    ("reduce_pending_events", "gauge", "Culled records that no record has told of yet.", ()),
    ("reduce_ring_bytes", "gauge", "Memory for records that were culled of late.", ()),
    ("reduce_ring_events", "gauge", "Culled records that an incident may still get.", ()),
    (
        "reduce_template_saved_bytes",
        "gauge",
        "Bytes that did not go on, of the twenty templates that save most.",
        ("service", "template", "id"),
    ),
    ("reduce_saved_money", "counter", "What did not go on, at the configured price.", ("currency",)),
    ("config_reloads", "counter", "Reloads by how they ended.", ("outcome",)),
    ("buffer_size_bytes", "gauge", "Bytes of chunks in the pipeline or waiting for a sink.", ()),
    ("buffer_max_size_bytes", "gauge", "What may be there at once; beyond it nothing more is read.", ()),
    ("event_lag_seconds", "gauge", "Wall clock minus the event time of the newest record.", ()),
    ("forward_connections", "gauge", "Forward connections open now.", ()),
    ("forward_connections_opened", "counter", "Forward connections accepted.", ()),
    ("forward_connections_refused", "counter", "Forward connections closed at once, since too many were open.", ()),
    ("forward_connections_evicted", "counter", "Forward connections without a frame, closed for another.", ()),
    ("forward_connections_stalled", "counter", "Forward connections stuck in a frame, closed as memory was short.", ()),
    ("forward_crowded", "counter", "Times that unfinished frames took too much memory and were read in turn.", ()),
    ("forward_handshake_failures", "counter", "Peers that did not get in.", ("reason",)),
    ("forward_frames", "counter", "Forward frames read.", ()),
    ("forward_received_bytes", "counter", "Bytes read from forward connections.", ()),
    ("forward_acks", "counter", "Acks sent.", ()),
    ("forward_unacknowledged_events", "counter", "Records that came without a chunk id, so without a promise.", ()),
    ("forward_duplicate_chunks", "counter", "Chunks seen before, acknowledged and dropped.", ()),
    ("forward_heartbeats", "counter", "nil frames.", ()),
    ("forward_skipped_entries", "counter", "Entries in good frames that are no records.", ("reason",)),
    (
        "forward_other_signals",
        "counter",
        "Frames of metrics, traces or profiles, acknowledged and dropped.",
        ("signal",),
    ),
    ("forward_truncated_frames", "counter", "Connections that ended inside a frame.", ()),
    ("forward_protocol_errors", "counter", "Connections closed for what the peer sent.", ()),
    ("lines", "counter", "Physical lines read from files.", ()),
    ("templates", "gauge", "Templates known.", ()),
    ("template_cache_hits", "counter", "Messages whose template was in the cache.", ()),
    ("template_cache_misses", "counter", "Messages that met the masks and the merge.", ()),
    ("windows", "counter", "Windows closed.", ()),
    ("late_events", "counter", "Records older than the watermark, counted in the window that was open.", ()),
    ("learning", "gauge", "1 while the baselines are still warming up.", ()),
    ("anomalies", "counter", "Anomalies within the alert budget.", ("detector",)),
    ("incidents_opened", "counter", "Incidents opened.", ("severity",)),
    ("incidents_open", "gauge", "Incidents open now.", ()),
    ("alert_budget_per_day", "gauge", "Alerts a day the user asked for.", ()),
    ("plugin_calls", "counter", "Calls into plugins.", ("plugin",)),
    ("plugin_received_events", "counter", "Records given to plugins.", ("plugin",)),
    ("plugin_sent_events", "counter", "Records that came out of plugins.", ("plugin",)),
    ("plugin_discarded_events", "counter", "Records that plugins dropped, or that on_error dropped.", ("plugin",)),
    (
        "plugin_failures",
        "counter",
        "Plugin calls that failed; on_error says what became of the records.",
        ("plugin", "reason"),
    ),
    ("plugin_seconds", "counter", "Seconds spent in plugins.", ("plugin",)),
    ("plugin_bypassed", "gauge", "1 while a plugin that failed too often is not called.", ("plugin",)),
    ("plugin_instances", "gauge", "Instances of a plugin, one a tenant.", ("plugin",)),
    ("plugin_memory_bytes", "gauge", "Linear memory of a plugin's instances.", ("plugin",)),
    ("plugin_reloads", "counter", "Changed files that were taken while running.", ("plugin",)),
    ("plugin_lost", "counter", "Log lines, anomalies and the like beyond what a plugin may send.", ("plugin", "what")),
    ("plugin_metric", "gauge", "What plugins count themselves, under their own names.", ("plugin", "name")),
    ("llm_requests", "counter", "Requests to the language model.", ("outcome",)),
    (
        "llm_tokens",
        "counter",
        "Tokens that the language model has read and written, and those that the cache saved; over restarts too.",
        ("kind",),
    ),
    ("llm_hour_tokens", "gauge", "Tokens of the last hour, which count against the limit.", ()),
    ("llm_hour_tokens_limit", "gauge", "Tokens an hour that the language model may use.", ()),
    ("llm_starts", "counter", "Starts of the local model's process.", ()),
    ("llm_up", "gauge", "1 while the local model's process is ready.", ()),
    ("explain_queue_depth", "gauge", "Incidents waiting for an explanation.", ()),
    ("explain_given_up", "counter", "Incidents for which the model was not asked in the end, by why.", ("why",)),
    ("llm_serve_requests", "counter", "Requests that `logllm llm serve` answered.", ("endpoint", "status")),
    ("llm_serve_tokens", "counter", "Tokens that it has read and written.", ("kind",)),
    ("llm_serve_seconds", "histogram", "How long answers took, waiting included.", ()),
    ("llm_serve_first_piece_seconds", "histogram", "How long streams took to begin.", ()),
    ("llm_serve_under_way", "gauge", "Requests under way.", ()),
    ("llm_serve_waiting", "gauge", "Requests that wait for a worker.", ()),
    ("llm_serve_workers", "gauge", "The model's processes.", ("state",)),
    ("llm_serve_memory_bytes", "gauge", "Memory of them all; what they share counts once.", ()),
    ("llm_serve_starts", "counter", "Starts of the model's processes.", ()),
    ("llm_serve_crashes", "counter", "Crashes of the model's processes.", ()),
    ("llm_serve_idle_ends", "counter", "Processes that were ended because nobody asked.", ()),
    ("llm_serve_cold_start_seconds", "gauge", "How long the last start took.", ()),
    ("explain_seconds", "histogram", "Seconds that an explanation took to make.", ()),
    ("explanations", "counter", "Explanations by how they ended.", ("status",)),
    ("redactions", "counter", "Secrets and personal data replaced.", ("kind",)),
    ("notify", "counter", "Messages about incidents, by receiver and outcome.", ("receiver", "outcome")),
    (
        "notify_errors",
        "counter",
        "Messages that a receiver did not take; all but dead letters are tried again.",
        ("receiver", "error_type"),
    ),
    (
        "notify_held",
        "gauge",
        "News not told yet: held by a silence, an inhibition or a mute time, waiting for its group, or in memory.",
        ("what",),
    ),
    ("notify_waiting", "gauge", "Messages in the outbox that wait to be sent.", ("receiver",)),
    ("notify_oldest_seconds", "gauge", "How long the oldest of them has waited.", ("receiver",)),
    (
        "notify_incidents",
        "counter",
        "What became of incidents on their way: told, digested, silenced, repeated...",
        ("what",),
    ),
    ("actions", "counter", "Actions of runbooks that ended, by how.", ("state",)),
    ("egress", "counter", "Bodies written down before they left, by kind of receiver.", ("kind",)),
    ("egress_unrecorded", "counter", "Bodies that could not be written down; those that must be did not leave.", ()),
    ("state_saves", "counter", "Snapshots written.", ()),
    ("state_age_seconds", "gauge", "Seconds since the last snapshot.", ()),
    ("process_cpu_seconds", "counter", "User and system CPU time of this process.", ()),
    ("process_resident_memory_bytes", "gauge", "Resident memory of this process.", ()),
)


def render(values: Mapping[str, Value]) -> bytes:
    """The Prometheus text of some metrics, in the table's order; those without a value are left out.

    >>> print(render({"logllm_templates": 7}).decode(), end="")
    # HELP logllm_templates Templates known.
    # TYPE logllm_templates gauge
    logllm_templates 7.0

    Raises:
        KeyError: a name that is not in the table.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    for name in values:
        METRICS[name]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(values))
    return generate_latest(registry)


class _Collector:
    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        for name, metric in METRICS.items():
            if name in self._values:
                yield _family(metric, self._values[name])

    def describe(self) -> Iterator[Family]:
        return iter(())


def _family(metric: Metric, value: Value) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if isinstance(value, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        running = 0
        buckets = []
        for bound, count in zip((*value.bounds, float("inf")), value.counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), running))
        histogram.add_metric((), buckets, value.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, number in value.items() if isinstance(value, Mapping) else [((), value)]:
        values = (labels,) if isinstance(labels, str) else labels
        if len(values) != len(metric.labels):
            raise ValueError(f"{metric.name}: label values {values!r}, expected one each for {metric.labels!r}")
        family.add_metric(values, number)
    return family
