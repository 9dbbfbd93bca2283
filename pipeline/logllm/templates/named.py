"""Templates of a given text, for what is no message."""

from __future__ import annotations

from logllm.templates.ledger import OWN, Ledger

__all__ = ["MOST_NAMED", "Named"]

MOST_NAMED = 1_000


class Named:
    """At most MOST_NAMED texts, each with its index; the one named first goes. Both ways in one step."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.by_text: dict[str, int] = {}
        self.text_of: dict[int, str] = {}

    def index(self, text: str) -> int:
        """The index of this text, a new one where it has none."""
        index = self.by_text.get(text, -1)
        if index < 0:
            if len(self.by_text) >= MOST_NAMED:
                gone = self.by_text.pop(next(iter(self.by_text)))
                del self.text_of[gone]
                self._ledger.evict([gone])
            index = self._ledger.add(text, state=OWN)
            self.put(text, index)
        return index

    def put(self, text: str, index: int) -> None:
        self.by_text[text] = index
        self.text_of[index] = text
