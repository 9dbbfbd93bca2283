"""What reading a file came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ReadStats"]


@dataclass(slots=True)
class ReadStats:
    """Counts that grow while a file is read; give one to several readers for the sum.

    Args:
        lines: physical lines, blank ones too.
        records: what they joined to.
        bytes: of text, after decompression.
        skipped: what was cut, replaced or unreadable, by reason; nothing is left out without a count here.
        notices: one line each for a person, such as a compressed file that ends early.
    """

    lines: int = 0
    records: int = 0
    bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
