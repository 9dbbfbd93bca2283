"""The sandbox suite of the acceptance: each hostile plugin costs what the limits say, and no record is lost."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from logllm.errors import PluginLoadError
from logllm.filters.chain import Filters
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import MOST_ANOMALIES, MOST_METRICS
from tests.filters.hostile import FLUENT, FOR_EVER, NATIVE, Hostile
from tests.filters.lives import NEVER, Checks, chain, fluent, texts
from tests.filters.native_guests import block, wat

LIMITS = Limits(memory_bytes=8 << 20, time_ms=60, chunk_ms=3_000, init_ms=60)
WORDS = [f"P{i}" if i in (3, 17, 18) else f"w{i}" for i in range(32)]
CASES = [
    pytest.param(one, id=f"{abi} {one.name}")
    for abi, many in (("native", NATIVE), ("fluentbit", FLUENT))
    for one in many
]


def hostile_chain(folder: Path, one: Hostile, **config: Any) -> Filters:
    """A chain of one hostile plugin, with a model to ask."""
    more = {"limits": LIMITS, "breaker_failures": NEVER, "grants": list(one.grants), "ask": lambda *_: True, **config}
    return chain(folder, one.code, **more)


@pytest.mark.parametrize("one", CASES)
def test_no_record_is_lost_doubled_or_moved_under_keep(tmp_path: Path, one: Hostile) -> None:
    filters = hostile_chain(tmp_path, one)

    made = [filters.apply("ingest", "t", "", block(*WORDS), 32) for _ in range(3)]
    status = filters.status()[0]
    filters.close()

    assert [texts(each.block, each.count) for each in made] == [WORDS] * 3
    assert set(status.failures) <= one.reasons
    assert bool(status.failures) == bool(one.reasons)
    assert status.failed_records == (9 if one.reasons else 0)


@pytest.mark.parametrize("one", CASES)
def test_only_the_poison_is_dropped_under_drop(tmp_path: Path, one: Hostile) -> None:
    filters = hostile_chain(tmp_path, one, on_error="drop")

    made = filters.apply("ingest", "t", "", block(*WORDS), 32)
    filters.close()

    expected = [text for text in WORDS if not text.startswith("P")] if one.reasons else WORDS
    assert texts(made.block, made.count) == expected
    assert made.dropped == 32 - len(expected)


@pytest.mark.parametrize("one", CASES)
def test_what_it_costs_is_bounded(tmp_path: Path, one: Hostile) -> None:
    filters = hostile_chain(tmp_path, one, breaker_failures=10)

    for _ in range(20):
        filters.apply("ingest", "t", "", block(*WORDS), 32)
    status = filters.status()[0]
    filters.close()

    # Ten poison records open the breaker: three blocks and a bit. Each poison record costs at most two calls for each
    # of the five halvings, and each failing call one instance.
    assert status.memory_bytes <= LIMITS.memory_bytes
    if not one.reasons:
        assert status.calls == 20
        assert status.restarts == 0
        assert not status.bypassed
        return
    assert status.bypassed
    assert status.failed_records >= 10
    assert status.calls <= 10 * (2 * 5 + 1)
    assert sum(status.failures.values()) <= status.calls
    assert status.restarts <= sum(status.failures.values())
    assert status.bypassed_records >= 16 * 32


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in NATIVE if one.lost])
def test_a_flood_is_cut_and_counted(tmp_path: Path, one: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked: list[object] = []

    def ask(*question: object) -> bool:
        asked.append(question)
        return True

    filters = hostile_chain(tmp_path, one, ask=ask)

    passed = filters.apply("ingest", "t", "", block("a"), 1)
    status = filters.status()[0]
    filters.close()

    for name, least in one.lost.items():
        assert status.lost[name] >= least
    assert len(caplog.records) <= 60
    assert all(len(record.getMessage()) < 4_200 for record in caplog.records)
    assert len(asked) <= 4
    assert len(passed.signals) <= MOST_ANOMALIES
    assert len(status.metrics) <= MOST_METRICS
    assert passed.count == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (f"(func $s {FOR_EVER}) (start $s)", "its start function failed: ran for longer than it may"),
        (f'(func (export "_initialize") {FOR_EVER})', "its start failed: ran for longer than it may"),
        (
            f'(func (export "logllm_init") (param i32 i32) (result i32) {FOR_EVER} (i32.const 0))',
            "its start failed: ran for longer than it may",
        ),
        ("(func $s unreachable) (start $s)", "its start function failed"),
    ],
)
def test_a_start_that_does_not_end_is_refused_within_its_limit(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(PluginLoadError, match=words):
        chain(tmp_path, wat(more=more), limits=LIMITS)


def test_a_start_that_does_not_end_is_refused_in_fluent_bits_abi_too(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match="longer than it may"):
        chain(tmp_path, fluent("(local.get $at)", more=f"(func $s {FOR_EVER}) (start $s)"), limits=LIMITS)
    with pytest.raises(PluginLoadError, match="longer than it may"):
        chain(tmp_path, fluent("(local.get $at)", more=f'(func (export "_initialize") {FOR_EVER})'), limits=LIMITS)


def test_a_memory_that_is_larger_than_its_limit_from_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match="memory"):
        chain(tmp_path, wat(pages=1000), limits=LIMITS)


@pytest.mark.parametrize(
    ("imports", "words"),
    [
        ('(import "logllm" "ask" (func (param i32 i32) (result i32)))', '"ask"'),
        ('(import "logllm" "kv_set" (func (param i32 i32 i32 i32) (result i32)))', '"kv"'),
        ('(import "env" "system" (func (param i32) (result i32)))', r"env\.system"),
        ('(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))', "fd_write"),
    ],
)
def test_an_import_that_is_not_granted_is_refused_at_load_and_named(tmp_path: Path, imports: str, words: str) -> None:
    with pytest.raises(PluginLoadError, match=words):
        chain(tmp_path, wat(imports=imports))


def test_files_and_network_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the key")
    # Tries to open ./secret and to accept on a socket, at every directory number there could be; writes how many of
    # the calls went well over the text of the record.
    imports = """
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))"""
    body = """
      (local.set $i (i32.const 0))
      (loop $next
        (global.set $well (i32.add (global.get $well) (i32.eqz (call $open (local.get $i) (i32.const 1) (i32.const 16)
          (i32.const 6) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 32)))))
        (global.set $well (i32.add (global.get $well)
          (i32.eqz (call $accept (local.get $i) (i32.const 0) (i32.const 32)))))
        (global.set $well (i32.add (global.get $well)
          (i32.eqz (call $send (local.get $i) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 10))))
      (i32.store8 offset=6 (local.get $at) (i32.add (i32.const 48) (global.get $well)))
      (local.get $at)"""
    more = '(global $well (mut i32) (i32.const 0)) (data (i32.const 16) "secret")'
    filters = chain(tmp_path, fluent(body, imports=imports, more=more))

    passed = filters.apply("ingest", "t", "", block("_____"), 1)

    assert texts(passed.block, 1) == ["0____"]


@pytest.mark.parametrize("abi", ["native", "fluentbit"])
def test_many_calls_leave_memory_flat(tmp_path: Path, abi: str) -> None:
    same = fluent(
        "(global.set $heap (i32.const 65536)) (i32.store8 offset=6 (local.get $at) (i32.const 90)) (local.get $at)"
    )
    changed = wat(
        "(i32.store8 offset=10 (local.get $p) (i32.const 90)) "
        "(call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"
    )
    filters = chain(tmp_path, changed if abi == "native" else same)
    words = block("a")
    for _ in range(3000):
        filters.apply("ingest", "t", "", words, 1)
    guest_before, host_before = filters.status()[0].memory_bytes, resident_bytes()
    blocks_before = sys.getallocatedblocks()

    for _ in range(20_000):
        filters.apply("ingest", "t", "", words, 1)

    assert filters.status()[0].calls == 23_000
    assert filters.status()[0].memory_bytes == guest_before
    # The bench makes a million calls and sees not a page more; here other tests have left their marks.
    assert resident_bytes() - host_before < 1 << 20
    assert sys.getallocatedblocks() - blocks_before < 1_000


def resident_bytes() -> int:
    """What the process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_restarting_again_and_again_leaves_memory_flat(tmp_path: Path) -> None:
    filters = chain(tmp_path, wat("unreachable"), breaker_failures=NEVER)
    words = block("a")
    for _ in range(200):
        filters.apply("ingest", "t", "", words, 1)
    before = resident_bytes()

    for _ in range(1000):
        filters.apply("ingest", "t", "", words, 1)

    assert filters.status()[0].restarts == 1199
    assert resident_bytes() - before < 8 << 20


@pytest.mark.parametrize("harm", [FOR_EVER, "unreachable", "(drop (memory.grow (i32.const 1000))) unreachable"])
def test_a_hostile_tenant_harms_itself_alone(tmp_path: Path, harm: str) -> None:
    """The other's records come out in order, none missing, and it waits for none of the hostile one's calls."""
    body = f"""
      (if (i32.eq (i32.load8_u offset=10 (local.get $p)) (i32.const 80)) (then {harm}))
      (i32.store8 offset=10 (local.get $p) (i32.const 90))
      (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""
    path = tmp_path / "guest.wat"
    path.write_bytes(wat(body))
    config = PluginConfig(path=str(path), tenant="tag:1", limits=LIMITS, breaker_failures=NEVER)
    filters = Filters([config], check=Checks())
    good = [f"_{number}" for number in range(2000)]
    seen: list[str] = []
    hostile_was_inside = 0
    done = threading.Event()
    began = threading.Event()

    def hostile() -> None:
        while not done.is_set():
            began.set()
            filters.apply("ingest", "bad.x", "", block("P"), 1)

    thread = threading.Thread(target=hostile)
    thread.start()
    began.wait()
    for word in good:
        passed = filters.apply("ingest", "good.x", "", block(word), 1)
        seen += texts(passed.block, passed.count)
        hostile_was_inside += filters._plugins[0]._tenants["bad"].lock.locked() if harm == FOR_EVER else 1
    done.set()
    thread.join()
    filters.close()

    assert seen == ["Z" + word[1:] for word in good]
    # Most of the good tenant's calls began and ended while the hostile one's lock was held.
    assert hostile_was_inside > len(good) // 2


def test_a_loop_is_ended_at_its_limit_and_not_much_later(tmp_path: Path) -> None:
    filters = chain(tmp_path, wat(FOR_EVER + "(i32.const 0)"), limits=LIMITS, breaker_failures=1)
    began_s = time.monotonic()

    filters.apply("ingest", "t", "", block("a"), 1)

    assert 0.03 < time.monotonic() - began_s < 2
    assert filters.status()[0].calls == 1


def test_the_time_for_a_chunk_bounds_the_search_for_poison(tmp_path: Path) -> None:
    limits = Limits(time_ms=50, chunk_ms=150)
    filters = chain(tmp_path, wat(FOR_EVER + "(i32.const 0)"), limits=limits, breaker_failures=NEVER)
    words = [f"w{number}" for number in range(5000)]

    passed = filters.apply("ingest", "t", "", block(*words), 5000)
    status = filters.status()[0]

    assert texts(passed.block, passed.count) == words
    assert status.calls <= 150 // 5
    assert status.failed_records == 5000
    assert "150 ms it has for a chunk are over" in status.last_error
