"""The dispatcher while its process is killed with SIGKILL, twenty times at any moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.notify.dispatch.dispatch_child import bench, events
from tests.notify.dispatch.dispatching import EDITING, PLAIN

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
KILLS = 20


def child(database: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("dispatch_child.py")), str(database)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}:{ROOT}"},
    )


def test_killed_twenty_times_every_event_is_told_once_to_each_destination(tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "notify.db"
    for _ in range(KILLS):
        running = child(path)
        assert running.stdout is not None
        for _ in range(chance.randint(1, 80)):
            if not running.stdout.readline():
                break
        running.kill()
        running.wait(PATIENCE_S)
        running.stdout.close()
    last = child(path)
    last.communicate(timeout=PATIENCE_S)

    done = bench(path)
    expected = {(event.id, event.event) for event in events()}
    told = {
        name: Counter(pair for message in done.messages(name) for pair in done.outbox.covered(message.id))
        for name in (EDITING, PLAIN)
    }
    ids = [message.id for name in (EDITING, PLAIN) for message in done.messages(name)]
    counts = done.dispatcher.counts()
    done.close()

    assert last.returncode == 0
    assert {name: set(pairs) for name, pairs in told.items()} == {EDITING: expected, PLAIN: expected}
    assert {count for pairs in told.values() for count in pairs.values()} == {1}
    assert len(ids) == len(set(ids))
    assert (counts["waiting"], counts["held"]) == (0, 0)
