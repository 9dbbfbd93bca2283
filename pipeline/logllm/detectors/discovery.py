"""Which of one window's oddities are told together: false discoveries are held down service by service."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Anomaly

__all__ = ["Candidate", "discovered"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An oddity, and the logarithm of its tail probability over its level: 0.0 and less is told for itself alone."""

    ratio: float
    anomaly: Anomaly


def discovered(candidates: Sequence[Candidate]) -> list[Anomaly]:
    """What is told of the candidates of one window, in their order.

    A service, which is what becomes one incident, is told when one of its tests is below its own level: so many false
    ones as the levels promise, however the tests depend on each other (Bonferroni). Of the service's other tests,
    of all kinds, those belong to it that Benjamini and Hochberg (1995) find: the i smallest, where the i-th is below
    i times its level. They add to the incident and never open one, since dependent tests are small together.
    """
    if not candidates:
        return []
    by_service: dict[int, list[float]] = {}
    for each in candidates:
        by_service.setdefault(each.anomaly.service, []).append(each.ratio)
    highest: dict[int, float] = {}
    for service, ratios in by_service.items():
        ratios.sort()
        if ratios[0] <= 0.0:
            highest[service] = max(ratio for rank, ratio in enumerate(ratios, 1) if ratio <= math.log(rank))
    return [each.anomaly for each in candidates if each.ratio <= highest.get(each.anomaly.service, -math.inf)]
