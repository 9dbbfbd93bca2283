"""drop_noise: what is noise goes, what may matter to somebody stays."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.cli.plugin_build import build, compiler, recipe_for, toolchain
from logllm.cli.plugin_fixtures import check
from logllm.errors import PluginLoadError
from logllm.filters.config import PluginConfig
from logllm.filters.host import Host
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.native import program
from logllm.filters.sections import plugin_section
from logllm.filters.shipped import root
from tests.sdk.conformance import FAILED, PASS, Malformed, Native, entry, split

PROJECT = root() / "drop_noise"
CODE = (PROJECT / "drop_noise.wasm").read_bytes()
PATHS = ("/healthz", "/health", "/livez", "/readyz", "/ping", "/metrics", "/status", "/health/ready", "/-/healthy")
AGENTS = ("kube-probe/1.31", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Prometheus/2.53.0", "Consul Health Check",
          "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)")  # fmt: skip
GRAVE = ("warn", "WARNING", "err", "Error", "severe", "critical", "ALERT", "emerg", "fatal", "panic")


@pytest.fixture(scope="module")
def plugin() -> Native:
    return Native(CODE)


def kept(plugin: Native, *records: dict[str, Any]) -> list[bool]:
    """For each record whether it stays; those that do are byte for byte as they were."""
    entries = [entry(record) for record in records]
    answer = plugin.process(b"".join(entries))
    assert answer.mode < FAILED, answer.error
    if answer.mode == PASS:
        return [True] * len(entries)
    left = [one.raw for one in split(answer.block)]
    found = []
    for one in entries:
        stays = bool(left) and left[0] == one
        found.append(stays)
        left = left[stays:]
    assert left == []
    return found


def access(path: str, status: int, agent: str = "-", method: str = "GET") -> str:
    return f'10.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "{method} {path} HTTP/1.1" {status} 404 "-" "{agent}"'


def test_the_fixtures_come_out_as_they_should() -> None:
    told: list[str] = []

    assert check(PROJECT, told.append), "\n".join(told)


def test_the_built_file_is_what_the_sources_give_wherever_they_lie(tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "drop_noise"
    shutil.copytree(PROJECT, elsewhere, ignore=shutil.ignore_patterns("*.wasm"))
    manifest = Manifest.load(elsewhere)
    way = toolchain(elsewhere, manifest, recipe_for(elsewhere, manifest))
    ours = (plugin_section(CODE) or {}).get("built_with", "")
    if way is not None and compiler(elsewhere, manifest, way) != ours:
        pytest.skip(f"the committed file was built with {ours}")
    if way is None:
        pytest.skip("no toolchain for C")

    made = build(elsewhere, manifest, way).path.read_bytes()

    assert made == CODE


def test_it_wants_no_right_but_the_log() -> None:
    assert about(CODE).wants == ["log"]


@pytest.mark.parametrize("path", PATHS)
def test_a_health_check_goes_when_it_went_well_and_stays_when_it_did_not(plugin: Native, path: str) -> None:
    for status in (200, 204, 301, 302):
        records: list[dict[str, Any]] = [{"log": access(path, status)}, {"path": path, "status": status}]
        records.append({"url": path, "code": str(status)})
        assert kept(plugin, *records, {"request": f"GET {path} HTTP/1.1", "status": status}) == [False] * 4
    for status in (400, 404, 429, 500, 503):
        records = [{"log": access(path, status)}, {"path": path, "status": status}]
        records.append({"url": path, "code": str(status)})
        assert kept(plugin, *records, {"request": f"GET {path} HTTP/1.1", "status": status}) == [True] * 4


@pytest.mark.parametrize("path", ["/", "/healthy", "/healthz2", "/api/healthz", "/pings", "/statuses", "/metrics2", ""])
def test_other_paths_stay(plugin: Native, path: str) -> None:
    assert kept(plugin, {"log": access(path, 200)}, {"path": path, "status": 200}, {"uri": f"{path}?q=/healthz"}) == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_probe_is_known_by_its_name_as_long_as_it_only_looks(plugin: Native, agent: str) -> None:
    gone: list[dict[str, Any]] = [{"log": access("/", 200, agent)}, {"path": "/x", "status": 200, "user_agent": agent}]
    stays: list[dict[str, Any]] = [{"log": access("/", 500, agent)}, {"path": "/x", "status": 500, "user_agent": agent}]
    stays += [{"log": access("/", 200, agent, "POST")}, {"path": "/x", "method": "PUT", "agent": agent}, {"log": agent}]

    assert kept(plugin, *gone, *stays) == [False] * len(gone) + [True] * len(stays)


@pytest.mark.parametrize("level", GRAVE)
def test_nothing_grave_goes_however_it_says_so(plugin: Native, level: str) -> None:
    fields = [{name: level, "path": "/healthz", "status": 200} for name in ("level", "severity", "lvl", "log.level")]
    lines = [f"[{level}] GET /healthz 200", f"{level}: GET /healthz 200", f"level={level} msg=GET /healthz",
             f'{{"level":"{level}","msg":"GET /healthz 200"}}']  # fmt: skip
    lines += [f"2025-10-10T13:55:36Z {level.upper()} GET /healthz 200"]

    assert all(kept(plugin, *fields, *({"log": line} for line in lines)))


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Trace", "verbose"])
def test_debug_records_go_wherever_the_level_is_said(plugin: Native, level: str) -> None:
    fields = [{name: level, "msg": "x"} for name in ("level", "severity", "lvl", "loglevel", "log_level", "levelname")]
    lines = [f"[{level}] x", f"{level}: x", f'ts=1 level={level} msg="x"', f'{{"level":"{level}"}}', f"<{level}> x"]
    lines += [f"2025-10-10 13:55:36,001 {level.upper()} x", f"2025/10/10 13:55:36 [{level}] 1#1: x", level.upper()]

    found = kept(plugin, *fields, *({name: line} for line in lines for name in ("log", "message", "msg")))

    assert not any(found)


WORDS = st.sampled_from(
    (*GRAVE, *PATHS, *AGENTS, "debug", "DEBUG", "[TRACE]", "info", "level=debug", 'lvl="warn"', "GET", "HEAD", "POST",
     "|", '"', '"GET', 'HTTP/1.1"', "200", "404", "503", "2025-10-10", "13:55:36,001", "10.0.0.1", "[main]", "[", "]",
     "-", "{", '{"level":"debug"', "\x1b[3", "\x1b[31m", "\\", "x" * 70, "I1010", "D1", "=", "a=", 'a="', "", "é", "\0")
)  # fmt: skip
LINES = st.one_of(
    st.text(max_size=80), st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=6).map("".join)
)
NAMES = st.sampled_from(
    (
        "log",
        "message",
        "msg",
        "level",
        "severity",
        "PRIORITY",
        "path",
        "url",
        "request",
        "req",
        "res",
        "http",
        "status",
        "code",
        "method",
        "agent",
        "error",
        "headers",
        "other",
    )
)
VALUES = st.recursive(
    st.one_of(LINES, st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.binary(max_size=40)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_what_lies_behind_a_record_in_memory_does_not_matter(record: dict[str, Any]) -> None:
    plugin = shared()
    block = entry(record)

    answers = [
        plugin.process(block, behind)[:3] for behind in (b"", b'404" 503 error]', b"0000", b'"' * 80, b"\xff" * 80)
    ]

    assert answers[0][0] < FAILED
    assert answers == [answers[0]] * len(answers)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from(GRAVE), st.sampled_from(["level", "severity"]))
def test_a_grave_record_stays_whatever_else_is_in_it(record: dict[str, Any], level: str, name: str) -> None:
    assert kept(shared(), {**record, name: level}) == [True]


@settings(max_examples=200)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.integers(400, 599), st.sampled_from(["path", "url"]))
def test_a_failing_check_stays_whatever_else_is_in_it(record: dict[str, Any], status: int, name: str) -> None:
    debug = {key: value for key, value in record.items() if key not in ("level", "severity", "PRIORITY", "log", "msg")}
    debug.pop("message", None)

    assert kept(shared(), {**debug, name: "/healthz", "status": status}) == [True]


_SHARED: list[Native] = []


def shared() -> Native:
    """One instance for all examples: none of them may break it."""
    if not _SHARED:
        _SHARED.append(Native(CODE))
    return _SHARED[0]


def test_blocks_that_are_none_are_errors_and_never_traps(plugin: Native) -> None:
    draw = random.Random(5)
    records = [{"log": access(path, 200)} for path in PATHS] + [{"level": "debug", "req": {"url": "/ping"}, "res": {}}]
    good = b"".join(entry(record) for record in records)
    outcomes = set()

    for _ in range(3000):
        block = bytearray(good[: draw.randrange(1, len(good))] if draw.random() < 0.3 else good)
        for _ in range(draw.randrange(4)):
            block[draw.randrange(len(block))] = draw.randrange(256)
        answer = plugin.process(bytes(block))
        try:
            count = len(list(split(bytes(block))))
        except Malformed:
            assert answer.mode >= FAILED
        else:
            assert answer.mode >= FAILED or answer.n_in == count
        outcomes.add(answer.mode)

    assert outcomes == {0, 2, FAILED} or outcomes == {2, FAILED}
    assert kept(plugin, {"path": "/healthz"}, {"path": "/"}) == [False, True]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"paths": "/up"}, "config: paths: expected a list of strings"),
        ({"agents": [1]}, "config: agents: expected a list of strings"),
        ({"debug": "no"}, "config: debug: expected true or false"),
        ({"path": ["/up"]}, "config: path: unknown"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_and_says_why(config: dict[str, Any], why: str) -> None:
    settings_ = PluginConfig(path="drop_noise", config=config)

    with pytest.raises(PluginLoadError, match=why):
        program(CODE, settings_).instance(settings_, settings_.limits, Host("drop_noise", 0, tell=lambda *_: None))


def test_its_memory_stays_what_it_was_over_many_calls() -> None:
    plugin = Native(CODE)
    blocks = [entry({"log": access(path, 200, "x" * size)}) for path in PATHS for size in (1, 500)]
    plugin.many(blocks, 1000)
    before = plugin.guest.memory_bytes

    plugin.many(blocks, 20_000)

    assert plugin.guest.memory_bytes == before
