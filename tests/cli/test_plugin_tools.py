"""`logllm plugin test`, `diff`, `bench` and `inspect`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.cli.plugin_bench import measure
from logllm.cli.plugin_compare import compared
from logllm.cli.plugin_new import create
from tests.cli.guests import DROPPING, FUSSY, guest, logllm, ndjson, wat_sdk

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=6)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A built project; its filter drops debug records."""
    sdk = wat_sdk(tmp_path)
    made = create("quiet", sdk, tmp_path)
    done = logllm("plugin", "build", made, "--sdk", sdk)
    assert done.exit_code == 0, done.stderr
    return made


def test_fixtures_that_agree_pass_whatever_the_order_of_keys(project: Path) -> None:
    done = logllm("plugin", "test", project)

    assert done.exit_code == 0, done.stdout
    assert done.stdout == "ok  levels: 3 records\n1 passed\n"


def test_what_differs_is_told_by_the_path_of_the_field(project: Path) -> None:
    (project / "fixtures" / "levels.out.ndjson").write_text('{"level":"info","n":1.0,"seen by":"x"}\n{"n":4}\n')

    done = logllm("plugin", "test", project)

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "FAILED  levels: 3 records",
        "    record 1: $.n: expected 1.0, got 1",
        '    record 1: $["seen by"]: expected "x", it is missing',
        "    record 2: $.n: expected 4, got 3",
        "1 of 1 failed",
    ]


def test_update_writes_what_comes_out(project: Path) -> None:
    out = project / "fixtures" / "levels.out.ndjson"
    out.unlink()

    missing = logllm("plugin", "test", project)
    updated = logllm("plugin", "test", project, "--update")
    again = logllm("plugin", "test", project)

    assert missing.exit_code == 2
    assert "levels.out.ndjson: no such file; expected the records that come out, or `--update`" in missing.stderr
    assert updated.exit_code == 0
    assert out.read_text() == '{"level":"info","n":1}\n{"n":3}\n'
    assert again.exit_code == 0


def test_a_fixture_sets_tag_time_and_config_and_the_clock_stands_still(tmp_path: Path) -> None:
    tells = """(module (import "logllm" "now" (func $now (result i64)))
      (memory (export "memory") 2) (data (i32.const 16) "{\\22s\\22:0,\\22t\\22:\\22") (data (i32.const 64) "\\22}\\00")
      (func (export "filter") (param $tag i32) (param $size i32) (param $sec i32) (param i32 i32 i32) (result i32)
        (if (i32.ne (local.get $sec) (i32.const 1234567890)) (then (unreachable)))
        (i32.store8 (i32.const 21) (i32.add (i32.const 48) (i32.eq (local.get $sec)
          (i32.wrap_i64 (i64.div_u (call $now) (i64.const 1000))))))
        (memory.copy (i32.const 28) (local.get $tag) (local.get $size))
        (memory.copy (i32.add (i32.const 28) (local.get $size)) (i32.const 64) (i32.const 3))
        (i32.const 16)))"""
    made = create("tells", wat_sdk(tmp_path, tells), tmp_path)
    with (made / "plugin.toml").open("a") as file:
        file.write('[run]\ngrants = ["log", "clock"]\n')
    logllm("plugin", "build", made, "--sdk", tmp_path / "sdk-wat")
    (made / "fixtures" / "levels.toml").write_text('tag = "kube.web"\ntime = "1234567890.5"\nconfig = {a = 1}\n')
    (made / "fixtures" / "levels.out.ndjson").write_text('{"s":1,"t":"kube.web"}\n' * 3)

    done = logllm("plugin", "test", made)
    (made / "fixtures" / "levels.toml").write_text("tags = 1\n")
    wrong = logllm("plugin", "test", made)

    assert done.exit_code == 0, done.stdout + done.stderr
    assert wrong.exit_code == 2
    assert "levels.toml: Object contains unknown field `tags`" in wrong.stderr


def test_a_plugin_that_fails_fails_its_fixture(tmp_path: Path) -> None:
    made = create("fussy", wat_sdk(tmp_path, FUSSY), tmp_path)
    logllm("plugin", "build", made, "--sdk", tmp_path / "sdk-wat")
    (made / "fixtures" / "levels.in.ndjson").write_text('{"a":1}\n{"a":"boom"}\n')
    (made / "fixtures" / "levels.out.ndjson").write_text('{"a":1}\n{"a":"boom"}\n')

    done = logllm("plugin", "test", made)
    updated = logllm("plugin", "test", made, "--update")

    assert (done.exit_code, updated.exit_code) == (1, 1)
    assert "    record 2 of the input: the plugin failed: trap: " in done.stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("wasm", "not built; expected `logllm plugin build` before `test`"),
        ("fixtures", "no fixtures; expected NAME.in.ndjson"),
        ("toml", "no plugin.toml"),
    ],
)
def test_a_project_with_something_missing_says_what(project: Path, damage: str, words: str) -> None:
    missing = {
        "wasm": project / "quiet.wasm",
        "fixtures": project / "fixtures" / "levels.in.ndjson",
        "toml": project / "plugin.toml",
    }
    missing[damage].unlink()

    done = logllm("plugin", "test", project)

    assert done.exit_code in (1, 2)
    assert words in done.stderr


def test_diff_finds_no_difference_where_there_is_none(tmp_path: Path) -> None:
    path = guest(tmp_path, DROPPING)
    (tmp_path / "in").write_bytes(ndjson({"a": 1, "b": [1, None]}, {"l": "debug"}, {"x": "ä"}))
    (tmp_path / "out").write_text('{"b":[1,null],"a":1}\n{"x":"\\u00e4"}\n')

    done = logllm("plugin", "diff", path, "--input", tmp_path / "in", "--expected", tmp_path / "out")

    assert (done.exit_code, done.stdout) == (0, "no difference: 3 records\n")


def test_diff_tells_missing_unexpected_and_changed_records(tmp_path: Path) -> None:
    path = guest(tmp_path, DROPPING)
    records: list[dict[str, Any]] = [{"n": n} for n in range(10)]
    should: list[dict[str, Any]] = [
        *records[:3],
        {"n": 99, "m": {"k": [1, 2]}},
        *records[3:7],
        {"n": 7, "extra": True},
        *records[8:9],
    ]
    (tmp_path / "in").write_bytes(ndjson(*records))
    (tmp_path / "out").write_bytes(ndjson(*should))

    done = logllm("plugin", "diff", path, "--input", tmp_path / "in", "--expected", tmp_path / "out")

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        'record 4: expected, it is missing: {"n": 99, "m": {"k": [1, 2]}}',
        "record 9: $.extra: expected true, it is missing",
        'record 10 of the output: unexpected: {"n": 9}',
    ]


def test_diff_of_many_differences_ends_with_their_number(tmp_path: Path) -> None:
    path = guest(tmp_path, DROPPING)
    (tmp_path / "in").write_bytes(ndjson(*({"n": n} for n in range(3_000))))
    (tmp_path / "out").write_bytes(ndjson(*({"n": -n} for n in range(3_000))))

    done = logllm("plugin", "diff", path, "--input", tmp_path / "in", "--expected", tmp_path / "out")

    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "record 2: $.n: expected -1, got 1"
    assert done.stdout.splitlines()[-1] == "and 2959 more"


def test_diff_names_the_line_of_a_file_that_is_no_record(tmp_path: Path) -> None:
    path = guest(tmp_path, DROPPING)
    (tmp_path / "in").write_text('{"a":1}\n\n[1]\n')

    for given_file, words in ((tmp_path / "in", "in:3: expected a JSON object"), (tmp_path / "no", "no: cannot read")):
        done = logllm("plugin", "diff", path, "--input", given_file, "--expected", given_file)

        assert done.exit_code == 2
        assert words in done.stderr


@given(RECORDS, RECORDS)
def test_two_lists_of_records_differ_exactly_where_a_line_is_told(left: list[object], right: list[object]) -> None:
    lines = [json.dumps(one).encode() for one in left], [json.dumps(one, sort_keys=True).encode() for one in right]

    found = list(compared(*lines))

    same = [json.dumps(one, sort_keys=True) for one in left] == [json.dumps(one, sort_keys=True) for one in right]
    assert (not found) == same
    assert list(compared(lines[0], lines[0])) == []


def test_records_nested_absurdly_deep_are_refused_not_followed(tmp_path: Path) -> None:
    path = guest(tmp_path, DROPPING)
    for depth in (980, 5_000):
        for name, value in (("in", b"1"), ("out", b"2")):
            (tmp_path / name).write_bytes(b'{"a":' + b"[" * depth + value + b"]" * depth + b"}")

        done = logllm("plugin", "diff", path, "--input", tmp_path / "in", "--expected", tmp_path / "out")

        assert done.exit_code in (1, 2)
        assert not isinstance(done.exception, RecursionError)


def test_inspect_tells_what_a_file_is_and_why_it_would_be_refused(tmp_path: Path) -> None:
    text = """(module
      (import "logllm" "kv_get" (func (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "now" (func (result i64)))
      (memory (export "memory") 1)
      (func (export "logllm_abi") (result i32) (i32.const 0x00010000))
      (func (export "logllm_buffer") (param i32) (result i32) (i32.const 0))
      (func (export "logllm_process") (param i32 i32 i32) (result i32) (i32.const 0)))"""
    path = guest(tmp_path, text)

    told = logllm("plugin", "inspect", path)
    found = json.loads(logllm("plugin", "inspect", path, "--json").stdout)

    assert told.exit_code == 0
    assert "abi        native" in told.stdout
    assert found["abi"] == "native"
    assert found["size_bytes"] == path.stat().st_size
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["wants"] == ["clock", "kv"]
    assert found["imports"] == ["logllm.kv_get", "logllm.now"]
    assert found["exports"]["logllm_process"] == "(i32, i32, i32) -> (i32)"
    assert "not granted" in found["refused"]
    assert found["expected"] == 'grants = ["log","clock","kv"]'


def test_inspect_names_the_functions_fluent_bit_could_call(tmp_path: Path) -> None:
    kind = "(param i32 i32 i32 i32 i32 i32) (result i32)"
    text = f"""(module (memory (export "memory") 1)
      (func (export "one") {kind} (i32.const 0)) (func (export "two") {kind} (i32.const 0))
      (func (export "malloc") (param i32) (result i32) (i32.const 0)))"""
    path = guest(tmp_path, text)

    found = json.loads(logllm("plugin", "inspect", path, "--json").stdout)

    assert found["abi"] == "fluentbit"
    assert found["functions"] == ["one", "two"]
    assert found["expected"] == 'function = "one"'


def test_inspect_refuses_what_is_no_plugin_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path, words in ((tmp_path / "text", "it is text"), (guest(tmp_path, "(module)"), "it is no plugin")):
        done = logllm("plugin", "inspect", path)

        assert done.exit_code == 2
        assert done.stderr.startswith(f"logllm: {path}: ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_hostile_name_in_a_module_cannot_move_the_cursor(tmp_path: Path) -> None:
    text = '(module (memory (export "memory") 1) (func (export "\\1b[2J") (param i32)))'.replace(
        "(param i32)", "(param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0)"
    )

    done = logllm("plugin", "inspect", guest(tmp_path, text))

    assert "\x1b" not in done.stdout
    assert "␛[2J" in done.stdout


def test_bench_measures_a_project_with_its_fixtures_and_a_file_with_records(project: Path, tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(ndjson({"level": "debug"}, {"level": "info"}))

    shown = logllm("plugin", "bench", project)
    by_folder = measure(str(project), None, least_s=0.05)
    by_file = measure(str(project / "quiet.wasm"), tmp_path / "records", least_s=0.05)
    alone = measure(str(guest(tmp_path, DROPPING, "alone")), None, least_s=0.05)

    assert shown.exit_code == 0, shown.stderr
    assert "CPU-s per million" in shown.stdout
    assert (by_folder.name, by_folder.abi, by_folder.records) == ("quiet", "fluentbit", "records of its fixtures")
    assert by_folder.kept == 667
    assert (by_file.name, by_file.kept) == ("quiet", 500)
    assert (alone.records, alone.kept) == ("made records", 800)
    for found in (by_folder, by_file, alone):
        assert found.records_per_s > 0
        assert found.cpu_s_per_million > found.copy_cpu_s_per_million > 0
        assert found.memory_bytes >= 131_072
        assert found.first_call_ms > 0


def test_bench_takes_the_function_to_measure(tmp_path: Path) -> None:
    kind = "(param i32 i32 i32 i32 i32 i32) (result i32)"
    text = f"""(module (memory (export "memory") 1)
      (func (export "all") {kind} (local.get 4)) (func (export "none") {kind} (i32.const 0)))"""
    path = guest(tmp_path, text)

    unsaid = logllm("plugin", "bench", path)
    said = logllm("plugin", "bench", path, "--function", "none", "--event-format", "msgpack")

    assert unsaid.exit_code == 2
    assert "all, none" in unsaid.stderr
    assert said.exit_code == 0, said.stderr
    assert said.stdout.splitlines()[-1].split() == ["records", "kept,", "of", "1,000", "0"]


def test_bench_of_a_plugin_that_fails_or_of_no_records_says_so(tmp_path: Path) -> None:
    path = guest(tmp_path, FUSSY)
    (tmp_path / "poison").write_bytes(ndjson({"a": "boom"}))
    (tmp_path / "empty").write_bytes(b"\n")

    failing = logllm("plugin", "bench", path, "--records", tmp_path / "poison")
    empty = logllm("plugin", "bench", path, "--records", tmp_path / "empty")

    assert failing.exit_code == 1
    assert "it fails at these records: trap: " in failing.stderr
    assert empty.exit_code == 2
    assert "no records" in empty.stderr
