"""What a destination promises: Slack, a webhook, Alertmanager, PagerDuty and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logllm.notify.notification import Notification

__all__ = ["Destination", "Links"]


class Links(Protocol):
    """Where a person answers for an incident, over HTTP."""

    def url(self, incident: str, verb: str) -> str:
        """A signed address that says `acknowledge`, `expected`, `noise` or `real` of an incident; empty without one."""


class Destination(Protocol):
    """Takes notifications, one at a time, from one thread.

    Attributes:
        name: As routes call it.
        pause_s: The least time between two messages.
        edits: A later message of a thread changes the first one, so that it disturbs nobody.
    """

    name: str
    pause_s: float
    edits: bool

    def takes(self, notification: Notification) -> bool:
        """Whether there is anything to send for this one; what is not taken is done with."""

    def send(self, notification: Notification, ref: str) -> str:
        """Send it; returns when the receiver has it.

        Args:
            ref: What `send` returned for the first message of the thread; empty where there is none.

        Returns:
            By which its message can be found again; empty where it cannot.

        Raises:
            NotifyError: It was not taken, or nobody knows; with what to do then.
        """

    def close(self) -> None:
        """Let go of connections. A second call does nothing."""
