"""What is usual at an hour of the day: one mean an hour, as far as it differs from a smooth day by more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["HOURS", "Season"]

HOURS = 24
_HOUR_NS = 3_600_000_000_000
_RATE = 1.0 / 420.0
"""Of a window: an hour of seven days ago weighs about a third."""

_STEP = np.float32(1.5)
"""Neighbouring hours that differ by this factor are a step, and a step may come an hour early or late: daylight saving
moves a local pattern against the clock that we count by. Smooth days differ by less."""

_AN_HOUR = np.float32(60.0)
"""Windows."""

_ZERO = np.float32(0.0)
_HALF_TRUSTED = np.float32(10.0)
_ANGLES = 2.0 * np.pi * np.arange(HOURS) / HOURS
_WAVES = np.float32(HOURS / 2)
_EACH = np.float32(1 / HOURS)
_COSINE, _SINE = (np.asarray(wave / _WAVES, np.float32) for wave in (np.cos(_ANGLES), np.sin(_ANGLES)))
"""What turns the means of the hours into a wave's two numbers."""


class Season:
    """Means by hour of the day, of `k` counts.

    A day is a sine wave first (two numbers, learned from all hours together) and then what each hour adds to it,
    as far as the hours differ more than their number of records explains (James and Stein). Days of the week are not
    told apart. Hours are of UTC.

    Shapes:
        mean: float32[24, k], mean count of a window in each hour; seen: float32[24, k], windows it rests on.
    """

    def __init__(self) -> None:
        self.mean = np.zeros((HOURS, 0), np.float32)
        self.seen = np.zeros((HOURS, 0), np.float32)

    def grow(self, more: int) -> None:
        """Make room for more keys, which know nothing."""
        self.mean, self.seen = (np.pad(array, [(0, 0), (0, more)]) for array in (self.mean, self.seen))

    def learn(self, end_ns: int, block_mean: NDArray[np.float64], rows: int, quiet: NDArray[np.bool_]) -> None:
        """Take in the block of so many windows that ends there. `quiet`: bool[k], keys that may learn."""
        hour = (end_ns - 1) // _HOUR_NS % HOURS
        after = self.seen[hour] + np.float32(rows)
        rate = np.maximum(1.0 - (1.0 - _RATE) ** rows, rows / after)
        self.mean[hour] += quiet * rate * (block_mean - self.mean[hour])
        self.seen[hour] += quiet * np.float32(rows)

    def at(
        self, time_ns: int, slow: NDArray[np.float32], phi: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """What is usual at a time; and the most and the least that are, where a step is near.

        Shapes:
            slow: float32[k], mean over days, for hours that were not seen yet.
            phi: float32[k], dispersion of an hour's mean.
            returns: three float32[k].
        """
        level, cosine, sine, squares = (np.zeros(len(slow), np.float32) for _ in range(4))
        exact = time_ns / _HOUR_NS - 0.5
        first = int(np.floor(exact))
        near = {hour % HOURS: slow for hour in range(first - 1, first + 3)}
        # Half a day later a wave is what it was, upside down.
        for morning in range(HOURS // 2):
            pair = []
            for hour in (morning, morning + HOURS // 2):
                # Of an hour that was hardly seen the slow mean is the better guess.
                here = self.seen[hour] / (self.seen[hour] + _HALF_TRUSTED)
                here *= self.mean[hour] - slow
                here += slow
                level += here
                squares += here * here
                pair.append(here)
                if hour in near:
                    near[hour] = here
            swing = pair[0] - pair[1]
            cosine += swing * _COSINE[morning]
            sine += swing * _SINE[morning]
        level *= _EACH
        squares *= _EACH
        windows = self.seen.sum(axis=0) * _EACH
        chance = np.maximum(level, 0.0) / np.maximum(windows, 1.0)
        chance += phi * level * level * _AN_HOUR / np.maximum(windows, _AN_HOUR)
        beyond = squares - level * level - (cosine * cosine + sine * sine) / 2
        keep = 1.0 - np.minimum(chance / np.maximum(beyond, np.float32(1e-12)), 1.0)
        guesses = []
        for step in range(-1, 3):
            hour = (first + step) % HOURS
            # The weights of the waves are 2 / 24 of their values.
            wave = level + (cosine * _COSINE[hour] + sine * _SINE[hour]) * _WAVES
            guesses.append(np.maximum(wave + keep * (near[hour] - wave), _ZERO))
        weight = np.float32(exact - first)
        early, now, late = (guesses[at] + weight * (guesses[at + 1] - guesses[at]) for at in range(3))
        most, least = np.maximum(early, late), np.minimum(early, late)
        most = now + (most > _STEP * now) * (most - now)
        return now, most, now + (least * _STEP < now) * (least - now)

    def merge(self, old: int, new: int) -> None:
        """Counts of `old` are counts of `new` from now on."""
        self.mean[:, new] += self.mean[:, old]
        self.seen[:, new] = np.maximum(self.seen[:, new], self.seen[:, old])

    def forget(self, keys: Sequence[int]) -> None:
        """Know nothing of some keys any more."""
        self.mean[:, keys] = self.seen[:, keys] = 0.0

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {"mean": pack_array(self.mean), "seen": pack_array(self.seen)}

    def restore(self, state: dict[str, Any], size: int) -> None:
        """Take a copy back, of so many keys. Raises StateError where it does not fit."""
        mean, seen = (unpack_array(state.get(name, {}), np.float32) for name in ("mean", "seen"))
        if not mean.shape == seen.shape == (HOURS, size):
            raise StateError(f"saved season: shapes {mean.shape} and {seen.shape}, expected {(HOURS, size)}")
        self.mean, self.seen = mean, seen
