"""JSON lines on standard output, for programs; what concerns the run itself goes to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import msgspec

if TYPE_CHECKING:
    from logllm.events import Event, Explanation, IncidentEvent, Summary

__all__ = ["JsonOutlet"]


class JsonOutlet:
    """Writes each event as one line at once, so that a pipe's reader sees it when it happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream

    def _write(self, event: Event) -> None:
        self._stream.write(msgspec.json.encode(event).decode() + "\n")
        self._stream.flush()

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
