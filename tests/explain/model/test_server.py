from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from logllm.errors import ExplainError
from logllm.explain.model.server import ModelServer

# A child that does what a model's does, without a model: announces a port and lives until stdin ends.
GOOD = "import sys; print('loading'); print('logllm-child ready 4711', flush=True); sys.stdin.read()"
CRASHES = "import sys; sys.stderr.write('ggml: out of memory\\n'); sys.exit(3)"
SILENT = "import sys; sys.stdin.read()"
SHOWS_KEY = (
    "import os, sys; print(os.environ['LOGLLM_CHILD_KEY'] in ' '.join(sys.argv)); "
    "print('logllm-child ready 1', flush=True); sys.stdin.read()"
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def server(script: str, **options: object) -> ModelServer:
    return ModelServer(Path("tiny.gguf"), command=[sys.executable, "-c", script], **options)  # type: ignore[arg-type]


def test_the_child_starts_with_the_first_session_and_serves_the_next() -> None:
    model = server(GOOD)

    assert model.pid is None
    with model.session() as first:
        pid = model.pid
        assert first.base_url == "http://127.0.0.1:4711/v1"
        assert len(first.key) > 30
    with model.session() as second:
        assert model.pid == pid
        assert second == first
    model.close()

    assert model.starts == 1
    assert model.pid is None


def test_an_idle_child_is_ended_but_never_one_in_use() -> None:
    clock = Clock()
    model = server(GOOD, idle_s=30.0, clock=clock)
    with model.session():
        clock.now += 1000
        assert not model.sweep()
        pid = model.pid
    clock.now += 29
    assert not model.sweep()
    clock.now += 2

    assert model.sweep()

    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with model.session():
        assert model.starts == 2
    model.close()


def test_idle_ends_by_itself() -> None:
    model = server(GOOD, idle_s=0.05)
    with model.session():
        child = model._child

    assert child is not None
    assert child.process.wait(10) < 0
    model.close()


def test_a_child_that_crashes_is_started_again_after_a_growing_pause() -> None:
    clock = Clock()
    model = server(CRASHES, clock=clock)
    waits = []
    for _ in range(4):
        with (
            pytest.raises(ExplainError, match=r"could not be started: exit code 3: ggml: out of memory"),
            model.session(),
        ):
            pass
        with pytest.raises(ExplainError, match="times in a row; it is started again in") as caught, model.session(0.01):
            pass
        waits.append(float(str(caught.value).split(" in ")[-1].removesuffix(" s")))
        clock.now += waits[-1] + 0.1

    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert model.crashes == 4
    model.close()


def test_a_session_waits_for_the_pause_when_its_deadline_allows_it() -> None:
    model = server(GOOD)
    with model.session():
        model.kill()
    with model.session(30.0):
        assert model.starts == 2
    model.close()


def test_success_forgets_earlier_crashes() -> None:
    clock = Clock()
    model = server(GOOD, clock=clock)
    for _ in range(3):
        with model.session():
            model.kill()
        clock.now += 100
    with model.session():
        model.succeeded()
        model.kill()

    with (
        pytest.raises(ExplainError, match=r"crashed 1 times in a row; it is started again in 0\.5 s"),
        model.session(0.01),
    ):
        pass
    model.close()


def test_a_killed_child_is_noticed_and_named() -> None:
    clock = Clock()
    model = server(GOOD, clock=clock)
    with model.session():
        assert model.check() is None
        pid = model.pid
        assert pid is not None
        os.kill(pid, 9)
        assert model.check(wait_s=10.0) == "signal 9: loading"
    clock.now += 1.0

    with model.session():
        assert model.starts == 2
    model.close()


def test_a_child_that_never_gets_ready_is_given_up() -> None:
    model = server(SILENT, start_s=0.2)

    with pytest.raises(ExplainError, match="could not be started: no answer in"), model.session():
        pass

    assert model.pid is None
    model.close()


def test_the_key_is_not_on_the_command_line() -> None:
    model = server(SHOWS_KEY)
    with model.session():
        child = model._child
        assert child is not None
        assert list(child.lines) == ["False"]
    model.close()


def test_the_child_ends_when_its_parents_pipe_closes() -> None:
    model = server(GOOD)
    with model.session():
        child = model._child
        assert child is not None
        assert child.process.stdin is not None
        child.process.stdin.close()

        assert child.process.wait(10) == 0
    model.close()


def test_a_closed_server_starts_nothing_and_threads_share_one_child() -> None:
    model = server(GOOD)
    pids: list[int | None] = []

    def use() -> None:
        with model.session():
            pids.append(model.pid)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.close()
    model.close()

    assert len(set(pids)) == 1
    with pytest.raises(ExplainError, match="closed"), model.session():
        pass
