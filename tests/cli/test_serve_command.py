"""`logllm serve` as a platform team runs it: a child process, real sockets, signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

ROOT = Path(__file__).parents[2]
START_NS = 1_770_000_000 * 1_000_000_000


class Served:
    """A running `logllm serve` and what it has said so far."""

    def __init__(self, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "logllm.cli",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        )
        assert self.child.stderr is not None
        self.first_line = self.child.stderr.readline().decode()
        self.errors: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._readers = [
            threading.Thread(target=self._read_errors, daemon=True),
            threading.Thread(target=self._read_events, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        ports = [int(port) for port in re.findall(r":(\d+)", self.first_line)]
        assert len(ports) == 2, self.first_line
        self.forward_port, self.http_port = ports

    def _read_errors(self) -> None:
        assert self.child.stderr is not None
        self.errors.extend(line.decode() for line in self.child.stderr)

    def _read_events(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.events.append(json.loads(line))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def send(self, frames: list[bytes], acks: int) -> list[str]:
        """Send frames on one connection and read so many acks."""
        with socket.create_connection(("127.0.0.1", self.forward_port), timeout=30) as sock:
            sock.settimeout(60)
            unpacker = msgpack.Unpacker(raw=False)
            got: list[str] = []
            for frame in frames:
                sock.sendall(frame)
            while len(got) < acks:
                data = sock.recv(65_536)
                assert data, "the connection was closed before all acks came"
                unpacker.feed(data)
                got.extend(message["ack"] for message in unpacker)
            return got

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        self.child.send_signal(number)
        code = self.child.wait(timeout=60)
        for reader in self._readers:
            reader.join(timeout=10)
        return code


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[Served]:
    running = Served(*arguments)
    try:
        yield running
    finally:
        if running.child.poll() is None:
            running.child.kill()
        running.child.wait(timeout=30)
        for stream in (running.child.stdout, running.child.stderr):
            assert stream is not None
        for reader in running._readers:
            reader.join(timeout=10)
        assert running.child.stdout is not None
        assert running.child.stderr is not None
        running.child.stdout.close()
        running.child.stderr.close()


def event_time(time_ns: int) -> Any:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + rest.to_bytes(4, "big"))


def frame(tag: str, entries: list[tuple[int, dict[str, Any]]], chunk: str) -> bytes:
    body = [[[event_time(time_ns), {}], record] for time_ns, record in entries]
    return bytes(msgpack.packb([tag, body, {"chunk": chunk, "size": len(body), "fluent_signal": 0}]))


def ordinary(minutes: int, start_ns: int = START_NS) -> list[tuple[int, dict[str, Any]]]:
    """Six requests and one health check a minute."""
    entries = []
    for minute in range(minutes):
        for number in range(6):
            log = f"GET /items/{minute * 7 + number} 200 in {20 + number} ms"
            entries.append((start_ns + minute * 60 * 10**9 + number * 9 * 10**9, {"log": log, "service": "shop"}))
    return entries


def attack(minute: int, count: int) -> list[tuple[int, dict[str, Any]]]:
    at = START_NS + minute * 60 * 10**9
    log = "ERROR could not reserve item: database connection pool exhausted, 50 of 50 in use"
    return [(at + n * 10**8, {"log": log, "level": "error", "service": "shop"}) for n in range(count)]


def frames_of(entries: list[tuple[int, dict[str, Any]]], size: int = 500) -> list[bytes]:
    return [frame("app.shop", entries[at : at + size], f"chunk-{at}") for at in range(0, len(entries), size)]


def test_the_first_line_names_the_ports_and_health_readiness_and_metrics_answer() -> None:
    with served("--no-llm", "--json") as running:
        health, _ = running.get("/healthz")
        ready, _ = running.get("/readyz")
        metrics, text = running.get("/metrics")
        absent, _ = running.get("/nothing")
        code = running.end()

    assert (health, ready, metrics, absent) == (200, 200, 200, 404)
    assert "logllm_component_received_events_total" in text
    assert code == 0
    assert running.events[-1]["type"] == "summary"


def test_records_are_acknowledged_judged_and_an_incident_is_told_with_its_runbook() -> None:
    entries = ordinary(120) + attack(100, 400) + ordinary(30, START_NS + 120 * 60 * 10**9)
    entries.sort(key=lambda entry: entry[0])
    with served("--no-llm", "--json") as running:
        frames = frames_of(entries)
        acks = running.send(frames, len(frames))
        _, text = running.get("/metrics")
        code = running.end()

    assert code == 0
    assert acks == [f"chunk-{at}" for at in range(0, len(entries), 500)]
    assert f'logllm_component_received_events_total{{component="forward"}} {float(len(entries))}' in text
    opened = [event for event in running.events if event["type"] == "incident" and event["event"] == "open"]
    assert 1 <= len(opened) <= 3
    assert opened[0]["service"] == "shop"
    assert opened[0]["runbook"] == "db-pool-exhausted"
    assert opened[0]["evidence"][0]["time"].startswith("2026-02-02T04:")
    assert running.events[-1]["records"] == len(entries)


def test_ten_kinds_of_garbage_each_cost_their_own_connection_only() -> None:
    garbage = [
        b"GET / HTTP/1.1\r\n\r\n",
        b'["app", 1, {"a": 1}]',
        b"\xff" * 100,
        bytes(msgpack.packb({"a": 1})),
        bytes(msgpack.packb([])),
        bytes(msgpack.packb([1, [], {}])),
        bytes(msgpack.packb(["app"])),
        bytes(msgpack.packb(["app", [[1, {}]], 7])),
        b"\x93\xa3app\xdd\xff\xff\xff\xff",
        b"\x91" * 5_000,
        bytes(msgpack.packb(["app", b"\x1f\x8bnot gzip", {"compressed": "gzip"}])),
    ]
    with served("--no-llm", "--json") as running:
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=30) as bystander:
            for data in garbage:
                with socket.create_connection(("127.0.0.1", running.forward_port), timeout=30) as sock:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionResetError):
                        assert sock.recv(1024) == b""
            bystander.sendall(frame("app", [(START_NS, {"log": "still here"})], "after"))
            bystander.settimeout(30)
            answer = msgpack.unpackb(bystander.recv(1024))
        code = running.end()

    assert answer == {"ack": "after"}
    assert code == 0
    assert running.events[-1]["records"] == 1
    complaints = [line for line in running.errors if "127.0.0.1" in line]
    assert len(complaints) >= len(garbage) - 1
    assert not any("Traceback" in line for line in running.errors)


def test_a_restart_with_a_data_directory_does_not_learn_anew(tmp_path: Path) -> None:
    entries = sorted(ordinary(150) + attack(130, 400), key=lambda entry: entry[0])
    cut = next(n for n, entry in enumerate(entries) if entry[0] >= START_NS + 110 * 60 * 10**9)
    arguments = ("--no-llm", "--json", "--data-dir", str(tmp_path / "data"))
    with served(*arguments) as first:
        first.send(frames_of(entries[:cut]), len(frames_of(entries[:cut])))
        first.end()

    with served(*arguments) as second:
        _, health = second.get("/healthz")
        second.send(frames_of(entries[cut:]), len(frames_of(entries[cut:])))
        second.end()

    assert not [event for event in first.events if event["type"] == "incident"]
    assert json.loads(health)["learning"] is None
    opened = [event for event in second.events if event["type"] == "incident" and event["event"] == "open"]
    assert [event["service"] for event in opened] == ["shop"]
    listed = subprocess.run(
        [sys.executable, "-m", "logllm.cli", "incidents", "list", "--json", "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        timeout=60,
    )
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [opened[0]["id"]]


@pytest.mark.parametrize("option", ["--listen", "--http"])
def test_a_port_in_use_is_one_line_and_exit_code_one(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        others[others.index(option) + 1] = address

        done = subprocess.run(
            [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", *others],
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        )

    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert address in lines[0]
    assert "in use" in lines[0]


def test_ctrl_c_drains_and_ends_with_130() -> None:
    with served("--no-llm", "--json") as running:
        running.send([frame("app", [(START_NS, {"log": "hello"})], "one")], 1)
        code = running.end(signal.SIGINT)

    assert code == 130
    assert running.events[-1]["records"] == 1
