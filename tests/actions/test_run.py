"""Programs as they really run: what they see, how they end, what is kept; and webhooks, with a server of ours."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from logllm.actions.run import PATH, Outcome, call_webhook, environment, run_program
from logllm.errors import ActionError
from tests.actions.rig import Canary

PATIENCE_S = 20.0


def script(folder: Path, text: str, name: str = "program") -> str:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport os, sys, time, signal, json\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(*argv: str, timeout_s: float = PATIENCE_S, **options: Any) -> Outcome:
    return run_program(argv, timeout_s=timeout_s, env=options.pop("env", environment([], {})), **options)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie of another parent is dead as well.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def has_gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_a_program_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    program = script(tmp_path, "print(json.dumps(sys.argv[1:]))")
    hostile = ["$(id)", "`id`", "a b", "'\";|&", "*", "~", "", "é\u202e", "--x", "{y}"]

    outcome = run(program, *hostile)

    assert (outcome.state, outcome.exit_status, outcome.reason) == ("done", 0, "exit status 0")
    assert json.loads(outcome.output) == hostile


def test_a_program_sees_nothing_but_what_it_is_given(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        "mask = os.umask(0)\n"
        "fds = [fd for fd in range(3, 256) if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "kinds = [os.path.exists('/proc/self/fd/0') and os.readlink('/proc/self/fd/0'), sys.stdin.read()]\n"
        "print(json.dumps([dict(os.environ), os.getcwd(), mask, fds, kinds, os.getsid(0) == os.getpid()]))",
    )
    seen = {"HOME": "/root", "TOKEN": "s3cret", "KEPT": "x"}
    with socket.socket() as left_open:
        os.set_inheritable(left_open.fileno(), True)
        outcome = run(program, env=environment(["KEPT", "UNSET"], seen), work_dir=str(tmp_path))

    env, folder, mask, fds, (stdin, read), leads = json.loads(outcome.output)
    assert env | {"LC_CTYPE": ""} == {"PATH": PATH, "LANG": "C.UTF-8", "KEPT": "x", "LC_CTYPE": ""}
    assert (folder, mask, fds, stdin, read, leads) == (str(tmp_path), 0o077, [], "/dev/null", "", True)


def test_a_status_and_a_signal_are_told(tmp_path: Path) -> None:
    failed = run(script(tmp_path, "print('no', flush=True); sys.stderr.write('why'); sys.exit(7)"))
    killed = run(script(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"))

    assert (failed.state, failed.exit_status, failed.signal, failed.reason) == ("failed", 7, 0, "exit status 7")
    assert failed.output == "no\nwhy"
    assert (killed.state, killed.exit_status, killed.signal) == ("failed", None, 9)


def test_output_is_kept_with_its_head_and_its_tail(tmp_path: Path) -> None:
    program = script(tmp_path, "sys.stdout.write('H' * 100 + 'm' * 5_000_000 + 'T' * 100)")

    outcome = run(program, output_bytes=1_000)

    whole = b"H" * 100 + b"m" * 5_000_000 + b"T" * 100
    assert outcome.output.startswith("H" * 100 + "m" * 400 + "\n[4999200 bytes left out]\n")
    assert outcome.output.endswith("m" * 400 + "T" * 100)
    assert len(outcome.output) < 1_100
    assert (outcome.output_bytes, outcome.output_sha256) == (len(whole), sha256(whole).hexdigest())


@pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001])
def test_output_at_its_bound_is_whole(tmp_path: Path, size: int) -> None:
    outcome = run(script(tmp_path, f"sys.stdout.write('x' * {size})"), output_bytes=1_000)

    assert ("left out" in outcome.output) is (size > 1_000)
    assert outcome.output.count("x") == min(size, 1_000)


def test_output_that_is_no_text_is_told_by_its_bytes(tmp_path: Path) -> None:
    outcome = run(script(tmp_path, r"sys.stdout.buffer.write(b'\xff\x00ok')"))

    assert outcome.output == "\\xff\0ok"


def test_time_that_is_up_ends_the_whole_group(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "while True: time.sleep(60)",
    )

    outcome = run(program, timeout_s=0.5)

    assert (outcome.state, outcome.signal) == ("failed", 9)
    assert outcome.reason == "ended after 0.5 s, its time was up"
    assert has_gone(int(outcome.output))


def test_a_program_that_ends_well_when_its_time_is_up_has_failed_all_the_same(tmp_path: Path) -> None:
    program = script(
        tmp_path, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint(1, flush=True)\ntime.sleep(60)"
    )

    outcome = run(program, timeout_s=1.0)

    assert (outcome.state, outcome.exit_status) == ("failed", 0)
    assert "time was up" in outcome.reason


def test_a_program_that_writes_for_ever_is_ended(tmp_path: Path) -> None:
    outcome = run(script(tmp_path, "while True: sys.stdout.write('x' * 60_000)"), timeout_s=0.5, output_bytes=1_000)

    assert outcome.state == "failed"
    assert outcome.output_bytes > 60_000
    assert len(outcome.output) < 1_100


def test_what_goes_on_behind_a_program_is_not_waited_for(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        "child = os.fork()\nif not child:\n    os.setsid(); time.sleep(60); os._exit(0)\nprint(child, flush=True)",
    )

    outcome = run(program)

    pid = int(outcome.output)
    assert outcome.state == "done"
    assert outcome.seconds < PATIENCE_S / 2
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_program_without_output_is_watched_to_its_end(tmp_path: Path) -> None:
    outcome = run(script(tmp_path, "os.close(1); os.close(2); time.sleep(0.2); os._exit(3)"))

    assert (outcome.exit_status, outcome.output) == (3, "")


def test_logllms_end_ends_a_program(tmp_path: Path) -> None:
    ending = threading.Event()
    program = script(tmp_path, "print(1, flush=True)\ntime.sleep(60)")
    threading.Timer(0.3, ending.set).start()

    outcome = run(program, stopping=ending.is_set)

    assert outcome.state == "failed"
    assert outcome.reason == "ended, because logllm ends"


def test_what_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    headless = tmp_path / "headless"
    headless.write_text(f"touch {tmp_path / 'ran'}\n")
    headless.chmod(0o755)
    canary = Canary(tmp_path)

    for program in (tmp_path / "none", plain, tmp_path, headless, "canary", "./canary", ""):
        with pytest.raises(ActionError):
            run(str(program))
    for argv in ([str(canary), "a\0b"], []):
        with pytest.raises(ActionError):
            run(*argv)
    with pytest.raises(ActionError, match="folder to run in"):
        run(str(canary), work_dir=str(tmp_path / "nowhere"))

    assert canary.runs == []
    assert not (tmp_path / "ran").exists()


@contextmanager
def serving(status: int, *, silent: bool = False) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str], bytes]]]]:
    taken: list[tuple[str, str, dict[str, str], bytes]] = []
    released = threading.Event()

    class Answering(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Nothing on the test's output."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.command, self.path, dict(self.headers.items()), body))
            if silent:
                released.wait(PATIENCE_S)
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"said " + b"x" * 5_000)

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hooks/s3cret", taken
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "state"), [(200, "done"), (204, "done"), (302, "failed"), (409, "failed"), (500, "failed")]
)
def test_a_webhook_is_called_once_and_its_status_told(status: int, state: str) -> None:
    with serving(status) as (url, taken):
        outcome = call_webhook(url, "PUT", b'{"a":1}', request_id="act-1", timeout_s=PATIENCE_S, output_bytes=1_000)

    ((method, path, headers, body),) = taken
    assert (method, path, body) == ("PUT", "/hooks/s3cret", b'{"a":1}')
    assert headers["Idempotency-Key"] == "act-1"
    assert headers["Content-Type"] == "application/json"
    assert (outcome.state, outcome.exit_status, outcome.reason) == (state, status, f"HTTP {status}")
    assert len(outcome.output) <= 1_000


def test_a_webhook_without_an_answer_may_have_been_taken() -> None:
    with serving(200, silent=True) as (url, taken):
        outcome = call_webhook(url, "POST", b"{}", request_id="act-1", timeout_s=0.3)

    assert outcome.state == "unknown"
    assert len(taken) == 1
    assert "s3cret" not in outcome.reason


def test_a_webhook_nobody_listens_for_has_failed() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/s3cret"
        outcome = call_webhook(url, "POST", b"{}", request_id="act-1", timeout_s=PATIENCE_S)

    assert outcome.state == "failed"
    assert "s3cret" not in outcome.reason
    with pytest.raises(ActionError) as refused:
        call_webhook("ftp://h.test/s3cret", "POST", b"{}", request_id="act-1", timeout_s=1.0)
    assert "s3cret" not in str(refused.value)
