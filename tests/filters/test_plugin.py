from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError, PluginStopped, PluginTrap
from logllm.filters.config import Limits
from logllm.filters.instance import Filtered, RecordFailed, entries_of
from logllm.filters.life.isolate import PIECE_BYTES, Passed, isolated
from logllm.filters.life.saved import Kept, Saved
from tests.filters.lives import (
    COUNTING,
    NEVER,
    STATE,
    Checks,
    Clock,
    chain,
    counting,
    fluent,
    letters,
    reference,
    texts,
)
from tests.filters.native_guests import PASS, block, wat

SPELL = st.lists(st.sampled_from(["ok", "M1", "D2", "P3", "B4", "F5", "W6"]), max_size=24)


@pytest.mark.parametrize("on_error", ["keep", "drop"])
@settings(max_examples=60)
@given(blocks=st.lists(SPELL, max_size=4))
def test_blocks_come_out_as_if_each_record_had_been_tried_alone(on_error: str, blocks: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        filters = chain(Path(folder), letters(), on_error=on_error, breaker_failures=NEVER)

        made = [filters.apply("ingest", "t", "", block(*words), len(words)) for words in blocks]
        status = filters.status()[0]
        filters.close()

    assert [texts(one.block, one.count) for one in made] == [reference(words, on_error) for words in blocks]
    assert [one.dropped for one in made] == [len(words) - one.count for words, one in zip(blocks, made, strict=True)]
    assert status.records_out == sum(one.count for one in made)
    assert status.failed_records == sum(text[0] in "PBFW" for words in blocks for text in words)


def test_an_unchanged_block_is_the_very_object_and_is_not_looked_at_again(tmp_path: Path) -> None:
    check = Checks()
    filters = chain(tmp_path, letters(), check=check)
    words = block("ok", "fine")
    scan = object()

    passed = filters.apply("ingest", "t", "", words, 2, scan)

    assert passed.block is words
    assert passed.scan is scan
    assert check.calls == 0


def test_a_changed_block_comes_with_what_the_check_found(tmp_path: Path) -> None:
    check = Checks()
    filters = chain(tmp_path, letters(), check=check)

    passed = filters.apply("ingest", "t", "", block("M1", "ok"), 2, object())

    assert passed.scan == entries_of(passed.block, 2)
    assert check.calls == 1


def test_a_poison_record_costs_two_calls_for_each_halving(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters())
    words = [f"w{i}" for i in range(1024)]
    words[700] = "P"

    passed = filters.apply("ingest", "t", "", block(*words), 1024)
    status = filters.status()[0]

    assert texts(passed.block, passed.count) == words
    assert status.calls == 21
    assert status.failures == {"trap": 11}
    assert status.failed_records == 1
    # The last failure is followed by good calls, so each was made up for.
    assert status.restarts == 11
    assert not status.bypassed


def test_one_poison_record_in_every_block_does_not_open_the_breaker_by_its_halvings(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), breaker_failures=4)
    words = [*("ok" for _ in range(100)), "P"]

    for _ in range(3):
        filters.apply("ingest", "t", "", block(*words), 101)

    assert not filters.status()[0].bypassed
    assert filters.status()[0].failures["trap"] > 15


def test_stop_raises_at_the_first_failure_and_says_what_and_why(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), on_error="stop", name="strict")

    with pytest.raises(PluginStopped, match=r"^strict: .*unreachable.*; its on_error is `stop`$"):
        filters.apply("ingest", "t", "", block("ok", "P1"), 2)

    assert filters.status()[0].calls == 1


def test_a_large_block_is_handed_over_in_pieces_and_comes_out_whole(tmp_path: Path) -> None:
    check = Checks()
    small = f"(if (i32.gt_u (local.get $n) (i32.const {PIECE_BYTES})) (then unreachable))"
    filters = chain(tmp_path, wat(small + COUNTING, more=STATE, pages=2 + (PIECE_BYTES >> 16) * 9 // 8), check=check)
    count = 2 * PIECE_BYTES // 16 + 1000
    words = block("......") * count

    passed = filters.apply("ingest", "t", "", words, count)
    status = filters.status()[0]

    assert status.calls == 3
    assert status.failures == {}
    assert list(check.seen) == [count]
    assert len(passed.block) == len(words)
    assert [one[-2:] for one in texts(passed.block[:160], 10)] == [f"{i:02d}" for i in range(1, 11)]
    assert passed.block.endswith(f"{count % 100:02d}".encode())


def test_after_a_failure_the_state_that_was_saved_last_is_there_and_no_record_is_counted_twice(tmp_path: Path) -> None:
    filters = chain(tmp_path, counting(), limits=Limits(), state_dir=tmp_path / "state")
    filters.apply("ingest", "t", "", block("a", "b", "c"), 3)
    filters.save()
    filters.apply("ingest", "t", "", block("d"), 1)

    passed = filters.apply("ingest", "t", "", block("e", "P", "f", "g"), 4)

    # e, then P fails alone: what was counted after the save is gone with the instance, 3 is not.
    assert texts(passed.block, passed.count) == ["e   04", "P", "f   04", "g   05"]


def test_keep_keeps_records_a_stateful_guest_saw_before_it_failed_once_and_in_order(tmp_path: Path) -> None:
    filters = chain(tmp_path, counting(), breaker_failures=NEVER)
    words = [f"r{i}" if i % 7 else f"P{i}" for i in range(60)]

    passed = filters.apply("ingest", "t", "", block(*words), 60)

    assert [text.split(" ")[0] for text in texts(passed.block, passed.count)] == words


def test_state_and_keys_come_back_in_the_next_run(tmp_path: Path) -> None:
    keys = """(import "logllm" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))"""
    adds = """(drop (call $get (i32.const 200) (i32.const 1) (i32.const 204) (i32.const 4)))
      (i32.store (i32.const 204) (i32.add (i32.load (i32.const 204)) (local.get $count)))
      (drop (call $set (i32.const 200) (i32.const 1) (i32.const 204) (i32.const 4)))
      (i32.store8 offset=10 (local.get $p) (i32.add (i32.const 48) (i32.load (i32.const 204))))
      (call $answer (i32.const 2) (local.get $count) (local.get $count) (local.get $p) (local.get $n) (i32.const 0))"""
    code = wat(adds, imports=keys)
    first = chain(tmp_path, code, grants=["kv"], state_dir=tmp_path / "state")
    first.apply("ingest", "t", "", block("a", "b"), 2)
    first.close()

    second = chain(tmp_path, code, grants=["kv"], state_dir=tmp_path / "state")
    passed = second.apply("ingest", "t", "", block("c", "d", "e"), 3)

    assert texts(passed.block, 3)[0] == "5"
    assert len(list((tmp_path / "state").iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"nonsense",
        b"\x81\xa6plugin\x01",
        b"\x83\xa6plugin\xa5other\xa6tenant\xa0\xa7version\x01",
        b"\xff" * 9_000_000,
    ],
)
def test_a_damaged_state_file_is_set_aside_and_said_once(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = chain(tmp_path, counting(), state_dir=tmp_path / "state")
    first.apply("ingest", "t", "", block("a"), 1)
    first.close()
    (file,) = (tmp_path / "state").iterdir()
    file.write_bytes(damage)

    second = chain(tmp_path, counting(), state_dir=tmp_path / "state")
    passed = second.apply("ingest", "t", "", block("b"), 1)

    assert texts(passed.block, 1) == ["b   01"]
    assert [one.name for one in (tmp_path / "state").iterdir()] == [file.name + ".damaged"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "begins without its state" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "of version 2, expected 1"),
        ({"plugin": "other"}, "of another plugin or tenant"),
        ({"tenant": "other"}, "of another plugin or tenant"),
        ({"state": b"x" * 101}, "its state has 101 bytes, expected at most state_bytes = 100"),
        ({"kv": {b"key": b"x" * 98}}, "its keys and values are larger than kv_bytes = 100"),
    ],
)
def test_a_state_file_that_is_not_this_plugins_is_set_aside(
    tmp_path: Path, changes: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    saved = Saved(tmp_path, "guest")
    kept = msgspec.structs.replace(Kept("guest", ""), **changes)
    path = saved.path("")
    assert path is not None
    path.write_bytes(msgspec.msgpack.encode(kept))

    found = saved.load("", Limits(state_bytes=100, kv_bytes=100))

    assert found == Kept("guest", "")
    assert words in caplog.text
    assert not path.exists()


def test_a_save_that_fails_is_counted_and_records_flow_on(tmp_path: Path) -> None:
    fails = '(func (export "logllm_state_save") (result i32) unreachable)'
    filters = chain(tmp_path, counting(fails), state_dir=tmp_path / "state")
    filters.apply("ingest", "t", "", block("a"), 1)

    filters.save()
    passed = filters.apply("ingest", "t", "", block("b"), 1)

    assert texts(passed.block, 1) == ["b   01"]
    assert filters.status()[0].failures == {"trap": 1}
    assert filters.status()[0].failed_records == 0
    assert "its state is not saved" in filters.status()[0].last_error


def test_an_answer_that_makes_it_fail_is_counted_and_records_flow_on(tmp_path: Path) -> None:
    asks = '(import "logllm" "ask" (func $ask (param i32 i32) (result i32)))'
    more = '(func (export "logllm_answer") (param i32 i32 i32) unreachable)'
    filters = chain(
        tmp_path,
        wat("(drop (call $ask (i32.const 0) (i32.const 4)))" + PASS, imports=asks, more=more),
        grants=["ask"],
        ask=lambda *_: True,
    )
    filters.apply("ingest", "t", "", block("a"), 1)
    filters.answer("guest", "", 1, "because")

    passed = filters.apply("ingest", "t", "", block("b"), 1)

    assert texts(passed.block, 1) == ["b"]
    assert filters.status()[0].failures == {"trap": 1}
    assert filters.status()[0].failed_records == 0


def test_a_state_the_plugin_will_not_have_is_a_fresh_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = chain(tmp_path, counting(), state_dir=tmp_path / "state")
    first.apply("ingest", "t", "", block("a"), 1)
    first.close()
    picky = STATE.replace("(i32.const 4)) (then (return", "(i32.const 5)) (then (return")

    second = chain(tmp_path, counting(picky), state_dir=tmp_path / "state")
    passed = second.apply("ingest", "t", "", block("b"), 1)

    assert texts(passed.block, 1) == ["b   01"]
    assert "begins without its saved state" in caplog.text


def test_a_folder_that_cannot_be_written_costs_the_state_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    filters = chain(tmp_path, counting(), state_dir=tmp_path / "state")
    filters.apply("ingest", "t", "", block("a"), 1)

    filters.save()
    filters.save()
    passed = filters.apply("ingest", "t", "", block("b"), 1)

    assert texts(passed.block, 1) == ["b   02"]
    assert caplog.text.count("its state is not saved") == 1


def test_a_plugin_that_does_not_start_is_refused_before_the_first_record(tmp_path: Path) -> None:
    refuses = '(func (export "logllm_init") (param i32 i32) (result i32) (i32.const 1))'

    with pytest.raises(PluginLoadError, match=r"guest\.wat: it refused its configuration"):
        chain(tmp_path, wat(more=refuses))
    with pytest.raises(PluginLoadError, match=r"guest\.wat: it refused its configuration"):
        chain(tmp_path, wat(more=refuses), tenant="peer")


def test_an_instance_that_cannot_be_made_again_costs_the_rest_of_the_block_and_counts(tmp_path: Path) -> None:
    keys = """(import "logllm" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
      (import "logllm" "kv_set" (func $set (param i32 i32 i32 i32) (result i32)))"""
    once = """(func (export "logllm_init") (param i32 i32) (result i32)
      (if (result i32) (i32.eq (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)) (i32.const -3))
        (then (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1))) (else (i32.const 1))))"""
    code = wat(LETTERS_WITHOUT_GLOBALS, imports=keys, more=once)
    filters = chain(tmp_path, code, grants=["kv"], breaker_failures=3)
    words = ["ok", "P", "ok", "ok"]

    made = [filters.apply("ingest", "t", "", block(*words), 4) for _ in range(3)]
    status = filters.status()[0]

    assert [texts(one.block, one.count) for one in made] == [words] * 3
    assert status.failures == {"trap": 1, "load": 3}
    assert status.failed_records == 12
    assert status.bypassed


LETTERS_WITHOUT_GLOBALS = """
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
    (if (i32.eq (i32.const 80) (i32.load8_u offset=10
      (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const 16))))) (then unreachable))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $answer (i32.const 0) (local.get $count) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))"""


def test_fluent_bits_abi_goes_on_behind_the_record_that_failed(tmp_path: Path) -> None:
    # {"m":"P....." traps, "B" answers no JSON, "D" drops, all else comes back as it was.
    body = """
      (local.set $i (i32.load8_u offset=6 (local.get $at)))
      (if (i32.eq (local.get $i) (i32.const 80)) (then unreachable))
      (if (i32.eq (local.get $i) (i32.const 66)) (then (i32.store (local.get $at) (i32.const 0x00242424))))
      (if (i32.eq (local.get $i) (i32.const 68)) (then (return (i32.const 0))))
      (local.get $at)"""
    words = ["a", "P1", "b", "D1", "B1", "c", "P2"]
    for on_error, expected in (("keep", ["a", "P1", "b", "B1", "c", "P2"]), ("drop", ["a", "b", "c"])):
        filters = chain(tmp_path, fluent(body), on_error=on_error)

        passed = filters.apply("ingest", "t", "", block(*words), 7)

        assert texts(passed.block, passed.count) == expected
        assert filters.status()[0].failures == {"trap": 2, "bad_result": 1}
        assert filters.status()[0].failed_records == 3


def test_a_failure_is_logged_once_in_a_while_with_how_many_were_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    filters = chain(tmp_path, letters(), clock=clock, breaker_failures=NEVER)
    caplog.set_level(logging.WARNING)

    for _ in range(50):
        filters.apply("ingest", "t", "", block("P"), 1)
    clock.now_s += 11
    filters.apply("ingest", "t", "", block("P"), 1)

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].endswith("(49 more since the last such line)")


def test_a_plugin_that_is_too_slow_for_large_blocks_is_given_smaller_ones_and_loses_nothing(tmp_path: Path) -> None:
    # It never comes back from more than 2,000 entries.
    slow = "(if (i32.gt_u (local.get $count) (i32.const 2000)) (then (loop $ever (br $ever))))"
    clock = Clock()
    filters = chain(tmp_path, wat(slow + COUNTING, pages=40), limits=Limits(time_ms=20), clock=clock)
    words = block("a") * 20_000

    failures = []
    for seconds in (0, 0, 0, 0, 61, 0):
        clock.now_s += seconds
        passed = filters.apply("ingest", "t", "", words, 20_000)
        failures.append(sum(filters.status()[0].failures.values()))

    assert passed.count == 20_000
    # 20,000 are too many, so are 5,000 after that; 1,250 are not. Larger pieces are tried once a minute.
    assert failures[0] == 15
    assert failures[1:] == [15 + 12, 27, 27, 27, 27 + 8]
    assert filters.status()[0].failed_records == 0
    assert not filters.status()[0].bypassed


class Scripted:
    """An `Attempt` that fails at the records of a set, and says at which if it may."""

    def __init__(self, bad: set[bytes], *, tells: bool, calls: int = NEVER) -> None:
        self.bad, self.tells, self.calls = bad, tells, calls
        self.shares: list[tuple[int, float]] = []
        self.given_up = 0
        self.untried = 0
        self.reason = "trap"

    def call(self, block: bytes, count: int, share: float) -> Filtered:
        self.shares.append((count, share))
        self.calls -= 1
        entries = entries_of(block, count)
        for index, entry in enumerate(entries):
            if entry in self.bad:
                trap = PluginTrap(self.reason, "scripted")
                if self.tells:
                    raise RecordFailed(trap, self._made(entries[:index]), index, broken=False)
                raise trap
        return self._made(entries)

    def _made(self, entries: list[bytes]) -> Filtered:
        # Every third record is dropped, the others become longer.
        kept = [entry + b"\xc0" for entry in entries if entry[1] % 3]
        return Filtered(b"".join(kept), 2 * len(kept), len(entries) - len(kept))

    def failed(self, trap: PluginTrap) -> None:
        pass

    def gave_up(self, records: int) -> None:
        self.given_up += records

    def stopped(self, records: int) -> bool:
        if self.calls > 0:
            return False
        self.untried = records
        return True


@given(
    numbers=st.lists(st.integers(0, 99), max_size=30),
    bad=st.sets(st.integers(0, 99), max_size=60),
    tells=st.booleans(),
    keep=st.booleans(),
    piece_bytes=st.integers(1, 60),
    calls=st.integers(0, 40) | st.just(NEVER),
)
def test_isolation_loses_and_doubles_nothing_however_blocks_are_cut_and_whenever_it_must_end(
    numbers: list[int], bad: set[int], tells: bool, keep: bool, piece_bytes: int, calls: int
) -> None:
    entries = [bytes([0x92, number, 0x80]) for number in numbers]
    attempt = Scripted({bytes([0x92, number, 0x80]) for number in bad}, tells=tells, calls=calls)
    check = Checks()

    made = isolated(Passed(b"".join(entries), len(entries)), attempt, check, keep=keep, piece_bytes=piece_bytes)

    out = iter(entries_of(made.block, made.count))
    left = next(out, None)
    spared = 0
    for entry, number in zip(entries, numbers, strict=True):
        if left == entry:
            filtered = number not in bad and number % 3
            left = next(out, None)
            if filtered and left == b"\xc0":
                left = next(out, None)
                continue
            assert keep
            spared += 1
        else:
            spared += not (number not in bad and number % 3 == 0) and not keep
    assert left is None
    if keep and calls == NEVER:
        assert spared == attempt.given_up
    assert attempt.given_up <= sum(number in bad for number in numbers)
    assert attempt.untried == 0 or calls != NEVER


def test_after_a_timeout_less_time_is_given_to_fewer_records_and_all_of_it_to_one() -> None:
    entries = [bytes([0x92, number, 0x80]) for number in range(64)]
    attempt = Scripted({entries[40]}, tells=False)
    attempt.reason = "timeout"

    isolated(Passed(b"".join(entries), 64), attempt, Checks(), keep=True)

    shares = dict(attempt.shares)
    assert shares[64] == shares[1] == 1.0
    assert 1 > shares[32] > shares[16] > shares[8] > shares[4] > shares[2] >= 1 / 16
    assert attempt.given_up == 1


def test_a_block_that_does_not_hold_its_entries_is_never_cut() -> None:
    class Fails(Scripted):
        def call(self, block: bytes, count: int, share: float) -> Filtered:
            self.shares.append((count, share))
            raise RecordFailed(PluginTrap("trap", "x"), Filtered(b"", 0), 1, broken=True)

    attempt = Fails(set(), tells=True)
    garbage = Passed(b"\xc1\xc1\xc1", 3)

    made = isolated(garbage, attempt, Checks(), keep=True, piece_bytes=1)

    assert made is garbage
    assert attempt.given_up == 3
    assert attempt.shares == [(3, 1.0)]


def test_what_was_done_before_a_failed_record_is_looked_at_too() -> None:
    class Lies(Scripted):
        def call(self, block: bytes, count: int, share: float) -> Filtered:
            raise RecordFailed(PluginTrap("trap", "x"), Filtered(b"\xc1", 1), count - 1, broken=True)

    attempt = Lies(set(), tells=True)
    entries = b"".join(bytes([0x92, number, 0x80]) for number in range(4))

    kept = isolated(Passed(entries, 4), attempt, Checks(), keep=True)

    assert kept.block == entries
    assert kept.count == 4
