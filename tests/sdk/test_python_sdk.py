"""The SDK for Python: its template, what it can do beside, what it may not, and the file that ships."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.component import build as component_build
from logllm.filters.component import program
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.instance import Filtered, entries_of
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.records import entry
from logllm.filters.sections import sections
from logllm.filters.shipped import root, sdk
from tests.sdk.components import Running, built, check_abilities, check_page, check_template

GUEST = r"""
import json
import os
import time as clock
from time import time as seconds

import logllm


def init(config):
    if "bad" in config:
        raise ValueError("a bad\nconfig")
    logllm.log("ready")
    print("printed", json.dumps(config, separators=(",", ":")))


def filter(record, tag, time):
    do = record["do"]
    if do == "drop":
        return None
    if do == "now":
        record["now"] = logllm.now()
    if do == "clock":
        record["clock"] = [seconds(), clock.time_ns()]
    if do == "time":
        record.update(tag=tag, time=time // 1_000_000)
    if do == "nanoseconds":
        record["time"] = time
    if do == "kv":
        record["n"] = int(logllm.kv_get("n") or 0) + 1
        record["ok"] = logllm.kv_set("n", record["n"])
    if do == "kv-full":
        record["ok"] = logllm.kv_set("large", "x" * 5000)
    if do == "metric":
        logllm.metric("seen", -3)
    if do == "anomaly":
        logllm.anomaly("odd", "größer", 0.5, service="s", severity=17)
    if do == "ask":
        record["ticket"] = logllm.ask("why?")
    if do == "half":
        record["x"] = "\ud800\0\n"
    if do == "change":
        record["changed"] = True
    if do == "raise":
        raise ValueError("no\ngood \ud800")
    if do == "list":
        return [record]
    if do == "recurse":
        return filter(record, tag, time)
    if do == "hungry":
        return [bytes(1 << 20) for _ in range(1000)]
    if do == "nan":
        record["x"] = float("nan")
    if do == "exit":
        raise SystemExit(3)
    if do == "open":
        open("/etc/passwd")
    if do == "listdir":
        os.listdir("/")
    if do == "import":
        import socket
    if do == "print":
        print("one", end=" ")
        print("line")
    if do == "urandom":
        os.urandom(1)
    if do == "loop":
        while True:
            pass
    if do == "deep":
        for _ in range(100_000):
            record = {"a": record}
    return record


def answer(ticket, text):
    if text == "boom":
        raise ValueError(text)
    logllm.log(f"{ticket}: {text}", "warning")
"""
GRANTED = ("log", "clock", "kv", "metric", "anomaly", "ask")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return built(tmp_path_factory.mktemp("template"), "python")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return built(tmp_path_factory.mktemp("guest"), "python", GUEST, GRANTED)


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check_template(template, "python")


def test_the_page_on_it_says_what_works(template: bytes, tmp_path: Path) -> None:
    check_page(Path(__file__).parents[2] / "docs/plugins/python.md", tmp_path, template)


def test_everything_else_the_sdk_offers_works(guest: bytes) -> None:
    check_abilities(Running(guest, {"a": 1}))


def test_a_filter_imports_what_its_grants_name_and_nothing_else(template: bytes, guest: bytes) -> None:
    assert about(template).imports == ["log"]
    assert about(template).wants == ["log"]
    assert set(about(guest).wants) == set(GRANTED)


def test_what_was_not_granted_at_the_build_is_named_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wit_world", ModuleType("wit_world"))
    module = run_path(str(sdk("python") / "sdk/logllm.py"))

    with pytest.raises(
        PermissionError, match=r'logllm.kv_get needs "kv" in the grants of plugin.toml, and a new build'
    ):
        module["kv_get"]("n")

    assert module["log"]("heard by nobody") is None


def test_a_configuration_that_init_raises_at_is_refused(guest: bytes) -> None:
    with pytest.raises(PluginLoadError, match=r"refused its configuration: ValueError: a bad config \(filter.py, line"):
        Running(guest, {"bad": 1})


def test_nanoseconds_are_all_there(guest: bytes) -> None:
    assert Running(guest).does("nanoseconds") == {"do": "nanoseconds", "time": 1_700_000_000_000_000_001}


def test_the_systems_clock_is_the_hosts(guest: bytes) -> None:
    made = Running(guest).does("clock")

    assert made == {"do": "clock", "clock": [1_700_000_000.123, 1_700_000_000_123_000_000]}


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("nan", "not JSON compliant"),
        ("exit", "SystemExit: 3"),
        ("open", "open: a filter has no files, network or processes"),
        ("listdir", "os.listdir: a filter has no files"),
        ("import", "socket is not there; expected its import at the top of a file"),
    ],
)
def test_what_it_may_not_do_costs_the_record_and_says_so(guest: bytes, do: str, words: str) -> None:
    assert words in Running(guest).fails(do)


def test_print_makes_whole_lines_in_the_log(guest: bytes) -> None:
    running = Running(guest)

    running.does("print")

    assert running.lines[-1] == (20, "one line")


@pytest.mark.parametrize(("do", "reason"), [("loop", "timeout"), ("urandom", "trap"), ("deep", "stack")])
def test_what_ends_the_instance_is_a_trap_and_a_new_one_works(guest: bytes, do: str, reason: str) -> None:
    running = Running(guest, limits=Limits(time_ms=100 if do == "loop" else 20_000))

    with pytest.raises(PluginTrap) as trap:
        running.does(do)

    assert trap.value.reason == reason
    assert Running(guest).does("change") == {"do": "change", "changed": True}


def test_what_answer_raises_is_logged_and_ends_the_instance(guest: bytes) -> None:
    running = Running(guest)

    with pytest.raises(PluginTrap):
        running.instance.answer(1, "boom")

    assert (40, True) in [(level, line.startswith("ValueError: boom (filter.py")) for level, line in running.lines]


def test_too_little_memory_is_told_with_what_it_needs(template: bytes) -> None:
    chosen = PluginConfig(path="x", limits=Limits(memory_bytes=8 << 20))

    with pytest.raises(
        PluginLoadError, match=r"it needs 1[0-9]\.[0-9] MiB of memory to start; `memory_bytes` allows 8"
    ):
        program(template, chosen).instance(chosen, chosen.limits, Running(template).host)

    assert Running(template, limits=Limits(memory_bytes=24 << 20, time_ms=20_000)).does("nothing") is not None


def test_the_file_holds_no_names_and_no_word_of_where_it_was_built(template: bytes) -> None:
    named = {section.name for section in sections(template) if section.kind == 0}

    assert named == {"logllm.plugin", "logllm.sources"}
    assert b"logllm-build" not in template
    assert b"pytest-of" not in template
    assert len(template) < 16_000_000


def test_the_build_leaves_nothing_but_its_file_in_the_project(tmp_path: Path, template: bytes) -> None:
    project = tmp_path / "hello"
    built(tmp_path, "python")

    found = {path.name for path in project.rglob("*")}

    assert found <= {
        "filter.py", "plugin.toml", "README.md", "fixtures", "levels.in.ndjson", "levels.out.ndjson", "hello.wasm",
        "sdk", "logllm.py", "logllm_main.py", "logllm.wit",
    }  # fmt: skip


def test_the_wit_beside_each_sdk_is_the_one_in_wit() -> None:
    world = (root() / "sdk/wit/logllm.wit").read_bytes()

    assert (sdk("python") / "sdk/logllm.wit").read_bytes() == world
    assert (sdk("javascript") / "sdk/logllm.wit").read_bytes() == world


def test_the_sample_plugin_that_ships_was_built_from_what_is_beside_it(tmp_path: Path) -> None:
    project = root() / "sample"
    component_build.write_world(Manifest.load(project), sdk("python") / "sdk/logllm.wit", tmp_path / "wit")
    component_build.copy_sources(project, sdk("python") / "sdk", tmp_path / "app")

    wanted = component_build.digest([tmp_path / "app", tmp_path / "wit"])

    assert component_build.sources_of((project / "sample.wasm").read_bytes()) == wanted, "expected `make plugins`"


@pytest.fixture(scope="module")
def sample() -> bytes:
    return (root() / "sample/sample.wasm").read_bytes()


def test_sample_keeps_the_first_of_a_kind_what_is_severe_and_one_in_some_of_the_rest(sample: bytes) -> None:
    running = Running(sample, {"rate": 4, "keep_first": 3})
    given = [{"level": "info", "msg": f"order {n} stored"} for n in range(30)]
    given[20] = {"severity": "Warning", "msg": "order 20 stored"}

    made = running.process(*given)

    kept = [record["msg"] for record in decoded(made)]
    assert kept == [f"order {n} stored" for n in (0, 1, 2, 6, 10, 14, 18, 20, 23, 27)]
    assert (made.count, made.dropped) == (10, 20)


def test_sample_does_not_touch_what_it_keeps(sample: bytes) -> None:
    block = entry(5, 6, b"\x82\xa3msg\xa1x\xa1b\xc4\x01\xff") * 3

    assert Running(sample).instance.process("app", block, 3, 60_000).block is block


@pytest.mark.parametrize(
    ("text", "severe"),
    [
        ("ERROR payment refused", True),
        ("[warn] disk is full", True),
        ("kernel: panic - not syncing", True),
        ("0 errors, 12 warnings", False),
        ("the terror of it", False),
    ],
)
def test_sample_reads_the_level_out_of_a_line_that_has_no_field_for_it(sample: bytes, text: str, severe: bool) -> None:
    running = Running(sample, {"rate": 1000, "keep_first": 0})

    assert (running.process({"log": text}).count == 1) is severe


def test_sample_goes_by_the_field_where_there_is_one(sample: bytes) -> None:
    running = Running(sample, {"rate": 1000, "keep_first": 0, "fields": ["text"]})
    given: list[tuple[dict[str, Any], int]] = [
        ({"level": "info", "text": "ERROR in a message of level info"}, 0),
        ({"level": 50, "text": "x"}, 1),
        ({"level": 30, "text": "x"}, 0),
        ({"level": True, "text": "x"}, 0),
        ({"level": None, "severity": " fatal ", "text": "x"}, 1),
        ({"msg": "ERROR in a field that is not looked at"}, 0),
    ]

    assert [running.process(record).count for record, _ in given] == [count for _, count in given]


def test_sample_forgets_kinds_rather_than_to_grow(sample: bytes) -> None:
    words = ["".join(chr(97 + n // 26**k % 26) for k in range(4)) for n in range(45_000)]
    running = Running(sample, {"rate": 1000, "keep_first": 1}, limits=Limits(memory_bytes=24 << 20, time_ms=20_000))

    for start in range(0, 45_000, 5_000):
        made = running.process(*({"msg": word * 40} for word in words[start : start + 5_000]))
        assert made.count == 5_000, "each is the first of its kind"

    assert running.process({"msg": words[-1] * 40}).count == 0
    assert running.process({"msg": words[0] * 40}).count == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"rate": 0}, "rate: expected a whole number of at least 1, not 0"),
        ({"rate": True}, "rate: expected a whole number of at least 1, not True"),
        ({"keep_first": -1}, "keep_first: expected a whole number of at least 0"),
        ({"fields": "msg"}, "fields: expected a list of names"),
        ({"ratio": 2}, "ratio: no such setting; expected some of rate, keep_first, fields"),
    ],
)
def test_sample_refuses_settings_that_are_none(sample: bytes, config: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginLoadError, match=said):
        Running(sample, config)


def decoded(made: Filtered) -> list[dict[str, Any]]:
    return [msgpack.unpackb(one, timestamp=0)[1] for one in entries_of(made.block, made.count)]


def test_a_step_that_is_asked_for_wrongly_says_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "logllm.filters.component.build"]

    for words in ([], ["strip"], ["finish", str(tmp_path / "absent"), str(tmp_path / "out")]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert done.stderr.count("\n") < 6
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_compiled_leftovers_of_the_author_are_not_built_in(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(sdk("python") / "template", project)
    (project / "__pycache__").mkdir()
    (project / "__pycache__/filter.cpython-314.pyc").write_bytes(b"old")

    component_build.copy_sources(project, sdk("python") / "sdk", tmp_path / "out/app")

    assert not list((tmp_path / "out").rglob("__pycache__"))
    assert (tmp_path / "out/app/sdk/logllm_main.py").is_file()
