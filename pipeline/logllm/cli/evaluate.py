"""`logllm eval`: how well it would have done on data that somebody has labelled."""

from __future__ import annotations

from typing import ClassVar

import click

from logllm.cli.lazy import At, LazyGroup

__all__ = ["evaluate"]


class _Commands(LazyGroup):
    at: ClassVar = {
        "lines": At("evaluate_lines", "lines", "Lines with labels, an operator answering some questions."),
        "llm": At("evaluate_llm", "llm", "Incidents with the runbook that is right: models side by side."),
        "series": At("evaluate_series", "series", "A numeric series with anomalous windows."),
        "sessions": At("evaluate_sessions", "sessions", "Events of sessions, and a label for each session."),
    }


@click.group(name="eval", cls=_Commands)
def evaluate() -> None:
    """How well it would have done on labelled data of yours. Labels are read for the figures only.

    \b
    logllm eval sessions events.csv labels.csv --session trace_id
    logllm eval lines lines.csv --label Label
    logllm eval series latency.csv --labels windows.json
    logllm eval llm --model smollm2-135m --model gemma3-270m
    """
