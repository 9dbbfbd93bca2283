"""The SDK for AssemblyScript: its template, what it can do beside, and that the collector runs where it may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import PluginTrap
from logllm.filters.loader import about
from tests.sdk.abilities import Running, built, check_all
from tests.sdk.conformance import Native, check, entry
from tests.sdk.memory import check_buffers
from tests.sdk.node import install_node_modules
from tests.sdk.pages import PAGES, follow

GUEST = r"""
import {
  Entry, INFO, NONE, Names, Record, Value, WARNING, anomaly, ask, fail, json, kvGet, kvSet, log, metric, now, random,
} from "../sdk/logllm";

let text = "-";
let number: i64 = 7;
let share: f64 = 0.5;
let on = true;
let words = ["-"];
let none = ["-"];
let counted: i64 = 0;
let emitted = false;

export function configure(config: Value): string | null {
  let key = config.length ? config.first() : config;
  for (let left = config.length; left; left--) {
    const value = key.next();
    let right = true;
    if (key.is("text") && value.isText) text = value.text()!;
    else if (key.is("number") && value.isInt) number = value.int();
    else if (key.is("share") && (value.isFloat || value.isInt)) share = value.float();
    else if (key.is("on") && value.isBool) on = value.bool();
    else if (key.is("words") && value.isList) right = strings(value, (words = []));
    else if (key.is("none") && value.isList) right = strings(value, (none = []));
    else right = false;
    if (!right) return `${key.text()!} is wrong`;
    key = value.next();
  }
  return null;
}

function strings(list: Value, to: string[]): bool {
  for (let i = 0; i < list.length; i++) {
    if (!list.at(i).isText) return false;
    to.push(list.at(i).text()!);
  }
  return true;
}

export function onAnswer(ticket: i32, text: string): void {
  log(INFO, `${ticket}: ${text}`);
}

export function onFlush(now: i64): void {
  if (emitted) new Entry(8, 9).set("flushed", now).emit();
  emitted = false;
}

export function onSave(): string | null {
  return counted ? counted.toString() : null;
}

export function onLoad(state: string): bool {
  counted = I64.parseInt(state);
  return counted > 0;
}

function kind(value: Value): string {
  if (!value.exists) return "absent";
  if (value.isNil) return "nil";
  if (value.isText) return "string";
  if (value.isInt) return "int";
  if (value.isFloat) return "float";
  if (value.isBool) return "boolean";
  if (value.isMap) return "map";
  return value.isList ? "array" : value.isBinary ? "binary" : "?";
}

function read(r: Record): void {
  const names = ["s", "i", "u", "f", "b", "n", "k", "list", "bin", "no"];
  const kinds: string[] = [];
  let wrong = 0;
  for (let at = 0; at < names.length; at++) {
    kinds.push(kind(r.get(names[at])));
    if (r.getInt(names[at], -77) != -77 && at != 1) wrong++;
    if (r.getBool(names[at]) != r.getBool(names[at], true) ? at == 4 : at != 4) wrong++;
    if (r.getString(names[at]) != null && at != 0) wrong++;
    if (!isNaN(r.getFloat(names[at])) && (at < 1 || at > 3)) wrong++;
  }
  const list = r.get("list");
  const k = r.get("k");
  if (r.get("s").get("x").exists || k.at(0).exists || k.get("no").get("a").exists || list.at(3).exists) wrong++;
  if (list.at(-1).exists || r.has("no") || NONE.exists || NONE.length) wrong++;
  const length = k.length + list.length + k.get("l").length + list.at(2).length + r.get("s").length;
  r.set("string", r.getString("s"));
  r.set("int", r.getInt("i"));
  r.set("float", r.getFloat("f"));
  r.set("int_as_float", r.getFloat("i"));
  r.set("large_as_float", r.getFloat("u"));
  r.set("boolean", !r.getBool("b"));
  r.set("path", k.get("l").get("a"));
  r.set("item", list.at(1));
  r.set("lengths", length);
  r.set("binary", r.get("bin").bytes()!.byteLength);
  r.set("kinds", kinds.join(" "));
  r.set("wrong", wrong);
}

export function filter(r: Record): bool {
  const what = r.getString("do");
  if (what == "read") read(r);
  else if (what == "number") {
    if (r.get("v").int(1) == r.get("v").int(2)) r.set("copy", r.getInt("v"));
    else r.set("copy", r.get("v"));
  } else if (what == "text") r.set("copy", r.getString("v"));
  else if (what == "edit") {
    let names = 0;
    for (let i = 0; i < r.length; i++) if (r.get(r.nameAt(i)).equals(r.valueAt(i))) names++;
    if (names != 6) fail("miscounted");
    const changed = r.get("k").with("a", "changed").with("b", 0).with("c", true);
    r.set("k", changed.without(new Names(["b"])));
    r.delete("gone");
    r.rename("old", "new");
    r.rename("nothing", "k");
    r.setNull("last");
    r.set("raw", json('{"x": [1.5, false]}'));
  } else if (what == "again") {
    r.set("a", 1);
    r.set<u8>("a", 2);
    r.set("seen", r.getInt("a"));
    r.set<f32>("a", 3.5);
    r.set<i64>("a", 3);
  } else if (what == "doubles") {
    r.set("a", 7);
    r.delete("b");
    r.rename("c", "d");
  } else if (what == "where") {
    r.set("seconds", r.seconds);
    r.set("nanoseconds", r.nanoseconds);
    r.set("tag", r.tag);
    const service = r.metadata.get("s");
    if (service.exists) r.set("service", service);
  } else if (what == "host") {
    log(WARNING, "n=5 \u00e9");
    metric("seen", 5);
    metric("seen", -2);
    anomaly(0.75, "odd", 'a "b"\n');
    kvSet("key", r.getString("long")!);
    r.set("now", now());
    r.set("kept", kvGet("key"));
    r.set("ticket", ask("why?"));
    r.set("n", random() != random() ? 16 : 0);
  } else if (what == "absent") {
    r.set("kept", kvGet("none") != null);
    r.set("room", kvSet("large", "x".repeat(2000)));
  } else if (what == "emit" || what == "emit and drop") {
    const both = json('[true, "x"]');
    new Entry(8, 9).set("emitted", both).emit();
    emitted = what == "emit and drop";
    if (emitted) return false;
    new Entry(8, 9).set("emitted", both).emit();
  } else if (what == "fail") fail("on purpose");
  else if (what == "count") r.set("count", ++counted);
  else if (what == "config") {
    r.set("text", text);
    r.set("number", number);
    r.set("share", share);
    r.set("on", on);
    r.set("words", words);
    r.set("none", none);
  }
  return true;
}
"""

CARELESS = r"""
import { Record, json } from "../sdk/logllm";

const counts = new Map<string, i32>();
let last: string[] = [];

export function filter(r: Record): bool {
  const text = r.getString("json");
  if (text != null) {
    const parsed = json(text);
    if (parsed.exists) r.set("parsed", parsed);
    return true;
  }
  const level = r.getString("level")!;
  counts.set(level, (counts.has(level) ? counts.get(level) : 0) + 1);
  last.push(r.getString("caf\u00e9 \u{1f600}")! + "!");
  if (last.length > 10) last = last.slice(5);
  r.set("caf\u00e9", last.join(","));
  r.set("caf\u00e9 \u{1f600}", counts.get(level));
  return true;
}
"""


@pytest.fixture(scope="module", autouse=True)
def node_modules() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGLLM_NODE_MODULES", str(install_node_modules("assemblyscript")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assemblyscript")


@pytest.fixture(scope="module")
def template(folder: Path) -> bytes:
    return built(folder, "assemblyscript", name="hello")


@pytest.fixture(scope="module")
def careless(folder: Path) -> bytes:
    return built(folder / "careless", "assemblyscript", ("src/filter.ts", CARELESS))


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check(template, "hello")


def test_everything_else_the_sdk_offers_works(folder: Path) -> None:
    check_all(built(folder, "assemblyscript", ("src/filter.ts", GUEST)))


def test_the_template_imports_nothing_and_is_built_alike_anywhere(template: bytes, tmp_path: Path) -> None:
    again = built(tmp_path / "another" / "place", "assemblyscript", name="hello")

    assert again == template
    assert list(about(template).imports) == []
    assert len(template) < 20_000


def test_a_block_for_which_there_is_no_memory_is_an_error_and_the_next_one_goes_on(template: bytes) -> None:
    check_buffers(template)


def test_what_a_filter_keeps_lives_on_and_what_it_leaves_is_collected(careless: bytes) -> None:
    running = Running(careless, {})
    plugin = Native(careless)
    block = entry({"level": "info", "caf\u00e9 \U0001f600": "x" * 300}) * 500
    plugin.many([block], 100)
    before = plugin.guest.memory_bytes

    plugin.many([block], 2000)
    made = [running.one({"level": "info", "caf\u00e9 \U0001f600": f"number {at}"}) for at in range(20_000)]

    assert plugin.guest.memory_bytes == before
    assert [one["caf\u00e9 \U0001f600"] for one in made] == list(range(1, 20_001))
    assert made[2]["caf\u00e9"] == "number 0!,number 1!,number 2!"
    assert made[-1]["caf\u00e9"].endswith("number 19998!,number 19999!")


def test_a_filter_that_fails_an_assertion_traps_and_another_instance_goes_on(careless: bytes) -> None:
    plugin, other = Native(careless), Native(careless)

    with pytest.raises(PluginTrap):
        plugin.process(entry({"no level": 1}))

    answer = other.process(entry({"level": "info", "caf\u00e9 \U0001f600": "a"}))
    assert msgpack.unpackb(answer.block)[1]["caf\u00e9"] == "a!"


def test_json_is_read_as_it_is_written_and_what_is_none_is_not_there(careless: bytes) -> None:
    running = Running(careless, {})
    right = [
        '{"a":[1,-2,3.5e3,{}],"b":{"c":null}}',
        "[]",
        " { } ",
        '"\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/"',
        "true",
        "-9e99",
    ]
    right += [
        "[" * 90 + "]" * 90,
        "[18446744073709551615, 18446744073709551616, -9223372036854775808, 0]",
        "[" + "1," * 70_000 + "1]",
        '{"":""}',
    ]
    wrong = [
        "",
        "{",
        "[",
        '"',
        "[1",
        "[1 2]",
        "[,]",
        "[1,]",
        '{"a"}',
        '{"a":}',
        "{1:2}",
        "tru",
        "nulll",
        "x",
        "1 2",
        "]",
    ]
    wrong += ["[" * 200 + "]" * 200, '"\\', '"\\u', '{"a":1']

    parsed = [running.one({"json": text})["parsed"] for text in right]

    assert parsed == [json.loads(text) for text in right]
    for text in wrong:
        assert "parsed" not in running.one({"json": text}), text


def test_the_page_leads_from_nothing_to_records_changed_in_tail(template: bytes, tmp_path: Path) -> None:
    said = follow("assemblyscript.md", tmp_path)

    assert '{"log":"payment refused order=17","service":"checkout"}\n' in said[-2]
    assert '{"log":"payment refused order=17","service":"checkout"}\n' in (PAGES / "assemblyscript.md").read_text()
    assert "shop: 3 in, 2 out, 1 dropped" in said[-1]
    assert {"checkout", "catalogue"} <= set(said[-1].split())
