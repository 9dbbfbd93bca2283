"""Alerts while the process that sends them is killed with SIGKILL, forty times at any moment."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logllm.database import Database
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from tests.notify.fake_http import Arrived, FakeHttp, Reply
from tests.notify.outbox.kill_child import alert

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
KILLS = 40
ALERTS = 160
NAMES = ("slack", "bot", "hook")
TAKEN = b'{"ok": true, "channel": "C0123ABCD", "ts": "1715683320.000100"}'
ANSWERS = [
    *[Reply(body=TAKEN)] * 20,
    *[Reply(body=TAKEN, wait_s=0.015)] * 10,
    *[Reply(status=500)] * 2,
    *[Reply(status=429, headers={"Retry-After": "0"}), Reply(status=404), Reply(status=400, body=b"invalid_blocks")],
    *[Reply(takes=True, way="cut"), Reply(takes=False, way="cut")],
]


def child(database: Path, receiver: FakeHttp, generation: int) -> subprocess.Popen[str]:
    url = f"{receiver.url}{generation}/"
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_child.py")), str(database), url, *NAMES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}:{ROOT}"},
    )


def feed(running: subprocess.Popen[str], numbers: range) -> None:
    assert running.stdin is not None
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.stdin.write("".join(f"{number}\n" for number in numbers))
    running.stdin.flush()


def rest(running: subprocess.Popen[str]) -> str:
    """What it still says, to its end."""
    assert running.stdin is not None
    assert running.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        running.stdin.close()
    said = running.stdout.read()
    running.stdout.close()
    running.wait(PATIENCE_S)
    return said


def kill_at_some_moment(running: subprocess.Popen[str], receiver: FakeHttp, chosen: random.Random) -> str:
    """Kill it: at any time, or while an answer is awaited, or before what was answered is written down."""
    before = len(receiver.requests)
    moment = chosen.choice(["any", "asked", "answered"])
    if moment == "asked":
        receiver.until(lambda: len(receiver.requests) > before, 1.0)
    elif moment == "answered":
        receiver.until(lambda: any(one.answered for one in receiver.requests[before:]), 1.0)
    time.sleep(chosen.uniform(0.0, 0.08 if moment == "any" else 0.004))
    running.kill()
    return rest(running)


def generation(one: Arrived) -> int:
    return int(one.path.split("/")[1])


def message(one: Arrived) -> str:
    """Which message it was: each way of telling it shows the id."""
    (found,) = set(re.findall(r"\b[0-9a-f]{16}\b", one.body.decode()))
    return str(found)


@pytest.mark.parametrize("seed", [1])
def test_killed_forty_times_each_alert_arrives_once_in_order_but_for_those_in_flight(tmp_path: Path, seed: int) -> None:
    chosen, answers = random.Random(seed), random.Random(seed)
    path = tmp_path / "notify.db"
    kept = 0
    with FakeHttp(otherwise=lambda _: answers.choice(ANSWERS)) as receiver:
        for number in range(KILLS):
            running = child(path, receiver, number)
            # What was put before is put again, as after a crash of whoever puts.
            feed(running, range(max(0, kept - 3), min(ALERTS, kept + chosen.randint(3, 6))))
            said = kill_at_some_moment(running, receiver, chosen)
            kept = max([kept, *(int(put) + 1 for put in re.findall(r"put (\d+)\n", said))])
        running = child(path, receiver, KILLS)
        feed(running, range(max(0, kept - 50), ALERTS))
        said = rest(running)
        requests = sorted(receiver.requests, key=generation)

    assert running.returncode == 0
    counts = {(name, state): count for name, state, count in json.loads(said.splitlines()[-1])}
    database = Database(path, OUTBOX_SCHEMA)
    outbox = Outbox(database)
    repeated = 0
    for name in NAMES:
        ids = [alert(name, number).id for number in range(ALERTS)]
        taken = [one for one in requests if one.path.split("/")[2] == name and one.taken]
        came = [message(one) for one in taken]
        dead = {row.id for row in outbox.rows("dead", name, ALERTS)}
        assert set(came) | dead == set(ids)
        assert [one for one, _ in itertools.groupby(came)] == [one for one in ids if one in came]
        assert counts.get((name, "queued"), 0) == 0
        assert counts[name, "sent"] + counts.get((name, "dead"), 0) == ALERTS
        for before, after in itertools.pairwise(taken):
            if message(before) == message(after):
                in_flight = generation(before) < generation(after)
                assert in_flight or before.reply.way == "cut"
                repeated += in_flight
    assert 0 < repeated <= KILLS * len(NAMES)
    assert all(len(outbox.telling(str(number))) == len(NAMES) for number in range(ALERTS))
    database.close()
