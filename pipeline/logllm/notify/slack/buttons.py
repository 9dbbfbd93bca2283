"""How a reader answers from within the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.notify.slack.blocks import Actions, Block, Button, Confirm, PlainText
from logllm.notify.slack.text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.notify.destination import Links
    from logllm.notify.notification import ActionNote

__all__ = ["ACTION_PREFIX", "LINK_PREFIX", "MOST_ACTIONS", "Buttons"]

ACTION_PREFIX = "logllm:"
LINK_PREFIX = "logllm:link:"
"""Slack tells of a click on a link as well; there is nothing to do then."""

_LABELS = {"acknowledge": "Acknowledge", "expected": "Expected", "noise": "Noise", "real": "Real"}
_LONGEST_URL = 3_000
_LONGEST_VALUE = 2_000
_LONGEST_REQUEST = 128
MOST_ACTIONS = 3
"""Of a runbook, that are shown."""


class Buttons:
    """Rows of buttons for an incident.

    Args:
        links: Where an address to open comes from.
        interactive: Slack sends clicks to us, signed, so no address is needed.
    """

    def __init__(self, links: Links, *, interactive: bool) -> None:
        self._links = links
        self._interactive = interactive

    def row(self, incident: str, verbs: Sequence[str]) -> list[Block]:
        """A row for these verbs; nothing where no button can be made."""
        made = [button for verb in verbs if (button := self._button(incident, verb)) is not None]
        return [Actions(made)] if made else []

    def approvals(self, actions: Sequence[ActionNote]) -> list[Block]:
        """A row for each action that a button can approve. No link does that: whoever has it could, unseen."""
        if not self._interactive:
            return []
        return [
            Actions([
                Button(
                    PlainText(f"Approve: {plain(action.title, 60) or 'run it'}", emoji=True),
                    f"{ACTION_PREFIX}approve",
                    value=f"approve:{action.request}",
                    confirm=_confirm(action),
                ),
                Button(PlainText("Reject", emoji=True), f"{ACTION_PREFIX}reject", value=f"reject:{action.request}"),
            ])
            for action in actions[:MOST_ACTIONS]
            if action.request and not action.asks and len(action.request) <= _LONGEST_REQUEST
        ]  # fmt: skip

    def _button(self, incident: str, verb: str) -> Button | None:
        text = PlainText(_LABELS[verb], emoji=True)
        style = "primary" if verb == "acknowledge" else ""
        if self._interactive:
            value = f"{verb}:{incident}"
            if len(value) > _LONGEST_VALUE:
                return None
            return Button(text, f"{ACTION_PREFIX}{verb}", value=value, style=style)
        url = self._links.url(incident, verb)
        if not url.startswith(("https://", "http://")) or len(url) > _LONGEST_URL:
            return None
        return Button(text, f"{LINK_PREFIX}{verb}", url=url, style=style)


def _confirm(action: ActionNote) -> Confirm:
    title, text = plain(action.title, 90) or "Run it", plain(action.command, 280)
    said = PlainText(f"Runs once: {text}" if text else "It runs once.", emoji=True)
    return Confirm(PlainText(title, emoji=True), said, PlainText("Approve", emoji=True), PlainText("Back", emoji=True))
