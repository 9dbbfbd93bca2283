"""What may be said of an incident: every line, number, change and earlier incident under an id that can be cited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EvidencePack", "PackItem"]

ItemKind = Literal["line", "template", "compared", "series", "anomaly", "change", "new", "fact", "past"]


class PackItem(NamedTuple):
    """One thing that may be cited. `text` is masked, tamed and on one line, whatever the log said.

    `id` is its kind's letter and a number: E lines, T template, X expected against seen, S series, A anomalies in the
    order they came, C changes near the beginning, N what is new, F facts, P past incidents.
    """

    id: str
    kind: ItemKind
    text: str


@dataclass(frozen=True, slots=True)
class EvidencePack:
    """An incident's items, and those that no model is shown because they speak to one (`tainted`, ids alone)."""

    items: Sequence[PackItem]
    tainted: Sequence[str] = field(default=())

    @property
    def texts(self) -> dict[str, str]:
        """Text by id: what a check may hold an answer against."""
        return {item.id: item.text for item in self.items}

    @property
    def lines(self) -> list[PackItem]:
        """The log's own lines among the items."""
        return [item for item in self.items if item.kind == "line"]
