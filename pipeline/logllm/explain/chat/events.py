"""What an answer is made of, piece by piece, as a terminal or a page shows it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["AnswerEvent", "Done", "NotShown", "Note", "Sentence", "Thinking"]


class Sentence(msgspec.Struct, frozen=True, tag_field="type", tag="sentence"):
    """A sentence that stands, with the ids of what it rests on: items of the incident, or other incidents.

    `by` says who wrote it: "code" put it together from the evidence, "model" wrote it and the checks let it through.
    `unknown`: it says that the evidence does not tell.
    """

    text: str
    cites: list[str]
    by: Literal["code", "model"] = "code"
    unknown: bool = False


class Thinking(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """The model is being asked; what comes from now on is its part."""

    model: str


class NotShown(msgspec.Struct, frozen=True, tag_field="type", tag="not_shown"):
    """Sentences of the model that a check took out, and why, in plain words, each reason once."""

    count: int
    reasons: list[str]


class Note(msgspec.Struct, frozen=True, tag_field="type", tag="note"):
    """Something about the answer itself: a model that cannot be had, turns that were forgotten."""

    text: str


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    """The end of an answer. `model` is "none" where none was asked; `tokens` were read and written by it.

    `first_s` is how long the model's first shown sentence took from the question, 0.0 where there was none.
    """

    topic: str
    model: str
    tokens: int
    seconds: float
    suggestions: list[str]
    first_s: float = 0.0


AnswerEvent = Sentence | Thinking | NotShown | Note | Done
