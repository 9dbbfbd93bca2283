"""What became of alerts, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.metrics import Value
    from logllm.service.notifying import Notifying

__all__ = ["alert_values"]

_NOW = ("held", "waiting")


def alert_values(notifying: Notifying) -> dict[str, Value]:
    """Values by metric name; none where there is no destination."""
    status = notifying.status()
    if not status:
        return {}
    counts = notifying.counts()
    outcomes: dict[str | tuple[str, ...], float] = {(each.name, "sent"): float(each.sent) for each in status}
    outcomes |= {(each.name, "dead"): float(each.dead) for each in status}
    return {
        "logllm_notify": outcomes,
        "logllm_notify_errors": {
            (each.name, kind): float(count) for each in status for kind, count in each.failed.items()
        },
        "logllm_notify_waiting": {each.name: float(each.queued) for each in status},
        "logllm_notify_oldest_seconds": {each.name: each.oldest_s or 0.0 for each in status},
        "logllm_notify_incidents": {what: float(count) for what, count in counts.items() if what not in _NOW},
        "logllm_notify_held": {what: float(counts[what]) for what in _NOW if what in counts},
    }
