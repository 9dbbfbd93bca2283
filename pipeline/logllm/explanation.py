"""Why an incident is there and what to do, as it is told: what the model proposed and the checks let through."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Explanation", "SeenBefore"]


class SeenBefore(msgspec.Struct, frozen=True):
    """An earlier incident that is like this one, and what people said of it.

    `verdict` is "real", "expected" or "noise", empty where nobody said; `outcome` is what helped, in the operator's
    words, pseudonyms in place of names. `likeness` is 0 to 1.
    """

    incident: str
    time: str
    title: str
    verdict: str = ""
    outcome: str = ""
    likeness: float = 0.0


class Explanation(msgspec.Struct, frozen=True, tag_field="type", tag="explanation"):
    """What the model proposed and the checks let through.

    `confidence` is computed from how much of the answer the evidence covers, 0 to 1; never the model's own word.
    `removed` names, in plain words, what a check took out. `tainted` are the ids of evidence that speaks to a language
    model; none of it was shown to one. `tokens` were read and written for it, `tokens_saved` not, by the cache.
    """

    incident: str
    status: Literal["ok", "insufficient", "failed"]
    cause: str
    runbook: str | None
    steps: list[str]
    evidence: list[str]
    confidence: float
    model: str
    removed: list[str] = []
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None
    tainted: list[str] = []
    seen_before: list[SeenBefore] = []
    tokens: int = 0
    tokens_saved: int = 0
