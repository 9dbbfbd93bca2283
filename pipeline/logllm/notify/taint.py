"""What is said of evidence that was kept from the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.events import Explanation

__all__ = ["tainted"]


def tainted(explanation: Explanation) -> str:
    """Which evidence speaks to a language model, for people; empty where none does. Not yet fit for any markup.

    >>> from logllm.events import Explanation
    >>> tainted(Explanation("i", "ok", "", None, [], [], 0.3, "m", tainted=["E2"]))
    'E2 reads like an instruction to a language model; it was not shown to one'
    """
    if not explanation.tainted:
        return ""
    ids = ", ".join(one[:10] for one in explanation.tainted[:8])
    if len(explanation.tainted) == 1:
        return f"{ids} reads like an instruction to a language model; it was not shown to one"
    return f"{ids} read like instructions to a language model; they were not shown to one"
