"""Run one program without a shell, or send one request: bounded in time and in what is kept of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from logllm.errors import ActionError, ConfigError, DeliveryError
from logllm.wire.http import HttpClient

if TYPE_CHECKING:
    from logllm.egress import Sent

__all__ = ["PATH", "Outcome", "call_webhook", "environment", "run_program"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_GRACE_S = 2.0
_DRAIN_S = 0.5
_TICK_S = 0.05


class Outcome(NamedTuple):
    """How it ended. `state` is "unknown" where a request may have been taken, without an answer to it.

    `exit_status` is None where a program never began or a signal ended it, and a webhook's HTTP status; `output` is
    what was kept, `output_bytes` and `output_sha256` tell of all of it.
    """

    state: Literal["done", "failed", "unknown"]
    reason: str
    exit_status: int | None = None
    signal: int = 0
    seconds: float = 0.0
    output: str = ""
    output_bytes: int = 0
    output_sha256: str = ""


class _Kept:
    """The head and the tail of what came, and the digest of all of it."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: max(0, len(self._tail) - self._half)]

    @property
    def text(self) -> str:
        left_out = self.size - len(self._head) - len(self._tail)
        between = f"\n[{left_out} bytes left out]\n".encode() if left_out else b""
        return (self._head + between + self._tail).decode(errors="backslashreplace")

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def environment(names: Sequence[str], of: Mapping[str, str]) -> dict[str, str]:
    """What a program sees: a fixed PATH, LANG, and the named variables as far as they are set."""
    return {"PATH": PATH, "LANG": "C.UTF-8"} | {name: of[name] for name in names if name in of}


def run_program(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str],
    work_dir: str = "/",
    output_bytes: int = 65_536,
    stopping: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a program to its end, in a session of its own, with nothing open but its output and an empty input.

    At `timeout_s`, or when `stopping` says so, its process group is ended: asked first, killed after two seconds.
    What leaves the group, or goes on after the program itself has ended well, is left alone.

    Raises:
        ActionError: There is no such program, or no such folder; nothing has run.
    """
    if not argv or not argv[0].startswith("/") or not Path(argv[0]).is_file() or not os.access(argv[0], os.X_OK):
        raise ActionError(f"{argv[0] if argv else ''}: expected a program that exists and may be executed")
    if not Path(work_dir).is_dir():
        raise ActionError(f"{work_dir}: expected a folder to run in")
    began = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - it is what this file is for: declared arguments, checked values
            [argument.encode() for argument in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=work_dir,
            env=dict(env),
            close_fds=True,
            start_new_session=True,
            umask=0o077,
        )
    except (OSError, ValueError) as error:
        raise ActionError(f"{argv[0]}: cannot be executed: {error}") from None
    kept = _Kept(output_bytes)
    out = process.stdout
    assert out is not None  # noqa: S101 - it was asked for
    with out:
        try:
            why = _watch(process, out, kept, began + timeout_s, stopping)
        except BaseException:
            _signal(process, signal.SIGKILL)
            raise
        finally:
            code = process.wait()
    ended_by = -code if code < 0 else 0
    if why == "timeout":
        reason = f"ended after {timeout_s:g} s, its time was up"
    elif why == "stopping":
        reason = "ended, because logllm ends"
    elif ended_by:
        reason = f"ended by signal {ended_by}"
    else:
        reason = f"exit status {code}"
    return Outcome(
        state="done" if code == 0 and not why else "failed",
        reason=reason,
        exit_status=None if ended_by else code,
        signal=ended_by,
        seconds=round(time.monotonic() - began, 3),
        output=kept.text,
        output_bytes=kept.size,
        output_sha256=kept.sha256,
    )


def _watch(
    process: subprocess.Popen[bytes], out: IO[bytes], kept: _Kept, deadline: float, stopping: Callable[[], bool]
) -> Literal["", "timeout", "stopping"]:
    """Read until the program has ended; why it was ended, empty where it did so by itself.

    The program is not reaped in here: as long as it is not, its process group's number is nobody else's.
    """
    os.set_blocking(out.fileno(), False)
    why: Literal["", "timeout", "stopping"] = ""
    kill_at = drained_at = float("inf")
    with selectors.DefaultSelector() as selector:
        selector.register(out, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if drained_at == float("inf") and _has_ended(process):
                # Something that goes on may keep the output open: what is there already is read, no more.
                drained_at = now + _DRAIN_S
                if why:
                    _signal(process, signal.SIGKILL)
            if now >= drained_at:
                return why
            if not why and drained_at == float("inf"):
                why = "timeout" if now >= deadline else "stopping" if stopping() else ""
                if why:
                    _signal(process, signal.SIGTERM)
                    kill_at = now + _GRACE_S
            if now >= kill_at:
                _signal(process, signal.SIGKILL)
                kill_at = float("inf")
            if not selector.get_map():
                time.sleep(_TICK_S)
            elif selector.select(_TICK_S):
                data = out.read(65_536)
                if data:
                    kept.add(data)
                elif data is not None:
                    selector.unregister(out)
            if drained_at != float("inf") and not selector.get_map():
                return why


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def call_webhook(
    url: str,
    method: str,
    body: bytes,
    *,
    request_id: str,
    timeout_s: float,
    output_bytes: int = 65_536,
    sent: Sent | None = None,
) -> Outcome:
    """Send JSON once; a status of 2xx is done. `Idempotency-Key` tells the receiver one request from another.

    Raises:
        ActionError: The address is none; nothing was sent.
    """
    began = time.monotonic()
    try:
        client = HttpClient(url, deadline_s=timeout_s, max_bytes=output_bytes, sent=sent)
    except ConfigError as error:
        raise ActionError(str(error)) from None
    try:
        answer = client.request(
            body, {"Content-Type": "application/json", "Idempotency-Key": request_id}, method=method
        )
    except DeliveryError as error:
        state: Literal["failed", "unknown"] = "failed" if error.kind == "refused" else "unknown"
        return Outcome(state, str(error), seconds=round(time.monotonic() - began, 3))
    kept = _Kept(output_bytes)
    kept.add(answer.body)
    return Outcome(
        state="done" if 200 <= answer.status < 300 else "failed",
        reason=f"HTTP {answer.status}",
        exit_status=answer.status,
        seconds=round(time.monotonic() - began, 3),
        output=kept.text,
        output_bytes=kept.size,
        output_sha256=kept.sha256,
    )
