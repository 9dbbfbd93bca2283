"""What plugins did, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.filters.life.status import PluginStatus
    from logllm.metrics import Value

__all__ = ["plugin_values"]


def plugin_values(plugins: Sequence[PluginStatus]) -> dict[str, Value]:
    """Values by metric name; none where there are no plugins."""
    if not plugins:
        return {}
    return {
        "logllm_plugin_calls": {each.name: float(each.calls) for each in plugins},
        "logllm_plugin_received_events": {each.name: float(each.records_in) for each in plugins},
        "logllm_plugin_sent_events": {each.name: float(each.records_out) for each in plugins},
        "logllm_plugin_discarded_events": {each.name: float(each.dropped) for each in plugins},
        "logllm_plugin_failures": {
            (each.name, reason): float(count) for each in plugins for reason, count in each.failures.items()
        },
        "logllm_plugin_seconds": {each.name: each.seconds for each in plugins},
        "logllm_plugin_bypassed": {each.name: float(each.bypassed) for each in plugins},
        "logllm_plugin_instances": {each.name: float(each.instances) for each in plugins},
        "logllm_plugin_memory_bytes": {each.name: float(each.memory_bytes) for each in plugins},
        "logllm_plugin_reloads": {each.name: float(each.reloads) for each in plugins},
        "logllm_plugin_lost": {
            (each.name, what): float(count) for each in plugins for what, count in each.lost.items()
        },
        "logllm_plugin_metric": {
            (each.name, name): float(value) for each in plugins for name, value in each.metrics.items()
        },
    }
