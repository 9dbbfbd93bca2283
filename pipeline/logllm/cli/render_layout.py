"""How an incident, an explanation and a summary are laid out within a console's width.

Log text is hostile here: it goes through `neutral` and into `rich.text.Text`, which interprets no markup, so a
line cannot move the cursor, colour the screen, set the window's title or turn text around.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from logllm.cli.render_text import amount, duration, moment, neutral, size, span_s, sparkline
from logllm.events import Evidence, Explanation, IncidentEvent, Reduced, Summary
from logllm.notify.seen import seen_before
from logllm.notify.taint import tainted

__all__ = ["Layout"]

_LABEL = 10  # "incidents", the longest label, and its gap
_EVIDENCE = 5
_FACTS = 4
_TIMELINE = 6
_CHANGES = 3
_SOURCE_FROM = 100  # columns from which a line also says its file and line number

_STYLE = {"critical": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_MARK = {"critical": "●", "warning": "▲", "info": "◆", "resolve": "✓", "back": "↳"}
_ASCII_MARK = {"critical": "!!", "warning": "!", "info": "i", "resolve": "ok", "back": ">>"}


class Layout:
    """Events in, lines out, none wider than the console. Writes nothing.

    Args:
        console: Gives the width and what its encoding can show.
        reveal: Puts back what was masked in an event's text.
        runbook_title: The title of a runbook id, None where it is unknown.
    """

    def __init__(
        self,
        console: Console,
        reveal: Callable[[str], str],
        runbook_title: Callable[[str], str | None] | None = None,
    ) -> None:
        self._console = console
        self._reveal = reveal
        self._runbook_title = runbook_title
        self._unicode = console.encoding.lower().startswith("utf")

    def incident(self, event: IncidentEvent) -> list[Text]:
        """The block of an incident: in full when it opens, short when it goes on or ends."""
        lines = [*self._head(event), self._when(event)]
        if event.event == "resolve":
            return lines
        if event.event == "update":
            return lines + self._row("seen", event.seen, "bold")
        if event.expected:
            lines += self._row("expected", event.expected)
        lines += self._row("seen", event.seen, "bold")
        if any(event.series):
            bars = sparkline(event.series, max(8, min(48, self._console.width - 36)), plain=not self._unicode)
            style = _STYLE[event.severity].removeprefix("bold ")
            lines.append(Text.assemble(" " * (2 + _LABEL), (bars, style), (f"  highest {max(event.series):,}", "dim")))
        if len(event.services) > 1:
            lines += self._row("services", ", ".join(event.services), most=2)
        if event.template:
            lines += self._row("template", event.template, most=2)
        for number, fact in enumerate(event.facts[:_FACTS]):
            lines += self._row("facts" if number == 0 else "", fact, most=2)
        # Where all came at once there is no order to tell, and the facts have it.
        ordered = any(not sentence.endswith("(among the first)") for sentence in event.timeline)
        for number, sentence in enumerate(event.timeline[:_TIMELINE] if ordered else ()):
            lines += self._row("timeline" if number == 0 else "", sentence, most=2)
        for number, change in enumerate(event.changes[:_CHANGES]):
            stamp = moment(change.time)
            what = f"{change.id} {f'{stamp:%H:%M:%S}' if stamp else '--:--:--'} {change.text}"
            lines += self._row("changes" if number == 0 else "", what, most=2)
        lines += self._evidence(event.evidence[:_EVIDENCE], 2)
        hidden = len(event.evidence) - _EVIDENCE
        if hidden > 0:
            told = Text(f"and {amount(hidden, 'more line')} of evidence (--json has all)", "dim")
            lines += self._wrapped(told, "  ")
        if event.runbook is not None:
            lines += self._wrapped(self._runbook(event.runbook), f"  {'runbook':<{_LABEL}}")
        return lines

    def explanation(self, explanation: Explanation, incident: IncidentEvent, *, beneath: bool) -> list[Text]:
        """The block of an explanation. `beneath` is false where something else was shown since the incident."""
        lines = [] if beneath else self._head(incident, back=True)
        lines += self._verdict(explanation)
        if explanation.status == "ok" and explanation.cause:
            lines += self._wrapped(self._text(explanation.cause), "    ")
        above = [*incident.evidence[:_EVIDENCE], *incident.changes[:_CHANGES]]
        shown = {one.id for one in above} if beneath else set[str]()
        cited = set(explanation.evidence) - shown
        known = [*incident.changes, *incident.evidence]
        lines += self._evidence([one for one in known if one.id in cited], 4)
        if explanation.runbook is not None and explanation.runbook != incident.runbook:
            lines += self._wrapped(self._runbook(explanation.runbook), "    runbook  ")
        for number, step in enumerate(explanation.steps, 1):
            lines += self._wrapped(self._text(step), f"    {number}. ")
        for seen in seen_before(explanation):
            lines += self._wrapped(self._text(seen), "    ")
        warned = tainted(explanation)
        if warned:
            lines += self._wrapped(self._text(warned, "yellow"), "    beware: ")
        if explanation.removed:
            lines += self._wrapped(self._text("; ".join(explanation.removed), "dim"), "    the checks removed: ")
        return lines

    def summary(self, summary: Summary) -> list[Text]:
        """The block of a run's end."""
        rate = summary.lines / summary.seconds if summary.seconds > 0 else 0.0
        read = f"{amount(summary.lines, 'line')} in {duration(summary.seconds)} ({rate:,.0f} lines/s)"
        found = f"{amount(summary.records, 'record')}, {amount(summary.templates, 'template')}"
        lines = [Text("Summary", style="bold")]
        lines += self._row("read", f"{read}, {size(summary.bytes)}" if summary.bytes else read)
        lines += self._row("found", f"{found}, {amount(summary.services, 'service')}" if summary.services else found)
        for plugin in summary.plugins:
            lines += self._row("plugin", self._plugin(plugin))
        if summary.reduced is not None:
            lines += self._row("sent on", _reduced(summary.reduced))
        lines += self._row("incidents", f"{summary.incidents:,}", "bold")
        if summary.skipped:
            skipped = sorted(summary.skipped.items(), key=lambda one: -one[1])
            lines += self._row("skipped", ", ".join(f"{count:,} {reason}" for reason, count in skipped), "yellow")
        if summary.learning:
            lines += self._row("learning", summary.learning)
        elif summary.missing:
            lines += self._row("to come", "; ".join(summary.missing))
        return lines + (self._top(summary.top) if summary.top else [])

    def notice(self, text: str) -> list[Text]:
        """A word about the run."""
        return self._wrapped(self._text(text, "dim"), "")

    def joined(self, parts: list[str], width: int) -> Text:
        """Short texts in one dim line of at most `width` columns."""
        text = self._text((" · " if self._unicode else " | ").join(part for part in parts if part), "dim")
        return self._clamped(text, max(1, width))

    def _text(self, text: str, style: str = "", limit: int = 4_000) -> Text:
        return Text(neutral(self._reveal(text), limit, self._console.encoding), style=style)

    def _plain(self, text: str, limit: int) -> str:
        return self._text(text, limit=limit).plain

    def _clamped(self, line: Text, width: int) -> Text:
        line.truncate(width, overflow="ellipsis" if self._unicode else "crop")
        line.rstrip()
        return line

    def _wrapped(self, text: Text, lead: str, hang: int | None = None) -> list[Text]:
        """`text` within the width: its first line after the dim `lead`, the others `hang` columns in."""
        indent = len(lead) if hang is None else hang
        lines: list[Text] = []
        for line in text.wrap(self._console, max(8, self._console.width - indent), overflow="fold"):
            line.rstrip()
            lines.append(Text.assemble(" " * indent, line) if lines else Text.assemble((lead, "dim"), line))
        return lines or [Text(lead.rstrip(), style="dim")]

    def _row(self, label: str, value: str, style: str = "", *, most: int = 4) -> list[Text]:
        text = self._text(value, style)
        text.highlight_regex(r"<[a-z*][a-z0-9_]*>", "cyan")
        rows = self._wrapped(text, f"  {label:<{_LABEL}}")
        if len(rows) > most:
            del rows[most:]
            rows[-1].append(" …" if self._unicode else " ...")
            self._clamped(rows[-1], self._console.width)
        return rows

    def _head(self, event: IncidentEvent, *, back: bool = False) -> list[Text]:
        ended = event.event == "resolve"
        marks = _MARK if self._unicode else _ASCII_MARK
        mark = marks["back" if back else "resolve" if ended else event.severity]
        told = {"open": event.severity.upper(), "update": f"{event.severity} goes on", "resolve": "resolved"}
        head = Text.assemble((f"{mark} {told[event.event]}", "bold green" if ended else _STYLE[event.severity]), "  ")
        service, title = self._plain(event.service, 60), self._plain(event.title, 400)
        if service and not title.lower().startswith(service.lower()):
            head.append(f"{service}: ", style="bold")
        head.append(title, style="bold")
        first, *others = head.wrap(self._console, self._console.width, overflow="fold")
        rest = Text(" ").join(line for line in others) if others else Text()
        first.rstrip()
        return [first, *(self._wrapped(rest, "  ") if others else [])]

    def _when(self, event: IncidentEvent) -> Text:
        began = event.started or event.time
        start = moment(began)
        parts = [f"{start:%Y-%m-%d %H:%M:%S} UTC" if start else began[:40]]
        lasted_s = span_s(began, event.ended or event.time)
        if lasted_s >= 1:
            parts.append(f"{'lasted' if event.ended else 'for'} {duration(lasted_s)}")
        line = self.joined(
            [*parts, amount(event.count, "record"), ", ".join(event.kinds), event.id], self._console.width - 2
        )
        return Text.assemble("  ", line)

    def _evidence(self, evidence: list[Evidence], indent: int) -> list[Text]:
        lines = []
        for one in evidence:
            when = moment(one.time)
            stamp = f"{when:%H:%M:%S}" if when else "--:--:--"
            line = Text.assemble(" " * indent, (f"{self._plain(one.id, 8):<4}", "cyan"), (f"{stamp}  ", "dim"))
            if self._console.width >= _SOURCE_FROM and one.line is not None:
                line.append(f"{self._plain(one.source.rsplit('/', 1)[-1], 24)}:{one.line}  ", style="dim")
            line.append(self._plain(one.text, 4 * self._console.width))
            lines.append(self._clamped(line, self._console.width))
        return lines

    def _runbook(self, name: str) -> Text:
        title = self._runbook_title(name) if self._runbook_title is not None else None
        text = self._text(name, "bold", 80)
        return Text.assemble(text, f"  {self._plain(title, 200)}") if title else text

    def _verdict(self, explanation: Explanation) -> list[Text]:
        model = self._plain(explanation.model.rsplit("/", 1)[-1], 60)
        if explanation.status == "ok":
            about = [f"confidence {explanation.confidence * 100:.0f} %", model]
            if explanation.evidence:
                about.append("cites " + " ".join(self._plain(one, 8) for one in explanation.evidence))
            if explanation.cached:
                about.append("explained before")
            told = f"({', '.join(part for part in about if part)})"
            return self._wrapped(Text.assemble(("likely cause ", "bold green"), (told, "dim")), "  ")
        if explanation.status == "insufficient":
            told = f"the evidence supports no cause{f' ({model})' if model else ''}; the facts stand"
            return self._wrapped(Text.assemble(("insufficient evidence: ", "bold yellow"), told), "  ")
        reason = self._plain(explanation.error or "the model gave no usable answer", 300)
        told = f"{reason}; the facts stand"
        return self._wrapped(Text.assemble(("no explanation: ", "bold yellow"), told), "  ")

    def _plugin(self, plugin: dict[str, str | int]) -> str:
        told = f"{self._plain(str(plugin['name']), 40)}: {plugin['in']:,} in, {plugin['out']:,} out"
        dropped = f", {plugin['dropped']:,} dropped" if plugin["dropped"] else ""
        failed = f", {amount(int(plugin['failures']), 'call')} failed" if plugin["failures"] else ""
        return told + dropped + failed

    def _top(self, top: list[dict[str, str | int | float]]) -> list[Text]:
        table = [("count", "share", "change", "service", "template")]
        for row in top:
            count, share = row["count"], row["share"]
            table.append((
                f"{count:,}" if isinstance(count, int) else str(count),
                f"{share * 100:.1f} %" if isinstance(share, float) else str(share),
                self._plain(str(row["change"]), 24),
                self._plain(str(row["service"]), 20),
                self._plain(str(row["template"]), 4_000),
            ))  # fmt: skip
        count_width, share_width, change_width, service_width = (max(len(row[i]) for row in table) for i in range(4))
        lines = [Text()]
        for count, share, change, service, template in table:
            line = Text(f"  {count:>{count_width}}  {share:>{share_width}}  ", style="" if len(lines) > 1 else "dim")
            line.append(f"{change:<{change_width}}  ", style="bold" if len(lines) > 1 else "")
            line.append(f"{service:<{service_width}}  {template}")
            lines.append(self._clamped(line, self._console.width))
        return lines


def _reduced(reduced: Reduced) -> str:
    share = 100 * reduced.bytes_out / reduced.bytes_in if reduced.bytes_in else 100.0
    told = f"{reduced.records_out:,} of {amount(reduced.records_in, 'record')}, {size(reduced.bytes_out)} of "
    told += f"{size(reduced.bytes_in)} ({share:.1f} %)"
    if reduced.records_late:
        told += f"; {reduced.records_late:,} of them were culled at first"
    return told + (f"; {reduced.saved:,.2f} {reduced.currency} saved" if reduced.currency else "")
