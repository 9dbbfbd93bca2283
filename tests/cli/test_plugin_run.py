"""`logllm plugin run`: NDJSON through a plugin, what it says, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from logllm.cli import plugin_lines
from logllm.cli.plugin_lines import batches
from tests.cli.guests import FUSSY, HOLDING, NATIVE, guest, logllm, ndjson

FLUENT_BIT = """(module (memory (export "memory") 2) (data (i32.const 0) "{\\22n\\22:120,\\22x\\22:120.0}\\00")
  (func (export "filter") (param $tag i32) (param i32 i32) (param $nsec i32) (param $record i32) (param $size i32)
    (result i32)
    ;; The record's first value decides: {"a":0} is dropped, 1 stays, 2 traps, 3 is no JSON, 9 is another record.
    (local $what i32)
    (local.set $what (i32.load8_u (i32.add (local.get $record) (i32.const 5))))
    (if (i32.eq (local.get $what) (i32.const 48)) (then (return (i32.const 0))))
    (if (i32.eq (local.get $what) (i32.const 50)) (then (unreachable)))
    (if (i32.eq (local.get $what) (i32.const 51)) (then (return (i32.add (local.get $record) (i32.const 1)))))
    (if (i32.eq (local.get $what) (i32.const 57)) (then (return (i32.const 16))))
    (local.get $record)))""".replace('(i32.const 0) "', '(i32.const 16) "')

TELLS_TIME = """(module (memory (export "memory") 2)
  (func (export "filter") (param $tag i32) (param $tag_size i32) (param $sec i32) (param $nsec i32) (param i32 i32)
    (result i32)
    (local $digit i32) (local $rest i32)
    (i64.store (i32.const 16) (i64.const 0x3a226e7b)) ;; {"n:
    (memory.copy (i32.const 16) (i32.const 100) (i32.const 5))
    (local.set $digit (i32.const 14)) (local.set $rest (local.get $nsec))
    (block $done (loop $next
      (i32.store8 (i32.add (i32.const 16) (local.get $digit))
        (i32.add (i32.const 48) (i32.rem_u (local.get $rest) (i32.const 10))))
      (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (br_if $done (i32.lt_u (local.get $digit) (i32.const 6)))
      (br $next)))
    (i32.store8 (i32.const 21) (i32.const 49))
    (memory.copy (i32.const 31) (i32.const 110) (i32.const 6))
    (memory.copy (i32.const 37) (local.get $tag) (local.get $tag_size))
    (memory.copy (i32.add (i32.const 37) (local.get $tag_size)) (i32.const 120) (i32.const 3))
    (i32.const 16))
  (data (i32.const 100) "{\\22n\\22:") (data (i32.const 110) ",\\22t\\22:\\22") (data (i32.const 120) "\\22}\\00"))"""
"""Answers {"n":1 and nine digits of nanoseconds,"t":TAG}."""


@pytest.fixture
def fussy(tmp_path: Path) -> Path:
    return guest(tmp_path, FUSSY)


def test_records_come_out_compact_in_order_with_their_keys_as_they_were(fussy: Path) -> None:
    given = (
        '{ "z" : 1, "a" : 1.0 }\n\n  \n{"text":"grüße €","n":18446744073709551615,"none":null}\r\n{"last":[]}'.encode()
    )

    done = logllm("plugin", "run", fussy, given=given)

    assert done.exit_code == 0
    assert done.stdout == ('{"z":1,"a":1.0}\n{"text":"grüße €","n":18446744073709551615,"none":null}\n{"last":[]}\n')
    assert done.stderr == ""


def test_no_input_is_no_output_and_no_failure(fussy: Path) -> None:
    done = logllm("plugin", "run", fussy)

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_a_line_that_is_no_json_object_is_named_and_left_out(fussy: Path) -> None:
    given = b'{"a":1}\nnot json\n[1,2]\n\n"text"\n{"a":\n{"b":2}\n'

    done = logllm("plugin", "run", fussy, given=given)

    assert done.exit_code == 1
    assert done.stdout == '{"a":1}\n{"b":2}\n'
    told = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in told] == [f"stdin line {n}" for n in (2, 3, 5, 6)]
    assert all("expected a JSON object" in line for line in told)


@pytest.mark.parametrize(
    ("on_error", "out", "words"),
    [("keep", 5, "comes out as it was"), ("drop", 4, "is dropped"), ("stop", 2, "stopped")],
)
def test_the_record_it_fails_at_is_named_and_on_error_decides_about_it(
    fussy: Path, on_error: str, out: int, words: str
) -> None:
    records = [{"n": n, "word": "boom" if n == 2 else "fine"} for n in range(5)]

    done = logllm("plugin", "run", fussy, "--on-error", on_error, given=ndjson(*records))

    assert done.exit_code == 1
    numbers = [json.loads(line)["n"] for line in done.stdout.splitlines()]
    assert numbers == {"keep": [0, 1, 2, 3, 4], "drop": [0, 1, 3, 4], "stop": [0, 1]}[on_error]
    assert len(numbers) == out
    (line,) = done.stderr.splitlines()
    assert "stdin line 3: trap: " in line
    assert "unreachable" in line
    assert words in line


def test_each_poison_record_among_many_is_named_and_all_others_come_through(fussy: Path) -> None:
    poison = {0, 17, 18, 999, 1_000, 2_499}
    records = [{"n": n, "word": "boom" if n in poison else "fine"} for n in range(2_500)]

    done = logllm("plugin", "run", fussy, "--on-error", "drop", given=ndjson(*records))

    assert done.exit_code == 1
    numbers = [json.loads(line)["n"] for line in done.stdout.splitlines()]
    assert numbers == [n for n in range(2_500) if n not in poison]
    assert [int(line.split("stdin line ")[1].split(":")[0]) - 1 for line in done.stderr.splitlines()] == sorted(poison)


def test_an_endless_loop_costs_that_record_and_the_next_one_still_flows(fussy: Path) -> None:
    given = ndjson({"n": 1}, {"word": "spin"}, {"n": 3})

    done = logllm("plugin", "run", fussy, "--time-ms", 20, given=given)

    assert done.exit_code == 1
    assert done.stdout == '{"n":1}\n{"word":"spin"}\n{"n":3}\n'
    assert "stdin line 2: timeout: ran for longer than it may" in done.stderr


def test_records_held_back_come_out_at_the_end_across_batches(tmp_path: Path) -> None:
    holding = guest(tmp_path, HOLDING)
    records = [{"n": n} for n in range(2_050)]

    done = logllm("plugin", "run", holding, given=ndjson(*records))

    assert done.exit_code == 0, done.stderr
    assert [json.loads(line)["n"] for line in done.stdout.splitlines()] == list(range(2_050))


def test_a_fluent_bit_filter_runs_record_by_record(tmp_path: Path) -> None:
    path = guest(tmp_path, FLUENT_BIT)
    given = ndjson({"a": 1}, {"a": 0}, {"a": 2}, {"a": 3}, {"a": 9}, {"a": 1, "b": "ä"})

    done = logllm("plugin", "run", path, given=given.replace(b" ", b""))

    assert done.exit_code == 1
    assert done.stdout.splitlines() == ['{"a":1}', '{"a":2}', '{"a":3}', '{"n":120,"x":120.0}', '{"a":1,"b":"ä"}']
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["stdin line 3", "stdin line 4"]


def test_all_nine_digits_of_the_time_and_the_tag_reach_the_plugin(tmp_path: Path) -> None:
    path = guest(tmp_path, TELLS_TIME)

    done = logllm("plugin", "run", path, "--time", "1700000000.000000001", "--tag", "kube.web", given=b"{}\n")
    default = logllm("plugin", "run", path, given=b"{}\n")

    assert done.stdout == '{"n":1000000001,"t":"kube.web"}\n', done.stderr
    assert json.loads(default.stdout)["t"] == "app.log"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.wasm"], "no such file"),
        (["{folder}"], "not a file"),
        (["{text}"], "it is text; expected a WebAssembly module"),
        (["{guest}", "--config", "{"], "--config: no JSON"),
        (["{guest}", "--config", "[1]"], "--config: expected a JSON object"),
        (["{guest}", "--grant", "network"], "--grant network: expected one of log, clock"),
        (["{guest}", "--time", "yesterday"], "--time 'yesterday': expected seconds since 1970"),
        (["{guest}", "--time", "1.0000000001"], "expected seconds since 1970"),
        (["{guest}", "--time", "4294967296"], "expected seconds since 1970"),
        (["{clock}"], 'not granted; expected in its `grants`: "clock"'),
        (["{refusing}", "--config", '{"a":1}'], "it refused its configuration"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_and_exit_code_two(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "some.txt").write_text("hello\n")
    clock = FUSSY.replace("(module", '(module (import "logllm" "now" (func (result i64)))')
    refusing = FUSSY.replace(
        "(module", '(module (func (export "logllm_init") (param i32 i32) (result i32) (i32.const 1))'
    )
    places = {
        "folder": tmp_path,
        "text": tmp_path / "some.txt",
        "guest": guest(tmp_path, FUSSY),
        "clock": guest(tmp_path, clock, "clock"),
        "refusing": guest(tmp_path, refusing, "refusing"),
    }
    filled = [str(places.get(word[1:-1], word)) for word in arguments]

    done = logllm("plugin", "run", *filled, given=b'{"a":1}\n')

    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert words in line


def test_log_lines_and_grants_work_and_a_log_line_is_no_failure(tmp_path: Path) -> None:
    talking = f"""(module
      (import "logllm" "log" (func $log (param i32 i32 i32)))
      (import "logllm" "now" (func $now (result i64)))
      (memory (export "memory") 2) (data (i32.const 128) "hello \\1b[31m") {NATIVE}
      (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
        (if (i64.eqz (call $now)) (then (unreachable)))
        (call $log (i32.const 2) (i32.const 128) (i32.const 11))
        (call $answer (i32.const 0) (call $entries (local.get $at) (local.get $size)) (i32.const 0) (i32.const 0)
          (i32.const 0))))"""
    path = guest(tmp_path, talking, "talking")

    done = logllm("plugin", "run", path, "--grant", "clock,metric", given=b'{"a":1}\n')

    assert done.exit_code == 0, done.stderr
    assert done.stdout == '{"a":1}\n'
    assert done.stderr == "talking: warning: hello \\x1b[31m\n"


def test_an_anomaly_it_raises_is_shown_and_is_no_failure(tmp_path: Path) -> None:
    said = '{"rule":"odd","text":"it is odd","service":"web"}'
    raising = f"""(module
      (import "logllm" "anomaly" (func $anomaly (param i32 i32 i32) (result i32)))
      (memory (export "memory") 2) (data (i32.const 128) "{said.replace('"', chr(92) + "22")}") {NATIVE}
      (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
        (drop (call $anomaly (i32.const 750) (i32.const 128) (i32.const {len(said)})))
        (call $answer (i32.const 0) (call $entries (local.get $at) (local.get $size)) (i32.const 0) (i32.const 0)
          (i32.const 0))))"""
    path = guest(tmp_path, raising, "raising")

    refused = logllm("plugin", "run", path, given=b'{"a":1}\n')
    done = logllm("plugin", "run", path, "--grant", "anomaly", given=b'{"a":1}\n')

    assert refused.exit_code == 2
    assert done.exit_code == 0
    assert done.stdout == '{"a":1}\n'
    assert done.stderr == "raising: anomaly 0.75: odd: it is odd (web)\n"


COMMAND = [sys.executable, "-m", "logllm.cli", "plugin", "run"]


@pytest.fixture
def child(fussy: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "pipeline")}
    running = subprocess.Popen(
        [*COMMAND, str(fussy)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        yield running
    finally:
        running.kill()
        for stream in (running.stdin, running.stdout, running.stderr):
            if stream is not None:
                stream.close()
        running.wait()


def test_a_record_comes_out_while_the_input_stays_open(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    answers = []

    for number in range(3):
        child.stdin.write(b'{"n":%d}\n' % number)
        child.stdin.flush()
        answers.append(child.stdout.readline())
    child.stdin.write(b'{"n":')  # half a line: nothing comes of it until it is whole
    child.stdin.flush()
    child.stdin.write(b'"late"}')
    child.stdin.close()
    answers.append(child.stdout.readline())

    assert answers == [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n', b'{"n":"late"}\n']
    assert child.wait(timeout=60) == 0


def test_ctrl_c_ends_it_without_a_word(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdin.write(b'{"n":1}\n')
    child.stdin.flush()
    child.stdout.readline()

    child.send_signal(signal.SIGINT)

    assert child.wait(timeout=60) == 130
    assert child.stderr.read() == b""


def test_a_closed_pipe_ends_it_quietly(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdin.write(b'{"n":1}\n')
    child.stdin.flush()
    child.stdout.readline()

    child.stdout.close()
    child.stdin.write(b'{"n":2}\n' * 1_000)
    child.stdin.close()

    assert child.wait(timeout=60) == 0
    assert child.stderr.read() == b""


@examples(st.lists(st.sampled_from([b"{}", b"", b" ", b"\n", b"\r\n", b"\xff", b"x" * 40, b"\0"]), max_size=40))
def test_lines_are_the_same_from_a_pipe_and_from_memory(parts: list[bytes]) -> None:
    text = b"".join(parts)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        with os.fdopen(writing, "wb") as sink:
            sink.write(text)

        by_pipe = [line for batch in batches(source, idle_s=0) for line in batch]

    by_memory = [line for batch in batches(io.BytesIO(text)) for line in batch]
    numbered = enumerate(text.split(b"\n"), 1)
    assert by_pipe == by_memory == [(number, line.strip()) for number, line in numbered if line.strip()]


def test_a_line_too_long_to_be_a_record_is_named_and_not_kept_in_memory(
    fussy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_lines, "LINE_BYTES", 100)
    monkeypatch.setattr(plugin_lines, "_READ_BYTES", 64)
    path = tmp_path / "long.ndjson"
    path.write_bytes(b'{"n":1}\n{"n":"' + b"x" * 1_000 + b'"}\n{"n":3}\n' + b"y" * 1_000)
    with path.open("rb") as source:
        from_file = [line for batch in batches(source) for line in batch]

    done = logllm("plugin", "run", fussy, given=path.read_bytes())

    assert from_file == [(1, b'{"n":1}'), (2, None), (3, b'{"n":3}'), (4, None)]
    assert done.exit_code == 1
    assert done.stdout == '{"n":1}\n{"n":3}\n'
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["stdin line 2", "stdin line 4"]
