"""An outlet that tells nobody and remembers."""

from __future__ import annotations

from logllm.events import Explanation, IncidentEvent, Summary

__all__ = ["Silent"]


class Silent:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[IncidentEvent] = []
        self.notices: list[str] = []

    def incident(self, event: IncidentEvent) -> None:
        """Kept."""
        self.events.append(event)

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """Nothing."""

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Kept."""
        self.notices.append(text)

    def summary(self, summary: Summary) -> None:
        """Nothing."""
