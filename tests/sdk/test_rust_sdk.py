"""The SDK for Rust: its template, what it can do beside, how large what it builds is, and the page that teaches it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from logllm.filters.loader import about
from tests.sdk.abilities import Running, built, check_all
from tests.sdk.conformance import Native, check, entry
from tests.sdk.memory import check_buffers
from tests.sdk.pages import PAGES, follow, pieces

GUEST = r"""
#[path = "../sdk/logllm.rs"]
mod logllm;

use logllm::{Action, Anomaly, Batch, Config, Level, Plugin, Record, Time, Value};

logllm::plugin!(Guest);

#[derive(Default)]
struct Guest {
    text: String,
    number: i64,
    share: f64,
    on: bool,
    words: Vec<String>,
    none: Vec<String>,
    counted: u32,
    emitted: bool,
}

const NEW: Time = Time { seconds: 8, nanoseconds: 9 };

fn dash() -> Vec<String> {
    vec!["-".to_string()]
}

fn kind(value: Option<Value>) -> &'static str {
    match value {
        None => "absent",
        Some(Value::Nil) => "nil",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Int(_) | Value::UInt(_)) => "int",
        Some(Value::Float(_)) => "float",
        Some(Value::Str(_)) => "string",
        Some(Value::Bytes(_)) => "binary",
        Some(Value::Array(_)) => "array",
        Some(Value::Map(_)) => "map",
        Some(Value::Ext(..)) => "ext",
    }
}

fn read(record: &mut Record) -> Option<()> {
    let names = ["s", "i", "u", "f", "b", "n", "k", "list", "bin", "no"];
    let kinds: Vec<&str> = names.iter().map(|name| kind(record.get(name))).collect();
    let mut wrong = 0;
    for (at, name) in names.iter().enumerate() {
        wrong += (record.str(name).is_some() != (at == 0)) as u32;
        wrong += (record.int(name).is_some() != (at == 1)) as u32;
        wrong += (record.float(name).is_some() != (1..=3).contains(&at)) as u32;
        wrong += (record.bool(name).is_some() != (at == 4)) as u32;
        wrong += (record.bytes(name).is_some() != (at == 0 || at == 8)) as u32;
        wrong += (record.has(name) != (at < 9)) as u32;
    }
    for path in [&["k", "no", "a"][..], &["s", "x"], &["list", "three"], &[]] {
        wrong += record.at(path).is_some() as u32;
    }
    let (map, list) = (record.get("k")?.as_map()?, record.get("list")?.as_array()?);
    let lengths = map.len() + list.len() + map.get("l")?.as_map()?.count() + list.last()?.as_map()?.len();
    wrong += (record.iter().count() != record.len()) as u32;
    wrong += (record.metadata().is_some() || record.is_empty()) as u32;
    record.set("string", record.str("s")?);
    record.set("int", record.int("i")?);
    record.set("float", record.float("f")?);
    record.set("int_as_float", record.float("i")?);
    record.set("large_as_float", record.float("u")?);
    record.set("boolean", !record.bool("b")?);
    record.set("path", record.at(&["k", "l", "a"])?);
    record.set("item", { list }.nth(1)?);
    record.set("lengths", lengths);
    record.set("binary", record.bytes("bin")?.len());
    record.set("kinds", kinds.join(" "));
    record.set("wrong", wrong);
    Some(())
}

impl Plugin for Guest {
    fn new(config: Config) -> Result<Self, String> {
        config.only(&["text", "number", "share", "on", "words", "none"])?;
        Ok(Guest {
            text: config.str("text")?.unwrap_or_else(|| "-".to_string()),
            number: config.int("number")?.unwrap_or(7),
            share: config.float("share")?.unwrap_or(0.5),
            on: config.bool("on")?.unwrap_or(true),
            words: config.list("words")?.unwrap_or_else(dash),
            none: config.list("none")?.unwrap_or_else(dash),
            ..Guest::default()
        })
    }

    fn filter(&mut self, record: &mut Record) -> Action {
        let what = record.str("do").unwrap_or("");
        match what {
            "read" => drop(read(record)),
            "number" => match record.get("v") {
                Some(Value::Int(number)) => record.set("copy", number),
                Some(Value::UInt(number)) => record.set("copy", number),
                _ => {}
            },
            "text" => record.set("copy", record.str("v")),
            "edit" => {
                record.set_at(&["k", "a"], "changed");
                record.remove_at(&["k", "b"]);
                record.set_at(&["k", "c"], true);
                record.remove("gone");
                record.rename("old", "new");
                record.rename("nothing", "k");
                record.set("last", ());
                record.set_at(&["raw", "x"], vec![Value::Float(1.5), Value::Bool(false)]);
            }
            "again" => {
                record.set("a", 1);
                record.set("a", 2);
                record.set("seen", record.int("a"));
                record.set("a", 3);
            }
            "doubles" => {
                record.set("a", 7);
                record.remove("b");
                record.rename("c", "d");
            }
            "where" => {
                record.set("seconds", record.time().seconds);
                record.set("nanoseconds", record.time().nanoseconds);
                record.set("tag", record.tag());
                if let Some(service) = record.metadata().and_then(|map| map.get("s")) {
                    record.set("service", service);
                }
            }
            "host" => {
                logllm::log(Level::Warning, &format!("n={} \u{e9}", 5));
                logllm::metric("seen", 5);
                logllm::metric("seen", -2);
                let odd = Anomaly { score: 0.75, rule: "odd", text: "a \"b\"\n", service: "cart", severity: 17 };
                logllm::anomaly(odd);
                logllm::kv_set("key", record.bytes("long").unwrap_or_default());
                record.set("now", logllm::now_ms());
                record.set("kept", logllm::kv_get("key").and_then(|kept| String::from_utf8(kept).ok()));
                record.set("ticket", logllm::ask("why?"));
                record.set("n", if logllm::random(&mut [0; 16]) { 16 } else { -1 });
            }
            "absent" => {
                record.set("kept", logllm::kv_get("none").is_some());
                record.set("room", logllm::kv_set("large", &[1; 2000]));
            }
            "emit" | "emit and drop" => {
                self.emitted = true;
                let fill = |new: &mut Record| new.set("emitted", vec![Value::Bool(true), Value::Str("x")]);
                record.emit(NEW, fill);
                if what != "emit" {
                    return Action::Drop;
                }
                record.emit(NEW, fill);
            }
            "fail" => return Action::Fail("on purpose".to_string()),
            "panic" => {
                logllm::log_panics();
                let none: Option<u32> = record.int("absent").map(|_| 1);
                record.set("never", none.expect("no number"));
            }
            "count" => {
                self.counted += 1;
                record.set("count", self.counted);
            }
            "shout" => record.rewrite(&mut Shout),
            "config" => {
                record.set("text", &self.text);
                record.set("number", self.number);
                record.set("share", self.share);
                record.set("on", self.on);
                record.set("words", &self.words);
                record.set("none", &self.none);
            }
            _ => {}
        }
        Action::Keep
    }

    fn flush(&mut self, now_ms: i64, out: &mut Batch) {
        if std::mem::take(&mut self.emitted) {
            out.add(NEW, |record| record.set("flushed", now_ms));
        }
    }

    fn answer(&mut self, ticket: u32, text: &str) {
        logllm::log(Level::Info, &format!("{}: {}", ticket, text));
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.counted).filter(|&counted| counted > 0).map(|counted| counted.to_string().into_bytes())
    }

    fn load(&mut self, state: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(state).map_err(|error| error.to_string())?;
        self.counted = text.parse().map_err(|_| "no number".to_string())?;
        Ok(())
    }
}

struct Shout;

impl logllm::Texts for Shout {
    fn enter(&mut self, name: &[u8]) -> bool {
        name != b"do" && name != b"quiet"
    }

    fn text(&mut self, name: &[u8], text: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&text.to_ascii_uppercase());
        !text.is_empty()
    }
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rust")


@pytest.fixture(scope="module")
def template(folder: Path) -> bytes:
    return built(folder, "rust", name="hello")


@pytest.fixture(scope="module")
def guest(folder: Path) -> bytes:
    return built(folder, "rust", ("src/lib.rs", GUEST))


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check(template, "hello")


def test_everything_else_the_sdk_offers_works(guest: bytes) -> None:
    check_all(guest)


def test_the_template_imports_nothing_is_small_and_is_built_alike_anywhere(template: bytes, tmp_path: Path) -> None:
    again = built(tmp_path / "another" / "place", "rust", name="hello")

    assert again == template
    assert about(template).imports == []
    assert len(template) < 32 << 10


def test_texts_at_any_depth_are_rewritten_and_names_stay(guest: bytes) -> None:
    deep: object = "end"
    for _ in range(200):
        deep = [{"d": deep}, "x"]

    made = Running(guest).one(
        {"do": "shout", "a": "b", "quiet": {"a": "b"}, "l": ["x", {"k": "y", "quiet": "z"}, b"bin", 5], "e": "",
         "deep": deep, "long": "n" * 70_000, "map": {1: "one", "k": {}}, "after": "all"}
    )  # fmt: skip

    assert made["a"] == "a: B"
    assert made["quiet"] == {"a": "b"}
    assert made["l"] == ["l: X", {"k": "k: Y", "quiet": "z"}, b"l: BIN", 5]
    assert made["e"] == ""
    assert made["long"] == "long: " + "N" * 70_000
    assert made["map"] == {1: ": ONE", "k": {}}
    assert made["after"] == "after: ALL"
    assert json.dumps(made["deep"]).count("d: X") == 199
    assert "d: END" in json.dumps(made["deep"])


def test_a_panic_says_in_the_log_what_and_where_it_was(guest: bytes) -> None:
    running = Running(guest)

    with pytest.raises(Exception, match="unreachable"):
        running.one({"do": "panic"})

    assert "src/lib.rs" in running.lines[-1][1]
    assert "no number" in running.lines[-1][1]
    assert str(Path.home()) not in running.lines[-1][1]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('Some("debug")', 'Some("info")'),
        ("return Action::Drop", "return Action::Keep"),
        ('"seen_by"', '"seen_bye"'),
        ('record.str("level")', 'record.str("log")'),
        ("    Action::Keep\n", '    record.rename("n", "n2");\n    Action::Keep\n'),
        ("    Action::Keep\n", "    std::mem::forget(vec![1u8; 64]);\n    Action::Keep\n"),
    ],
)
def test_a_template_that_is_a_little_wrong_does_not_pass(
    template: bytes, folder: Path, tmp_path: Path, right: str, wrong: str
) -> None:
    source = (folder / "hello" / "src" / "lib.rs").read_text(encoding="utf-8")
    assert right in source
    code = built(tmp_path, "rust", ("src/lib.rs", source.replace(right, wrong)), name="hello")

    with pytest.raises(AssertionError):
        check(code, "hello", calls=20_000, rounds=30)


def test_a_block_for_which_there_is_no_memory_is_an_error_and_the_next_one_goes_on(template: bytes) -> None:
    check_buffers(template)


def test_a_current_compiler_and_its_lints_have_nothing_to_say(template: bytes, folder: Path, tmp_path: Path) -> None:
    if (
        shutil.which("cargo") is None
        or subprocess.run(["cargo", "clippy", "--version"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no cargo with clippy")
    for source in (GUEST, (folder / "hello" / "src" / "lib.rs").read_text(encoding="utf-8")):
        project = tmp_path / str(len(source))
        shutil.copytree(folder / "hello", project)
        (project / "src" / "lib.rs").write_text(source, encoding="utf-8")

        done = subprocess.run(
            ["cargo", "clippy", "--offline", "--quiet", "--", "-D", "warnings"],
            check=False, cwd=project, env={**os.environ, "CARGO_TARGET_DIR": str(tmp_path / "target")},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

        assert done.stderr == ""
        assert done.returncode == 0


def test_the_page_for_rust_works_word_for_word(template: bytes, tmp_path: Path) -> None:
    assert template

    said = "".join(follow("rust.md", tmp_path))

    assert '{"log":"payment refused order=17","service":"checkout"}' in said
    assert "shop: 3 in, 2 out, 1 dropped" in said


def test_the_type_on_the_page_compiles_and_does_what_it_is_for(folder: Path) -> None:
    (shown,) = (text for language, text, _ in pieces((PAGES / "rust.md").read_text()) if "HashMap" in text)
    code = built(folder / "page", "rust", ("src/lib.rs", shown))

    plugin = Native(code, config=b'{"every":3}')
    kept = [plugin.process(entry({"path": path})).n_out for path in "aabababaab"]
    assert kept == [1, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    assert Native(code).process(entry({"path": "a"}) * 21).n_out == 3
    refused = Native(code, config=b'{"every":"often"}', refused=True)
    assert refused.lines == [(3, "`every`: expected an integer")]
