"""Which runbook an incident is given when it opens: by its words, or by its kind where no word can show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.explain.runbooks.search import Catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Advice"]

_OF_KIND = {"silence": "heartbeat-missing", "heartbeat": "heartbeat-missing", "release": "release-new-templates"}
_WORD = re.compile(r"[a-z]{2,}")


class Advice:
    """The catalogue as incidents use it, loaded when it is first asked for.

    Args:
        folders: The user's own runbooks.

    Raises:
        ConfigError: At the first question, where a runbook cannot be read.
    """

    def __init__(self, folders: Sequence[str] = ()) -> None:
        self._folders = folders
        self._catalogue: Catalogue | None = None

    def use(self, catalogue: Catalogue) -> None:
        """Take this catalogue instead of loading one."""
        self._catalogue = catalogue

    @property
    def catalogue(self) -> Catalogue:
        """The runbooks."""
        if self._catalogue is None:
            self._catalogue = Catalogue.load(self._folders)
        return self._catalogue

    def runbook(self, text: str) -> str | None:
        """The id of the runbook that these words fit, or None."""
        best = self.catalogue.best(text)
        return best.id if best else None

    def of_kind(self, kind: str) -> str | None:
        """The id of the runbook for a kind of incident whose records show nothing, or None."""
        book = _OF_KIND.get(kind)
        return book if book in self.catalogue.by_id else None

    def shows(self, runbook: str, text: str) -> float:
        """How well a text shows a runbook's problem, 0 to 1.8; authors list the most telling signals first."""
        book = self.catalogue.by_id[runbook]
        words = set(_WORD.findall(text.lower()))
        signals = [set(_WORD.findall(signal.lower())) for signal in book.signals]
        place = next((n for n, signal in enumerate(signals) if len(signal & words) >= 0.75 * len(signal)), 99)
        return min(self.catalogue.shows(book, text), 0.8) + 1.0 / (1 + place)
