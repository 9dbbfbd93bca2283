"""What `logllm tail` shows a person: incidents with their facts, the explanation beneath, a status line, a summary.

`render_layout` lays the blocks out, `render_text` makes log text harmless; here is what writes them to a console.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import IO

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from logllm.cli.render_layout import Layout
from logllm.cli.render_text import amount
from logllm.events import Explanation, IncidentEvent, Summary

__all__ = ["Terminal", "console_for", "print_row"]

_PLAIN_WIDTH = 100


def console_for(stream: IO[str]) -> Console:
    """A console on `stream` that keeps to NO_COLOR, FORCE_COLOR and COLUMNS.

    A stream that is no terminal gets plain text, 100 columns wide unless COLUMNS says otherwise.
    """
    wants = os.environ.get("FORCE_COLOR", "") not in ("", "0")
    refuses = os.environ.get("NO_COLOR", "") != "" or os.environ.get("FORCE_COLOR") == "0"
    columns = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else _PLAIN_WIDTH
    if columns.isascii() and columns.isdigit():
        width = min(max(int(columns), 20), 1_000)
    return Console(
        file=stream,
        force_terminal=True if wants else stream.isatty(),
        color_system=None if refuses else "auto",
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_row(console: Console, head: Text, text: Text) -> None:
    """A row of a list: its text is wrapped beside its head on a terminal; one plain line on a pipe."""
    if not console.is_terminal:
        console.file.write(f"{head.plain}{text.plain}\n")
        console.file.flush()
        return
    for number, line in enumerate(text.wrap(console, max(20, console.width - len(head)))):
        line.rstrip()
        console.print(Text.assemble(head if number == 0 else " " * len(head), line), soft_wrap=True)


class Terminal:
    """The view of one run on one console. Call it from one thread.

    Args:
        console: Where to write, see `console_for`.
        reveal: Puts back, for this viewer, what was masked in an event's text; identity where nothing is revealed.
        runbook_title: The title of a runbook id, None where it is unknown.

    >>> import io
    >>> terminal = Terminal(console_for(io.StringIO()), reveal=lambda text: text)
    >>> terminal.notice("app.log was rotated")
    """

    def __init__(
        self,
        console: Console,
        *,
        reveal: Callable[[str], str],
        runbook_title: Callable[[str], str | None] | None = None,
    ) -> None:
        self._console = console
        self._layout = Layout(console, reveal, runbook_title)
        # FORCE_COLOR makes rich call a pipe a terminal: a rewritten line needs a real one.
        self._rewrites = console.file.isatty() and not console.is_dumb_terminal
        self._status: Text | None = None
        self._drawn = False
        self._last: str | None = None  # the incident whose block is the last thing on the screen

    def incident(self, event: IncidentEvent) -> None:
        """Show an incident that opened (in full), changed (what is seen now) or ended (one line and its length)."""
        self._say([Text(), *self._layout.incident(event)])
        self._last = event.id if event.event == "open" else None

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """Show what the model proposed and the checks let through, beneath its incident where that is still last."""
        beneath = self._last == incident.id
        lines = self._layout.explanation(explanation, incident, beneath=beneath)
        self._say(lines if beneath else [Text(), *lines])
        self._last = None

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """Rewrite the line at the bottom. Nothing where the console is no terminal.

        `learning` says what is still missing, None once the baselines stand.
        """
        if not self._rewrites:
            return
        told = [amount(lines, "line"), f"{lines_per_s:,.0f}/s", amount(templates, "template")]
        if learning:
            told.append(f"learning ({learning})")
        text = self._layout.joined([*told, amount(incidents, "incident")], self._console.width - 1)
        if self._drawn and self._status is not None and text.plain == self._status.plain:
            return
        self._status = text
        self._erase()
        self._draw()

    def notice(self, text: str) -> None:
        """One dim line about the run itself: a file that rotated, a model that starts."""
        self._say(self._layout.notice(text))
        self._last = None

    def summary(self, summary: Summary) -> None:
        """What the run saw, in the end."""
        self.close()
        self._say([Text(), *self._layout.summary(summary)])
        self._last = None

    def close(self) -> None:
        """Take the status line away. The console can be used again."""
        self._erase()
        self._status = None

    def _say(self, lines: Iterable[Text]) -> None:
        self._erase()
        block = Text("\n").join(lines)
        self._console.print(block, soft_wrap=True)
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            self._drawn = False

    def _draw(self) -> None:
        if self._status is not None:
            self._console.print(self._status, end="", soft_wrap=True)
            self._drawn = True
