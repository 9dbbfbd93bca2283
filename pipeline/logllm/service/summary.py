"""The summary of a run: what was read, and what the pipeline made of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logllm.events import Summary

if TYPE_CHECKING:
    from logllm.pipeline import Pipeline
    from logllm.service.reduction import Reduction
    from logllm.service.run import Run
    from logllm.service.serve import Serve

__all__ = ["summary_of", "summary_of_service"]


def summary_of(
    run: Run,
    *,
    lines: int,
    records: int,
    size_bytes: int,
    seconds: float,
    skipped: dict[str, int],
    top: list[dict[str, str | int | float]] | None = None,
    reduction: Reduction | None = None,
) -> Summary:
    """What a run saw, where the caller knows what was read and left out, in how long."""
    pipeline = run.pipeline
    return Summary(
        lines=lines,
        records=records,
        templates=len(pipeline.miner),
        incidents=run.opened,
        seconds=round(seconds, 3),
        bytes=size_bytes,
        skipped=skipped | _held_back(pipeline),
        services=len(pipeline.keys.services),
        learning=pipeline.learning,
        missing=pipeline.missing,
        top=top or [],
        plugins=run.plugins(),
        reduced=None if reduction is None else reduction.summary(),
    )


def summary_of_service(service: Serve) -> Summary:
    """What a service has seen since its start."""
    pipeline, stats = service.run.pipeline, service.forward.stats
    skipped = {f"not a record: {reason}": count for reason, count in stats.skipped.items()}
    for reason, count in (
        ("connections closed for what they sent", stats.protocol_errors),
        ("records sent again", service.delivery.duplicates),
        ("records from the future", pipeline.arrivals.ahead),
    ):
        if count:
            skipped[reason] = count
    return summary_of(
        service.run,
        lines=stats.records,
        records=stats.records,
        size_bytes=stats.bytes,
        seconds=time.time() - service.started_s,
        skipped=skipped,
        reduction=service.reduction,
    )


def _held_back(pipeline: Pipeline) -> dict[str, int]:
    """What was found and not told, and what could not be looked at; each where there is some."""
    counts = {
        "too late for their window": pipeline.windows.dropped,
        "incidents over the budget": pipeline.budget.held_back,
        "alerts told before, again": pipeline.detection.cooldown.held_back,
        "anomalies held back by answers": sum(pipeline.feedback.held.values()),
    }
    return {what: count for what, count in counts.items() if count}
