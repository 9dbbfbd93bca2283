"""`logllm serve` with sinks, a key and reloads: the real program, real sockets, real files."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.wire.handshake import read_helo, write_ping
from tests.cli.guests import HOLDING, guest
from tests.cli.test_serve_command import ROOT, Served, frame, served

START_NS = 1_770_000_000 * 10**9
PATIENCE_S = 30


def entries(*numbers: int) -> list[tuple[int, dict[str, Any]]]:
    return [(START_NS + number, {"n": number}) for number in numbers]


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["record"]["n"] for line in path.read_text(encoding="utf-8").splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reloaded(running: Served, outcome: str) -> int:
    _, text = running.get("/metrics")
    prefix = f'logllm_config_reloads_total{{outcome="{outcome}"}} '
    return int(next((float(line[len(prefix) :]) for line in text.splitlines() if line.startswith(prefix)), 0))


def reload(running: Served, outcome: str) -> None:
    before = reloaded(running, outcome)
    running.child.send_signal(signal.SIGHUP)
    until(lambda: reloaded(running, outcome) > before)


def test_records_are_in_every_file_when_their_ack_comes(tmp_path: Path) -> None:
    lines, blocks = tmp_path / "out.ndjson", tmp_path / "out.msgpack"
    with served("--no-llm", "--json", "--sink", f"file:{lines}", "--sink", f"file:{blocks}") as running:
        sent = frame("app", entries(1, 2, 3), "one")
        running.send([sent], 1)

        at_the_ack = lines.read_bytes()
        code = running.end()

    assert code == 0
    assert at_the_ack.splitlines()[0] == b'{"tag":"app","time":"1770000000.000000001","record":{"n":1}}'
    assert numbers(lines) == [1, 2, 3]
    assert msgpack.unpackb(blocks.read_bytes())[0] == "app"
    assert blocks.read_bytes().endswith(sent[sent.index(b"\x92\x92\xd7") : sent.index(b"\x83\xa5chunk")])


def test_standard_output_carries_records_and_events_line_by_line() -> None:
    with served("--no-llm", "--json", "--sink", "stdout") as running:
        running.send([frame("app", entries(*range(2000)), "one")], 1)
        running.end()

    records = [event for event in running.events if "tag" in event]
    assert [record["record"]["n"] for record in records] == list(range(2000))
    assert running.events[-1]["type"] == "summary"


def test_when_the_reader_of_standard_output_has_gone_the_service_ends_and_says_so() -> None:
    command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--sink", "stdout"]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    read, write = os.pipe()
    os.close(read)
    child = subprocess.Popen(
        command, stdout=write, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    )
    os.close(write)
    try:
        assert child.stderr is not None
        port = int(child.stderr.readline().decode().split("127.0.0.1:")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(frame("app", entries(1), "one"))
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""
        code = child.wait(PATIENCE_S)
        said = child.stderr.read().decode()
    finally:
        child.kill()
        child.wait(PATIENCE_S)
        assert child.stderr is not None
        child.stderr.close()

    assert code == 1
    assert "standard output: its reader has gone" in said
    assert "Traceback" not in said


def test_a_chain_of_two_delivers_each_record_once_and_keeps_the_senders_id(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    with (
        served("--no-llm", "--json", "--sink", f"file:{path}") as second,
        served("--no-llm", "--json", "--sink", f"forward://127.0.0.1:{second.forward_port}") as first,
    ):
        acks = first.send([frame("app", entries(1, 2), "one"), frame("app", entries(3), "two")], 2)
        first.send([frame("app", entries(1, 2), "one")], 1)
        first.end()
        again = second.send([frame("app", entries(1, 2), "one")], 1)
        second.end()

    assert acks == ["one", "two"]
    assert again == ["one"]
    assert numbers(path) == [1, 2, 3]
    assert second.events[-1]["skipped"] == {"records sent again": 1}
    assert first.events[-1]["skipped"] == {"records sent again": 1}


def test_a_poison_entry_is_a_dead_letter_and_the_rest_is_stored(tmp_path: Path) -> None:
    path, data = tmp_path / "out.ndjson", tmp_path / "data"
    good = [[START_NS // 10**9, {"n": 1}], [START_NS // 10**9, {"n": 2}]]
    poison = [good[0], [5, "no record"], good[1]]
    with served("--no-llm", "--json", "--sink", f"file:{path}", "--data-dir", str(data)) as running:
        acks = running.send([msgpack.packb(["app", poison, {"chunk": "one"}])], 1)
        letters = [json.loads(line) for line in (data / "dead-letters.ndjson").read_text().splitlines()]
        running.end()

    assert acks == ["one"]
    assert numbers(path) == [1, 2]
    (letter,) = letters
    assert letter["tag"] == "app"
    assert letter["record"]["reason"] == "record is not a map"
    assert letter["record"]["entry"] == "kgWpbm8gcmVjb3Jk"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sink", "nonsense"], "expected file:PATH"),
        (["--sink", "file:/nowhere/at/all/x"], "the folder /nowhere/at/all does not exist"),
        (["--sink", "forward://nowhere"], "host:port"),
        (["--sink", "file:{tmp}/a", "--sink", "file:{tmp}/a"], "two are called"),
        (["--sink", "file:{tmp}/a", "--sink", "file:{tmp}/../{name}/a"], "two write to"),
        (["--shared-key-file", "{tmp}/absent"], "absent"),
        (["--tls-cert", "{tmp}/absent.pem", "--tls-key", "{tmp}/absent.pem"], "absent.pem"),
    ],
)
def test_what_cannot_work_is_one_clear_line_before_anything_listens(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--listen", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", *(argument.format(tmp=tmp_path, name=tmp_path.name) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}

    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)

    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (2, 1)
    assert lines[0].startswith("logllm: ")
    assert expected in lines[0]


def test_without_the_key_nothing_is_taken_and_with_it_all(tmp_path: Path) -> None:
    path, key = tmp_path / "out.ndjson", tmp_path / "key"
    key.write_text("s3cr3t\n")
    with served("--no-llm", "--json", "--sink", f"file:{path}", "--shared-key-file", str(key)) as running:
        for sent in (frame("app", entries(1), "one"), b""):
            with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:
                helo = read_helo(sock.recv(1024))
                sock.sendall(sent or write_ping(helo, b"wrong", "client", b"salt") + frame("app", entries(2), "two"))
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(1024):
                        pass
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:
            sock.sendall(write_ping(read_helo(sock.recv(1024)), b"s3cr3t", "client", b"salt"))
            assert msgpack.unpackb(sock.recv(1024))[:2] == ["PONG", True]
            sock.sendall(frame("app", entries(3), "three"))
            assert msgpack.unpackb(sock.recv(1024)) == {"ack": "three"}
        _, metrics = running.get("/metrics")
        running.end()

    assert numbers(path) == [3]
    assert "logllm_forward_handshake_failures_total" in metrics
    assert not any("s3cr3t" in line for line in running.errors)


def test_a_reload_changes_sinks_and_loses_nothing_of_an_open_connection(tmp_path: Path) -> None:
    first, second, config = tmp_path / "a.ndjson", tmp_path / "b.ndjson", tmp_path / "logllm.toml"
    config.write_text(f'[[sinks]]\ntype = "file"\npath = "{first}"\n')
    with served("-c", str(config), "--no-llm", "--json") as running:
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:

            def send(number: int) -> None:
                sock.sendall(frame("app", entries(number), f"chunk-{number}"))
                assert msgpack.unpackb(sock.recv(1024)) == {"ack": f"chunk-{number}"}

            send(1)
            config.write_text(f'[[sinks]]\ntype = "file"\npath = "{second}"\n[detect]\nalerts_per_day = 9.0\n')
            reload(running, "done")
            send(2)
            config.write_text(f'[[sinks]]\ntype = "file"\npath = "{second}"\nformat = "msgpack"\n')
            reload(running, "done")
            send(3)
        _, metrics = running.get("/metrics")
        running.end()

    assert numbers(first) == [1]
    assert second.read_bytes().splitlines()[0].endswith(b'"record":{"n":2}}')
    assert b"\xa1n\x03" in second.read_bytes()
    assert "logllm_alert_budget_per_day 5.0" in metrics


def test_a_bad_configuration_is_refused_with_the_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    path, config = tmp_path / "a.ndjson", tmp_path / "logllm.toml"
    good = f'[[sinks]]\ntype = "file"\npath = "{path}"\n'
    bad = {
        "not TOML": "[[sinks",
        "Object contains unknown field `nonsense`": good + "nonsense = 1\n",
        "does not exist": '[[sinks]]\ntype = "file"\npath = "/nowhere/at/all/x"\n',
        "no-such.wasm": good + '[[plugins]]\npath = "no-such.wasm"\n',
        "no-such-key": good + '[forward]\nshared_key_file = "/no-such-key"\n',
    }
    config.write_text(good)
    with served("-c", str(config), "--no-llm", "--json") as running:
        for number, text in enumerate(bad.values()):
            config.write_text(text)
            reload(running, "refused")
            running.send([frame("app", entries(number), f"chunk-{number}")], 1)
        config.write_text(good + '[forward]\nlisten = "127.0.0.1:1"\n[http]\nlisten = "127.0.0.1:1"\n')
        reload(running, "done")
        running.end()

    assert numbers(path) == list(range(len(bad)))
    said = "".join(running.errors)
    assert [reason for reason in bad if reason not in said] == []
    assert said.count("configuration not reloaded, the old one stays") == len(bad)


def test_many_reloads_under_load_lose_no_record_and_no_connection(tmp_path: Path) -> None:
    path, config = tmp_path / "a.ndjson", tmp_path / "logllm.toml"
    texts = [
        f'[[sinks]]\ntype = "file"\npath = "{path}"\n',
        f'[[sinks]]\ntype = "file"\npath = "{path}"\nrotate_s = 9e9\n[[plugins]]\npath = "drop_noise"\n',
        "[[sinks",
    ]
    config.write_text(texts[0])
    with served("-c", str(config), "--no-llm", "--json") as running:
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:
            for number in range(150):
                if number % 3 == 0:
                    config.write_text(texts[number // 3 % 3])
                    running.child.send_signal(signal.SIGHUP)
                sock.sendall(frame("app", entries(number), f"chunk-{number}"))
                assert msgpack.unpackb(sock.recv(1024)) == {"ack": f"chunk-{number}"}
        until(lambda: reloaded(running, "done") + reloaded(running, "refused") > 10)
        code = running.end()

    assert code == 0
    assert numbers(path) == list(range(150))


def test_systemd_is_told_of_start_reload_and_end(tmp_path: Path) -> None:
    address, config = str(tmp_path / "notify"), tmp_path / "logllm.toml"
    config.write_text("")
    states: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.settimeout(PATIENCE_S)
        os.environ["NOTIFY_SOCKET"] = address
        os.environ["WATCHDOG_USEC"] = "3000000"
        try:
            with served("-c", str(config), "--no-llm", "--json") as running:
                while b"READY=1" not in states:
                    states.append(notify.recv(200))
                reload(running, "done")
                running.end()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        notify.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                states.append(notify.recv(200))

    first_words = [state.partition(b"=")[0] for state in states if state != b"WATCHDOG=1"]
    assert first_words == [b"READY", b"RELOADING", b"READY", b"STOPPING"]
    assert b"WATCHDOG=1" in states


def test_records_that_a_plugin_holds_back_do_not_hold_up_the_end_while_a_sink_is_down(tmp_path: Path) -> None:
    holding = guest(tmp_path, HOLDING)
    config = tmp_path / "logllm.toml"
    config.write_text("[delivery]\ngrace_s = 0.5\n", encoding="utf-8")
    with served(
        "-c", str(config), "--no-llm", "--json", "--filter", str(holding), "--sink", "forward://127.0.0.1:9"
    ) as running:
        running.send([frame("app", entries(1), "one")], 1)

        code = running.end()

    assert code == 0
    said = "".join(running.errors)
    assert "1 records that had been held back are not written" in said
    assert "Traceback" not in said


def test_a_plugin_that_fails_with_what_it_held_back_stops_the_service_where_it_is_told_to(tmp_path: Path) -> None:
    locals_ = "(local $size i32) (local $out i32)"
    failing = guest(tmp_path, HOLDING.replace(locals_, f"{locals_} (if (global.get $count) (then (unreachable)))"))
    config = tmp_path / "logllm.toml"
    config.write_text(f'[[plugins]]\npath = "{failing}"\non_error = "stop"\n', encoding="utf-8")
    with served("-c", str(config), "--no-llm", "--json", "--sink", f"file:{tmp_path / 'out'}") as running:
        running.send([frame("app", entries(1), "one")], 1)

        code = running.child.wait(PATIENCE_S)

    assert code == 1
    assert "its on_error is `stop`" in running.errors[-1]


def test_dead_letters_that_cannot_be_written_are_a_reason_not_to_be_ready(tmp_path: Path) -> None:
    (tmp_path / "dead-letters.ndjson").mkdir()
    out = tmp_path / "out.ndjson"
    with (
        served("--no-llm", "--json", "--data-dir", str(tmp_path), "--sink", f"file:{out}") as running,
        socket.create_connection(("127.0.0.1", running.forward_port)) as sock,
    ):
        sent = msgpack.packb(["app", [7, [START_NS // 10**9, {"n": 1}]], {"chunk": "one"}])
        sock.sendall(sent)

        until(lambda: running.get("/readyz")[0] == 503)

        assert "dead letters: " in running.get("/readyz")[1]
        # The frame takes room, so that not every connection can have one waiting.
        assert f"logllm_buffer_size_bytes {len(sent)}.0\n" in running.get("/metrics")[1]


def test_a_reload_takes_the_key_of_a_receiver_that_was_written_over(tmp_path: Path) -> None:
    key, wrong, out = tmp_path / "key", tmp_path / "wrong", tmp_path / "out.ndjson"
    key.write_text("right", encoding="utf-8")
    wrong.write_text("wrong", encoding="utf-8")
    config = tmp_path / "logllm.toml"
    with served("--no-llm", "--json", "--sink", f"file:{out}", "--shared-key-file", str(key)) as second:
        address = f"127.0.0.1:{second.forward_port}"
        config.write_text(
            f'[[sinks]]\ntype = "forward"\naddress = "{address}"\nshared_key_file = "{wrong}"\n', encoding="utf-8"
        )
        with (
            served("-c", str(config), "--no-llm", "--json") as first,
            socket.create_connection(("127.0.0.1", first.forward_port), timeout=PATIENCE_S) as sock,
        ):
            sock.sendall(frame("app", entries(1), "one"))
            until(lambda: first.get("/readyz")[0] == 503)

            wrong.write_text("right", encoding="utf-8")
            reload(first, "done")

            assert msgpack.unpackb(sock.recv(100)) == {"ack": "one"}
    assert numbers(out) == [1]


def test_a_data_directory_is_one_services_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--listen", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    with served("--no-llm", "--json", "--data-dir", str(tmp_path / "data")) as running:
        second = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)
        running.end()
    with served("--no-llm", "--json", "--data-dir", str(tmp_path / "data")) as third:
        code = third.end()

    assert second.returncode == 1
    assert "another logllm uses this data directory" in second.stderr.decode()
    assert code == 0


def test_while_a_sink_is_down_retries_of_senders_that_left_take_no_place(tmp_path: Path) -> None:
    config = tmp_path / "logllm.toml"
    nobody = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{nobody.getsockname()[1]}"
    nobody.close()
    config.write_text(f'[forward]\nmax_connections = 8\n[[sinks]]\ntype = "forward"\naddress = "{address}"\n')
    with served("-c", str(config), "--no-llm", "--json") as running:
        for _ in range(6):
            for number in range(4):
                with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:
                    sock.sendall(frame("app", entries(number), f"chunk-{number}"))
            time.sleep(1.1)
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=PATIENCE_S) as sock:
            sock.settimeout(1.0)
            sock.sendall(frame("app", entries(9), "last"))
            with pytest.raises(TimeoutError):
                sock.recv(100)
            _, metrics = running.get("/metrics")
        running.end()

    assert "logllm_forward_connections_refused_total 0.0" in metrics


def test_sigterm_ends_a_service_whose_standard_output_nobody_reads() -> None:
    read, write = os.pipe()
    command = [sys.executable, "-m", "logllm.cli", "serve", "--no-llm", "--json", "--sink", "stdout"]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    child = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, env=environment)
    os.close(write)
    try:
        assert child.stderr is not None
        port = int(child.stderr.readline().decode().split("127.0.0.1:")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(frame("app", [(START_NS, {"text": "x" * 300_000})], "one"))
            until(lambda: select.select([read], [], [], 0)[0] != [])
            child.terminate()
            code = child.wait(PATIENCE_S)
    finally:
        child.kill()
        child.wait(PATIENCE_S)
        os.close(read)
        assert child.stderr is not None
        child.stderr.close()

    assert code == 0
