"""What follows when templates become one or are forgotten: everything that counts by key hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.detectors.detection import Detection
    from logllm.detectors.keys import Keys
    from logllm.detectors.names import FirstSight
    from logllm.detectors.windows import Windows
    from logllm.templates.template import Changes

__all__ = ["ByKey", "forget", "merge"]


class ByKey(Protocol):
    """Something that keeps what it knows by key."""

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""


class Counting(Protocol):
    """The parts of a pipeline that count by key and are always there."""

    keys: Keys
    first_sight: FirstSight
    windows: Windows
    detection: Detection


class Remembering(Protocol):
    """Something that remembers records by key for as long as the key is there."""

    def forget(self, keys: Sequence[int]) -> None:
        """The keys are gone for good."""


def merge(counting: Counting, changes: Changes, parts: Sequence[ByKey | None]) -> None:
    """Templates became part of others: their keys are counted as one from now on. `parts`: who else must know."""
    for old, new in changes.merged:
        fresh = counting.first_sight.waiting
        counting.first_sight.merge_templates(old, new)
        for old_key, new_key in counting.keys.merge_templates(old, new):
            counting.detection.merge(old_key, new_key, fresh)
            counting.first_sight.merge(old_key, new_key)
            counting.windows.merge(old_key, new_key)
            for part in parts:
                if part is not None:
                    part.merge(old_key, new_key)
            counting.keys.free([old_key])


def forget(counting: Counting, changes: Changes, spoken_of: set[int], parts: Sequence[Remembering | None]) -> None:
    """Templates were evicted: their keys' numbers may be given again, once nothing speaks of them any more.

    Args:
        spoken_of: Keys of open incidents and the like: `parts` go on remembering what came under them.
    """
    counting.first_sight.forget_templates(changes.evicted)
    gone = counting.keys.retire(changes.evicted)
    if not gone:
        return
    counting.windows.forget(gone)
    counting.detection.forget(gone)
    counting.first_sight.forget(gone)
    unsaid = [key for key in gone if key not in spoken_of]
    for part in parts:
        if part is not None:
            part.forget(unsaid)
    counting.keys.free(unsaid)
