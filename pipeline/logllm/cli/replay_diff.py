"""`logllm replay --diff`: two configurations over the same file, side by side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.config import Config
    from logllm.events import IncidentEvent
    from logllm.service.replay import ReplayOptions
    from logllm.service.replay_diff import Difference, DiffSummary

__all__ = ["show_difference"]

_SIGNS = {"added": "+", "removed": "-", "severity": "~", "same": "="}


def show_difference(
    options: ReplayOptions, config: Config, against: str | None, since: str | None, *, as_json: bool
) -> None:
    """Replay, compare and print. Raises ConfigError, SourceError, StateError."""
    from logllm.service.replay_diff import compare, told_by
    from logllm.sources.file_select import parse_since

    since_s = None if since is None else parse_since(since, time.time_ns()) / 1e9
    notices: list[str] = []
    before, name = _before(options, against, notices)
    differences, summary = compare(before, told_by(options, config, notices), since_s, None)
    for notice in notices:
        click.echo(f"logllm: {notice}", err=True)
    _show(differences, summary, name, as_json=as_json)


def _before(options: ReplayOptions, against: str | None, notices: list[str]) -> tuple[list[IncidentEvent], str]:
    from logllm.config import Config
    from logllm.service.replay_diff import told_by, told_in

    if against is not None and Path(against).is_dir():
        return told_in(Path(against)), f"what {against} has kept"
    config = Config() if against is None else Config.load(against)
    return told_by(options, config, notices), "the built-in settings" if against is None else against


def _show(differences: list[Difference], summary: DiffSummary, name: str, *, as_json: bool) -> None:
    import sys

    import msgspec
    from rich.text import Text

    from logllm.cli.render import console_for, print_row
    from logllm.cli.render_text import neutral

    if as_json:
        for one in (*differences, summary):
            click.echo(msgspec.json.encode(one))
        return
    console = console_for(sys.stdout)
    for one in differences:
        event = one.incident
        severity = f"{one.before} to {event.severity}" if one.change == "severity" else event.severity
        head = f"{_SIGNS[one.change]} {event.started[:16]}Z  {severity:8}  "
        print_row(console, Text(head), Text(neutral(f"{event.service}: {event.title}", 400)))
    click.echo(
        f"against {neutral(name)}: {summary.added} more, {summary.removed} fewer, {summary.same} the same, "
        f"{summary.severity} of another severity; {summary.per_day_before:g} a day became {summary.per_day_after:g}"
    )
