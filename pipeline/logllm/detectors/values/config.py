"""Settings of the detectors of values."""

from __future__ import annotations

from typing import Annotated

import msgspec

from logllm.fields import Wanted

__all__ = ["ValuesConfig"]

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class ValuesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fields are watched, and how many.

    Args:
        enabled: Whether anything is.
        fields: Names of further fields, dotted where nested, in the records' own spelling; a field whose first value
            is a number is measured, another one is counted by distinct values.
        words: The same, always counted by distinct values.
        discover: Whether well-known fields are watched too: durations, sizes, status codes, clients, users, paths.
        text: Whether numbers and words within messages are watched, at the places of a template's parameters.
        most_fields: Fields of one tag or file.
        most_series: Pairs of a template and a field whose values are remembered, some 10 KB each at the most; the
            least used go.
        most_sketches: Pairs of a service and a field whose distinct values are counted, some 20 KB each.
    """

    enabled: bool = True
    fields: Annotated[list[_Name], msgspec.Meta(max_length=64)] = []
    words: Annotated[list[_Name], msgspec.Meta(max_length=64)] = []
    discover: bool = True
    text: bool = True
    most_fields: Annotated[int, msgspec.Meta(ge=1, le=256)] = 24
    most_series: Annotated[int, msgspec.Meta(ge=1, le=50_000)] = 5_000
    most_sketches: Annotated[int, msgspec.Meta(ge=1, le=5_000)] = 500

    def wanted(self) -> Wanted:
        """The fields that the sources are to read."""
        if not self.enabled:
            return Wanted(discover=False)
        return Wanted(frozenset(self.fields), frozenset(self.words), self.discover, self.most_fields)
