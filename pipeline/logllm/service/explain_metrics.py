"""What explanations cost and came to, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.metrics import Value
    from logllm.service.explaining import Explaining

__all__ = ["explain_values"]


def explain_values(explaining: Explaining | None) -> dict[str, Value]:
    """Values by metric name; none where nothing is explained."""
    if explaining is None:
        return {}
    explainer = explaining.explainer
    values: dict[str, Value] = {
        "logllm_explain_queue_depth": float(explaining.waiting),
        "logllm_explain_given_up": {why: float(count) for why, count in explaining.given_up.items()},
        "logllm_explain_seconds": explaining.seconds,
        "logllm_redactions": {kind: float(count) for kind, count in explainer.redactor.counts.items()},
    }
    if explainer.requests:
        values["logllm_llm_requests"] = {outcome: float(count) for outcome, count in explainer.requests.items()}
    if explainer.server is not None:
        values |= {
            "logllm_llm_starts": float(explainer.server.starts),
            "logllm_llm_up": float(explainer.server.pid is not None),
        }
    usage = explaining.usage()
    if usage is not None:
        values |= {
            "logllm_llm_tokens": {
                "read": float(usage.read),
                "written": float(usage.written),
                "saved": float(usage.saved),
            },
            "logllm_llm_hour_tokens": float(usage.hour),
            "logllm_llm_hour_tokens_limit": float(usage.per_hour),
        }
    return values
