"""What became of alerts, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.metrics import Value
    from logllm.service.alerts import Alerts

__all__ = ["alert_values"]

_NOW = ("held", "waiting", "in_memory")


def alert_values(alerts: Alerts) -> dict[str, Value]:
    """Values by metric name; those of messages only where there is a destination."""
    ended = alerts.acting.ended
    values: dict[str, Value] = {"logllm_actions": {str(state): float(count) for state, count in ended.items()}}
    notifying = alerts.notifying
    status = notifying.status()
    if not status:
        return values
    counts = notifying.counts()
    outcomes: dict[str | tuple[str, ...], float] = {(each.name, "sent"): float(each.sent) for each in status}
    outcomes |= {(each.name, "dead"): float(each.dead) for each in status}
    return values | {
        "logllm_notify": outcomes,
        "logllm_notify_errors": {
            (each.name, kind): float(count) for each in status for kind, count in each.failed.items()
        },
        "logllm_notify_waiting": {each.name: float(each.queued) for each in status},
        "logllm_notify_oldest_seconds": {each.name: each.oldest_s or 0.0 for each in status},
        "logllm_notify_incidents": {what: float(count) for what, count in counts.items() if what not in _NOW},
        "logllm_notify_held": {what: float(counts[what]) for what in _NOW if what in counts},
    }
