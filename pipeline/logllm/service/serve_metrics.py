"""What a running service tells of itself: each stage's plain numbers, for `/metrics` and for the summary."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

from logllm import __version__
from logllm.service.alert_metrics import alert_values
from logllm.service.explain_metrics import explain_values
from logllm.service.plugin_metrics import plugin_values

if TYPE_CHECKING:
    from logllm.metrics import Value
    from logllm.service.delivery import Delivery
    from logllm.service.serve import Serve
    from logllm.sources.forward.server import ForwardStats

__all__ = ["values_of"]


def values_of(service: Serve) -> dict[str, Value]:
    """Values by metric name."""
    run, stats, delivery = service.run, service.forward.stats, service.delivery
    pipeline = run.pipeline
    usage = resource.getrusage(resource.RUSAGE_SELF)
    values: dict[str, Value] = {
        "logllm_build_info": {__version__: 1.0},
        "logllm_process_start_time_seconds": service.started_s,
        "logllm_component_received_events": {"forward": float(stats.records)},
        "logllm_component_received_event_bytes": {"forward": float(stats.bytes)},
        "logllm_templates": float(len(pipeline.miner)),
        "logllm_windows": float(pipeline.detection.windows),
        "logllm_late_events": float(pipeline.windows.late),
        "logllm_learning": float(pipeline.learning is not None),
        "logllm_anomalies": {kind: float(count) for kind, count in pipeline.anomalies.items()},
        "logllm_incidents_opened": {name: float(count) for name, count in run.opened_by.items()},
        "logllm_incidents_open": float(sum(incident.told for incident in pipeline.grouper.open)),
        "logllm_alert_budget_per_day": pipeline.budget.per_day,
        "logllm_explanations": {status: float(count) for status, count in run.explained.items()},
        "logllm_state_saves": float(service.saves),
        "logllm_config_reloads": {outcome: float(count) for outcome, count in service.reloads.items()},
        "logllm_process_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "logllm_process_resident_memory_bytes": float(_resident_bytes()),
        **_forward_values(stats),
        **_delivery_values(delivery),
        **plugin_values(run.filtering.status()),
        **alert_values(service.alerts),
        **explain_values(run.explaining),
    }
    if run.ledger is not None:
        values |= {
            "logllm_egress": {kind: float(count) for kind, count in run.ledger.written.items()},
            "logllm_egress_unrecorded": float(run.ledger.failed),
        }
    if service.rejects is not None:
        values["logllm_dead_letter_entries"] = float(service.rejects.count)
    if service.reduction is not None:
        values |= service.reduction.values()
        discarded = {("reduce", "true"): float(service.reduction.discarded)}
        by_sinks = values.get("logllm_component_discarded_events", {})
        values["logllm_component_discarded_events"] = (by_sinks if isinstance(by_sinks, dict) else {}) | discarded
    if pipeline.windows.watermark_ns:
        values["logllm_event_lag_seconds"] = time.time() - pipeline.windows.watermark_ns / 1e9
    return values


def _forward_values(stats: ForwardStats) -> dict[str, Value]:
    return {
        "logllm_forward_connections": float(stats.connections_open),
        "logllm_forward_connections_opened": float(stats.connections),
        "logllm_forward_connections_refused": float(stats.connections_refused),
        "logllm_forward_connections_evicted": float(stats.connections_evicted),
        "logllm_forward_connections_stalled": float(stats.connections_stalled),
        "logllm_forward_crowded": float(stats.crowded),
        "logllm_forward_handshake_failures": {
            reason: float(count) for reason, count in stats.handshakes_failed.items()
        },
        "logllm_forward_frames": float(stats.frames),
        "logllm_forward_received_bytes": float(stats.bytes),
        "logllm_forward_acks": float(stats.acks),
        "logllm_forward_unacknowledged_events": float(stats.unacknowledged),
        "logllm_forward_heartbeats": float(stats.heartbeats),
        "logllm_forward_skipped_entries": {reason: float(count) for reason, count in stats.skipped.items()},
        "logllm_forward_other_signals": {kind: float(count) for kind, count in stats.other_signals.items()},
        "logllm_forward_truncated_frames": float(stats.truncated),
        "logllm_forward_protocol_errors": float(stats.protocol_errors),
    }


def _delivery_values(delivery: Delivery) -> dict[str, Value]:
    workers = {sink.label: sink.worker.stats for sink in delivery.sinks}
    values: dict[str, Value] = {
        "logllm_forward_duplicate_chunks": float(delivery.duplicates),
        "logllm_delivery_seconds": delivery.seconds,
        "logllm_buffer_size_bytes": float(delivery.room.used_bytes),
        "logllm_buffer_max_size_bytes": float(delivery.room.most_bytes),
    }
    if workers:
        values |= {
            "logllm_component_sent_events": {label: float(each.events) for label, each in workers.items()},
            "logllm_component_sent_event_bytes": {label: float(each.bytes) for label, each in workers.items()},
            "logllm_component_discarded_events": {
                (label, "false"): float(each.discarded) for label, each in workers.items()
            },
            "logllm_component_errors": {
                (label, kind): float(count) for label, each in workers.items() for kind, count in each.errors.items()
            },
            "logllm_sink_up": {label: float(each.failing is None) for label, each in workers.items()},
            "logllm_sink_retries": {label: float(each.retries) for label, each in workers.items()},
            "logllm_sink_writes": {label: float(each.writes) for label, each in workers.items()},
            "logllm_sink_write_seconds": {label: each.seconds.total for label, each in workers.items()},
            "logllm_sink_waiting_events": {label: float(each.waiting_events) for label, each in workers.items()},
            "logllm_sink_waiting_bytes": {label: float(each.waiting_bytes) for label, each in workers.items()},
        }
    return values


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a kernel file, read at each scrape
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
