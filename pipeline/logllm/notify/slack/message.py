"""From a notification to what Slack shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.slack.blocks import Block, Message, bounded, context, header, section
from logllm.notify.slack.chart import amount, at, clock, duration, span_s
from logllm.notify.slack.digest import digest_blocks, digest_title, gravest
from logllm.notify.slack.parts import (
    BULLET,
    SIGN,
    answered,
    before,
    beginning,
    cause,
    chart_of,
    cited,
    evidence,
    facts,
    figures,
    heading,
    origin,
    runbook,
)
from logllm.notify.slack.text import prose, shortened
from logllm.notify.text import VERBS

if TYPE_CHECKING:
    from logllm.events import IncidentEvent
    from logllm.notify.notification import Notification
    from logllm.notify.slack.buttons import Buttons

__all__ = ["Composer"]

_TEXT = 600
_PLAIN = 3_500
_PAGES = frozenset(("open", "reminder", "escalation", "digest"))
"""What may call people by the configured mention, where it is critical."""


class Composer:
    """Makes messages.

    Args:
        buttons: The rows of buttons.
        mention: Slack's markup for whom to call when it is critical; of the configuration, so it is not escaped.
    """

    def __init__(self, buttons: Buttons, mention: str = "") -> None:
        self._buttons = buttons
        self._mention = mention

    def whole(self, told: Notification) -> Message:
        """All that is known, for the first message of a thread and for every edit of it."""
        if _is_of_many(told):
            return self._without_incident(told, follows=False)
        incident, explained = told.incidents[0], told.explanation
        over = incident.event == "resolve"
        blocks = [*heading(_state(told), incident), *self._lead(told), *figures(incident, told.owner)]
        blocks += chart_of(incident)
        if explained is not None:
            blocks += [*cause(explained, done=over), *before(explained)]
        blocks += evidence(incident, explained)
        if not over:
            blocks += [*facts(incident), *beginning(incident), *runbook(told)]
        blocks += [*origin(told, follows=False), *self._row(told)]
        return self._message(told, blocks)

    def later(self, told: Notification) -> Message:
        """What is new, for a message of its own that comes after the first one and cannot change it."""
        if _is_of_many(told):
            return self._without_incident(told, follows=True)
        if told.kind in ("open", "escalation"):
            # Who reads it may not have seen what came before.
            return self.whole(told)
        incident = told.incidents[0]
        blocks = [*heading(_state(told, later=True), incident), *self._lead(told)]
        match told.kind:
            case "explanation":
                if told.explanation is not None:
                    blocks += [*cause(told.explanation), *before(told.explanation)]
                    blocks += cited(incident, told.explanation)
                blocks += runbook(told)
            case "answer":
                pass
            case _:
                blocks += [*figures(incident, told.owner), *chart_of(incident)]
                if told.kind == "reminder" and told.explanation is not None and told.explanation.status == "ok":
                    blocks += cause(told.explanation)
        blocks += [*origin(told, follows=True), *self._row(told)]
        return self._message(told, blocks)

    def reply(self, told: Notification) -> Message | None:
        """What goes into the thread beside an edit; None where the edit says it all."""
        if not told.incidents:
            return None
        incident = told.incidents[0]
        if told.kind == "resolve":
            text = f"✅ Resolved{_lasted(incident)}, {amount(incident.count, 'record')} in all."
            return Message(text, [*section(text), *context(f"message {prose(told.id, 40)}")], text)
        if told.raised:
            text = f"{self._called(told)} {_line(told)}".strip()
            return Message(text, [*section(text), *context(f"message {prose(told.id, 40)}")], text)
        explained = told.explanation
        if told.kind != "explanation" or explained is None or explained.status != "ok":
            return None
        taken_out = "\n".join(f"{BULLET} {shown}" for one in explained.removed[:8] if (shown := prose(one, 300)))
        told_by = prose(explained.model.rsplit("/", 1)[-1], 60)
        how = "explained before" if explained.cached else f"in {explained.seconds:.1f} s" if explained.seconds else ""
        blocks = [
            *cited(incident, explained),
            *section(f"*Taken out by the checks*\n{taken_out}" if taken_out else ""),
            *context(" · ".join(part for part in (told_by, how, f"message {prose(told.id, 40)}") if part)),
        ]
        text = f"💡 {_explained(told) or 'Explained.'}"
        return Message(text, bounded(blocks), text)

    def _without_incident(self, told: Notification, *, follows: bool) -> Message:
        if told.kind != "test":
            first, *others = digest_blocks(told, follows=follows)
            return self._message(told, [first, *self._lead(told), *others])
        route = f" Route: {prose(told.route, 120)}." if told.route else ""
        blocks = [
            header("🧪 A test of logllm's alerts"),
            *section(f"Nothing has happened. What is sent this way arrives here.{route}"),
            *context(f"message {prose(told.id, 40)}"),
        ]
        return self._message(told, blocks)

    def _lead(self, told: Notification) -> list[Block]:
        """The first line below the heading: whom it calls, and why it comes again."""
        said = self._called(told)
        if told.kind == "reminder" and told.total == 1:
            said = f"{said} Still open, and nobody has acknowledged it.".lstrip()
        elif told.kind == "escalation":
            said = f"{said} Nobody has acknowledged it: step {told.step}.".lstrip()
        if told.answer is not None:
            said = f"{said}\n{answered(told.answer)}".strip()
        return section(said)

    def _called(self, told: Notification) -> str:
        if not (told.raised or told.kind in _PAGES) or told.severity != "critical":
            return ""
        return "" if all(one.event == "resolve" for one in told.incidents) else self._mention

    def _row(self, told: Notification) -> list[Block]:
        incident = told.incidents[0]
        said = told.answer.verdict if told.answer is not None else ""
        verbs = [verb for verb in VERBS if verb != said]
        if incident.event == "resolve" or said:
            verbs = [verb for verb in verbs if verb != "acknowledge"]
        rows = self._buttons.row(incident.id, verbs)
        if told.runbook is None or incident.event == "resolve":
            return rows
        return rows + self._buttons.approvals(told.runbook.actions)

    def _message(self, told: Notification, blocks: list[Block]) -> Message:
        text = shortened(f"{self._called(told)} {_line(told)}".strip(), _TEXT)
        return Message(text, bounded(blocks), self._plain(told))

    def _plain(self, told: Notification) -> str:
        lines = [f"{self._called(told)} {_line(told)}".strip()]
        if _is_of_many(told):
            lines += gravest(told)
        elif told.incidents and told.kind != "test":
            incident = told.incidents[0]
            lines.append(f"Expected {prose(incident.expected, 300) or 'nothing like it'}.")
            lines.append(f"Since {at(incident.started or incident.time)}, {amount(incident.count, 'record')}.")
            if told.answer is not None:
                lines.append(answered(told.answer))
            for one in incident.evidence[:3]:
                lines.append(prose(f"{one.id[:8]} {clock(one.time)} {one.text[:1_200]}", 320))
            lines += [_explained(told)]
            if told.explanation is not None and told.explanation.status == "ok":
                for number, step in enumerate(told.explanation.steps[:3], 1):
                    lines.append(f"{number}. {prose(step, 300)}")
            lines.append(f"Incident {prose(incident.id, 60)}.")
        lines.append(f"Message {prose(told.id, 40)}.")
        return shortened("\n".join(line for line in lines if line), _PLAIN)


def _is_of_many(told: Notification) -> bool:
    return not told.incidents or told.kind in ("digest", "test") or (told.kind == "reminder" and told.total > 1)


def _state(told: Notification, *, later: bool = False) -> str:
    incident = told.incidents[0]
    severity = incident.severity
    if told.kind == "reminder":
        return f"🔔 STILL OPEN · {severity}"
    if told.kind == "escalation":
        return f"🚨 ESCALATED · {severity}"
    if later and told.kind == "explanation":
        return "💡 EXPLAINED"
    if later and told.kind == "answer":
        return "💬 ANSWERED"
    if incident.event == "resolve":
        lasted_s = span_s(incident.started, incident.ended or incident.time)
        return f"✅ RESOLVED after {duration(lasted_s)}" if lasted_s >= 1 else "✅ RESOLVED"
    if told.raised:
        return f"{SIGN[severity]} NOW {severity.upper()}"
    if later and told.kind == "update":
        return f"{SIGN[severity]} {severity.upper()} goes on"
    return f"{SIGN[severity]} {severity.upper()}"


def _line(told: Notification) -> str:
    """All in one line."""
    if told.kind == "test":
        return "🧪 A test of logllm's alerts: nothing has happened."
    if _is_of_many(told):
        return digest_title(told)
    incident = told.incidents[0]
    service = prose(incident.service, 40)
    explained = told.explanation
    if told.kind == "answer" and told.answer is not None:
        parts = [answered(told.answer), service, prose(incident.title, 200)]
    elif told.kind == "explanation" and explained is not None and explained.status == "ok" and explained.cause:
        parts = [_state(told, later=True), service, prose(explained.cause, 300)]
    else:
        parts = [_state(told), service, prose(incident.title, 200)]
    line = " · ".join(part for part in parts if part)
    if told.kind in ("answer", "explanation"):
        return line
    seen = prose(incident.seen, 100)
    return f"{line} — {seen}" if seen else line


def _lasted(incident: IncidentEvent) -> str:
    lasted_s = span_s(incident.started, incident.ended or incident.time)
    return f" after {duration(lasted_s)}" if lasted_s >= 1 else ""


def _explained(told: Notification) -> str:
    explained = told.explanation
    if explained is None or explained.status != "ok" or not explained.cause:
        return ""
    return f"Likely cause (confidence {100 * explained.confidence:.0f} %): {prose(explained.cause, 500)}"
