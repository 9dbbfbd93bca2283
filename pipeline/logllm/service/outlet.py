"""Where a run tells what it finds: a terminal, lines of JSON, a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logllm.events import Explanation, IncidentEvent, Summary

__all__ = ["Outlet"]


class Outlet(Protocol):
    """Who is told. Called from one thread at a time."""

    def incident(self, event: IncidentEvent) -> None:
        """An incident opened, changed or ended."""

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """What the model and the checks made of it."""

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """How far the run is; called a few times a second."""

    def notice(self, text: str) -> None:
        """Something about the run itself."""

    def summary(self, summary: Summary) -> None:
        """The run has ended."""
