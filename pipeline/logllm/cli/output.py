"""JSON lines on standard output, for programs; what concerns the run itself goes to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from logllm.sinks.stdout import STDOUT, LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Event, Explanation, IncidentEvent, Summary
    from logllm.service.outlet import Outlet

__all__ = ["JsonOutlet", "outlet"]

_PATIENCE_S = 1.0


class JsonOutlet:
    """Writes each event as one line at once, so that a pipe's reader sees it when it happens.

    Args:
        writer: Where to; by default standard output, never mixed with the records of a sink there.
        lasting: Go on without a reader, or with one that stands still, saying so once: a service has more to do than
            to tell. Else it waits, and raises BrokenPipeError.
    """

    def __init__(self, writer: LineWriter = STDOUT, *, lasting: bool = False) -> None:
        self._writer = writer
        self._lasting = lasting
        self._is_alone = False

    def _write(self, event: Event) -> None:
        line = msgspec.json.encode(event) + b"\n"
        if not self._lasting:
            self._writer.put(line)
            self._writer.flush()
            return
        if self._is_alone:
            return
        try:
            taken = self._writer.put(line)
            self._writer.flush(_PATIENCE_S)
        except OSError:
            taken = False
        if not taken:
            self._is_alone = True
            self.notice("standard output: its reader has gone; what is found is kept, and no longer written there")

    def incident(self, event: IncidentEvent) -> None:
        """An incident opened, changed or ended."""
        self._write(event)

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """The explanation of one."""
        self._write(explanation)

    def summary(self, summary: Summary) -> None:
        """The run has ended."""
        self._write(summary)

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """Nothing: a program does not watch a status line."""

    def notice(self, text: str) -> None:
        """To standard error."""
        sys.stderr.write(f"logllm: {text}\n")
        sys.stderr.flush()


def outlet(*, as_json: bool, runbook_title: Callable[[str], str | None] | None = None, lasting: bool = False) -> Outlet:
    """Standard output as a program or as a person reads it. What is masked has been decided before it gets here."""
    if as_json:
        return JsonOutlet(lasting=lasting)
    from logllm.cli.render import Terminal, console_for

    return Terminal(console_for(sys.stdout), reveal=lambda text: text, runbook_title=runbook_title)
