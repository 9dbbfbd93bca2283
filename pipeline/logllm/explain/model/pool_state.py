"""What a pool of workers says of itself, and why it takes no request."""

from __future__ import annotations

from typing import Literal

import msgspec

from logllm.errors import ExplainError

__all__ = ["PoolFullError", "PoolShutError", "PoolState", "WorkerState"]


class PoolFullError(ExplainError):
    """Too many wait already. `retry_after_s`: when it may be otherwise."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many requests wait for the model")
        self.retry_after_s = retry_after_s


class PoolShutError(ExplainError):
    """The model does not work at this hour."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the model does not work at this hour")
        self.retry_after_s = retry_after_s


class WorkerState(msgspec.Struct, frozen=True):
    """One worker that is not stopped."""

    pid: int | None
    state: Literal["starting", "idle", "busy"]
    memory_bytes: int | None
    requests: int


class PoolState(msgspec.Struct, frozen=True):
    """What runs, and what has happened since the start."""

    workers: list[WorkerState]
    waiting: int
    memory_bytes: int
    starts: int
    crashes: int
    idle_ends: int
    served: int
    last_cold_start_s: float | None
