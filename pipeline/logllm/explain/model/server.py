"""The local model as a child process: started when first asked, watched, restarted with patience, ended when idle."""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import os
import secrets
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from logllm.errors import ExplainError, ExplainLater
from logllm.explain.model.child import KEY_VARIABLE, READY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Endpoint", "ModelServer"]

_START_S = 60.0
_BACK_OFF_S = 0.5
_MAX_BACK_OFF_S = 300.0
_OUTPUT_LINES = 40


class Endpoint(NamedTuple):
    """Where a server answers, and with which key."""

    base_url: str
    key: str
    model: str


class _Child:
    """One process and the last lines it wrote."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: collections.deque[str] = collections.deque(maxlen=_OUTPUT_LINES)
        self.port = 0
        self.ready = threading.Event()
        # stdin is a pipe we never write to: when this process ends, however it ends, the child reads its end.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="logllm-model-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        output = self.process.stdout
        if output is None:
            return
        for raw in iter(lambda: output.readline(4096), b""):
            line = raw.decode(errors="replace").strip()
            if line.startswith(READY):
                self.port = int(line.removeprefix(READY))
                self.ready.set()
            elif line:
                self.lines.append(line[:500])
        self.ready.set()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """Kill it and wait: it has nothing to save."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def why(self) -> str:
        code = self.process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = next((line for line in reversed(self.lines) if not line.startswith("  ")), "")
        return f"{how}{': ' + last if last else ''}"


class ModelServer:
    """Runs one model for one caller at a time.

    `session()` starts the child if there is none and gives its endpoint; `idle_s` seconds after the last session the
    child is killed and its memory is free again. A child that dies is started anew at the next session, not before
    0.5, 1, 2... (at most 300) seconds have passed since the crash. Safe to call from several threads. Memory: the
    model's file plus about 250 MB while it runs; nothing otherwise.

    Args:
        idle_s: Seconds without a session after which the child ends; 0 keeps it.
        n_ctx: Context in tokens.
        memory_bytes: Limit of the child's address space; 0 for none.
        clock: Monotonic seconds.
        command: The child's command line; for tests.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        name: str = "",
        idle_s: float = 300.0,
        n_ctx: int = 2048,
        threads: int = 0,
        memory_bytes: int = 0,
        start_s: float = _START_S,
        clock: Callable[[], float] = time.monotonic,
        command: list[str] | None = None,
    ) -> None:
        self.model_path = model_path
        self.name = name or model_path.stem
        self.idle_s = idle_s
        self.n_ctx = n_ctx
        self.starts = 0
        self.crashes = 0
        self.last_start_s = 0.0
        self._start_s = start_s
        self._clock = clock
        self._arguments = [
            str(model_path),
            "--n-ctx",
            str(n_ctx),
            "--threads",
            str(threads),
            "--memory-bytes",
            str(memory_bytes),
        ]
        self._command = command
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._key = ""
        self._in_use = 0
        self._last_used = clock()
        self._failures = 0
        self._not_before = 0.0
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        child = self._child
        return child.process.pid if child is not None and child.alive else None

    @contextlib.contextmanager
    def session(self, deadline_s: float = 60.0) -> Iterator[Endpoint]:
        """Use the model. The child is not ended for idleness inside.

        Raises:
            ExplainError: llama-cpp-python is not installed.
            ExplainLater: the child does not start, or it crashed a moment ago and `deadline_s` ends before it may be
                started again.
        """
        endpoint = self._enter(deadline_s)
        try:
            yield endpoint
        finally:
            self.leave()

    def enter_if_running(self) -> Endpoint | None:
        """As `session` does, but start nothing: None without a child. Then `leave` it."""
        with self._lock:
            self._reap()
            child = self._child
            if child is None or self._closed.is_set():
                return None
            return self._used(child)

    def leave(self) -> None:
        """The end of what `enter_if_running` began."""
        with self._lock:
            self._in_use -= 1
            self._last_used = self._clock()

    def succeeded(self) -> None:
        """An answer came: forget earlier crashes."""
        with self._lock:
            self._failures = 0

    def check(self, wait_s: float = 0.0) -> str | None:
        """None while the child lives; after a crash, how it ended. Called by who saw a broken connection.

        `wait_s`: how long to wait for a child that is about to be gone.
        """
        child = self._child
        if child is not None and wait_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(wait_s)
        with self._lock:
            return self._reap()

    def kill(self) -> None:
        """End the child now, as after a request that hangs; the next session starts a new one, after the back-off."""
        with self._lock:
            if self._child is not None:
                self._failed()
                self._end()

    def sweep(self) -> bool:
        """End the child if it has been idle for `idle_s`; whether it did."""
        with self._lock:
            if self._child is None or self._in_use or not self.idle_s or self._clock() - self._last_used < self.idle_s:
                return False
            self._end()
            return True

    def rest(self) -> bool:
        """End the child if nobody uses it now; whether it did."""
        with self._lock:
            if self._child is None or self._in_use:
                return False
            self._end()
            return True

    def close(self) -> None:
        """End the child for good. A second call does nothing."""
        self._closed.set()
        child = self._child
        if child is not None:
            # Before the lock: a start that is under way holds it until its child is ready or gone.
            child.process.kill()
        with self._lock:
            self._end()
            watch = self._watch
        if watch is not None and watch is not threading.current_thread():
            watch.join()

    def _enter(self, deadline_s: float) -> Endpoint:
        ends = self._clock() + deadline_s
        with self._lock:
            if self._closed.is_set():
                raise ExplainLater("the model server is closed")
            self._reap()
            return self._used(self._child or self._start(ends))

    def _used(self, child: _Child) -> Endpoint:
        self._in_use += 1
        self._last_used = self._clock()
        return Endpoint(f"http://127.0.0.1:{child.port}/v1", self._key, self.name)

    def _start(self, ends: float) -> _Child:
        if self._command is None and importlib.util.find_spec("llama_cpp") is None:
            raise ExplainError("the local model needs llama-cpp-python: pip install 'logllm[llm]'")
        wait = self._not_before - self._clock()
        if wait > 0 and (self._clock() + wait >= ends or self._closed.wait(wait)):
            raise ExplainLater(
                f"the model crashed {self._failures} times in a row; it is started again in {wait:.1f} s"
            )
        began = self._clock()
        self._key = secrets.token_urlsafe(32)
        environment = os.environ | {KEY_VARIABLE: self._key}
        # OpenMP's threads spin while they wait for each other. On a busy machine that wastes the very time the other
        # thread needs: a pass that takes 3 s took 30 s on two shared cores.
        environment.setdefault("GOMP_SPINCOUNT", "1000")
        command = self._command or [sys.executable, "-m", "logllm.explain.model.child"]
        child = _Child([*command, *self._arguments, "--name", self.name], environment)
        self.starts += 1
        self._child = child
        ready = child.ready.wait(max(0.1, min(self._start_s, ends - began)))
        if not child.port:
            why = f"no answer in {self._clock() - began:.0f} s" if not ready else child.why()
            self._failed()
            self._end()
            raise ExplainLater(f"the model could not be started: {why}")
        self.last_start_s = self._clock() - began
        if self._watch is None and self.idle_s:
            self._watch = threading.Thread(target=self._watch_idle, name="logllm-model-idle", daemon=True)
            self._watch.start()
        return child

    def _reap(self) -> str | None:
        if self._child is None or self._child.alive:
            return None
        why = self._child.why()
        self._failed()
        self._end()
        return why

    def _failed(self) -> None:
        self.crashes += 1
        self._failures += 1
        self._not_before = self._clock() + min(_MAX_BACK_OFF_S, _BACK_OFF_S * 2.0 ** min(self._failures - 1, 20))

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _watch_idle(self) -> None:
        while not self._closed.wait(max(0.05, min(self.idle_s / 4, 5.0))):
            self.sweep()
