"""Change points: how soon a level that changes for good is told, and how often one is told that did not.

    python tests/bench/change_points.py

Counts are negative binomial with a daily season. Prints, for rates and factors, how many of KEYS changes are found and
the minutes until they are, and what is told of 200 keys in fourteen days in which nothing changes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.change import ChangePoint
from logllm.detectors.keys import Keys
from logllm.detectors.slices import BLOCK, Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import Anomaly

DAY, KEYS, PHI, LEVEL = 1440, 24, 0.3, 1e-6


def keys_of(count: int, each: int) -> Keys:
    """So many keys, `each` of a service."""
    keys = Keys()
    for first in range(0, count, each):
        templates = np.arange(first, min(first + each, count), dtype=np.int32)
        keys.number(np.zeros(len(templates), np.int32), [f"service-{first}"], templates)
    return keys


def counts_of(mean: NDArray[np.float64], source: np.random.Generator) -> NDArray[np.float64]:
    """Negative binomial counts. Shapes: [windows, keys] both."""
    return source.negative_binomial(1.0 / PHI, 1.0 / (1.0 + PHI * mean)).astype(np.float64)


def run(change: ChangePoint, counts: NDArray[np.float64]) -> list[Anomaly]:
    """All that is told."""
    found: list[Anomaly] = []
    for first in range(0, len(counts), BLOCK):
        block = counts[first : first + BLOCK]
        window_slice = Slice(first, block, np.zeros_like(block), 0, True)
        found += change.judge(window_slice, LEVEL)
        change.learn(window_slice, np.zeros(block.shape[1], np.bool_))
    return found


def delays(rate: float, times: float) -> list[int]:
    """Minutes until each key's change is told, of those that are; what is told before it counts as -1."""
    source = np.random.default_rng(9)
    at = 5 * DAY + int(source.integers(DAY))
    windows = np.arange(8 * DAY)[:, None]
    mean = rate * (1.0 + 0.5 * np.sin(2 * np.pi * (windows / DAY + source.random(KEYS))))
    mean[at:] *= times
    first: dict[int, int] = {}
    for told in run(ChangePoint(keys_of(KEYS, 1), told_a_day=1_000), counts_of(mean, source)):
        first.setdefault(told.service, max(-1, told.window - at))
    return sorted(first.values())


def quiet(seed: int) -> int:
    """What is told of 200 keys in 14 quiet days, and what was over the day's measure."""
    source = np.random.default_rng(seed)
    windows = np.arange(14 * DAY)[:, None]
    rates = np.exp(source.uniform(np.log(0.1), np.log(300.0), 200))
    mean = rates * (1.0 + 0.9 * source.random(200) * np.sin(2 * np.pi * (windows / DAY + source.random(200))))
    change = ChangePoint(keys_of(200, 200))
    return len(run(change, counts_of(mean, source))) + change.untold


def main() -> None:
    """Print the table."""
    for rate in (1.0, 10.0, 100.0):
        for times in (2.0, 0.5, 1.3):
            minutes = delays(rate, times)
            print(
                f"{rate:5.0f} a minute, times {times:3}: {len(minutes):2} of {KEYS} found, "
                f"{np.median(minutes):4.0f} minutes until half are told, {max(minutes):4} until the last"
            )
    begun = time.process_time()
    told = [quiet(seed) for seed in (1, 2, 3)]
    seconds = (time.process_time() - begun) / 42
    print(f"200 keys, 14 quiet days: told {told}; {seconds:.2f} s of CPU a day of windows")


if __name__ == "__main__":
    main()
