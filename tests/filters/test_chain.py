from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.chain import Filters, Passed, matches
from logllm.filters.config import PluginConfig
from logllm.filters.life.status import PluginStatus
from tests.filters.lives import CHANGED, Checks, chain, letters, texts
from tests.filters.native_guests import block, entry, wat

ANOMALY = '(import "logllm" "anomaly" (func $anomaly (param i32 i32 i32) (result i32)))'
RAISES = (
    "(drop (call $anomaly (i32.const 900) (i32.const 256) (i32.const 26)))"
    "(call $answer (i32.const 0) (local.get $count) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))"
)
RULE = '(data (i32.const 256) "{\\"rule\\":\\"r\\",\\"text\\":\\"odd\\"}   ")'


def to_letter(letter: str) -> bytes:
    """A guest that writes a letter over the first one of the first record."""
    return wat(
        f"""(i32.store8 offset=10 (local.get $p) (i32.const {ord(letter)}))
        {CHANGED}"""
    )


def holding() -> bytes:
    """A guest that holds the last block back and gives it at the next flush."""
    return wat(
        """(memory.copy (i32.const 1024) (local.get $p) (local.get $n))
        (global.set $held (local.get $n))
        (call $answer (i32.const 2) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""",
        more="""(global $held (mut i32) (i32.const 0))
        (func (export "logllm_flush") (param i64) (result i32) (local $n i32)
          (local.set $n (global.get $held)) (global.set $held (i32.const 0))
          (call $answer (select (i32.const 2) (i32.const 0) (local.get $n)) (i32.const 0)
            (i32.div_u (local.get $n) (i32.const 16)) (i32.const 1024) (local.get $n) (i32.const 0)))""",
    )


def several(folder: Path, *plugins: tuple[bytes, dict[str, object]], check: Checks | None = None) -> Filters:
    configs = []
    for number, (code, config) in enumerate(plugins):
        path = folder / f"p{number}.wat"
        path.write_bytes(code)
        configs.append(msgspec.convert({"path": str(path), **config}, PluginConfig))
    return Filters(configs, check=check or Checks())


@given(st.text("ab.*", max_size=12), st.text("ab.\n", max_size=16))
def test_a_star_stands_for_any_characters_as_in_fluent_bit(pattern: str, tag: str) -> None:
    obvious = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tag, re.DOTALL)

    assert matches(pattern, tag) == (obvious is not None)


def test_a_pattern_of_stars_cannot_be_made_to_take_long() -> None:
    assert not matches("*a" * 200 + "b", "a" * 20_000)


def test_filters_run_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    filters = several(tmp_path, (to_letter("A"), {}), (letters(), {}), (to_letter("B"), {"match": "no.*"}))

    passed = filters.apply("ingest", "t", "", block("P1", "M2"), 2)

    # The first took the poison away before the second met it; the third was not asked.
    assert texts(passed.block, 2) == ["A1", "X2"]


def test_the_stages_are_apart(tmp_path: Path) -> None:
    filters = several(tmp_path, (to_letter("I"), {}), (to_letter("E"), {"stage": "egress"}))

    ingest = filters.apply("ingest", "t", "", block("x"), 1)
    egress = filters.apply("egress", "t", "", block("x"), 1)

    assert texts(ingest.block, 1) == ["I"]
    assert texts(egress.block, 1) == ["E"]
    assert filters.active("ingest")
    assert filters.active("egress")
    assert not several(tmp_path, (to_letter("I"), {})).active("egress")


def test_a_block_that_has_become_empty_goes_to_no_other_filter(tmp_path: Path) -> None:
    filters = several(tmp_path, (letters(), {}), (to_letter("X"), {}))

    passed = filters.apply("ingest", "t", "", block("D1", "D2"), 2)

    assert passed == Passed(b"", 0, None, (), 2)
    assert [one.records_in for one in filters.status()] == [2, 0]


def test_dropped_records_of_all_filters_are_added_up(tmp_path: Path) -> None:
    filters = several(tmp_path, (letters(), {}), (to_letter("D"), {}), (letters(), {}))

    passed = filters.apply("ingest", "t", "", block("D1", "a", "b"), 3)

    assert texts(passed.block, passed.count) == ["b"]
    assert passed.dropped == 2


def test_what_is_raised_on_the_way_comes_with_the_block(tmp_path: Path) -> None:
    raising = wat(RAISES, imports=ANOMALY, more=RULE)
    filters = several(
        tmp_path, (raising, {"grants": ["anomaly"], "name": "one"}), (raising, {"grants": ["anomaly"], "name": "two"})
    )
    words = block("a")

    passed = filters.apply("ingest", "t", "", words, 1, "scan")

    assert [(signal.plugin, signal.rule, signal.score) for signal in passed.signals] == [
        ("one", "r", 0.9),
        ("two", "r", 0.9),
    ]
    assert passed.block is words
    assert passed.scan == "scan"
    assert filters.apply("ingest", "t", "", words, 1).signals == passed.signals


def test_records_that_were_held_back_come_with_their_tag_through_the_filters_behind(tmp_path: Path) -> None:
    filters = several(tmp_path, (to_letter("0"), {}), (holding(), {}), (to_letter("Z"), {"match": "b.*"}))

    gone = [filters.apply("ingest", tag, "", block("x1", "x2"), 2) for tag in ("a.1", "b.1")]
    first = filters.flush("ingest", 1000)
    second = filters.flush("ingest", 2000, wait=True)

    assert [one.count for one in gone] == [0, 0]
    assert [(tag, texts(passed.block, passed.count)) for tag, passed in first] == [("b.1", ["Z1", "x2"])]
    assert second == []
    assert filters.flush("egress", 3000) == []


def test_what_a_flush_gives_is_looked_at_as_well(tmp_path: Path) -> None:
    lies = """(func (export "logllm_flush") (param i64) (result i32)
      (call $answer (i32.const 2) (i32.const 0) (i32.const 3) (i32.const 4096) (i32.const 9) (i32.const 0)))"""
    filters = chain(tmp_path, wat(more=lies))
    filters.apply("ingest", "t", "", block("a"), 1)

    given_back = filters.flush("ingest", 1000)
    passed = filters.apply("ingest", "t", "", block("b"), 1)

    assert given_back == []
    assert filters.status()[0].failures == {"bad_result": 1}
    assert passed.count == 1


def test_a_second_plugin_of_a_name_is_numbered(tmp_path: Path) -> None:
    filters = several(
        tmp_path, (letters(), {"name": "x"}), (letters(), {"name": "x"}), (letters(), {}), (letters(), {})
    )

    assert [one.name for one in filters.status()] == ["x", "x#2", "p2", "p3"]


def test_one_that_cannot_be_loaded_refuses_the_whole(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match=r"p1\.wat: its function logllm_process is"):
        several(tmp_path, (letters(), {}), (wat().replace(b"(param $p i32)", b"(param i32) (param $p i32)"), {}))


def test_the_status_is_json_and_counts(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), name="counts")
    filters.apply("ingest", "t", "", block("a", "D", "P"), 3)
    filters.apply("ingest", "t", "", block("a"), 1)

    (status,) = filters.status()
    text = msgspec.json.encode(status)

    assert msgspec.json.decode(text, type=PluginStatus) == status
    assert (status.name, status.abi, status.records_in, status.records_out, status.dropped) == (
        "counts",
        "native",
        4,
        3,
        1,
    )
    assert (status.instances, status.memory_bytes, status.failures) == (1, 4 << 16, {"trap": 3})
    assert status.last_error.startswith("trap: ")
    assert status.last_error_time.endswith("Z")
    assert status.seconds > 0


def test_an_answer_is_handed_over_before_the_next_block_and_only_to_who_asked(tmp_path: Path) -> None:
    asks = '(import "logllm" "ask" (func $ask (param i32 i32) (result i32)))'
    code = wat(
        """(if (i32.eqz (global.get $ticket)) (then
          (global.set $ticket (call $ask (i32.const 300) (i32.const 4)))))
        (if (global.get $answer) (then (i32.store8 offset=10 (local.get $p) (global.get $answer))))
        """
        + CHANGED,
        imports=asks,
        more="""(global $ticket (mut i32) (i32.const 0)) (global $answer (mut i32) (i32.const 0))
        (data (i32.const 300) "why?")
        (func (export "logllm_answer") (param $ticket i32) (param $p i32) (param $n i32)
          (if (i32.eq (local.get $ticket) (global.get $ticket)) (then
            (global.set $answer (i32.load8_u (local.get $p))))))""",
    )
    asked: list[tuple[str, str, int, str]] = []

    def ask(plugin: str, tenant: str, ticket: int, text: str) -> bool:
        asked.append((plugin, tenant, ticket, text))
        return True

    filters = chain(tmp_path, code, grants=["ask"], ask=ask)
    before = filters.apply("ingest", "t", "", block("a"), 1)
    taken = [
        filters.answer("other", "", 1, "?"),
        filters.answer("guest", "nobody", 1, "?"),
        filters.answer("guest", "", 7, "wrong"),
        filters.answer("guest", "", 1, "Yes"),
        filters.answer("guest", "", 1, "No, twice"),
    ]

    after = filters.apply("ingest", "t", "", block("a"), 1)

    assert asked == [("guest", "", 1, "why?")]
    assert taken == [False, False, True, True, True]
    assert texts(before.block, 1) == ["a"]
    assert texts(after.block, 1) == ["Y"]


def test_answers_that_nobody_fetches_are_bounded(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters())
    filters.apply("ingest", "t", "", block("a"), 1)

    taken = [filters.answer("guest", "", number, "text") for number in range(100)]

    assert sum(taken) == 8


def test_what_the_pipeline_gave_is_never_changed_in_place(tmp_path: Path) -> None:
    filters = chain(tmp_path, to_letter("Z"))
    words = entry(1, "abc")

    passed = filters.apply("ingest", "t", "", words, 1)

    assert words == entry(1, "abc")
    assert passed.block == entry(1, "Zbc")
