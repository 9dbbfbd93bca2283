"""The pool over children that do what a model's do without a model; time is given, and `step` is called by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from logllm.errors import ExplainError
from logllm.explain.model.config import LlmConfig
from logllm.explain.model.cores import Cores
from logllm.explain.model.memory import Memory
from logllm.explain.model.pool import Lease, ModelPool
from logllm.explain.model.pool_state import PoolFullError, PoolShutError, PoolState, WorkerState
from logllm.explain.model.server import ModelServer

GOOD = "import sys; print('logllm-child ready 4711', flush=True); sys.stdin.read()"
CRASHES = "import sys; sys.exit('ggml: out of memory')"


class Rig:
    """A pool, its clock, and what it started."""

    def __init__(self, script: str = GOOD, **config: object) -> None:
        self.now = 100.0
        self.opens_in_s = 0.0
        self.memory = Memory(300, 200)
        self.jobs: list[Callable[[], None]] = []
        self.at_once = True
        settings = LlmConfig(**{"workers": 2, "idle_s": 30.0, **config})  # type: ignore[arg-type]
        command = [sys.executable, "-c", script]
        self.pool = ModelPool(
            lambda: ModelServer(Path("tiny.gguf"), idle_s=0.0, clock=lambda: self.now, command=command),
            settings,
            opens_in_s=lambda now_s: self.opens_in_s,
            clock=lambda: self.now,
            wall=lambda: self.now,
            spawn=self._spawn,
            watch=False,
            measure=lambda pid: self.memory,
            cores=Cores(cores=2, load=lambda: 0.0, clock=lambda: self.now),
        )

    def _spawn(self, job: Callable[[], None]) -> None:
        if self.at_once:
            job()
        else:
            self.jobs.append(job)

    def ask(self, caller: str = "", deadline_s: float = 60.0) -> Future[Lease]:
        return self.pool.submit(deadline_s, caller=caller)

    def later(self, seconds: float) -> PoolState:
        self.now += seconds
        self.pool.step()
        return self.pool.state()


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def made(script: str = GOOD, **config: object) -> Rig:
        rigs.append(Rig(script, **config))
        return rigs[-1]

    yield made
    for rig in rigs:
        rig.pool.close()


def test_nothing_runs_until_somebody_asks_and_nothing_after_it_was_idle(make: Callable[..., Rig]) -> None:
    rig = make()

    assert rig.pool.state().workers == []
    lease = rig.ask().result(0)
    worker = rig.pool.state().workers[0]
    assert (worker.state, worker.requests, worker.memory_bytes) == ("busy", 1, 300)
    assert lease.endpoint.base_url == "http://127.0.0.1:4711/v1"
    lease.done()
    assert rig.later(29).workers[0].state == "idle"
    state = rig.later(2)

    assert (state.workers, state.starts, state.idle_ends, state.served) == ([], 1, 1, 1)
    assert worker.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_second_worker_starts_when_a_request_has_waited_and_takes_it(make: Callable[..., Rig]) -> None:
    rig = make(scale_up_wait_s=1.0)
    first = rig.ask().result(0)
    second = rig.ask()

    assert len(rig.later(0.9).workers) == 1
    assert not second.done()
    assert len(rig.later(0.2).workers) == 2

    assert second.result(0).threads == 1
    assert first.threads == 2
    third = rig.ask()
    assert len(rig.later(5).workers) == 2
    first.done()
    assert third.result(0).endpoint == first.endpoint


def test_idle_workers_end_one_by_one_and_those_to_keep_stay(make: Callable[..., Rig]) -> None:
    rig = make(workers=3, min_workers=1, scale_up_wait_s=0.0)
    rig.pool.step()
    assert len(rig.pool.state().workers) == 1
    leases = [rig.ask().result(0) for _ in range(3)]
    for lease in leases:
        lease.done()

    counts = [len(rig.later(seconds).workers) for seconds in (31, 0.1, 0.1, 100)]

    assert counts == [2, 1, 1, 1]


def test_no_worker_is_added_that_would_not_fit_the_memory_cap(make: Callable[..., Rig]) -> None:
    rig = make(scale_up_wait_s=0.0, max_memory_bytes=499)
    rig.ask().result(0)
    waiting = rig.ask()

    assert len(rig.later(10).workers) == 1
    rig.memory = Memory(299, 200)
    assert len(rig.later(1).workers) == 2

    assert waiting.done()


def test_a_request_that_nobody_has_a_worker_for_ends_at_its_deadline(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    rig.ask().result(0)
    late = rig.ask(deadline_s=5.0)

    rig.later(5.1)

    with pytest.raises(ExplainError, match=r"no worker was free in 5\.1 s"):
        late.result(0)


def test_a_request_whose_client_gave_up_is_not_run(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    first = rig.ask().result(0)
    given_up, kept = rig.ask(), rig.ask()
    given_up.cancel()

    first.done()

    assert kept.result(0)
    assert rig.pool.state().served == 2


def test_more_than_the_queue_holds_are_refused_with_when_to_come_again(make: Callable[..., Rig]) -> None:
    rig = make(workers=1, queue=2)
    lease = rig.ask().result(0)
    rig.now += 8
    waiting = [rig.ask() for _ in range(2)]

    with pytest.raises(PoolFullError) as error:
        rig.ask()
    assert error.value.retry_after_s == 3.0
    lease.done()
    waiting[0].result(0).done()
    waiting[1].result(0).done()
    rig.ask().result(0)
    waiting = [rig.ask() for _ in range(2)]
    with pytest.raises(PoolFullError):
        rig.ask()
    waiting[0].cancel()

    assert not rig.ask().done()


def test_callers_are_served_in_turn(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    lease = rig.ask("many").result(0)
    many = [rig.ask("many") for _ in range(3)]
    one = rig.ask("one")

    lease.done()
    many[0].result(0).done()

    assert one.done()
    assert not many[1].done()


def test_a_worker_that_died_idle_is_started_anew(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    rig.ask().result(0).done()
    pid = rig.pool.state().workers[0].pid
    assert pid is not None
    os.kill(pid, 9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    rig.now += 10

    assert rig.ask().result(0)

    assert (rig.pool.state().starts, rig.pool.state().crashes) == (2, 1)


def test_a_crash_in_mid_answer_is_named_and_the_request_goes_first_on_the_next_worker(
    make: Callable[..., Rig],
) -> None:
    rig = make(workers=1)
    lease = rig.ask().result(0)
    other = rig.ask()
    pid = rig.pool.state().workers[0].pid
    assert pid is not None
    again = rig.pool.submit(60.0, again=True)
    os.kill(pid, 9)
    rig.at_once = False

    assert lease.done("broken") == "signal 9"
    assert lease.done() is None

    rig.now += 10
    rig.pool.step()
    for job in rig.jobs:
        job()
    again.result(0).done()
    assert other.result(0)


def test_a_worker_that_hangs_is_ended(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    lease = rig.ask().result(0)

    lease.done("hung")

    assert rig.pool.state().workers == []
    assert rig.pool.state().crashes == 1


def test_what_waits_is_told_when_the_model_cannot_be_started(make: Callable[..., Rig]) -> None:
    rig = make(CRASHES)

    with pytest.raises(ExplainError, match="could not be started: exit code 1: ggml: out of memory"):
        rig.ask().result(0)


def test_in_its_windows_workers_are_kept_warm_and_outside_they_end(make: Callable[..., Rig]) -> None:
    rig = make(min_workers=1, idle_s=0.5)
    rig.opens_in_s = 3600.0
    assert rig.later(0).workers == []
    rig.opens_in_s = 0.0

    assert [worker.state for worker in rig.later(0).workers] == ["idle"]
    assert len(rig.later(100).workers) == 1
    rig.opens_in_s = 3600.0
    assert rig.later(1).workers == []

    assert rig.ask().result(0)


def test_outside_its_windows_nobody_is_answered_where_it_says_so(make: Callable[..., Rig]) -> None:
    rig = make(outside="refuse", idle_s=0.0, min_workers=1)
    rig.later(0)
    rig.opens_in_s = 1800.0

    with pytest.raises(PoolShutError) as error:
        rig.ask()

    assert error.value.retry_after_s == 1800.0
    assert rig.later(0.1).workers == []


def test_closing_ends_what_runs_and_fails_what_waits(make: Callable[..., Rig]) -> None:
    rig = make(workers=1)
    rig.ask().result(0)
    waiting = rig.ask()
    pid = rig.pool.state().workers[0].pid

    rig.pool.close()
    rig.pool.close()

    with pytest.raises(ExplainError, match="closing"):
        waiting.result(0)
    with pytest.raises(ExplainError, match="closing"):
        rig.ask()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_with_a_thread_of_its_own_it_works_by_itself() -> None:
    config = LlmConfig(workers=2, idle_s=0.05, scale_up_wait_s=0.01)
    pool = ModelPool(lambda: ModelServer(Path("tiny.gguf"), idle_s=0.0, command=[sys.executable, "-c", GOOD]), config)
    leases = [pool.submit(30.0).result(30) for _ in range(2)]

    workers = {lease.endpoint.key for lease in leases}
    for lease in leases:
        lease.done()
    pool.close()

    assert len(workers) == 2
    assert pool.state().served == 2


def test_a_worker_says_what_it_is() -> None:
    assert WorkerState(None, "starting", None, 0).pid is None
