"""Addresses and names put back for a destination that may see them, on the way out: the outbox keeps pseudonyms."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from logllm.notify.notification import Notification

if TYPE_CHECKING:
    from logllm.notify.destination import Destination

__all__ = ["Revealed", "RevealedKind"]

RevealedKind = Literal["ip", "host", "email", "mac", "user", "phone"]
"""What may be put back. Secrets never are: nobody keeps their values."""


class Revealed:
    """A destination that is told real values in place of their pseudonyms; otherwise it is what it was.

    A value that is not known any more stays a pseudonym. What arrives is text as before, and as hostile.

    Args:
        reveal: Puts values of some kinds back into a text.
    """

    def __init__(
        self,
        destination: Destination,
        kinds: Collection[RevealedKind],
        reveal: Callable[[str, Collection[str]], str],
    ) -> None:
        self.name = destination.name
        self.pause_s = destination.pause_s
        self.edits = destination.edits
        self._destination = destination
        self._kinds = frozenset(kinds)
        self._reveal = reveal

    def takes(self, notification: Notification) -> bool:
        """See `Destination`."""
        return self._destination.takes(notification)

    def send(self, notification: Notification, ref: str) -> str:
        """See `Destination`."""
        shown = msgspec.convert(self._shown(msgspec.to_builtins(notification)), Notification)
        return self._destination.send(shown, ref)

    def close(self) -> None:
        """See `Destination`."""
        self._destination.close()

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._reveal(value, self._kinds) if "<" in value else value
        if isinstance(value, list):
            return [self._shown(each) for each in value]
        if isinstance(value, dict):
            return {key: self._shown(each) for key, each in value.items()}
        return value
