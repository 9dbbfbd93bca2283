"""`logllm serve` killed with SIGKILL forty times while records with incidents come and Slack misbehaves."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from logllm.database import Database
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from tests.cli.test_serve_command import START_NS, frame
from tests.delivery.child import Server, until
from tests.notify.fake_http import OK, Arrived, FakeHttp, Reply

KILLS = 20
CHUNKS = 5
RETRY = Reply(429, headers={"Retry-After": "1"})
ANSWERS = [*[OK] * 14, RETRY, Reply(500), Reply(takes=True, way="hang")]
INVALID = Reply(400, body=b"invalid_blocks")


def chunk(number: int) -> bytes:
    """A fatal message that was never seen, and a record that closes its minute: acked, it has been told of."""
    at = START_NS + number * 180 * 10**9
    # Of another length each, or the miner would make one template of them.
    words = " ".join(["memory", "disk", "quota", "inodes", "sockets", "leases", "tokens"][: number + 1])
    fatal = {"log": f"FATAL out of {words}", "level": "fatal", "service": f"svc-{number}"}
    return frame("app", [(at, fatal), (at + 170 * 10**9, {"log": "tick", "service": "clock"})], f"chunk-{number}")


class Sending:
    """Sends chunk after chunk as Fluent Bit does: what has no ack is sent again."""

    def __init__(self, port: int) -> None:
        self.acked = 0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while self.acked < CHUNKS and not self._over.wait(0.02):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5) as sock:
                while self.acked < CHUNKS and not self._over.wait(0.3):
                    sock.sendall(chunk(self.acked))
                    answer = sock.recv(1000)
                    if not answer:
                        break
                    assert msgpack.unpackb(answer) == {"ack": f"chunk-{self.acked}"}
                    self.acked += 1

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)


def life(one: Arrived) -> int:
    """In which life it was sent: it may be read only in the next one."""
    return int(one.path.split("/")[2])


def answering(seed: int) -> Callable[[Arrived], Reply]:
    """Bad answers while lives go by."""
    chosen = random.Random(seed)

    def answer(one: Arrived) -> Reply:
        if life(one) == KILLS:
            return OK
        return chosen.choice([*ANSWERS, INVALID] if one.path.startswith("/slack") else ANSWERS)

    return answer


def configure(path: Path, url: str, number: int) -> None:
    """For one life, whose number is in the addresses."""
    path.write_text(
        "[notify]\nburst = 60\n"
        f'[[notify.destinations]]\ntype = "slack"\nurl = "{url}slack/{number}/"\ndeadline_s = 0.3\n'
        f'[[notify.destinations]]\ntype = "webhook"\nname = "hook"\nurl = "{url}hook/{number}/"\ndeadline_s = 0.3\n'
    )


@contextlib.contextmanager
def killed(folder: Path, seed: int) -> Iterator[FakeHttp]:
    chosen = random.Random(seed)
    config = folder / "logllm.toml"
    with FakeHttp(otherwise=answering(seed)) as receiver:
        arguments = ("--alerts-per-day", "100000", "-c", str(config), "--data-dir", str(folder / "data"))
        with Server(*arguments) as server, Sending(server.port) as sending:
            for number in range(KILLS):
                configure(config, receiver.url, number)
                server.start()
                before = len(receiver.requests)
                moment = chosen.choice(["any", "asked", "answered"])
                if moment == "asked":
                    receiver.until(lambda seen=before: len(receiver.requests) > seen, 0.4)  # type: ignore[misc]
                elif moment == "answered":
                    receiver.until(lambda seen=before: any(x.answered for x in receiver.requests[seen:]), 0.4)  # type: ignore[misc]
                time.sleep(chosen.uniform(0.0, 0.1 if moment == "any" else 0.004))
                assert server.child is not None
                server.child.kill()
                server.wait()
            configure(config, receiver.url, KILLS)
            server.start()
            until(lambda: sending.acked == CHUNKS, "all chunks have their acks")
            assert server.end() == 0
            server.start()
            until(lambda: not any(each["queued"] for each in json.loads(server.get("/destinations")[1])), "all is sent")
            assert server.end() == 0
            assert not any("Traceback" in line for line in server.lines)
        yield receiver


def check(folder: Path, seed: int) -> int:
    """Kill, and look at what came; how many messages came twice."""
    with killed(folder, seed) as receiver:
        taken = [one for one in sorted(receiver.requests, key=life) if one.taken]
    with contextlib.closing(sqlite3.connect(folder / "data" / "notify.db")) as db:
        incidents = dict(db.execute("SELECT service, incident FROM dispatch_incidents").fetchall())
    assert {f"svc-{number}" for number in range(CHUNKS)} <= set(incidents)
    twice = 0
    with contextlib.closing(Database(folder / "data" / "notify.db", OUTBOX_SCHEMA)) as database:
        outbox = Outbox(database)
        for name in ("slack", "hook"):
            rows = outbox.rows(None, name, 1_000)[::-1]
            ids = [row.id for row in rows]
            came = [(_message(one, ids), one) for one in taken if one.path.startswith(f"/{name}")]
            assert {row.state for row in rows} == {"sent"}
            assert [each for each, _ in itertools.groupby(message for message, _ in came)] == ids
            for incident in incidents.values():
                assert any(row.kind == "open" for row in outbox.telling(incident) if row.destination == name)
            for (message, first), (again, second) in itertools.pairwise(came):
                if message == again:
                    twice += 1
                    assert life(first) < life(second) or first.reply.way == "hang"
    return twice


def _message(one: Arrived, ids: list[str]) -> str:
    (found,) = set(re.findall(r"\b[0-9a-f]{16}\b", one.body.decode())) & set(ids)
    return str(found)


def test_no_alert_is_lost_out_of_order_or_there_twice_but_for_those_in_flight(tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in (1, 2)]
    for folder in folders:
        folder.mkdir()

    with ThreadPoolExecutor(2) as pool:
        twice = list(pool.map(check, folders, (1, 2)))

    assert all(count <= 2 * KILLS for count in twice)
