"""`logllm serve` as a child on ports that stay the same, so that it can die and come back."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["PATIENCE_S", "Server", "free_port", "until"]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


def free_port() -> int:
    """A port that nobody listens on.

    It lies below those that the kernel gives to outgoing connections: whoever knocks again and again at a closed port
    of that range ends up connected to itself.
    """
    for _ in range(1000):
        port = random.randrange(12_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def until(holds: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S, every_s: float = 0.02) -> float:
    """Wait for something; seconds it took. Raises AssertionError when it does not come to be."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s)
    return time.monotonic() - begun


class Server:
    """One place in which servers live one after the other.

    Args:
        arguments: Behind `serve --no-llm`; addresses are added.
        environment: Beside ours.
        log: What they write to standard error is appended to this file.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        self.arguments = arguments
        self.environment = dict(environment or {})
        self.port, self.http_port = free_port(), free_port()
        self.child: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self.lines: list[str] = []
        self._log = log
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    def begin(self) -> None:
        """Start one without waiting for it."""
        self.lives += 1
        self._ready.clear()
        command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm"]
        addresses = ["--listen", f"127.0.0.1:{self.port}", "--http", f"127.0.0.1:{self.http_port}"]
        self.child = subprocess.Popen(
            [*command, *addresses, *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline"), **self.environment},
        )
        self._reader = threading.Thread(target=self._read, args=(self.child,), daemon=True)
        self._reader.start()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        with contextlib.ExitStack() as stack:
            log = None if self._log is None else stack.enter_context(self._log.open("ab"))
            for line in child.stderr:
                if log is not None:
                    log.write(line)
                    log.flush()
                text = line.decode(errors="replace")
                self.lines.append(text)
                if "forward on" in text:
                    self._ready.set()

    def wait_ready(self) -> bool:
        """Whether it listens; False where it has died before."""
        begun = time.monotonic()
        while not self._ready.wait(0.05):
            if not self.alive:
                return False
            assert time.monotonic() - begun < PATIENCE_S, "the server does not come up"
        return True

    def start(self) -> Self:
        """Start one and wait until it listens."""
        self.begin()
        assert self.wait_ready(), "".join(self.lines[-20:])
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self) -> int:
        """Of the one that runs, or has run."""
        assert self.child is not None
        return self.child.pid

    @property
    def resident_bytes(self) -> int:
        """Memory it holds; 0 where it has ended."""
        with contextlib.suppress(OSError, IndexError):
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP answer; 0 where there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The sum of a metric's values; 0 where there is none."""
        found = re.findall(rf"^{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return sum(map(float, found))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.child is not None
        self.child.send_signal(number)
        return self.wait()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self.child is not None
        code = self.child.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(10)
        assert self.child.stderr is not None
        self.child.stderr.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None:
            if self.child.poll() is None:
                self.child.kill()
            self.wait()


@contextlib.contextmanager
def serving(*arguments: str, **settings: object) -> Iterator[Server]:
    """A server that listens, ended behind the block."""
    with Server(*arguments, **settings) as server:  # type: ignore[arg-type]
        yield server.start()
