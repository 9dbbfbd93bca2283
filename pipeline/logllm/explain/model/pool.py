"""Several processes of one model: started by load, ended when idle, none where nobody asks."""

from __future__ import annotations

import collections
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

from logllm.errors import ExplainError
from logllm.explain.model.cores import Cores
from logllm.explain.model.memory import memory_of
from logllm.explain.model.pool_state import PoolFullError, PoolShutError, PoolState, WorkerState
from logllm.explain.model.turns import Ticket, Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from logllm.explain.model.config import LlmConfig
    from logllm.explain.model.memory import Memory
    from logllm.explain.model.server import Endpoint, ModelServer

__all__ = ["Lease", "ModelPool"]

_TICK_S = 1.0
_LEAST_TICK_S = 0.05
# How long a start may take; large models are read from disk meanwhile.
_START_S = 300.0
_RECENT = 20


class Lease:
    """A worker that is the caller's until `done`; `threads` is its share of the cores."""

    def __init__(self, pool: ModelPool, worker: _Worker, endpoint: Endpoint, threads: int) -> None:
        self.endpoint = endpoint
        self.threads = threads
        self._pool = pool
        self._worker: _Worker | None = worker

    def done(self, ended: Literal["well", "broken", "hung"] = "well") -> str | None:
        """Give the worker back; what became of it if its process is gone. A second call does nothing.

        `broken`: the connection broke in mid-answer. `hung`: no answer came in time, and the process is ended.
        """
        worker, self._worker = self._worker, None
        return None if worker is None else self._pool._take_back(worker, ended, self.threads)


class _Worker:
    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.state: Literal["stopped", "starting", "idle", "busy"] = "stopped"
        self.since_s = 0.0
        self.requests = 0


class ModelPool:
    """Gives one request at a time to each worker. Safe to call from several threads.

    Args:
        make: A new `ModelServer` that never ends by itself (`idle_s=0`).
        opens_in_s: Seconds until the windows are open, of Unix time.
        clock, wall: Monotonic seconds, Unix seconds.
        spawn: Runs a start, which blocks, elsewhere; None: in a thread.
        watch: Whether a thread calls `step`; tests do it themselves.
        measure: Memory of a process.
    """

    def __init__(
        self,
        make: Callable[[], ModelServer],
        config: LlmConfig,
        *,
        opens_in_s: Callable[[float], float] = lambda now_s: 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        spawn: Callable[[Callable[[], None]], None] | None = None,
        watch: bool = True,
        measure: Callable[[int], Memory | None] = memory_of,
        cores: Cores | None = None,
    ) -> None:
        self._config = config
        self._opens_in_s = opens_in_s
        self._clock = clock
        self._wall = wall
        self._spawn = spawn or _in_thread
        self._measure = measure
        self._cores = cores or Cores(config.threads)
        self._lock = threading.Lock()
        self._workers = [_Worker(make()) for _ in range(config.workers)]
        self._turns: Turns[Lease] = Turns()
        self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)
        self._began: dict[_Worker, float] = {}
        self._idle_ends = 0
        self._cold_start_s: float | None = None
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        if watch:
            self._thread = threading.Thread(target=self._run, name="logllm-model-pool", daemon=True)
            self._thread.start()

    def submit(self, deadline_s: float, *, caller: str = "", again: bool = False) -> Future[Lease]:
        """A worker when it is this request's turn; cancel the future to give up. Returns at once.

        The future fails with ExplainError where no worker is free in time or the model cannot be started. `again`:
        before all others, and whatever waits.

        Raises:
            PoolFullError, PoolShutError: not now.
            ExplainError: closed.
        """
        now = self._clock()
        with self._lock:
            if self._closed:
                raise ExplainError("the model service is closing")
            shut_s = self._opens_in_s(self._wall())
            if shut_s > 0 and self._config.outside == "refuse":
                raise PoolShutError(shut_s)
            self._turns.remove(lambda ticket: False)
            free = sum(worker.state in ("idle", "starting") for worker in self._workers)
            busy = sum(worker.state == "busy" for worker in self._workers)
            if not again and len(self._turns) >= self._config.queue + (free if free or busy else 1):
                raise PoolFullError(self._retry_after_s())
            ticket: Ticket[Lease] = Ticket(caller, now, now + deadline_s)
            self._turns.put(ticket, again=again)
        if self._thread is None:
            self.step()
        self._wake.set()
        return ticket.future

    def step(self) -> None:
        """One round: give up what is late, hand out workers, start and end some."""
        with self._lock:
            now = self._clock()
            late = self._turns.remove(lambda ticket: ticket.ends_s <= now)
            self._reap(now)
            leases = self._hand_out(now)
            started = self._grow(now)
            if not started:
                self._shrink(now)
        # Outside the lock: who waits for a future may have asked to be called at once.
        for ticket in late:
            ticket.future.set_exception(ExplainError(f"no worker was free in {now - ticket.since_s:.1f} s"))
        for ticket, lease in leases:
            ticket.future.set_result(lease)
        for worker in started:
            self._spawn(partial(self._start, worker))

    def state(self) -> PoolState:
        """What runs now. Reads the workers' memory, some milliseconds each."""
        with self._lock:
            running = [(worker, worker.server.pid) for worker in self._workers if worker.state != "stopped"]
            waiting = len(self._turns)
        measured = [self._measure(pid) if pid else None for _, pid in running]
        workers = [
            WorkerState(pid, worker.state, found.share_bytes if found else None, worker.requests)
            for (worker, pid), found in zip(running, measured, strict=True)
            if worker.state != "stopped"
        ]
        servers = [worker.server for worker in self._workers]
        return PoolState(
            workers,
            waiting,
            sum(found.share_bytes for found in measured if found),
            sum(server.starts for server in servers),
            sum(server.crashes for server in servers),
            self._idle_ends,
            sum(worker.requests for worker in self._workers),
            self._cold_start_s,
        )

    def close(self) -> None:
        """End every worker; what waits fails. A second call does nothing."""
        with self._lock:
            self._closed = True
            waiting = self._turns.remove(lambda ticket: True)
        for ticket in waiting:
            ticket.future.set_exception(ExplainError("the model service is closing"))
        self._wake.set()
        for worker in self._workers:
            worker.server.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self.step()
            # Somebody who waits may become the reason for another worker.
            self._wake.wait(max(_LEAST_TICK_S, self._config.scale_up_wait_s / 4) if len(self._turns) else _TICK_S)
            self._wake.clear()

    def _reap(self, now: float) -> None:
        for worker in self._workers:
            if worker.state == "idle" and worker.server.pid is None:
                worker.server.check()
                worker.state, worker.since_s = "stopped", now

    def _hand_out(self, now: float) -> list[tuple[Ticket[Lease], Lease]]:
        leases = []
        for worker in self._workers:
            if worker.state != "idle" or not len(self._turns):
                continue
            endpoint = worker.server.enter_if_running()
            if endpoint is None:
                worker.state, worker.since_s = "stopped", now
                continue
            ticket = self._turns.take()
            if ticket is None:
                worker.server.leave()
                break
            worker.state, worker.since_s = "busy", now
            worker.requests += 1
            self._began[worker] = now
            leases.append((ticket, Lease(self, worker, endpoint, self._share())))
        return leases

    def _share(self) -> int:
        idle = sum(worker.state == "idle" for worker in self._workers)
        busy = sum(worker.state == "busy" for worker in self._workers)
        return self._cores.take(busy + min(idle, len(self._turns)))

    def _grow(self, now: float) -> list[_Worker]:
        stopped = [worker for worker in self._workers if worker.state == "stopped"]
        running = len(self._workers) - len(stopped)
        if not stopped or self._closed:
            return []
        oldest = self._turns.oldest_s()
        warm = self._config.min_workers if self._opens_in_s(self._wall()) <= 0 else 0
        missing = max(0, warm - running)
        if not missing and oldest is not None:
            waited = now - oldest >= self._config.scale_up_wait_s
            all_busy = all(worker.state in ("busy", "stopped") for worker in self._workers)
            missing = int(not running or (waited and all_busy and self._room()))
        for worker in stopped[:missing]:
            worker.state, worker.since_s = "starting", now
        return stopped[:missing]

    def _room(self) -> bool:
        """Whether one more worker stays below the memory cap, judged by what those that run have taken."""
        if not self._config.max_memory_bytes:
            return True
        pids = [worker.server.pid for worker in self._workers if worker.state != "stopped"]
        known = [found for pid in pids if pid and (found := self._measure(pid))]
        more = max((found.own_bytes for found in known), default=0)
        return sum(found.share_bytes for found in known) + more <= self._config.max_memory_bytes

    def _shrink(self, now: float) -> None:
        """End at most one worker: the one that has been idle longest."""
        idle = sorted((worker for worker in self._workers if worker.state == "idle"), key=lambda worker: worker.since_s)
        running = sum(worker.state != "stopped" for worker in self._workers)
        shut_s = self._opens_in_s(self._wall())
        keep = self._config.min_workers if shut_s <= 0 else 0
        if not idle or running <= keep:
            return
        late = self._config.idle_s > 0 and now - idle[0].since_s >= self._config.idle_s
        if (late or (shut_s > 0 and self._config.outside == "refuse")) and idle[0].server.rest():
            idle[0].state, idle[0].since_s = "stopped", now
            self._idle_ends += 1

    def _start(self, worker: _Worker) -> None:
        reason = None
        try:
            with worker.server.session(_START_S):
                took_s = worker.server.last_start_s
        except ExplainError as error:
            reason = error
        waiting: list[Ticket[Lease]] = []
        with self._lock:
            worker.state, worker.since_s = ("stopped" if reason else "idle"), self._clock()
            if reason is None:
                self._cold_start_s = took_s
            elif all(one.state == "stopped" for one in self._workers):
                waiting = self._turns.remove(lambda ticket: True)
        for ticket in waiting:
            ticket.future.set_exception(reason)
        self._again()

    def _take_back(self, worker: _Worker, ended: Literal["well", "broken", "hung"], threads: int) -> str | None:
        worker.server.leave()
        how = None
        if ended == "hung":
            # It may be deep in llama.cpp, where nothing reaches it.
            worker.server.kill()
        elif ended == "broken":
            # A broken connection shows a moment before the process is gone for its parent.
            how = worker.server.check(wait_s=0.5)
        else:
            worker.server.succeeded()
        with self._lock:
            now = self._clock()
            self._cores.give_back(threads)
            began = self._began.pop(worker, now)
            if ended == "well":
                self._recent.append(now - began)
            worker.state, worker.since_s = ("idle" if worker.server.pid else "stopped"), now
        self._again()
        return how

    def _again(self) -> None:
        if self._thread is None:
            self.step()
        self._wake.set()

    def _retry_after_s(self) -> float:
        each = sum(self._recent) / len(self._recent) if self._recent else 1.0
        return min(60.0, max(1.0, each * (len(self._turns) + 1) / len(self._workers)))


def _in_thread(job: Callable[[], None]) -> None:
    threading.Thread(target=job, name="logllm-model-start", daemon=True).start()
