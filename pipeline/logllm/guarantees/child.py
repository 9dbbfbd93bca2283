"""The program under test as a child process: started, listened to, asked, ended by its id."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wait import until

__all__ = ["PROGRAM", "Child", "environment"]

PROGRAM = (sys.executable, "-m", "logllm.cli")

# The first start on a machine compiles the scanner, under whatever load there is.
_START_S = 60.0
_END_S = 30.0
# However we end, by a signal in the middle of starting it or by SIGKILL, Linux ends it with us (PR_SET_PDEATHSIG).
_LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""
_PORTS = re.compile(r"forward on \S+:(\d+), http on \S+:(\d+)")
_SAMPLE = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def environment(cache: Path) -> dict[str, str]:
    """The user's, less what would make the child another program: our own settings, and systemd's of this process.

    Args:
        cache: What the child compiles is kept here and not in the user's cache.
    """
    left_out = ("LOGLLM_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    env["LOGLLM_CODE_CACHE"] = str(cache)
    here = str(Path(__file__).parents[2])
    if here not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (here, env.get("PYTHONPATH"))))
    return env


class Child:
    """A running `logllm serve` on free ports of 127.0.0.1, and what it has said so far.

    Args:
        program: What is run, before `serve`.
        arguments: Options of `serve`.
        again: Whether it has run before in this check: then not to start is a promise broken.

    Raises:
        Unchecked: It does not start; Broken where it has before.
    """

    def __init__(
        self,
        program: Sequence[str],
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        listen: str = "127.0.0.1:0",
        again: bool = False,
    ) -> None:
        addresses = ("--listen", listen, "--http", "127.0.0.1:0")
        self.errors: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._first: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._readers: list[threading.Thread] = []
        self._process = subprocess.Popen(  # noqa: S603 - the same program as ours
            [sys.executable, "-ISc", _LAUNCH, str(os.getpid()), *program, "serve", "--json", *addresses, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
        )
        try:
            for read in (self._read_errors, self._read_events):
                self._readers.append(threading.Thread(target=read, daemon=True))
                self._readers[-1].start()
            line = self._first_line()
            ports = _PORTS.search(line)
            if ports is None:
                raise (Broken if again else Unchecked)(f"logllm serve does not start: {line.strip()}")
        except BaseException:
            self.close()
            raise
        self.port, self.http_port = int(ports[1]), int(ports[2])

    def _first_line(self) -> str:
        try:
            return self._first.get(timeout=_START_S) or "it ended without a word"
        except queue.Empty:
            return f"it said nothing within {_START_S:g} s"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe
        for line in self._process.stderr:
            self.errors.append(line.decode("utf-8", "replace"))
            self._first.put(self.errors[-1])
        self._first.put("")

    def _read_events(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        for line in self._process.stdout:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                event = msgspec.json.decode(line)
                if isinstance(event, dict):
                    self.events.append(event)

    def get(self, path: str, patience_s: float = 5.0) -> tuple[int, str]:
        """Status and body of an HTTP answer. Raises Broken where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=patience_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{path} does not answer: {error}") from error
        finally:
            connection.close()

    def metric(self, name: str, labels: str = "") -> float:
        """One value of `/metrics`, 0 where it is not there; of several label sets the sum."""
        _, text = self.get("/metrics")
        return sum(float(value) for found, of, value in _SAMPLE.findall(text) if found == name and labels in of)

    def incident(self, patience_s: float, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first incident it tells of that is wanted; None where none comes in time."""

        def found() -> dict[str, Any] | None:
            told = (event for event in list(self.events) if event.get("type") == "incident")
            return next(filter(wanted, told), None)

        until(lambda: found() is not None or not self.runs, patience_s)
        return found()

    @property
    def resident_bytes(self) -> int:
        """Memory that it has in use now. Raises Unchecked where the kernel does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError) as error:
            raise Unchecked("no /proc to read the memory of a process from") from error
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.runs:
            self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM, patience_s: float = _END_S) -> int:
        """Send a signal, wait for the end, return the exit code. Raises Broken where it does not end."""
        self.kill(number)
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise Broken(f"signal {number} did not end it within {patience_s:g} s") from None
        for reader in self._readers:
            reader.join(_END_S)
        return code

    def close(self) -> None:
        """Leave nothing behind. A second call does nothing."""
        if self.runs:
            self._process.kill()
        self._process.wait(_END_S)
        for reader in self._readers:
            reader.join(_END_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
