"""What the service counts, for `/metrics`."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from logllm.metrics import Histogram, Value, render

if TYPE_CHECKING:
    from logllm.explain.model.pool_state import PoolState

__all__ = ["Figures"]

_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Figures:
    """Counted in the event loop."""

    def __init__(self) -> None:
        self.requests: collections.Counter[str | tuple[str, ...]] = collections.Counter()
        self.tokens: collections.Counter[str | tuple[str, ...]] = collections.Counter()
        self.seconds = Histogram(_SECONDS)
        self.first_piece = Histogram(_SECONDS)
        self.under_way = 0

    def spent(self, usage: object) -> None:
        """Count what an answer's `usage` says."""
        for kind, name in (("read", "prompt_tokens"), ("written", "completion_tokens")):
            value = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(value, int) and value > 0:
                self.tokens[kind] += value

    def text(self, pool: PoolState | None) -> bytes:
        """Prometheus text. `pool` None: the model is behind a URL."""
        values: dict[str, Value] = {
            "logllm_llm_serve_requests": self.requests,
            "logllm_llm_serve_tokens": self.tokens,
            "logllm_llm_serve_seconds": self.seconds,
            "logllm_llm_serve_first_piece_seconds": self.first_piece,
            "logllm_llm_serve_under_way": self.under_way,
        }
        if pool is not None:
            states = collections.Counter(worker.state for worker in pool.workers)
            values |= {
                "logllm_llm_serve_waiting": pool.waiting,
                "logllm_llm_serve_workers": {state: states[state] for state in ("starting", "idle", "busy")},
                "logllm_llm_serve_memory_bytes": pool.memory_bytes,
                "logllm_llm_serve_starts": pool.starts,
                "logllm_llm_serve_crashes": pool.crashes,
                "logllm_llm_serve_idle_ends": pool.idle_ends,
            }
            if pool.last_cold_start_s is not None:
                values["logllm_llm_serve_cold_start_seconds"] = pool.last_cold_start_s
        return render(values)
