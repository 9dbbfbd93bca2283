"""Work in lanes: one thing after the other within a lane, lanes side by side."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lanes"]

THREADS = 8
_T = TypeVar("_T")


class Lanes:
    """A few threads. A lane exists while it has work, so there may be any number of names.

    So many lanes that are stuck at once as there are threads hold up the others, each for as long as one call may
    take.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="filter")
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    async def run(self, lane: str, work: Callable[[], _T]) -> _T:
        """Do `work` in a thread when everything given to this lane before is done. Raises what it raises."""
        lock, users = self._locks.setdefault(lane, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            users.pop()
            if not users:
                del self._locks[lane]

    def close(self) -> None:
        """Wait for the work under way."""
        self._threads.shutdown(wait=True)
