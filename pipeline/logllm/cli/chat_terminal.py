"""The chat in a terminal: a prompt, sentences as they come, each with the ids of its evidence."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from logllm.cli.render import console_for
from logllm.cli.render_text import amount, neutral, sparkline
from logllm.explain.chat.chat import Conversation
from logllm.explain.chat.events import Done, Note, NotShown, Sentence, Thinking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from logllm.explain.chat.case import Case
    from logllm.explain.chat.chat import Chat
    from logllm.explain.chat.events import AnswerEvent

__all__ = ["run_terminal"]

_PROMPT = "› "
_PLAIN_PROMPT = "> "
_SEVERITY = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_MOST_LISTED = 12
_LONGEST_QUESTION = 4_096


def run_terminal(chat: Chat, incident: str, put_back: Callable[[str], str], notices: list[str]) -> None:
    """Questions from standard input until it ends. Where it is no terminal: no prompt, plain text, one line a sentence.

    An id as the whole question goes over to that incident.
    """
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    view = _View(console_for(sys.stdout), put_back)
    for notice in notices:
        view.note(notice)
    conversation = Conversation(incident)
    if asks:
        view.opening(chat, incident)
    for question in _typed() if asks else _piped():
        other = _moved(chat, question)
        if other is not None:
            conversation = Conversation(other.incident.id)
            view.headline(other)
            continue
        try:
            view.answer(chat.ask(conversation, question))
        except KeyboardInterrupt:
            view.note("(ended)")
            if not asks:
                raise


def _moved(chat: Chat, question: str) -> Case | None:
    """The incident that a question names and nothing else, as in "inc-8f3a" or "open inc-8f3a"."""
    words = question.removeprefix("open ").removeprefix("use ").split()
    return chat.case(words[0]) if len(words) == 1 and words[0].startswith("inc-") else None


def _typed() -> Iterator[str]:
    # Line editing and history for `input`, where the system has it.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401

    prompt = _PROMPT if "utf" in (sys.stdout.encoding or "").lower() else _PLAIN_PROMPT
    while True:
        try:
            question = input(prompt).strip()
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n(Ctrl-D ends the chat)\n")
            continue
        if question:
            yield question


def _piped() -> Iterator[str]:
    while line := sys.stdin.readline(_LONGEST_QUESTION):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = sys.stdin.readline(_LONGEST_QUESTION)
        if line.strip():
            yield line.strip()


class _View:
    """Writes answers to a console. On a pipe each sentence is one line."""

    def __init__(self, console: Console, put_back: Callable[[str], str]) -> None:
        self._console = console
        self._put_back = put_back
        self._lives = console.is_terminal
        self._plain = not (console.encoding or "").lower().startswith("utf")
        self._by = "code"

    def opening(self, chat: Chat, incident: str) -> None:
        """What there is to ask about."""
        case = chat.case(incident)
        if case is not None:
            self.headline(case)
            return
        kept = chat.latest(_MOST_LISTED + 1)
        if not kept:
            self.note("No incident is kept here yet.")
            return
        for event, _ in kept[:_MOST_LISTED]:
            head = Text.assemble(
                (event.id, "bold"),
                "  ",
                (f"{event.severity:8}", _SEVERITY[event.severity]),
                f"  {event.started[:16]}Z  ",
            )
            self._put(Text.assemble(head, self._safe(f"{event.service}: {event.title}")), indent=0)
        if len(kept) > _MOST_LISTED:
            self.note("... and more; ask for the list of incidents")
        self.note("Type an id to talk about that incident; help says what can be asked; Ctrl-D ends.")

    def headline(self, case: Case) -> None:
        """The incident that is talked about from here on."""
        incident = case.incident
        mark = Text.assemble((incident.severity, _SEVERITY[incident.severity]), "  ", (incident.id, "bold"), "  ")
        series = sparkline(incident.series, 32, plain=self._plain)
        self._put(Text.assemble(mark, self._safe(case.items["I1"].text), "  ", (series, "dim")), indent=0)
        self.note("Ask what happened, why, since when, what to do; help says more. Ctrl-D ends.")

    def answer(self, events: Iterator[AnswerEvent]) -> None:
        """One answer, as it comes."""
        self._by = "code"
        status = None
        try:
            for event in events:
                if status is not None:
                    status.stop()
                    status = None
                if isinstance(event, Thinking) and self._lives:
                    status = self._console.status(Text(f"{event.model} reads", style="dim"), spinner="dots")
                    status.start()
                else:
                    self._show(event)
        finally:
            if status is not None:
                status.stop()
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def note(self, text: str) -> None:
        """A dim line about the chat itself."""
        self._put(Text(self._safe(text), style="dim"), indent=0)

    def _show(self, event: AnswerEvent) -> None:
        if isinstance(event, Sentence):
            if event.by == "model" and self._by == "code":
                self._put(Text("the model's words:", style="dim"))
            self._by = event.by
            style = "italic" if event.by == "model" else "yellow" if event.unknown else ""
            cites = "".join(f" [{name}]" for name in event.cites)
            self._put(Text.assemble((self._safe(event.text), style), (cites, "cyan")))
        elif isinstance(event, NotShown):
            verb = "was" if event.count == 1 else "were"
            told = f"{amount(event.count, 'sentence')} of the model {verb} not shown: {'; '.join(event.reasons[:3])}"
            self._put(Text(self._safe(told), style="dim"))
        elif isinstance(event, Note):
            self._put(Text(self._safe(event.text), style="dim"))
        elif isinstance(event, Done):
            if event.model != "none":
                cost = f"{event.model}, {amount(event.tokens, 'token')}, {event.seconds:.1f} s"
                self._put(Text(self._safe(cost), style="dim"))
            self._put(Text(), indent=0)

    def _put(self, text: Text, *, indent: int = 2) -> None:
        if self._lives:
            self._console.print(Padding(text, (0, 0, 0, indent)))
        else:
            self._console.file.write(f"{text.plain}\n")
            self._console.file.flush()

    def _safe(self, text: str) -> str:
        return neutral(self._put_back(text), encoding=self._console.encoding or "utf-8")
