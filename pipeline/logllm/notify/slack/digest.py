"""One message about many incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.slack.blocks import SECTION_LENGTH, Block, bounded, context, header, section
from logllm.notify.slack.chart import amount, moment
from logllm.notify.slack.parts import SIGN
from logllm.notify.slack.text import cell, code, plain, preformatted, prose, shortened

if TYPE_CHECKING:
    from logllm.events import IncidentEvent
    from logllm.notify.notification import Count, Notification

__all__ = ["digest_blocks", "digest_title", "gravest"]

_ROWS = 15
_SHOWN = 10
_COLUMNS = ("critical", "warning", "info", "resolved")
_WIDEST = 28


def digest_title(notification: Notification) -> str:
    """How many of what, in one line without markup.

    Of those that are resolved alone it says so.
    """
    total, services = notification.total, len({count.service for count in notification.counts})
    over = {count.event for count in notification.counts} == {"resolve"}
    sign = "✅" if over else SIGN[notification.severity]
    told = f"{sign} {amount(total, 'incident')}{' resolved' if over else ''}"
    if notification.kind == "reminder":
        told = f"🔔 {amount(total, 'incident')} still open, not acknowledged,"
    return f"{told} in {amount(services, 'service')}" if services else told


def digest_blocks(notification: Notification, *, follows: bool) -> list[Block]:
    """Counts by service, the gravest ten, and how to see the others."""
    blocks: list[Block] = [header(plain(digest_title(notification), 150))]
    table = preformatted(_table(notification.counts), SECTION_LENGTH)
    blocks += section(table)
    lines = gravest(notification)
    if lines:
        # Two sections, so that ten long lines have room.
        blocks += section("\n".join(["*Gravest*" if notification.total > len(lines) else "*They are*", *lines[:5]]))
        blocks += section("\n".join(lines[5:]))
    rest = notification.total - len(lines)
    if rest > 0:
        listed = code(f"logllm alerts show {notification.id}", 120)
        blocks += section(f"And {rest:,} more: {listed} lists them all.")
    route = f"route {prose(notification.route, 80)}" if notification.route else ""
    step = f"step {notification.step}" if notification.step else ""
    earlier = notification.thread if follows and notification.thread != notification.id else ""
    told = f"follows the digest {code(earlier, 60)}" if earlier else ""
    parts = (told, route, step, f"message {prose(notification.id, 40)}")
    return bounded([*blocks, *context(" · ".join(part for part in parts if part))])


def gravest(notification: Notification) -> list[str]:
    """The first ten incidents, a line each."""
    return [_entry(incident) for incident in notification.incidents[:_SHOWN]]


def _entry(incident: IncidentEvent) -> str:
    sign = "✅" if incident.event == "resolve" else SIGN[incident.severity]
    named = prose(incident.service, 40)
    service = f"*{named}*  " if named else ""
    since = moment(incident.started)
    figures = [prose(incident.seen, 80), f"since {since:%H:%M} UTC" if since else ""]
    told = " — ".join(
        [f"{sign} {service}{prose(incident.title, 180)}", *filter(None, [", ".join(filter(None, figures))])]
    )
    return shortened(f"{told}  {code(incident.id, 60)}", 560)


def _table(counts: list[Count]) -> list[str]:
    """A row for each service, those with the gravest first, and one for all the others."""
    rows: dict[str, dict[str, int]] = {}
    for count in counts:
        column = "resolved" if count.event == "resolve" else count.severity
        row = rows.setdefault(count.service, dict.fromkeys(_COLUMNS, 0))
        row[column] = row.get(column, 0) + count.count
    if not rows:
        return []
    order = sorted(rows, key=lambda service: [-rows[service][column] for column in _COLUMNS])
    used = [column for column in _COLUMNS if any(row[column] for row in rows.values())]
    shown = [(service or "(no service)", rows[service]) for service in order[:_ROWS]]
    if rest := order[_ROWS:]:
        others = {column: sum(rows[service][column] for service in rest) for column in _COLUMNS}
        shown.append((f"{len(rest)} other services", others))
    wide = min(_WIDEST, max(len(name) for name, _ in [("service", {}), *shown]) + 1)
    lines = [cell("service", wide) + "".join(f"{column:>9}" for column in used)]
    lines += [cell(name, wide) + "".join(f"{row[column] or '·':>9}" for column in used) for name, row in shown]
    return lines
