"""`logllm eval`: how well it would have done on data that somebody has labelled."""

from __future__ import annotations

import click

from logllm.cli.evaluate_lines import lines
from logllm.cli.evaluate_sessions import sessions

__all__ = ["evaluate"]


@click.group(name="eval")
def evaluate() -> None:
    """How well it would have done on labelled data of yours. Labels are read for the figures only.

    \b
    logllm eval sessions events.csv labels.csv --session trace_id
    logllm eval lines lines.csv --label Label
    """


evaluate.add_command(sessions)
evaluate.add_command(lines)
