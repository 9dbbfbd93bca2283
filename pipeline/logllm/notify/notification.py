"""What one message tells, whoever it goes to. Destinations make it into their own words; the outbox keeps it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec

from logllm.events import Explanation, IncidentEvent

__all__ = ["ActionNote", "Answer", "Count", "Kind", "Notification", "RunbookNote", "Verdict", "notification_id"]

Kind = Literal["open", "update", "resolve", "explanation", "digest", "reminder", "escalation", "answer", "test"]
"""`digest` tells of several incidents at once; `answer` that a person acknowledged or judged one."""

Verdict = Literal["acknowledge", "expected", "noise", "real"]


class ActionNote(msgspec.Struct, frozen=True):
    """An action that a runbook offers for an incident; all of it is the operator's own text.

    Args:
        command: As it would run.
        request: By which it is approved; empty where it is only suggested.
        asks: Whoever approves must give a value, so that a button is not enough.
    """

    title: str
    command: str
    request: str = ""
    asks: bool = False


class RunbookNote(msgspec.Struct, frozen=True):
    """What a runbook says, for a message: its first checks and steps."""

    id: str
    title: str
    checks: list[str] = []
    steps: list[str] = []
    actions: list[ActionNote] = []


class Answer(msgspec.Struct, frozen=True):
    """What a person said of an incident. `time` is RFC 3339; `who` is untrusted text."""

    incident: str
    verdict: Verdict
    who: str
    time: str


class Count(msgspec.Struct, frozen=True):
    """How many incidents of a digest are of one service and severity, by what happened to them."""

    service: str
    severity: str
    event: str
    count: int


class Notification(msgspec.Struct, frozen=True):
    """One message to one destination. All text of logs in it is masked already, and still hostile.

    Args:
        id: By which a receiver knows it again; the same for the same news to the same destination, ever.
        thread: Messages of one thread belong together: an incident's id, or the first digest's id.
        incidents: What it is about, gravest first; of a digest at most 20.
        total: Incidents it is about, also those not in `incidents`; all of them are in the outbox by its id.
        counts: For a digest: all of them, most first, at most 200.
        route: The route that led here, for people.
        step: Of the escalation, 0 before there is any.
        explanation: As far as it is known.
        answer: The last one given.
        raised: It has become critical since it was told, so that somebody should look again.
    """

    id: str
    kind: Kind
    thread: str
    incidents: list[IncidentEvent]
    total: int = 1
    counts: list[Count] = []
    route: str = ""
    step: int = 0
    owner: str = ""
    runbook: RunbookNote | None = None
    explanation: Explanation | None = None
    answer: Answer | None = None
    raised: bool = False

    @property
    def severity(self) -> Literal["info", "warning", "critical"]:
        """The worst one among its incidents."""
        order: dict[str, int] = {"info": 0, "warning": 1, "critical": 2}
        worst: Literal["info", "warning", "critical"] = "info"
        for incident in self.incidents:
            if order[incident.severity] > order[worst]:
                worst = incident.severity
        return worst


def notification_id(destination: str, *what: str) -> str:
    """16 hexadecimal digits, the same for the same news to the same destination.

    >>> notification_id("slack", "inc-1", "open") == notification_id("slack", "inc-1", "open")
    True
    """
    return blake2b("\0".join((destination, *what)).encode(errors="replace"), digest_size=8).hexdigest()
