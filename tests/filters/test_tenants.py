from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from logllm.filters.config import Limits
from logllm.filters.life.plugin import tenant_of
from tests.filters.lives import GLOBALS, LETTERS, Clock, chain, counting, letters, texts
from tests.filters.native_guests import block, wat


@pytest.mark.parametrize(
    ("rule", "tag", "peer", "tenant"),
    [
        ("", "a.b.c", "10.0.0.1:5000", ""),
        ("tag:1", "a.b.c", "p", "a"),
        ("tag:3", "a.b.c", "p", "c"),
        ("tag:4", "a.b.c", "p", ""),
        ("peer", "a", "10.0.0.1:5000", "10.0.0.1"),
        ("peer", "a", "::1:5000", "::1"),
        ("peer", "a", "/var/log/app.log", "/var/log/app.log"),
        ("peer", "a", "?", "?"),
    ],
)
def test_whose_instance_takes_a_chunk(rule: str, tag: str, peer: str, tenant: str) -> None:
    assert tenant_of(rule, tag, peer) == tenant


def test_tenants_share_neither_memory_nor_keys(tmp_path: Path) -> None:
    keys = """(import "logllm" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))"""
    # Writes what it finds under its key (A where nothing), then keeps one letter more; the same in its memory.
    body = """(if (i32.lt_s (call $get (i32.const 200) (i32.const 1) (i32.const 204) (i32.const 1)) (i32.const 0)) (then
        (i32.store8 (i32.const 204) (i32.const 65))))
      (i32.store8 offset=10 (local.get $p) (i32.load8_u (i32.const 204)))
      (i32.store8 offset=11 (local.get $p) (i32.add (i32.const 65) (i32.load8_u (i32.const 208))))
      (i32.store8 (i32.const 204) (i32.add (i32.load8_u (i32.const 204)) (i32.const 1)))
      (i32.store8 (i32.const 208) (i32.add (i32.load8_u (i32.const 208)) (i32.const 1)))
      (drop (call $set (i32.const 200) (i32.const 1) (i32.const 204) (i32.const 1)))
      (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""
    filters = chain(tmp_path, wat(body, imports=keys), tenant="tag:1", grants=["kv"])

    seen = [filters.apply("ingest", tag, "", block("__"), 1) for tag in ("a.x", "b.x", "a.y", "a.z", "b.x")]

    assert [texts(one.block, 1)[0] for one in seen] == ["AA", "AA", "BB", "CC", "BB"]
    assert filters.status()[0].instances == 2


def test_a_tenant_has_limits_of_its_own(tmp_path: Path) -> None:
    # Grows by 40 pages; M where it was allowed to.
    body = """(i32.store8 offset=10 (local.get $p)
        (select (i32.const 78) (i32.const 77) (i32.eq (memory.grow (i32.const 40)) (i32.const -1))))
      (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""
    small = Limits(memory_bytes=10 << 16)
    filters = chain(tmp_path, wat(body), tenant="tag:1", tenants={"small": small})

    seen = {tag: filters.apply("ingest", tag, "", block("_"), 1) for tag in ("small", "large")}

    assert {tag: texts(one.block, 1)[0] for tag, one in seen.items()} == {"small": "N", "large": "M"}


def test_one_tenants_failures_bypass_it_alone(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), tenant="tag:1", breaker_failures=2)
    for _ in range(5):
        filters.apply("ingest", "bad", "", block("P"), 1)

    good = filters.apply("ingest", "good", "", block("M1"), 1)
    bad = filters.apply("ingest", "bad", "", block("M1"), 1)
    status = filters.status()[0]

    assert texts(good.block, 1) == ["X1"]
    assert texts(bad.block, 1) == ["M1"]
    assert (status.bypassed, status.bypassed_tenants) == (True, 1)


def test_many_tenants_that_fail_do_not_flood_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filters = chain(tmp_path, letters(), tenant="tag:1", breaker_failures=1, clock=Clock())

    for number in range(100):
        filters.apply("ingest", f"tenant{number}", "", block("P"), 1)

    assert filters.status()[0].bypassed_tenants == 100
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 20
    assert len(caplog.records) == 21


def test_the_tenant_used_longest_ago_is_saved_and_ended_to_make_room(tmp_path: Path) -> None:
    filters = chain(tmp_path, counting(), tenant="tag:1", most_tenants=2, state_dir=tmp_path / "state")
    for tag in ("a", "b", "a", "c"):
        filters.apply("ingest", tag, "", block("_"), 1)

    status = filters.status()[0]
    again = {tag: texts(filters.apply("ingest", tag, "", block("_"), 1).block, 1)[0][-2:] for tag in ("b", "a", "c")}

    assert status.instances == 2
    assert again == {"b": "02", "a": "03", "c": "02"}
    assert filters.status()[0].instances == 2
    assert filters.status()[0].records_in == 7


def test_a_thousand_tenants_one_after_the_other_keep_to_the_most_there_may_be(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), tenant="peer", most_tenants=20)

    for number in range(1000):
        filters.apply("ingest", "t", f"10.0.{number >> 8}.{number & 255}:99", block("ok"), 1)

    assert filters.status()[0].instances == 20
    assert filters.status()[0].records_in == 1000


def test_what_an_ended_tenant_held_back_is_given_at_the_next_flush(tmp_path: Path) -> None:
    holds = """(memory.copy (i32.const 1024) (local.get $p) (i32.const 16))
      (call $answer (i32.const 2) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"""
    gives = """(func (export "logllm_flush") (param i64) (result i32)
      (call $answer (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 16) (i32.const 0)))"""
    filters = chain(tmp_path, wat(holds, more=gives), tenant="tag:1", most_tenants=1)
    filters.apply("ingest", "a.1", "", block("mine"), 1)
    filters.apply("ingest", "b.1", "", block("yours"), 1)

    flushed = filters.flush("ingest", 1000)

    assert [(tag, texts(one.block, 1)) for tag, one in flushed] == [("a.1", ["mine"]), ("b.1", ["yours"])]


def test_lanes_are_named_by_all_that_decides_the_instance(tmp_path: Path) -> None:
    by_tag = chain(tmp_path, letters(), tenant="tag:2", match="k.*")
    plain = chain(tmp_path, letters())

    assert plain.lane("k.a", "10.0.0.1:1") == ""
    assert by_tag.lane("other", "10.0.0.1:1") == ""
    assert by_tag.lane("k.a", "10.0.0.1:1") == by_tag.lane("k.a.z", "10.0.0.2:2") != by_tag.lane("k.b", "10.0.0.1:1")


def test_many_threads_of_many_tenants_lose_and_mix_nothing(tmp_path: Path) -> None:
    filters = chain(tmp_path, wat(LETTERS, more=GLOBALS), tenant="tag:1", most_tenants=3)
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(150):
            words = [f"M{number}{turn % 100:02d}", f"o{number}", "D", "P" if turn % 50 == 7 else "q"]
            passed = filters.apply("ingest", f"t{number}.x", "", block(*words), 4)
            if texts(passed.block, passed.count) != ["X" + words[0][1:], words[1], words[3]]:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        filters.flush("ingest", 0)
        filters.status()
        threads[0].join(0.01)
        threads = [thread for thread in threads if thread.is_alive()] or threads
    status = filters.status()[0]
    filters.close()

    assert wrong == []
    assert status.records_in == 6 * 150 * 4
    assert status.failed_records == 6 * 3
    assert status.instances <= 3 + 6


def test_a_tenants_name_reaches_no_log_as_it_was_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filters = chain(tmp_path, wat("unreachable"), tenant="tag:1")

    filters.apply("ingest", "evil\n\x1b[2J" + 10_000 * "x", "", block("_"), 1)

    (said,) = caplog.messages
    assert said.startswith("guest (evil\\x0a\\x1b[2Jx")
    assert len(said) < 300
