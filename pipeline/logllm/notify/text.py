"""A notification as plain text: for mail, chat and whatever else shows text, and for summaries.

Text of logs stays in its line and shows what it hides: a line break is ⏎, a character that steers, reorders or cannot
be seen is its picture or its number. Nothing in it mentions anybody or begins a link that names its scheme, whatever
markup the receiver reads. A bare host name (`example.com`) is left alone, for logs are full of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from logllm.notify.seen import around, seen_before
from logllm.notify.taint import tainted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Explanation, IncidentEvent
    from logllm.notify.destination import Links
    from logllm.notify.notification import Answer, Count, Notification

__all__ = [
    "ANSWERED",
    "BODY_CHARS",
    "ENDED",
    "SUMMARY_CHARS",
    "VERBS",
    "body",
    "counted",
    "headline",
    "is_of_many",
    "line",
    "percent",
    "plain",
    "since",
    "summary",
]

SUMMARY_CHARS = 200
BODY_CHARS = 4_000
VERBS = ("acknowledge", "expected", "noise", "real")
"""What a link may say of an incident."""
ANSWERED = {
    "acknowledge": "acknowledged",
    "expected": "judged to be expected",
    "noise": "judged to be noise",
    "real": "judged to be real",
}
ENDED = frozenset(("resolve", "unseen"))
"""Words of a digest's counts for what is over."""

_HAPPENED = {
    "open": "new",
    "update": "changed",
    "resolve": "resolved",
    "unseen": "over before it was told",
    "reminder": "still open",
    "escalation": "nobody answered",
}
_TO_SAY = {
    "acknowledge": "Acknowledge",
    "expected": "It was expected",
    "noise": "It is noise",
    "real": "It is a real problem",
}
_LINE_CHARS = 300
_BEFORE_CHARS = 200
_STEP_CHARS = 200
_EVIDENCE = 5
_ACTIONS = 2
_LISTED = 12
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffe\uffff")
_VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# More than three marks stacked on one letter reach into the lines above and below it.
_STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
# `@` within a name (an address, a systemd unit) is none but before the words that call everybody.
_MENTION = re.compile(r"(?<!\w)@(?=\S)|@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
_SCHEME = re.compile(r":(?=//)|(?<=mailto):|(?<=javascript):", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_MARKUP = str.maketrans({"<": "‹", ">": "›", "`": "ˋ"})
_BARS = "▁▂▃▄▅▆▇█"


def line(text: str, limit: int) -> str:
    r"""One line of at most `limit` characters in which nothing is hidden. Costs no more for a long text.

    >>> line("a\x1b[31mred\r\nb\u202egpj.exe", 100), line("abcdef", 4)
    ('a␛[31mred⏎b\\u202egpj.exe', 'abc…')
    """
    cut = _VARIATION.sub("", text[: limit + 1].replace("\r\n", "\n")).strip()
    shown = _STACKED.sub(r"\1", "".join(_shown(char) for char in cut))
    return shown if len(shown) <= limit and len(text) <= limit + 1 else shown[: limit - 1] + "…"


def plain(text: str, limit: int) -> str:
    """Like `line`, and nothing in it mentions anybody, begins a link or is markup.

    >>> plain("<!channel> @here see https://evil.example, mail bob@example.com", 100)
    '‹!channel› ＠here see https[:]//evil.example, mail bob@example.com'
    """
    shown = line(text, limit).translate(_MARKUP)
    shown = _SCHEME.sub("[:]", _WWW.sub("www[.]", _MENTION.sub("＠", shown))).replace("](", "] (")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def is_of_many(notification: Notification) -> bool:
    """Whether it tells of several incidents: a digest, or a reminder of a group."""
    return notification.kind == "digest" or notification.total > 1 or len(notification.incidents) > 1


def counted(count: Count) -> str:
    """A digest's count in words."""
    service = plain(count.service, 100) or "unknown service"
    return f"{count.count:,} of {service}: {plain(count.severity, 20)}, {_happened(count.event)}"


def headline(incident: IncidentEvent) -> str:
    """Service and title, as they came."""
    return f"{incident.service}: {incident.title}" if incident.service else incident.title


def summary(notification: Notification, limit: int = SUMMARY_CHARS) -> str:
    """One line that says what it is about."""
    kind, incidents = notification.kind, notification.incidents
    if is_of_many(notification):
        return plain(f"{'Still open: ' if kind == 'reminder' else ''}{_digest(notification)}", limit)
    if not incidents:
        return "A test message of logllm" if kind == "test" else plain(f"logllm: {kind}", limit)
    first = incidents[0]
    about = headline(first)
    grave = first.severity.upper() if first.severity == "critical" else first.severity.capitalize()
    match kind:
        case "resolve":
            said = "Resolved"
        case "explanation" if notification.explanation and notification.explanation.cause:
            said, about = "Likely cause", f"{first.service or 'unknown service'}: {notification.explanation.cause}"
        case "reminder":
            said = f"Still open, {first.severity}"
        case "escalation":
            said = f"Nobody answered yet, step {notification.step}, {first.severity}"
        case "answer" if notification.answer:
            said = f"{ANSWERED[notification.answer.verdict].capitalize()} by {plain(notification.answer.who, 40)}"
        case "update":
            said = f"{grave}, update"
        case "test":
            said = f"Test, {first.severity}"
        case _:
            said = grave
    return plain(f"{said} - {about}", limit)


def body(notification: Notification, links: Links) -> str:
    """What stands below the summary, at most `BODY_CHARS` long: whole lines, and `…` where some are left out."""
    kept: list[str] = []
    left = BODY_CHARS - 2
    for one in _lines(notification, links):
        if len(one) + 1 > left:
            kept.append("…")
            break
        kept.append(one)
        left -= len(one) + 1
    return "\n".join(kept)


def since(incident: IncidentEvent) -> str:
    """When it began, and when it ended."""
    began = plain(incident.started or incident.time, 40)
    return f"{began} to {plain(incident.ended, 40)}" if incident.ended else began


def percent(explanation: Explanation) -> str:
    """How sure an explanation is, as far as evidence bears it."""
    return f"{min(max(explanation.confidence, 0.0), 1.0):.0%}"


def _lines(notification: Notification, links: Links) -> Iterator[str]:
    if is_of_many(notification):
        yield from _of_digest(notification)
        return
    for incident in notification.incidents[:1]:
        # A link is worth more than the last line of evidence: it comes before what may be cut.
        yield from _of_incident(incident, notification)
        if notification.kind != "resolve":
            yield from _of_links(incident.id, links)
        yield from _of_evidence(incident)
    yield from _of_route(notification)


def _of_incident(incident: IncidentEvent, notification: Notification) -> Iterator[str]:
    yield f"Seen: {plain(incident.seen, _LINE_CHARS)}"
    yield f"Expected: {plain(incident.expected, _LINE_CHARS)}"
    yield f"Since: {since(incident)}"
    if chart := _sparkline(incident.series):
        yield f"Records a minute: {chart} (most {max(incident.series)})"
    if notification.answer is not None:
        yield f"Answer: {_answered(notification.answer)}"
    if notification.explanation is not None:
        yield from _of_explanation(notification.explanation)
        for before in seen_before(notification.explanation):
            yield f"Before: {plain(before, _BEFORE_CHARS)}"
    if notification.runbook is not None:
        book = notification.runbook
        yield f"Runbook: {plain(book.title, 200)} ({plain(book.id, 100)})"
        if notification.explanation is None or not notification.explanation.steps:
            for number, step in enumerate([*book.checks, *book.steps][:_EVIDENCE], 1):
                yield f"  {number}. {plain(step, _STEP_CHARS)}"
        for action in book.actions[:_ACTIONS]:
            yield f"  Action: {plain(action.title, 100)}: {plain(action.command, _STEP_CHARS)}"


def _of_explanation(explanation: Explanation) -> Iterator[str]:
    warned = tainted(explanation)
    if explanation.status != "ok" or not explanation.cause:
        yield "Likely cause: not known; the evidence does not say"
        if warned:
            yield f"Beware: {plain(warned, _LINE_CHARS)}"
        return
    by = ", ".join(plain(one, 10) for one in explanation.evidence[:8])
    sure = f"{percent(explanation)}, by {by}" if by else percent(explanation)
    yield f"Likely cause ({sure}): {plain(explanation.cause, _LINE_CHARS)}"
    for number, step in enumerate(explanation.steps[:_EVIDENCE], 1):
        yield f"  {number}. {plain(step, _STEP_CHARS)}"
    if warned:
        yield f"Beware: {plain(warned, _LINE_CHARS)}"


def _of_links(incident: str, links: Links) -> Iterator[str]:
    for verb in VERBS:
        if url := links.url(incident, verb):
            yield f"{_TO_SAY[verb]}: {url}"


def _of_evidence(incident: IncidentEvent) -> Iterator[str]:
    yield from (plain(told, _BEFORE_CHARS) for told in around(incident))
    if incident.evidence:
        yield "Evidence:"
    for one in incident.evidence[:_EVIDENCE]:
        yield f"  {plain(one.id, 10)} {plain(one.time, 40)} {plain(one.text, _LINE_CHARS)}"
    if len(incident.evidence) > _EVIDENCE:
        yield f"  and {len(incident.evidence) - _EVIDENCE} more"


def _of_digest(notification: Notification) -> Iterator[str]:
    for count in notification.counts[:_LISTED]:
        yield counted(count)
    if len(notification.counts) > _LISTED:
        yield f"and {len(notification.counts) - _LISTED} more kinds of them"
    yield ""
    for incident in notification.incidents[:_LISTED]:
        told = f"{incident.severity}, {_happened(incident.event)}"
        yield f"{plain(incident.id, 40)} {told} - {plain(headline(incident), SUMMARY_CHARS)}"
    shown = min(len(notification.incidents), _LISTED)
    if notification.total > shown:
        yield f"and {notification.total - shown} more; all of them are kept under {plain(notification.id, 40)}"
    yield from _of_route(notification)


def _of_route(notification: Notification) -> Iterator[str]:
    yield ""
    parts = [f"Incident {plain(notification.incidents[0].id, 40)}"] if len(notification.incidents) == 1 else []
    parts += [f"{what} {plain(name, 100)}" for what, name in _named(notification)]
    yield ", ".join(parts) if parts else "logllm"


def _named(notification: Notification) -> Sequence[tuple[str, str]]:
    return [(what, name) for what, name in (("owner", notification.owner), ("route", notification.route)) if name]


def _answered(answer: Answer) -> str:
    return f"{ANSWERED[answer.verdict]} by {plain(answer.who, 100) or 'somebody'} at {plain(answer.time, 40)}"


def _happened(event: str) -> str:
    return _HAPPENED.get(event, "changed")


def _digest(notification: Notification) -> str:
    by_service: dict[str, int] = {}
    for count in notification.counts:
        by_service[count.service] = by_service.get(count.service, 0) + count.count
    for incident in notification.incidents if not by_service else ():
        by_service[incident.service] = by_service.get(incident.service, 0) + 1
    most = [service or "unknown service" for service in sorted(by_service, key=lambda name: -by_service[name])]
    critical = sum(count.count for count in notification.counts if count.severity == "critical")
    grave = f", {critical:,} critical" if critical else ""
    more = len(most) - 2
    others = f" and {more} more service{'' if more == 1 else 's'}" if more > 0 else ""
    of = ", ".join(plain(service, 50) for service in most[:2])
    many = f"{notification.total:,} incident{'' if notification.total == 1 else 's'}"
    return f"{many}{grave}{f' of {of}{others}' if of else ''}"


def _sparkline(series: Sequence[int], width: int = 30) -> str:
    shown = list(series)[-width:]
    top = max(shown, default=0)
    if len(shown) < 2 or top <= 0:
        return ""
    return "".join(_BARS[0] if count <= 0 else _BARS[max(1, round(7 * count / top))] for count in shown)


def _shown(char: str) -> str:
    if " " <= char <= "~":
        return char
    if char == "\n":
        return "⏎"
    if char == "\t":
        return " "
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(char) == "Zs":
        return " "
    if unicodedata.category(char) not in _HIDDEN and char not in _INVISIBLE:
        return char
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
