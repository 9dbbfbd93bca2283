from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.filters.chain import Filters
from logllm.filters.config import PluginConfig
from logllm.filters.life.breaker import WINDOW_S, Breaker
from tests.filters.lives import Clock, chain, fluent, letters, texts
from tests.filters.native_guests import block
from tests.filters.test_chain import to_letter


@given(st.lists(st.tuples(st.sampled_from(["fail", "well", "wait"]), st.floats(0, 100)), max_size=60))
def test_it_is_open_exactly_where_the_obvious_reference_is(steps: list[tuple[str, float]]) -> None:
    clock = Clock(0.0)
    breaker = Breaker(3, 30, clock)
    failures: list[float] = []
    opened: float | None = None

    for step, wait_s in steps:
        clock.now_s += wait_s
        lets = opened is None or clock.now_s - opened >= 30
        assert breaker.lets_through() == lets
        if step == "wait" or not lets:
            continue
        if step == "fail":
            if opened is not None:
                assert not breaker.failed()
                opened = clock.now_s
                continue
            failures.append(clock.now_s)
            trips = len(failures) >= 3 and clock.now_s - failures[-3] <= WINDOW_S
            assert breaker.failed() == trips
            if trips:
                opened, failures = clock.now_s, []
        else:
            assert breaker.went_well() == (opened is not None)
            opened = None
        assert breaker.open == (opened is not None)


@pytest.mark.parametrize(("on_error", "out"), [("keep", ["ok", "M1"]), ("drop", [])])
def test_a_plugin_that_keeps_failing_is_bypassed_and_comes_back(
    tmp_path: Path, on_error: str, out: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    filters = chain(tmp_path, letters(), clock=clock, on_error=on_error, breaker_failures=3, breaker_s=30)
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        filters.apply("ingest", "t", "", block("P"), 1)

    while_open = filters.apply("ingest", "t", "", block("ok", "M1"), 2)
    status = filters.status()[0]
    clock.now_s += 30
    after = filters.apply("ingest", "t", "", block("ok", "M1"), 2)

    assert texts(while_open.block, while_open.count) == out
    assert status.bypassed
    assert status.bypassed_records == 2
    assert status.calls == 3
    assert texts(after.block, after.count) == ["ok", "X1"]
    assert not filters.status()[0].bypassed
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    kept = "kept as they are" if on_error == "keep" else "dropped"
    assert errors == [f"guest: failed 3 times within a minute: bypassed for 30 s, its records are {kept}"]
    assert caplog.records[-1].getMessage() == "guest: works again and is no longer bypassed"


def test_the_one_try_of_a_bypassed_plugin_is_given_up_at_its_first_failure(tmp_path: Path) -> None:
    clock = Clock()
    filters = chain(tmp_path, letters(), clock=clock, breaker_failures=1, breaker_s=30)
    filters.apply("ingest", "t", "", block("P"), 1)
    clock.now_s += 30
    words = [*("ok" for _ in range(500)), "P", *("ok" for _ in range(500))]

    passed = filters.apply("ingest", "t", "", block(*words), 1001)
    status = filters.status()[0]
    again = filters.apply("ingest", "t", "", block("ok"), 1)

    assert texts(passed.block, passed.count) == words
    assert status.calls == 2
    assert status.bypassed
    assert again.count == 1
    assert filters.status()[0].calls == 2


def test_the_rest_of_a_block_in_which_it_opens_is_not_tried(tmp_path: Path) -> None:
    filters = chain(tmp_path, letters(), on_error="drop", breaker_failures=2)
    words = ["P"] * 512

    passed = filters.apply("ingest", "t", "", block(*words), 512)
    status = filters.status()[0]

    assert passed.count == 0
    assert passed.dropped == 512
    assert status.failed_records == 512
    assert status.calls == 11
    assert status.bypassed


def test_records_that_no_plugin_could_be_shown_do_not_switch_it_off(tmp_path: Path) -> None:
    no_time = b"\x92\x01\x81\xa1t\xc7\x0c\xff\xff\xff\xff\xff" + bytes(8)
    filters = chain(tmp_path, fluent("(i32.const 0)"), on_error="drop", breaker_failures=3)

    passed = filters.apply("ingest", "t", "", no_time * 20, 20)

    assert passed.count == 0
    assert filters.status()[0].failures == {"bad_record": 20}
    assert not filters.status()[0].bypassed


def test_what_the_check_refused_before_the_plugin_is_not_the_plugins_doing(tmp_path: Path) -> None:
    """As a record nested to the very limit, which a deeper stack cannot walk."""
    path = tmp_path / "guest.wat"
    path.write_bytes(to_letter("1"))
    filters = Filters([PluginConfig(path=str(path), breaker_failures=2)], check=lambda _block, _count: None)

    for _ in range(5):
        filters.apply("ingest", "t", "", block("a", "b"), 2)

    assert set(filters.status()[0].failures) <= {"bad_record", "bad_result"}
    assert not filters.status()[0].bypassed
