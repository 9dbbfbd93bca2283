from __future__ import annotations

import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logllm.filters import loader
from logllm.filters.chain import Filters
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.life.reload import TRIAL_BYTES, in_thread
from tests.filters.lives import (
    CHANGED,
    COUNTING,
    GLOBALS,
    LETTERS,
    STATE,
    Checks,
    Clock,
    at_once,
    chain,
    counting,
    letters,
    texts,
)
from tests.filters.native_guests import block, wat
from tests.filters.test_chain import holding, to_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.loader import Loaded


def settled(path: Path, number: int = 1) -> None:
    """Written a while ago, each time at another: what has just been written may not be whole yet."""
    at_s = time.time() - 60 + number
    os.utime(path, (at_s, at_s))


class Running:
    """A chain of one plugin whose file changes; reloads are done at once, the clock is ours."""

    def __init__(self, folder: Path, code: bytes, **config: Any) -> None:
        self.clock = Clock()
        self.path = folder / "guest.wat"
        self.filters = chain(folder, code, clock=self.clock, spawn=at_once, **config)
        self._number = 0

    def write(self, code: bytes) -> None:
        """Another file in its place, as a build or a package manager puts it there."""
        self._number += 1
        new = self.path.with_suffix(f".new{self._number}")
        new.write_bytes(code)
        settled(new, self._number)
        new.replace(self.path)
        self.clock.now_s += 1

    def apply(self, *words: str) -> list[str]:
        passed = self.filters.apply("ingest", "t", "", block(*words), len(words))
        return texts(passed.block, passed.count)


def test_a_changed_file_is_taken_before_the_next_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    running = Running(tmp_path, to_letter("1"))
    before = running.apply("x")
    sha256 = running.filters.status()[0].sha256

    running.write(to_letter("2"))
    after = running.apply("x")
    status = running.filters.status()[0]

    assert (before, after) == (["1"], ["2"])
    assert status.reloads == 1
    assert status.sha256 != sha256
    assert f"guest: took the changed file: sha256 {status.sha256[:12]}" in caplog.text


def test_a_changed_file_is_taken_although_no_record_comes(tmp_path: Path) -> None:
    running = Running(tmp_path, to_letter("1"))
    running.apply("x")

    running.write(to_letter("2"))
    running.filters.flush("ingest", 0)

    assert running.filters.status()[0].reloads == 1


def test_the_file_is_looked_at_once_a_second_and_not_at_all_where_that_is_switched_off(tmp_path: Path) -> None:
    running = Running(tmp_path, to_letter("1"))
    running.apply("x")
    running.write(to_letter("2"))
    running.clock.now_s -= 0.5
    too_soon = running.apply("x")
    running.clock.now_s += 0.5

    (tmp_path / "off").mkdir()
    off = Running(tmp_path / "off", to_letter("1"), reload=False)
    off.write(to_letter("2"))

    assert too_soon == ["1"]
    assert running.apply("x") == ["2"]
    assert off.apply("x") == ["1"]


def test_the_new_one_goes_on_with_the_state_of_the_old(tmp_path: Path) -> None:
    running = Running(tmp_path, counting())
    running.apply("a", "b", "c")

    running.write(counting() + b" ;; the same module")
    same = running.apply("d")
    running.write(wat(COUNTING.replace("i32.const 48", "i32.const 65"), more=STATE))
    new = running.apply("e")

    assert same == ["d   04"]
    assert new == ["e   AF"]


REFUSES_STATE = """
  (func (export "logllm_state_load") (param $p i32) (param $n i32) (result i32) (i32.const 1))"""


def test_a_new_one_that_will_not_have_the_state_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = Running(tmp_path, counting())
    running.apply("a", "b", "c")

    running.write(counting(REFUSES_STATE))
    after = running.apply("d")

    assert after == ["d   01"]
    assert running.filters.status()[0].reloads == 1
    assert "begins without its saved state" in caplog.text


INIT = '(func (export "logllm_init") (param i32 i32) (result i32) '


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"", "it is empty|no WebAssembly text"),
        (b"(module", "no WebAssembly text"),
        (letters()[:-40], "no WebAssembly text"),
        (b"(module)", "it is no plugin: it exports nothing"),
        (wat(more=INIT + "(i32.const 1))"), "it refused its configuration"),
        (wat(more=INIT + "(loop $e (br $e)) (i32.const 0))"), "ran for longer than it may"),
        (wat("unreachable"), "it failed at the last block: trap"),
        (wat("(loop $e (br $e)) (i32.const 0)"), "it failed at the last block: timeout"),
        (wat(imports='(import "logllm" "ask" (func (param i32 i32) (result i32)))'), 'in its `grants`: "ask"'),
        (
            wat(
                "(call $answer (i32.const 2) (local.get $count) (local.get $count) (i32.const 4096) (local.get $n) "
                "(i32.const 0))"
            ),
            "what it made of the last block does not hold the entries it says",
        ),
    ],
)
def test_a_file_that_fails_in_any_way_leaves_the_old_one_running(
    tmp_path: Path, bad: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(tmp_path, letters(), limits=Limits(init_ms=50, time_ms=50))
    running.apply("M1", "b")
    sha256 = running.filters.status()[0].sha256

    running.write(bad)
    seen = []
    for _ in range(5):
        seen.append(running.apply("M1", "D"))
        running.clock.now_s += 1
    status = running.filters.status()[0]
    running.write(to_letter("Z"))
    mended = running.apply("M1", "D")

    assert seen == [["X1"]] * 5
    assert re.search(words, status.reload_error)
    assert (status.sha256, status.reloads, status.failures) == (sha256, 0, {})
    assert caplog.text.count("is not taken, the old one goes on") == 1
    assert mended == ["Z1", "D"]
    assert running.filters.status()[0].reload_error == ""


def test_a_file_that_is_gone_leaves_the_old_one_running_and_may_come_back(tmp_path: Path) -> None:
    running = Running(tmp_path, to_letter("1"))
    running.path.unlink()
    running.clock.now_s += 1
    gone = running.apply("x")

    running.write(to_letter("2"))
    back = running.apply("x")

    assert (gone, back) == (["1"], ["2"])


def test_a_file_that_was_only_touched_is_not_loaded_again(tmp_path: Path) -> None:
    running = Running(tmp_path, counting(""))
    running.apply("x")

    os.utime(running.path, ns=(1, 1))
    running.clock.now_s += 1

    assert running.apply("x") == ["x   02"]
    assert running.filters.status()[0].reloads == 0


# Its answer's mode is data: the half of the file that lacks its data is a valid module that answers PASS.
MODE_IN_DATA = """(call $answer (i32.load8_u (i32.const 200)) (local.get $count) (i32.const 0) (i32.const 0)
  (i32.const 0) (i32.const 0))"""


def test_a_file_that_is_being_written_is_not_taken_although_what_is_there_is_a_valid_module(tmp_path: Path) -> None:
    half = wat(MODE_IN_DATA)
    whole = wat(MODE_IN_DATA, more='(data (i32.const 200) "\\02")')
    running = Running(tmp_path, to_letter("1"))
    running.apply("x")

    running.path.write_bytes(half)
    running.clock.now_s += 1
    meanwhile = [running.apply("x")]
    running.clock.now_s += 1
    meanwhile.append(running.apply("x"))
    running.path.write_bytes(whole)
    settled(running.path)
    running.clock.now_s += 1
    after = running.apply("x")

    assert meanwhile == [["1"], ["1"]]
    assert after == []
    assert running.filters.status()[0].reloads == 1


def test_a_file_that_changes_while_it_is_tried_is_looked_at_again(tmp_path: Path) -> None:
    waiting: list[Callable[[], None]] = []
    running = Running(tmp_path, to_letter("1"))
    running.filters.close()
    clock = Clock()
    filters = Filters([PluginConfig(path=str(running.path))], check=Checks(), clock_s=clock, spawn=waiting.append)

    def letter() -> list[str]:
        clock.now_s += 1
        return texts(filters.apply("ingest", "t", "", block("x"), 1).block, 1)

    running.write(to_letter("2"))
    seen = letter()

    def changing(number: int) -> Callable[[PluginConfig], Loaded]:
        def load(config: PluginConfig) -> Loaded:
            loaded = loader.load(config)
            running.write(to_letter(str(number)))
            return loaded

        return load

    filters._plugins[0]._reload._load = changing(3)
    waiting.pop()()
    seen += letter()
    filters._plugins[0]._reload._load = loader.load
    waiting.pop()()
    seen += letter()
    filters.close()

    assert seen == ["1", "1", "3"]


def test_the_interpreter_does_not_end_while_a_new_file_is_tried() -> None:
    daemons: list[bool] = []
    done = threading.Event()

    def work() -> None:
        daemons.append(threading.current_thread().daemon)
        done.set()

    in_thread(work)
    done.wait(10)

    assert daemons == [False]


def test_a_pinned_digest_holds_for_the_new_file_too(tmp_path: Path) -> None:
    running = Running(tmp_path, to_letter("1"))
    pinned = running.filters.status()[0].sha256
    running = Running(tmp_path, to_letter("1"), sha256=pinned.upper())

    running.write(to_letter("2"))
    after = running.apply("x")

    assert after == ["1"]
    assert f"expected {pinned}" in running.filters.status()[0].reload_error


def test_a_new_file_ends_the_bypass_of_the_old(tmp_path: Path) -> None:
    running = Running(tmp_path, letters(), breaker_failures=1, breaker_s=10_000)
    running.apply("P")
    bypassed = running.apply("M1")

    running.write(LETTERS_TAME)
    # The last block it was given is M1, which the new one does nothing bad with.
    mended = running.apply("M1", "P")

    assert (bypassed, mended) == (["M1"], ["X1", "P"])
    assert not running.filters.status()[0].bypassed


LETTERS_TAME = letters().replace(b"(then unreachable)", b"(then nop)")


def test_records_held_back_by_the_old_one_are_given_at_the_next_flush(tmp_path: Path) -> None:
    running = Running(tmp_path, holding())
    running.apply("held")

    running.write(to_letter("2"))
    after = running.apply("x")
    flushed = running.filters.flush("ingest", 1000)

    assert after == ["2"]
    assert [(tag, texts(one.block, one.count)) for tag, one in flushed] == [("t", ["held"])]


def test_a_new_file_that_does_not_start_for_a_tenant_leaves_that_tenants_old_one(tmp_path: Path) -> None:
    keys = '(import "logllm" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))'
    setting = '(import "logllm" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))'
    # Sets a key; the new one will not start where it is set.
    old = wat(
        "(drop (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))"
        "(call $answer (i32.const 0) (local.get $count) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))",
        imports=setting,
    )
    new = wat(
        "(i32.store8 offset=10 (local.get $p) (i32.const 90))" + CHANGED,
        imports=keys,
        more=INIT + "(i32.ne (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 0)) (i32.const -3)))",
    )
    running = Running(tmp_path, old, grants=["kv"], tenant="tag:1")
    running.apply("x")

    running.write(new)
    same = running.apply("x")
    other = running.filters.apply("ingest", "other", "", block("x"), 1)

    assert same == ["x"]
    assert texts(other.block, 1) == ["Z"]
    assert "the new file does not start and the old one goes on" in running.filters.status()[0].last_error


def test_the_trial_reaches_nothing_outside(tmp_path: Path) -> None:
    raising = wat(
        "(drop (call $anomaly (i32.const 900) (i32.const 256) (i32.const 25)))"
        "(drop (call $ask (i32.const 256) (i32.const 4)))"
        "(drop (call $metric (i32.const 256) (i32.const 0) (i64.const 1))) unreachable",
        imports="""(import "logllm" "anomaly" (func $anomaly (param i32 i32 i32) (result i32)))
        (import "logllm" "ask" (func $ask (param i32 i32) (result i32)))
        (import "logllm" "metric" (func $metric (param i32 i32 i64) (result i32)))""",
        more='(data (i32.const 256) "{\\"rule\\":\\"r\\",\\"text\\":\\"odd\\"}  ")',
    )
    asked: list[object] = []

    def ask(*question: object) -> bool:
        asked.append(question)
        return True

    running = Running(tmp_path, letters(), grants=["anomaly", "ask", "metric"], ask=ask)
    running.apply("x")
    running.write(raising)
    passed = running.filters.apply("ingest", "t", "", block("x"), 1)

    assert passed.signals == ()
    assert asked == []
    assert set(running.filters.status()[0].lost.values()) == {0}
    assert "failed at the last block" in running.filters.status()[0].reload_error


def test_the_trial_takes_the_begin_of_a_large_block(tmp_path: Path) -> None:
    count = 4 * TRIAL_BYTES // 16
    running = Running(tmp_path, wat(pages=32))
    running.filters.apply("ingest", "t", "", block("x") * count, count)
    small = f"(if (i32.gt_u (local.get $n) (i32.const {TRIAL_BYTES})) (then unreachable))"

    running.write(wat(small + LETTERS.replace("i32.const 77", "i32.const 120"), more=GLOBALS, pages=32))

    assert running.apply("x") == ["X"]


def test_loading_goes_on_in_a_thread_of_its_own_while_blocks_flow(tmp_path: Path) -> None:
    clock = Clock()
    waiting: list[Callable[[], None]] = []
    path = tmp_path / "guest.wat"
    path.write_bytes(to_letter("1"))
    filters = Filters([PluginConfig(path=str(path))], check=Checks(), clock_s=clock, spawn=waiting.append)
    path.write_bytes(to_letter("2") + b" ;; longer")
    settled(path)
    clock.now_s += 1

    seen = []
    for _ in range(3):
        seen.append(texts(filters.apply("ingest", "t", "", block("x"), 1).block, 1)[0])
        clock.now_s += 1
    (work,) = waiting
    work()
    seen.append(texts(filters.apply("ingest", "t", "", block("x"), 1).block, 1)[0])
    filters.close()

    assert seen == ["1", "1", "1", "2"]


def test_the_thread_is_waited_for_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "guest.wat"
    path.write_bytes(to_letter("1"))
    clock = Clock()
    filters = Filters([PluginConfig(path=str(path))], check=Checks(), clock_s=clock)
    path.write_bytes(to_letter("2") + b" ;; longer")
    settled(path)
    clock.now_s += 1
    filters.apply("ingest", "t", "", block("x"), 1)

    filters.close()

    assert texts(filters.apply("ingest", "t", "", block("x"), 1).block, 1) == ["2"]
