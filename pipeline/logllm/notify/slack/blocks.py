"""The parts of Block Kit that our messages are made of, and Slack's limits on them.

The texts given here are marked up already; what came from outside went through `text` before.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from logllm.notify.slack.text import shortened

__all__ = [
    "HEADER_LENGTH",
    "SECTION_LENGTH",
    "Actions",
    "Block",
    "Button",
    "Confirm",
    "Message",
    "PlainText",
    "bounded",
    "context",
    "fields",
    "header",
    "section",
]

MOST_BLOCKS = 50
HEADER_LENGTH = 150
SECTION_LENGTH = 3_000
FIELD_LENGTH = 2_000
FIELDS = 10
CONTEXT_ELEMENTS = 10


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="plain_text"):
    """Text without markup. `emoji`: unicode emoji may be kept as Slack's own."""

    text: str
    emoji: bool


class Mrkdwn(msgspec.Struct, frozen=True, tag_field="type", tag="mrkdwn"):
    """Text with Slack's markup. `verbatim`: only what is marked up is one, so a bare address makes no link."""

    text: str
    verbatim: bool


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="header"):
    """One large line."""

    text: PlainText


class Section(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="section"):
    """A paragraph, or fields in two columns."""

    text: Mrkdwn | None = None
    fields: list[Mrkdwn] = []


class Context(msgspec.Struct, frozen=True, tag_field="type", tag="context"):
    """Small print."""

    elements: list[Mrkdwn]


class Confirm(msgspec.Struct, frozen=True):
    """Asks again before a button counts."""

    title: PlainText
    text: PlainText
    confirm: PlainText
    deny: PlainText


class Button(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="button"):
    """Either `value` comes back to us, signed, or `url` opens."""

    text: PlainText
    action_id: str
    value: str = ""
    url: str = ""
    style: str = ""
    confirm: Confirm | None = None


class Actions(msgspec.Struct, frozen=True, tag_field="type", tag="actions"):
    """A row of buttons."""

    elements: list[Button]


Block = Header | Section | Context | Actions


class Message(msgspec.Struct, frozen=True):
    """What is shown of one notification.

    Args:
        text: One line for where blocks are not shown: the notification on a telephone.
        blocks: The message.
        plain: All of it without blocks, for a Slack that does not take them.
    """

    text: str
    blocks: list[Block]
    plain: str


def header(text: str) -> Header:
    """Of text that `plain` has been through."""
    return Header(PlainText(text, emoji=True))


def section(text: str) -> list[Block]:
    """A paragraph; nothing for no text."""
    return [Section(_mrkdwn(shortened(text, SECTION_LENGTH)))] if text else []


def fields(pairs: Sequence[tuple[str, str]]) -> list[Block]:
    """Labels with their values, in two columns; a pair without a value is left out."""
    shown = [_mrkdwn(shortened(f"*{label}*\n{value}", FIELD_LENGTH)) for label, value in pairs if value]
    return [Section(fields=shown[:FIELDS])] if shown else []


def context(*texts: str) -> list[Block]:
    """Small print, each text an element; those without text are left out."""
    shown = [_mrkdwn(shortened(text, FIELD_LENGTH)) for text in texts if text]
    return [Context(shown[:CONTEXT_ELEMENTS])] if shown else []


def bounded(blocks: Sequence[Block]) -> list[Block]:
    """As many blocks as a message may have; what is cut is said."""
    if len(blocks) <= MOST_BLOCKS:
        return list(blocks)
    return [*blocks[: MOST_BLOCKS - 1], *context("… and more, which does not fit into a message")]


def _mrkdwn(text: str) -> Mrkdwn:
    return Mrkdwn(text, verbatim=True)
