"""Plugins in `logllm tail` and `logllm serve`, as a user runs them."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from tests.cli.guests import NATIVE
from tests.cli.test_serve_command import frame, ordinary, served
from tests.cli.test_tail_command import SAMPLES, events, incidents, run
from tests.explain.fakes import ChatServer

BUMP = """
  (global $free (mut i32) (i32.const 65536))
  (func (export "malloc") (param $size i32) (result i32)
    (local $at i32) (local.set $at (global.get $free))
    (global.set $free (i32.add (global.get $free) (local.get $size))) (local.get $at))
  (func (export "free") (param i32))"""
SAME = "(local.get 4)"
DROP = "(i32.const 0)"
LOOP = "(loop $for_ever (br $for_ever))"
# Traps at a record that begins with `{"bad"`, keeps the others.
PICKY = """(if (i32.eq (i32.load offset=1 (local.get 4)) (i32.const 0x64616222)) (then (unreachable))) (local.get 4)"""
ALARM = '{"rule":"card testing","text":"41 cards from 192.0.2.7","service":"shop"}'


def guest(body: str, imports: str = "", data: str = "") -> bytes:
    """A module of Fluent Bit's ABI."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(module {imports} (memory (export "memory") 4) {data} {BUMP}
            (func (export "filter") (param i32 i32 i32 i32 i32 i32) (result i32) {body}))"""
        )
    )


def alarming() -> bytes:
    """Raises an anomaly at each record."""
    text = ALARM.replace('"', '\\"')
    call = f"(drop (call $anomaly (i32.const 900) (i32.const 8) (i32.const {len(ALARM)}))) (local.get 4)"
    return guest(
        call,
        '(import "logllm" "anomaly" (func $anomaly (param i32 i32 i32) (result i32)))',
        f'(data (i32.const 8) "{text}")',
    )


def put(folder: Path, name: str, code: bytes) -> str:
    path = folder / name
    path.write_bytes(code)
    return str(path)


def app_log(folder: Path, lines: int = 200) -> str:
    path = folder / "app.log"
    path.write_text(
        "".join(
            json.dumps({"time": f"2026-03-10T07:{n // 60:02}:{n % 60:02}Z", "level": "info", "msg": f"item {n} added"})
            + "\n"
            for n in range(lines)
        ),
        encoding="utf-8",
    )
    return str(path)


def summary(output: bytes) -> dict[str, Any]:
    return events(output)[-1]


@pytest.mark.parametrize("sample", ["disk.log", "kubernetes.log"])
def test_a_filter_that_changes_nothing_changes_nothing_in_what_is_found(tmp_path: Path, sample: str) -> None:
    identity = put(tmp_path, "same.wasm", guest(SAME))

    bare = run("tail", "--once", "--json", "--no-llm", str(SAMPLES / sample))
    done = run("tail", "--once", "--json", "--no-llm", "--filter", identity, str(SAMPLES / sample))

    assert done.returncode == 0, done.stderr
    assert len(incidents(bare.stdout)) > 2
    assert incidents(done.stdout) == incidents(bare.stdout)
    records = summary(bare.stdout)["records"]
    assert summary(done.stdout)["plugins"] == [
        {"name": "same", "in": records, "out": records, "dropped": 0, "failures": 0}
    ]


def test_filters_run_in_their_order_and_what_one_drops_the_next_does_not_see(tmp_path: Path) -> None:
    first, second = put(tmp_path, "drop.wasm", guest(DROP)), put(tmp_path, "same.wasm", guest(SAME))

    done = run("tail", "--once", "--json", "--filter", first, "--filter", second, "--no-llm", app_log(tmp_path))

    assert summary(done.stdout)["records"] == 0
    assert [(each["in"], each["out"]) for each in summary(done.stdout)["plugins"]] == [(200, 0), (0, 0)]


def test_standard_input_goes_through_filters_too(tmp_path: Path) -> None:
    drop = put(tmp_path, "drop.wasm", guest(DROP))
    text = Path(app_log(tmp_path)).read_bytes()

    done = run("tail", "--json", "--no-llm", "--filter", drop, "-", stdin=text)

    assert summary(done.stdout)["records"] == 0
    assert summary(done.stdout)["lines"] == 200


def test_a_record_a_plugin_fails_at_is_kept_and_the_failure_is_shown(tmp_path: Path) -> None:
    picky = put(tmp_path, "picky.wasm", guest(PICKY))
    path = Path(app_log(tmp_path))
    path.write_text(path.read_text() + '{"bad": 1, "time": "2026-03-10T07:59:00Z", "msg": "x"}\n', encoding="utf-8")

    shown = run("tail", "--once", "--no-llm", "--filter", picky, str(path))
    done = run("tail", "--once", "--json", "--no-llm", "--filter", picky, str(path))

    assert summary(done.stdout)["records"] == 201
    assert summary(done.stdout)["plugins"][0]["failures"] == 1
    assert b"picky: 201 in, 201 out, 1 call failed" in shown.stdout


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("none.wasm", None, "none.wasm"),
        ("text.wasm", b"#!/bin/sh\n", "text.wasm"),
        ("empty.wasm", b"", "empty.wasm"),
        ("alarm.wasm", alarming(), "anomaly"),
        ("net.wasm", guest(SAME, '(import "env" "connect" (func (param i32)))'), "connect"),
    ],
)
@pytest.mark.parametrize("command", ["tail", "serve"])
def test_a_plugin_that_cannot_be_used_is_one_line_before_anything_starts(
    tmp_path: Path, name: str, code: bytes | None, words: str, command: str
) -> None:
    path = str(tmp_path / name) if code is None else put(tmp_path, name, code)
    more = ["--once", app_log(tmp_path)] if command == "tail" else ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]

    done = run(command, "--no-llm", "--filter", path, *more)

    assert done.returncode == 2
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert path in lines[0]


def test_what_a_plugin_raises_is_an_incident_with_its_words_masked(tmp_path: Path) -> None:
    put(tmp_path, "alarm.wasm", alarming())
    config = tmp_path / "logllm.toml"
    config.write_text("[[plugins]]\npath = 'alarm.wasm'\ngrants = ['log', 'anomaly']\n", encoding="utf-8")

    done = run("tail", "--once", "--json", "--no-llm", "-c", str(config), app_log(tmp_path))

    assert done.returncode == 0, done.stderr
    (incident,) = incidents(done.stdout)
    assert incident["kinds"] == ["plugin"]
    assert incident["service"] == "shop"
    assert incident["title"] == "Plugin alarm raised card testing"
    assert incident["evidence"][0]["text"].startswith("card testing: 41 cards from <ip")


def test_serve_filters_what_it_takes_and_tells_how_the_plugin_does(tmp_path: Path) -> None:
    picky = put(tmp_path, "picky.wasm", guest(PICKY))
    records = [*ordinary(3), (ordinary(1)[0][0], {"bad": True, "log": "x"})]

    with served("--no-llm", "--json", "--filter", picky) as running:
        acks = running.send([frame("app", records, "c1"), frame("app", ordinary(3), "c2")], 2)
        _, listed = running.get("/plugins")
        _, metrics = running.get("/metrics")
        code = running.end()

    (plugin,) = json.loads(listed)
    assert acks == ["c1", "c2"]
    assert (plugin["name"], plugin["abi"], plugin["records_in"], plugin["records_out"]) == (
        "picky",
        "fluentbit",
        37,
        37,
    )
    assert plugin["failures"] == {"trap": 1}
    assert 'logllm_plugin_failures_total{plugin="picky",reason="trap"} 1.0' in metrics
    assert 'logllm_plugin_received_events_total{plugin="picky"} 37.0' in metrics
    assert code == 0
    assert running.events[-1]["records"] == 37


def test_a_plugin_that_stops_the_pipeline_ends_serve_and_its_chunk_is_not_acknowledged(tmp_path: Path) -> None:
    put(tmp_path, "picky.wasm", guest(PICKY))
    config = tmp_path / "logllm.toml"
    config.write_text("[[plugins]]\npath = 'picky.wasm'\non_error = 'stop'\n", encoding="utf-8")
    bad = frame("app", [(ordinary(1)[0][0], {"bad": True})], "c2")

    with served("--no-llm", "--json", "-c", str(config)) as running:
        acks = running.send([frame("app", ordinary(2), "c1")], 1)
        with socket.create_connection(("127.0.0.1", running.forward_port), timeout=30) as sock:
            sock.sendall(bad)
            sock.settimeout(30)
            answer = sock.recv(4096)
        code = running.child.wait(timeout=60)

    assert acks == ["c1"]
    assert answer == b""
    assert code == 1
    assert any("picky" in line for line in running.errors)


def test_a_tenants_endless_loop_does_not_hold_up_another_tenant(tmp_path: Path) -> None:
    """`acme` sends records its plugin never finishes with; `zeta`'s records are acknowledged meanwhile."""
    body = f"(if (i32.eq (i32.load8_u (local.get 0)) (i32.const 97)) (then {LOOP})) (local.get 4)"
    put(tmp_path, "stuck.wasm", guest(body))
    config = tmp_path / "logllm.toml"
    config.write_text(
        "[[plugins]]\npath = 'stuck.wasm'\ntenant = 'tag:1'\nbreaker_failures = 1000\n"
        "limits = { time_ms = 2000, chunk_ms = 6000 }\n",
        encoding="utf-8",
    )

    with served("--no-llm", "--json", "-c", str(config)) as running:
        late: list[list[str]] = []
        hostile = threading.Thread(target=lambda: late.append(running.send([frame("acme", ordinary(3), "slow")], 1)))
        hostile.start()
        acks = running.send([frame("zeta", ordinary(1), f"z{n}") for n in range(20)], 20)
        before = list(late)
        hostile.join(60)

    assert acks == [f"z{n}" for n in range(20)]
    assert before == []
    assert late == [["slow"]]


def test_a_config_with_an_egress_plugin_says_that_nothing_is_sent_on_yet(tmp_path: Path) -> None:
    put(tmp_path, "same.wasm", guest(SAME))
    config = tmp_path / "logllm.toml"
    config.write_text("[[plugins]]\npath = 'same.wasm'\nstage = 'egress'\n", encoding="utf-8")

    done = run("tail", "--once", "--json", "--no-llm", "-c", str(config), app_log(tmp_path))

    assert b"never called" in done.stderr
    assert summary(done.stdout)["plugins"][0]["in"] == 0


def test_state_of_plugins_is_kept_in_the_data_folder_for_its_owner_alone(tmp_path: Path) -> None:
    same = put(tmp_path, "same.wasm", guest(SAME))

    done = run("tail", "--once", "--no-llm", "--data-dir", str(tmp_path / "data"), "--filter", same, app_log(tmp_path))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_records_reach_a_plugin_as_fluent_bits_tail_would_send_them(tmp_path: Path) -> None:
    """The guest drops what does not begin with `{"log":`, so plain lines stay and JSON lines go."""
    only_log = guest(
        "(if (result i32) (i32.eq (i32.load offset=1 (local.get 4)) (i32.const 0x676f6c22))"
        " (then (local.get 4)) (else (i32.const 0)))"
    )
    path = put(tmp_path, "only_log.wasm", only_log)
    plain = tmp_path / "plain.log"
    plain.write_text(
        "".join(f"2026-03-10T07:00:{n:02}Z ERROR cart: no item {n}\n" for n in range(30)), encoding="utf-8"
    )

    kept = run("tail", "--once", "--json", "--no-llm", "--filter", path, str(plain))
    gone = run("tail", "--once", "--json", "--no-llm", "--filter", path, app_log(tmp_path))

    assert summary(kept.stdout)["records"] == 30
    assert summary(gone.stdout)["records"] == 0


def test_a_plugins_question_is_answered_by_the_model_before_a_later_block(tmp_path: Path) -> None:
    question = "Is a request from 192.0.2.7 odd?"
    asking = f"""(module
      (import "logllm" "ask" (func $ask (param i32 i32) (result i32)))
      (import "logllm" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 2) (data (i32.const 8) "{question}")
      (global $asked (mut i32) (i32.const 0))
      {NATIVE}
      (func (export "logllm_answer") (param i32 i32 i32)
        (call $log (i32.const 1) (local.get 1) (local.get 2)))
      (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
        (if (i32.eqz (global.get $asked)) (then
          (global.set $asked (call $ask (i32.const 8) (i32.const {len(question)})))))
        (call $answer (i32.const 0) (call $entries (local.get $at) (local.get $size)) (i32.const 0) (i32.const 0)
          (i32.const 0))))"""
    put(tmp_path, "asking.wasm", bytes(wasmtime.wat2wasm(asking)))
    config = tmp_path / "logllm.toml"

    with ChatServer(json.dumps({"answer": "It is a health check."})) as model:
        config.write_text(
            f"[explain]\nmodel = '{model.url}/v1'\n[[plugins]]\npath = 'asking.wasm'\ngrants = ['log', 'ask']\n",
            encoding="utf-8",
        )
        with served("--json", "-c", str(config)) as running:
            for number in range(200):
                running.send([frame("app", ordinary(1), f"c{number}")], 1)
                if any("health check" in line for line in running.errors):
                    break
            code = running.end()
        sent = json.dumps(model.requests)

    assert any("asking: It is a health check." in line for line in running.errors), running.errors[-5:]
    assert len(model.requests) == 1
    assert "192.0.2.7" not in sent
    assert code == 0
