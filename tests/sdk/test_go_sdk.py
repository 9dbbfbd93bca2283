"""The SDK for Go: its template, what it can do beside, and what Go's runtime needs of the host."""

from __future__ import annotations

from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import PluginTrap
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.loader import about
from logllm.filters.native import program
from tests.sdk.abilities import Running, built, check_all
from tests.sdk.conformance import Native, check, entry
from tests.sdk.pages import PAGES, follow

GUEST = r"""
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	logllm "logllm/guest/sdk"
)

type settings struct {
	Text   string   `json:"text"`
	Number int64    `json:"number"`
	Share  float64  `json:"share"`
	On     bool     `json:"on"`
	Words  []string `json:"words"`
	None   []string `json:"none"`
}

var (
	config  = settings{"-", 7, 0.5, true, []string{"-"}, []string{"-"}}
	counted int64
	emitted bool
)

func init() {
	logllm.Filter(filter)
	logllm.OnConfig(func(text []byte) error {
		if bytes.Contains(text, []byte(":null")) {
			return errors.New("a setting is null")
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		return decoder.Decode(&config)
	})
	logllm.OnAnswer(func(ticket int32, text string) {
		logllm.Log(logllm.Info, fmt.Sprintf("%d: %s", ticket, text))
	})
	logllm.OnFlush(func(nowMs int64) {
		if emitted {
			logllm.Emit(8, 9, map[string]any{"flushed": nowMs})
		}
		emitted = false
	})
	logllm.OnSave(func() []byte {
		if counted == 0 {
			return nil
		}
		return strconv.AppendInt(nil, counted, 10)
	})
	logllm.OnLoad(func(state []byte) (err error) {
		counted, err = strconv.ParseInt(string(state), 10, 64)
		return err
	})
}

func main() {}

func kind(r *logllm.Record, name string) string {
	if !r.Has(name) {
		return "absent"
	}
	switch r.Get(name).(type) {
	case nil:
		return "nil"
	case string:
		return "string"
	case int64, uint64:
		return "int"
	case float64:
		return "float"
	case bool:
		return "boolean"
	case map[string]any:
		return "map"
	case []any:
		return "array"
	case []byte:
		return "binary"
	}
	return "?"
}

func count(unexpected bool) int {
	if unexpected {
		return 1
	}
	return 0
}

func read(r *logllm.Record) {
	var kinds []string
	wrong := 0
	for at, name := range []string{"s", "i", "u", "f", "b", "n", "k", "list", "bin", "no"} {
		kinds = append(kinds, kind(r, name))
		_, isInt := r.GetInt(name)
		_, isBool := r.GetBool(name)
		_, isString := r.GetString(name)
		_, isFloat := r.GetFloat(name)
		wrong += count(isInt && at != 1) + count(isBool && at != 4) + count(isString && at != 0)
		wrong += count(isFloat && (at < 1 || at > 3))
	}
	wrong += count(r.Has("s", "x")) + count(r.Has("k", "no", "a")) + count(r.Has()) + count(r.Get("k", "no") != nil)
	list := r.Get("list").([]any)
	k := r.Get("k").(map[string]any)
	text, _ := r.GetString("s")
	number, _ := r.GetInt("i")
	share, _ := r.GetFloat("f")
	whole, _ := r.GetFloat("i")
	large, _ := r.GetFloat("u")
	yes, _ := r.GetBool("b")
	deep, _ := r.GetString("k", "l", "a")
	binary, _ := r.GetBytes("bin")
	r.SetString("string", text)
	r.Set("int", number)
	r.Set("float", share)
	r.Set("int_as_float", whole)
	r.Set("large_as_float", large)
	r.Set("boolean", !yes)
	r.Set("path", deep)
	r.Set("item", list[1])
	r.Set("lengths", len(k)+len(list)+len(k["l"].(map[string]any))+len(list[2].(map[string]any)))
	r.Set("binary", len(binary))
	r.Set("kinds", strings.Join(kinds, " "))
	r.Set("wrong", wrong)
}

func filter(r *logllm.Record) bool {
	what, _ := r.GetString("do")
	switch what {
	case "read":
		read(r)
	case "number":
		r.Set("copy", r.Get("v"))
	case "text":
		r.Set("copy", r.Get("v"))
	case "edit":
		if len(r.Names()) != 6 {
			panic("miscounted")
		}
		k := r.Get("k").(map[string]any)
		k["a"], k["c"] = "changed", true
		delete(k, "b")
		r.Set("k", k)
		r.Delete("gone")
		r.Rename("old", "new")
		r.Rename("nothing", "k")
		r.Set("last", nil)
		r.Set("raw", map[string]any{"x": []any{1.5, false}})
	case "again":
		r.Set("a", 1)
		r.Set("a", uint32(2))
		seen, _ := r.GetInt("a")
		r.Set("seen", seen)
		r.Set("a", 3)
	case "doubles":
		r.Set("a", 7)
		r.Delete("b")
		r.Rename("c", "d")
	case "where":
		seconds, nanoseconds := r.Time()
		r.Set("seconds", seconds)
		r.Set("nanoseconds", nanoseconds)
		r.SetString("tag", r.Tag())
		if service, ok := r.Metadata()["s"]; ok {
			r.Set("service", service)
		}
	case "host":
		long, _ := r.GetString("long")
		random := make([]byte, 16)
		logllm.Log(logllm.Warning, "n=5 \u00e9")
		logllm.Metric("seen", 5)
		logllm.Metric("seen", -2)
		logllm.Anomaly(0.75, logllm.Odd{Rule: "odd", Text: "a \"b\"\n"})
		logllm.KVSet("key", long)
		kept, _ := logllm.KVGet("key")
		ticket, _ := logllm.Ask("why?")
		if !logllm.Random(random) || bytes.Equal(random, make([]byte, 16)) {
			panic("no random bytes")
		}
		r.Set("now", logllm.Now())
		r.SetString("kept", kept)
		r.Set("ticket", ticket)
		r.Set("n", len(random))
	case "absent":
		_, ok := logllm.KVGet("none")
		r.Set("kept", ok)
		r.Set("room", logllm.KVSet("large", strings.Repeat("x", 2000)))
	case "emit", "emit and drop":
		logllm.Emit(8, 9, map[string]any{"emitted": []any{true, "x"}})
		if what == "emit and drop" {
			emitted = true
			return false
		}
		logllm.Emit(8, 9, map[string]any{"emitted": []any{true, "x"}})
	case "fail":
		panic(errors.New("on purpose"))
	case "count":
		counted++
		r.Set("count", counted)
	case "config":
		r.SetString("text", config.Text)
		r.Set("number", config.Number)
		r.Set("share", config.Share)
		r.Set("on", config.On)
		r.Set("words", config.Words)
		r.Set("none", config.None)
	}
	return true
}
"""

CARELESS = r"""
package main

import logllm "logllm/guest/sdk"

var kept = map[string]int{}

func init() { logllm.Filter(filter) }

func main() {}

func filter(r *logllm.Record) bool {
	level, _ := r.GetString("level")
	kept[level]++
	everything := r.Get("nested")
	r.Set("copy", everything)
	list, _ := everything.([]any)
	r.Set("third", list[2])
	r.Set("seen", kept[level])
	return true
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


@pytest.fixture(scope="module")
def template(folder: Path) -> bytes:
    return built(folder, "go", name="hello")


@pytest.fixture(scope="module")
def careless(folder: Path) -> bytes:
    return built(folder / "careless", "go", ("main.go", CARELESS))


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check(template, "hello")


def test_everything_else_the_package_offers_works(folder: Path) -> None:
    check_all(built(folder, "go", ("main.go", GUEST)))


def test_the_template_asks_for_no_rights_and_is_built_alike_anywhere(template: bytes, tmp_path: Path) -> None:
    again = built(tmp_path / "another" / "place", "go", name="hello")

    assert again == template
    assert about(template).wants == []
    assert {one.partition(".")[0] for one in about(template).imports} == {"wasi_snapshot_preview1"}


def test_the_real_host_runs_it_without_a_clock_within_ten_mebibytes(template: bytes) -> None:
    config = PluginConfig(path="hello.wasm", grants=[])
    block = b"".join(entry({"level": level, "log": "x" * 200}) for level in ("info", "error", "debug")) * 1000
    instance = program(template, config).instance(config, Limits(), Host("hello", 0))

    made = instance.process("app", block, 3000, 5000)

    assert (made.count, made.dropped) == (2000, 1000)
    assert instance.memory_bytes < 10 << 20
    instance.close()


def test_a_panic_names_the_record_and_the_instance_goes_on(careless: bytes) -> None:
    plugin = Native(careless)
    good = entry({"level": "info", "nested": [1, 2, {"a": 3}]})

    answer = plugin.process(good + entry({"level": "info", "nested": [1]}) + good)

    assert answer.mode >= 0xFFFF_FF00
    assert answer.error == "record 1: runtime error: index out of range [2] with length 1"
    block = plugin.process(good).block
    assert msgpack.unpackb(block)[1]["third"] == {"a": 3}


def test_garbage_of_the_filters_own_is_collected(careless: bytes) -> None:
    plugin = Native(careless)
    blocks = [entry({"level": "info", "nested": ["x" * 50] * 10}) * 100]
    plugin.many(blocks, 300)
    before = plugin.guest.memory_bytes

    plugin.many(blocks, 1000)

    assert plugin.guest.memory_bytes == before


def test_what_is_nested_deeper_than_anybody_looks_does_not_overflow_the_stack(careless: bytes) -> None:
    deep = b"\x91" * 100_000 + b"\xc0"
    record = b"\x81\xa6nested\x93\x01\x02" + deep
    plugin = Native(careless)

    answer = plugin.process(entry(record))

    assert answer.mode == 2
    assert answer.block.count(deep[-1000:]) >= 1


def test_a_block_beyond_its_memory_is_a_counted_failure(template: bytes) -> None:
    config = PluginConfig(path="hello.wasm")
    instance = program(template, config).instance(config, Limits(memory_bytes=16 << 20), Host("hello", 0))

    with pytest.raises(PluginTrap) as caught:
        instance.process("app", entry({"log": "x" * (20 << 20)}), 1, 5000)

    assert caught.value.reason in ("exit", "trap", "memory")


def test_a_filter_that_counts_keeps_its_counts_between_calls(careless: bytes) -> None:
    running = Running(careless, {})

    seen = [running.one({"level": "info", "nested": [1, 2, 3]})["seen"] for _ in range(3)]

    assert seen == [1, 2, 3]


def test_the_page_leads_from_nothing_to_records_changed_in_tail(template: bytes, tmp_path: Path) -> None:
    said = follow("go.md", tmp_path)

    assert '{"log":"payment refused order=17","service":"checkout"}\n' in said[-2]
    assert '{"log":"payment refused order=17","service":"checkout"}\n' in (PAGES / "go.md").read_text()
    assert "shop: 3 in, 2 out, 1 dropped" in said[-1]
    assert {"checkout", "catalogue"} <= set(said[-1].split())
