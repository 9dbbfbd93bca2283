"""`logllm serve` while what it tells people with is broken: receivers hang, the outbox is locked, full or gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_serve_alerts import until
from tests.cli.test_serve_alerts_kill import chunk
from tests.cli.test_serve_command import Served, served
from tests.notify.fake_http import OK, FakeHttp, Reply

HANG = Reply(way="hang", takes=False)
AT_ONCE_S = 1.5
MANY = ("--no-llm", "--json", "--alerts-per-day", "100000")


def configured(folder: Path, *destinations: str, more: str = "") -> tuple[str, ...]:
    """Options of a service with these destinations, each the keys of a webhook."""
    path = folder / "logllm.toml"
    tables = "".join(f'[[notify.destinations]]\ntype = "webhook"\n{keys}\n' for keys in destinations)
    path.write_text(f"[notify]\nburst = 60\n{tables}{more}")
    return (*MANY, "-c", str(path), "--data-dir", str(folder / "data"))


def acked(running: Served, number: int) -> float:
    """Seconds until a chunk with a fatal message has its ack."""
    begun_s = time.monotonic()
    assert running.send([chunk(number)], 1) == [f"chunk-{number}"]
    return time.monotonic() - begun_s


def services(receiver: FakeHttp) -> set[str]:
    """Whose incidents have been told."""
    return {each["service"] for one in receiver.taken for each in one.json()["incidents"]}


def threads_of(running: Served) -> int:
    return len(list(Path(f"/proc/{running.child.pid}/task").iterdir()))


def reloaded(running: Served) -> float:
    """Reload; seconds until it is done."""
    before = sum("configuration" in line and "reloaded" in line for line in running.errors)
    begun_s = time.monotonic()
    running.child.send_signal(signal.SIGHUP)
    until(lambda: sum("configuration" in line and "reloaded" in line for line in running.errors) > before)
    return time.monotonic() - begun_s


def test_reloads_while_a_receiver_hangs_hold_up_no_record_and_leave_no_thread(tmp_path: Path) -> None:
    hung = iter([True] * 3)
    with FakeHttp(otherwise=lambda _: HANG if next(hung, False) else OK) as receiver:
        arguments = configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"\ndeadline_s = 3')
        with served(*arguments) as running:
            acked(running, 0)
            receiver.wait_for(1)
            threads = threads_of(running)
            took_s = []
            for number in range(1, 5):
                configured(tmp_path, f'name = "a"\nurl = "{receiver.url}{number}"\ndeadline_s = 3')
                took_s += [reloaded(running), acked(running, number)]
            until(lambda: {f"svc-{number}" for number in range(5)} <= services(receiver))
            until(lambda: threads_of(running) <= threads + 2)
            code = running.end()
        told = [one.json() for one in receiver.taken]

    assert code == 0
    assert max(took_s) < AT_ONCE_S
    opened = [each["service"] for body in told if body["kind"] == "open" for each in body["incidents"]]
    assert opened == sorted(set(opened))


def test_the_end_waits_for_all_receivers_that_hang_together(tmp_path: Path) -> None:
    with FakeHttp(otherwise=HANG) as receiver:
        names = [f'name = "h{number}"\nurl = "{receiver.url}"\ndeadline_s = 60' for number in range(6)]
        with served(*configured(tmp_path, *names, more="[delivery]\ngrace_s = 1.0\n")) as running:
            acked(running, 0)
            receiver.wait_for(6)
            begun_s = time.monotonic()
            code = running.end()
            took_s = time.monotonic() - begun_s

    assert code == 0
    assert took_s < 1.0 + 0.5 + AT_ONCE_S
    with sqlite3.connect(tmp_path / "data" / "notify.db") as db:
        waiting = db.execute("SELECT count(DISTINCT destination) FROM outbox WHERE state = 'queued'").fetchone()
    db.close()
    assert waiting == (6,)


RUNBOOK = """+++
id = "ledger-stuck"
title = "Stuck ledger"
signals = ["FATAL out of memory"]

[[actions]]
id = "drain"
title = "Drain it"
webhook = {{url = "{url}act", body = {{a = "b"}}}}
mode = "approve"
timeout_s = 60
+++

## What it is

It hangs.

## Check

- Look at it.

## Do

1. Restart it.
"""


def test_an_action_that_gives_no_answer_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    (tmp_path / "runbooks").mkdir()
    with FakeHttp(otherwise=lambda one: HANG if one.path == "/act" else OK) as receiver:
        (tmp_path / "runbooks" / "ledger-stuck.md").write_text(RUNBOOK.format(url=receiver.url))
        arguments = configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"', more="[actions]\nenabled = true\n")
        with served(*arguments, "--runbooks", str(tmp_path / "runbooks")) as running:
            acked(running, 0)
            (action,) = receiver.wait_for(1)[0].json()["runbook"]["actions"]
            approve = [sys.executable, "-m", "logllm.cli", "actions", "approve", action["request"]]
            subprocess.run([*approve, "--data-dir", str(tmp_path / "data")], check=True, timeout=60)
            until(lambda: any(one.path == "/act" for one in receiver.requests))
            begun_s = time.monotonic()
            code = running.end()
            took_s = time.monotonic() - begun_s

    assert code == 0
    assert took_s < 5.0 + AT_ONCE_S
    assert any("whether it was done is not known" in line for line in running.errors)


def test_an_outbox_that_another_process_keeps_locked_holds_up_neither_records_nor_metrics(tmp_path: Path) -> None:
    with FakeHttp() as receiver, served(*configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"')) as running:
        acked(running, 0)
        receiver.wait_for(1)
        other = sqlite3.connect(tmp_path / "data" / "notify.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        first_s = acked(running, 1)
        took_s = [acked(running, number) for number in range(2, 5)]
        begun_s = time.monotonic()
        _, metrics = running.get("/metrics")
        took_s.append(time.monotonic() - begun_s)
        other.execute("ROLLBACK")
        other.close()
        until(lambda: {f"svc-{number}" for number in range(5)} <= services(receiver))
        code = running.end()

    assert code == 0
    assert first_s < 2 * AT_ONCE_S
    assert max(took_s) < AT_ONCE_S
    assert 'logllm_notify_held{what="in_memory"} ' in metrics
    assert any("alerts wait in memory meanwhile" in line for line in running.errors)


def test_an_outbox_that_is_deleted_is_written_anew_with_all_that_was_in_it(tmp_path: Path) -> None:
    kept = tmp_path / "data" / "notify.db"
    refused = FakeHttp(otherwise=Reply(503))
    with refused as receiver, served(*configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"')) as running:
        acked(running, 0)
        receiver.wait_for(1)
        for path in kept.parent.glob("notify.db*"):
            path.unlink()
        until(lambda: any("written anew" in line for line in running.errors))
        acked(running, 1)
        running.child.kill()
        running.child.wait(timeout=20)
    with FakeHttp() as receiver, served(*configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"')) as running:
        until(lambda: {"svc-0", "svc-1"} <= services(receiver), timeout_s=40)
        code = running.end()

    assert code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("cannot mount a tmpfs: not root, or not allowed to")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


def filled(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_on_a_full_disk_records_are_acknowledged_and_what_waits_in_memory_is_told_later(
    tmp_path: Path, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    with FakeHttp() as receiver, served(*configured(tmp_path, f'name = "a"\nurl = "{receiver.url}"')) as running:
        acked(running, 0)
        receiver.wait_for(1)
        filled(filler)
        took_s = [acked(running, number) for number in range(1, 5)]
        until(lambda: "full" in (json.loads(running.get("/destinations")[1])[0]["failing"] or ""))
        before = services(receiver)
        filler.unlink()
        until(lambda: {f"svc-{number}" for number in range(5)} <= services(receiver))
        code = running.end()

    assert code == 0
    assert max(took_s) < AT_ONCE_S
    assert before == {"svc-0"}
    assert not any("Traceback" in line for line in running.errors)


@pytest.mark.parametrize("name", ["notify.db", "actions.db", "links.key"])
def test_a_damaged_file_is_one_line_that_says_what_to_do_and_exit_code_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    damaged = tmp_path / "data" / name
    damaged.write_bytes(b"no database " * 1_000)
    damaged.chmod(0o600)
    arguments = configured(tmp_path, 'name = "a"\nurl = "http://127.0.0.1:1/"')

    done = subprocess.run(
        [sys.executable, "-m", "logllm.cli", "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(damaged) in done.stderr
    assert any(advice in done.stderr for advice in ("move it away", "delete it"))
