"""A small fleet: services whose messages come in pairs, and slices of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.keys import Keys
from logllm.detectors.odd.windows import OddWindows
from tests.detectors.counts import slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from logllm.detectors.slices import Slice
    from logllm.events import Anomaly

__all__ = ["DAY", "LEVEL", "MESSAGES", "cut", "fleet", "keys_of", "run"]

DAY = 1440
MESSAGES = 8
LEVEL = 1e-4


def keys_of(services: int) -> Keys:
    """A key for each message of each service, in order."""
    keys = Keys()
    for service in range(services):
        templates = np.arange(MESSAGES, dtype=np.int32) + service * MESSAGES
        keys.number(np.zeros(MESSAGES, np.int32), [f"service-{service}"], templates)
    return keys


def fleet(windows: int, services: int = 2, seed: int = 1) -> NDArray[np.float64]:
    """Counts [windows, services * MESSAGES]: of each service message 1 finishes what 0 starts, the others are alone."""
    source = np.random.default_rng(seed)
    counts = np.zeros((windows, services, MESSAGES))
    season = 1.0 + 0.4 * np.sin(2 * np.pi * np.arange(windows) / DAY)
    for service in range(services):
        for message in range(MESSAGES):
            rate = 30.0 if message < 2 else 4.0 + 3.0 * message
            counts[:, service, message] = source.poisson(rate * season * source.gamma(5.0, 0.2, windows))
        counts[:, service, 1] = source.binomial(counts[:, service, 0].astype(np.int64), 0.97)
    return counts.reshape(windows, -1)


def run(odd: OddWindows, slices: Iterable[Slice], level: float = LEVEL, *, held: bool = False) -> list[Anomaly]:
    """Judge and learn each slice; returns what was found."""
    found: list[Anomaly] = []
    for each in slices:
        found += odd.judge(each, level)
        odd.learn(each, np.full(each.counts.shape[1], held))
    return found


def cut(counts: NDArray[np.float64], seed: int, first: int = 0) -> list[Slice]:
    """Slices cut at the ends of blocks, and at random places as well."""
    places = np.random.default_rng(seed).integers(0, len(counts), len(counts) // 8).tolist()
    return slices_of(counts, first=first, cuts=places)
