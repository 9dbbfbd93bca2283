"""Incidents of the sample logs as they were kept, a chat over them, and questions with what an answer must cite."""

from __future__ import annotations

import functools
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.events import Explanation, IncidentEvent
from logllm.explain.chat.chat import Chat, Conversation
from logllm.explain.chat.events import AnswerEvent, Done, Sentence
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.chat.model import ChatModel

__all__ = ["Asked", "Kept", "asked", "bank", "chat_over", "kept", "sentences_of"]

HERE = Path(__file__).parent
Kept = tuple[IncidentEvent, Explanation | None]


class Asked(NamedTuple):
    incident: str
    question: str
    cites: frozenset[str]
    unknown: bool


def kept() -> list[Kept]:
    """Twelve incidents, the newest first."""
    rows = json.loads((HERE / "incidents.json").read_text(encoding="utf-8"))
    found: list[Kept] = [
        (msgspec.convert(row["incident"], IncidentEvent), msgspec.convert(row["explanation"], Explanation))
        for row in rows
    ]
    return sorted(found, key=lambda one: one[0].started, reverse=True)


def chat_over(
    incidents: Sequence[Kept] | None = None, model: ChatModel | None = None, catalogue: Catalogue | None = None
) -> Chat:
    """A chat over these incidents, by default the samples'."""
    rows = kept() if incidents is None else list(incidents)

    def get(name: str) -> Kept | None:
        found = [row for row in rows if row[0].id.startswith(name)]
        return found[0] if len(found) == 1 else None

    return Chat(lambda limit: rows[:limit], get, catalogue or _catalogue(), Redactor(max_values=0).mask, model=model)


@functools.cache
def _catalogue() -> Catalogue:
    return Catalogue.load()


def bank() -> list[Asked]:
    """The questions of the three files, in their order."""
    return [
        Asked(section["incident"], row["q"], frozenset(row["cites"]), row.get("unknown", False))
        for name in ("questions.toml", "heldout.toml", "unseen.toml")
        for section in tomllib.loads((HERE / name).read_text(encoding="utf-8")).values()
        for row in section["ask"]
    ]


def asked(chat: Chat, incident: str, question: str) -> list[AnswerEvent]:
    """The whole answer to one question in a conversation of its own."""
    return list(chat.ask(Conversation(incident), question))


def sentences_of(events: Sequence[AnswerEvent], by: str = "") -> list[Sentence]:
    """The sentences of an answer, of code or model alone where `by` says so. It must end in `Done`."""
    assert isinstance(events[-1], Done)
    return [event for event in events if isinstance(event, Sentence) and by in ("", event.by)]
