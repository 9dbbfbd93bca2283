"""`logllm eval`: how well it would have done on data that somebody has labelled."""

from __future__ import annotations

import click

__all__ = ["evaluate"]


class _Commands(click.Group):
    """Imports a command when it is asked for: `logllm --help` needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["lines", "series", "sessions"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "lines":
            from logllm.cli.evaluate_lines import lines

            return lines
        if cmd_name == "series":
            from logllm.cli.evaluate_series import series

            return series
        if cmd_name == "sessions":
            from logllm.cli.evaluate_sessions import sessions

            return sessions
        return None


@click.group(name="eval", cls=_Commands)
def evaluate() -> None:
    """How well it would have done on labelled data of yours. Labels are read for the figures only.

    \b
    logllm eval sessions events.csv labels.csv --session trace_id
    logllm eval lines lines.csv --label Label
    logllm eval series latency.csv --labels windows.json
    """
