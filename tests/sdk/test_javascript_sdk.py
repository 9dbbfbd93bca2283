"""The SDK for JavaScript: its template, what it can do beside, and what it may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.config import Limits
from logllm.filters.loader import about
from logllm.filters.sections import sections
from tests.sdk.components import Running, built, check_abilities, check_page, check_template
from tests.sdk.node import install_node_modules

GUEST = r"""
import * as logllm from "./sdk/logllm.js";
import { shout } from "./words.js";

export function init(config) {
  if (config.bad) throw new Error("a bad\nconfig");
  logllm.log("ready");
  console.log("printed", config);
}

export function filter(record, tag, time) {
  const what = record.do;
  if (what === "drop") return null;
  if (what === "now") record.now = logllm.now();
  if (what === "clock") record.clock = Date.now();
  if (what === "time") Object.assign(record, { tag, time: Math.floor(time) });
  if (what === "kv") {
    record.n = Number(logllm.kvGet("n") ?? 0) + 1;
    record.ok = logllm.kvSet("n", record.n);
  }
  if (what === "kv-full") record.ok = logllm.kvSet("large", "x".repeat(5000));
  if (what === "metric") logllm.metric("seen", -3);
  if (what === "anomaly") logllm.anomaly("odd", "größer", { score: 0.5, service: "s", severity: 17 });
  if (what === "ask") record.ticket = logllm.ask("why?");
  if (what === "half") record.x = "\ud800\0\n";
  if (what === "change") record.changed = true;
  if (what === "raise") throw new Error("no\ngood \ud800");
  if (what === "list") return [record];
  if (what === "recurse") throw new RangeError("in JavaScript that is a trap: see below");
  if (what === "hungry") for (const many = []; ; ) many.push(new Uint8Array(1 << 20));
  if (what === "shout") record.x = shout("hello");
  if (what === "number") record.i = record.i + 1;
  if (what === "text") record.toJSON = () => "x";
  if (what === "nothing at all") record.toJSON = () => undefined;
  if (what === "number thrown") throw 7;
  if (what === "nothing thrown") throw undefined;
  if (what === "level") logllm.log("x", "loud");
  if (what === "date") record.x = new Date().toISOString();
  if (what === "loop") for (;;);
  if (what === "deep") {
    const down = () => down() + 1;
    down();
  }
  return record;
}

export function answer(ticket, text) {
  if (text === "boom") throw new Error(text);
  logllm.log(`${ticket}: ${text}`, "warning");
}
"""
GRANTED = ("log", "clock", "kv", "metric", "anomaly", "ask")


@pytest.fixture(scope="module", autouse=True)
def node_modules() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGLLM_NODE_MODULES", str(install_node_modules("javascript")))
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return built(tmp_path_factory.mktemp("template"), "javascript")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {"words.js": "export const shout = (text) => text.toUpperCase();\n"}
    return built(tmp_path_factory.mktemp("guest"), "javascript", GUEST, GRANTED, files)


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check_template(template, "javascript")


def test_the_page_on_it_says_what_works(template: bytes, tmp_path: Path) -> None:
    check_page(Path(__file__).parents[2] / "docs/plugins/javascript.md", tmp_path, template)


def test_everything_else_the_sdk_offers_works(guest: bytes) -> None:
    check_abilities(Running(guest, {"a": 1}))


def test_a_filter_imports_what_its_grants_name_and_nothing_else(template: bytes, guest: bytes) -> None:
    assert about(template).imports == ["log"]
    assert set(about(guest).wants) == set(GRANTED)


def test_a_configuration_that_init_throws_at_is_refused(guest: bytes) -> None:
    with pytest.raises(PluginLoadError, match=r"refused its configuration: Error: a bad config \(filter.js, line"):
        Running(guest, {"bad": 1})


def test_a_filter_may_be_of_several_files(guest: bytes) -> None:
    assert Running(guest).does("shout") == {"do": "shout", "x": "HELLO"}


def test_the_systems_clock_is_the_hosts(guest: bytes) -> None:
    assert Running(guest).does("clock") == {"do": "clock", "clock": 1_700_000_000_123}


def test_a_number_the_filter_did_change_is_the_one_it_made(guest: bytes) -> None:
    made = Running(guest).does("number", i=1.0, other=2.0, huge=2**63 + 1)

    assert made == {"do": "number", "i": 2, "other": 2.0, "huge": 2**63 + 1}
    assert isinstance(made["other"], float)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("text", "its line for a record is no JSON object"),
        ("nothing at all", "filter returned what JSON has no form for"),
        ("number thrown", "7"),
        ("nothing thrown", "undefined"),
        ("level", "no level loud; expected debug, info, warning, error"),
    ],
)
def test_what_is_wrong_with_one_record_costs_that_record(guest: bytes, do: str, words: str) -> None:
    assert words in Running(guest).fails(do)


def test_what_was_not_granted_at_the_build_is_named_when_it_is_called(template: bytes, tmp_path: Path) -> None:
    source = 'import { ask } from "./sdk/logllm.js";\nexport const filter = (record) => { ask("x"); return record; };\n'
    running = Running(built(tmp_path, "javascript", source))

    with pytest.raises(PluginTrap, match=r'ask needs "ask" in the grants of plugin.toml, and a new build'):
        running.does("anything")


@pytest.mark.parametrize(("do", "reason"), [("loop", "timeout"), ("date", "trap"), ("deep", "stack")])
def test_what_ends_the_instance_is_a_trap_and_a_new_one_works(guest: bytes, do: str, reason: str) -> None:
    running = Running(guest, limits=Limits(time_ms=100 if do == "loop" else 20_000))

    with pytest.raises(PluginTrap) as trap:
        running.does(do)

    assert trap.value.reason == reason
    assert Running(guest).does("change") == {"do": "change", "changed": True}


def test_what_answer_throws_is_logged_and_ends_the_instance(guest: bytes) -> None:
    running = Running(guest)

    with pytest.raises(PluginTrap):
        running.instance.answer(1, "boom")

    assert (40, True) in [(level, line.startswith("Error: boom (filter.js")) for level, line in running.lines]


def test_a_filter_that_exports_no_filter_is_told_at_the_build(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"filter.js exports no function filter"):
        built(tmp_path, "javascript", "export function filtre(record) { return record; }\n")


def test_the_file_is_small_and_holds_no_word_of_where_it_was_built(template: bytes) -> None:
    named = {section.name for section in sections(template) if section.kind == 0}

    assert named == {"logllm.plugin", "logllm.sources"}
    assert b"logllm-build" not in template
    assert b"pytest-of" not in template
    assert len(template) < 1_500_000
