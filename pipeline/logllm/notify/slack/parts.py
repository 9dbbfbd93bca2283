"""What a message says of one incident, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.seen import around, seen_before
from logllm.notify.slack.blocks import HEADER_LENGTH, SECTION_LENGTH, Block, context, fields, header, section
from logllm.notify.slack.buttons import MOST_ACTIONS
from logllm.notify.slack.chart import amount, at, chart, clock, duration, span_s
from logllm.notify.slack.text import MARK, code, instruction, literal, plain, preformatted, prose, width
from logllm.notify.taint import tainted

if TYPE_CHECKING:
    from logllm.events import Evidence, Explanation, IncidentEvent
    from logllm.notify.notification import ActionNote, Answer, Notification

__all__ = [
    "BULLET",
    "SIGN",
    "answered",
    "before",
    "beginning",
    "cause",
    "chart_of",
    "cited",
    "evidence",
    "facts",
    "figures",
    "heading",
    "origin",
    "runbook",
]

SIGN = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
BULLET = "•"
_EVIDENCE = 3
_MOST_EVIDENCE = 50
_FACTS = 4
_STEPS = 3
_VERDICT = {
    "acknowledge": "👀 Acknowledged",
    "expected": "👌 Expected, so says",
    "noise": "🔇 Noise, so says",
    "real": "❗ Real, so says",
}


def heading(state: str, incident: IncidentEvent) -> list[Block]:
    """The large line: state, service, what happened; what of the title does not fit follows below."""
    service = plain(incident.service, 40)
    lead = f"{state} · {service} · " if service else f"{state} · "
    title = plain(incident.title, HEADER_LENGTH - width(lead))
    blocks: list[Block] = [header(lead + title)]
    if title.endswith(MARK):
        blocks += section(prose(incident.title, 900))
    return blocks


def figures(incident: IncidentEvent, owner: str) -> list[Block]:
    """Expected against seen, since when, how many, whose."""
    began, ended = incident.started or incident.time, incident.ended
    since = at(began)
    lasted_s = span_s(began, ended or incident.time)
    if ended and since:
        since = f"{since}, lasted {duration(lasted_s)}"
    elif lasted_s >= 1 and since:
        since = f"{since}, for {duration(lasted_s)}"
    return fields([
        ("Seen", prose(incident.seen, 400)),
        ("Expected", prose(incident.expected, 400)),
        ("Began" if ended else "Since", since),
        ("Records", f"{incident.count:,}"),
        ("Owner", prose(owner, 120)),
        ("Services", _services(incident)),
    ])  # fmt: skip


def _services(incident: IncidentEvent) -> str:
    if len(incident.services) < 2:
        return ""
    shown = ", ".join(prose(service, 60) for service in incident.services[:5])
    more = len(incident.services) - 5
    return f"{shown} and {more} more" if more > 0 else shown


def chart_of(incident: IncidentEvent) -> list[Block]:
    """Its counts by the minute."""
    return section(chart(incident.series, incident.ended or incident.time))


def evidence(incident: IncidentEvent, explanation: Explanation | None) -> list[Block]:
    """Three lines of the log, first of all those that the explanation cites."""
    cited = explanation.evidence if explanation is not None else []
    known = incident.evidence[:_MOST_EVIDENCE]
    chosen = sorted(range(len(known)), key=lambda number: known[number].id not in cited)[:_EVIDENCE]
    block = preformatted([_line(known[number], 480) for number in sorted(chosen)], SECTION_LENGTH - 40)
    hidden = len(incident.evidence) - len(chosen)
    return section(f"*Evidence*{f'  (and {hidden:,} more)' if hidden else ''}\n{block}") if block else []


def cited(incident: IncidentEvent, explanation: Explanation) -> list[Block]:
    """Every line that the explanation cites, as far as there is room."""
    known = [one for one in incident.evidence[:_MOST_EVIDENCE] if one.id in explanation.evidence]
    block = preformatted([_line(one, 900) for one in known], SECTION_LENGTH - 40)
    return section(f"*What the likely cause rests on*\n{block}") if block else []


def _line(one: Evidence, limit: int) -> str:
    return literal(f"{one.id[:8]} {clock(one.time)} {one.text[: 4 * limit]}", limit)


def facts(incident: IncidentEvent) -> list[Block]:
    """What counting found out beside."""
    told = [f"{BULLET} {fact}" for one in incident.facts[:_FACTS] if (fact := prose(one, 300))]
    return section("\n".join(told))


def cause(explanation: Explanation, *, done: bool = False) -> list[Block]:
    """What the model proposed and the checks let through; where there is nothing of that, one line that says so.

    `done` leaves the steps out.
    """
    warned = tainted(explanation)
    beware = context(f"⚠ {prose(warned, 200)}") if warned else []
    if explanation.status == "insufficient":
        return section("*Likely cause*  not found: the evidence supports none") + beware
    if explanation.status == "failed":
        reason = prose(explanation.error or "the model gave no usable answer", 200)
        return context(f"No explanation: {reason}") + beware
    cites = " ".join(prose(one, 8) for one in explanation.evidence[:8])
    about = f"confidence {100 * min(1.0, max(0.0, explanation.confidence)):.0f} %{f', cites {cites}' if cites else ''}"
    told = prose(explanation.cause, 900)
    blocks = section(f"*Likely cause*  ({about})\n{told}") if told else []
    return blocks + beware if done else blocks + beware + steps("What to do", explanation.steps)


def beginning(incident: IncidentEvent) -> list[Block]:
    """What was noticed first, what was changed."""
    told = [shown for one in around(incident) if (shown := prose(one, 300))]
    return section("\n".join(f"{BULLET} {one}" for one in told)) if told else []


def before(explanation: Explanation) -> list[Block]:
    """Earlier incidents like this one, and what helped."""
    told = [shown for one in seen_before(explanation) if (shown := prose(one, 500))]
    return section("\n".join(["*Seen before*", *(f"{BULLET} {one}" for one in told)])) if told else []


def steps(label: str, texts: list[str]) -> list[Block]:
    """At most three numbered steps."""
    told = [shown for one in texts[:_STEPS] if (shown := instruction(one, 400))]
    lines = [f"{number}. {one}" for number, one in enumerate(told, 1)]
    return section("\n".join([f"*{label}*", *lines])) if lines else []


def runbook(notification: Notification) -> list[Block]:
    """The runbook, its first checks where there are no steps yet, the actions it declares."""
    note, explained = notification.runbook, notification.explanation
    if note is None:
        named = code(notification.incidents[0].runbook or "", 80)
        return section(f"*Runbook*  {named}") if named else []
    has_steps = explained is not None and explained.status == "ok" and bool(explained.steps)
    blocks = [] if has_steps else steps("Check first", note.checks or note.steps)
    told = f"*Runbook*  {prose(note.title, 200)}  {code(note.id, 80)}".rstrip()
    actions = [_action(one) for one in note.actions[:MOST_ACTIONS]]
    return blocks + section(told) + section("\n".join(["*Actions*", *actions]) if actions else "")


def _action(action: ActionNote) -> str:
    told = f"{BULLET} {prose(action.title, 120)}  {code(action.command, 400)}".rstrip()
    if not action.request:
        return told
    wants = "wants a value and an approval" if action.asks else "waits for an approval"
    return f"{told}\n   {wants}: {code(f'logllm actions approve {action.request}', 180)}"


def answered(answer: Answer) -> str:
    """Who said what of it, in one line."""
    when = at(answer.time)
    by = " by" if answer.verdict == "acknowledge" else ""
    return f"{_VERDICT[answer.verdict]}{by} {prose(answer.who, 80) or 'somebody'}{f', {when}' if when else ''}"


def origin(notification: Notification, *, follows: bool) -> list[Block]:
    """The small print: by what it can be found again, which detectors, which way it came."""
    incident = notification.incidents[0]
    named = code(incident.id, 60)
    parts = [named]
    if follows:
        began = at(incident.started)
        parts = [f"follows the alert {named}{f' of {began}' if began else ''}"]
    kinds = ", ".join(prose(kind, 24) for kind in incident.kinds[:8])
    related = []
    if len(incident.templates) > 1:
        related.append(amount(len(incident.templates) - 1, "related template"))
    if notification.total > 1:
        related.append(amount(notification.total - 1, "related incident"))
    way = f"route {prose(notification.route, 80)}" if notification.route else ""
    if notification.step:
        way = f"{way}, step {notification.step}".lstrip(", ")
    told = at(incident.time)
    parts += [f"as of {told}" if told else "", f"detectors: {kinds}" if kinds else ""]
    parts += [f"and {', '.join(related)}" if related else "", way, f"message {prose(notification.id, 40)}"]
    return context(" · ".join(part for part in parts if part))
