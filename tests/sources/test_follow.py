"""Following real files in a temporary folder; time is a number the test moves."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logllm.errors import ConfigError
from logllm.sources.follow import Follower

START_NS = 1_767_000_000 * 1_000_000_000
SECOND = 1_000_000_000


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        return self.ns

    def forward(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND)


Follow = Callable[..., Follower]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(clock: Clock) -> Iterator[Follow]:
    made: list[Follower] = []

    def make(*patterns: Path | str, **options: int | float | str | bool) -> Follower:
        follower = Follower(patterns, clock=clock, flush_after_s=1.0, format="text", **options)  # type: ignore[arg-type]
        made.append(follower)
        return follower

    yield make
    for follower in made:
        follower.close()


def messages(follower: Follower, polls: int = 1) -> list[str]:
    return [
        message
        for _ in range(polls)
        for chunk in follower.poll()
        for message in (chunk.columns.messages if chunk.columns is not None else [])
    ]


def settled(follower: Follower, clock: Clock) -> list[str]:
    """What a few polls give, with the time-out for unfinished records gone by."""
    found = messages(follower, 3)
    clock.forward(2)
    return found + messages(follower, 2)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_what_is_there_comes_first_and_what_is_written_later_follows(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\ntwo\n")
    follower = follow(log)

    first = settled(follower, clock)
    append(log, "three\n")
    second = settled(follower, clock)

    assert (first, second, follower.caught_up) == (["one", "two"], ["three"], True)


def test_a_line_is_held_until_its_newline_comes(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("half a ")
    follower = follow(log)

    before = messages(follower, 2)
    append(log, "line\n")
    after = settled(follower, clock)

    assert (before, after) == ([], ["half a line"])


def test_a_line_without_newline_is_given_away_after_the_time_out_and_only_then(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("no newline")
    follower = follow(log)

    early = messages(follower, 3)
    clock.forward(0.9)
    still_early = messages(follower)
    clock.forward(0.2)
    late = messages(follower)

    assert (early, still_early, late) == ([], [], ["no newline"])


def test_a_trace_that_arrives_in_two_writes_is_one_record(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("Error: boom\n    at f (x.js:1:2)\n")
    follower = follow(log)

    first = messages(follower, 2)
    append(log, "    at g (x.js:2:3)\nnext\n")
    second = settled(follower, clock)

    assert first == []
    assert second == ["Error: boom\n    at f (x.js:1:2)\n    at g (x.js:2:3)", "next"]


def test_after_a_rename_the_rest_of_the_old_file_comes_before_the_new_one(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    follower = follow(log)
    settled(follower, clock)

    append(log, "old two\n")
    log.rename(tmp_path / "app.log.1")
    log.write_text("new one\n")
    append(tmp_path / "app.log.1", "old three\n")
    found = settled(follower, clock)

    assert found == ["old two", "old three", "new one"]


def test_what_is_written_to_the_old_file_until_it_is_looked_at_again_is_read(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    follower = follow(log)
    settled(follower, clock)

    log.rename(tmp_path / "app.log.1")
    log.write_text("new\n")
    noticed = messages(follower)
    append(tmp_path / "app.log.1", "late\n")
    found = settled(follower, clock)

    assert (noticed, found) == ([], ["late", "new"])


def test_a_truncated_file_is_read_from_its_start(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("a long first line\nanother\n")
    follower = follow(log)
    settled(follower, clock)

    shutil.copy(log, tmp_path / "app.log.1")
    os.truncate(log, 0)
    append(log, "fresh\n")
    found = settled(follower, clock)

    assert found == ["fresh"]


def test_a_file_that_was_truncated_and_filled_to_the_same_size_is_noticed(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("aaaa\nbbbb\n")
    follower = follow(log)
    settled(follower, clock)

    log.write_text("cccc\ndddd\n")
    os.utime(log, ns=(START_NS, START_NS + 7))
    found = settled(follower, clock)

    assert found == ["cccc", "dddd"]


def test_a_file_that_was_truncated_and_filled_beyond_its_old_size_is_noticed(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("aaaa\n")
    follower = follow(log)
    settled(follower, clock)

    log.write_text("bbbb\ncccc\ndddd\n")
    found = settled(follower, clock)

    assert found == ["bbbb", "cccc", "dddd"]


def test_lines_are_numbered_anew_in_a_new_file(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\ntwo\n")
    follower = follow(log)
    settled(follower, clock)

    os.truncate(log, 0)
    append(log, "x\ny\n")
    follower.poll()
    clock.forward(2)
    chunks = follower.poll() + follower.finish()
    positions = [
        n for chunk in chunks if chunk.columns and chunk.columns.position is not None for n in chunk.columns.position
    ]

    assert positions[-1] == 2


def test_a_deleted_file_that_comes_again_is_followed(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    follower = follow(log)
    first = settled(follower, clock)

    log.unlink()
    gone = settled(follower, clock)
    log.write_text("again\n")
    back = settled(follower, clock)

    assert (first, gone, back) == (["one"], [], ["again"])


def test_a_glob_takes_up_files_that_come_later(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    (tmp_path / "a.log").write_text("a1\n")
    follower = follow(str(tmp_path / "*.log"))
    first = settled(follower, clock)

    (tmp_path / "b.log").write_text("b1\n")
    second = settled(follower, clock)

    assert (first, second) == (["a1"], ["b1"])


def test_a_glob_that_matches_nothing_yet_waits(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    follower = follow(str(tmp_path / "*.log"))
    before = settled(follower, clock)

    (tmp_path / "a.log").write_text("a1\n")

    assert (before, follower.exhausted, settled(follower, clock)) == ([], False, ["a1"])


@pytest.mark.parametrize("long", [False, True])
def test_a_renamed_file_that_matches_the_glob_is_not_read_twice(
    tmp_path: Path, follow: Follow, clock: Clock, long: bool
) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n" * (200 if long else 1))
    follower = follow(str(tmp_path / "app.log*"))
    settled(follower, clock)

    log.rename(tmp_path / "app.log.1")
    log.write_text("new\n")
    found = settled(follower, clock)
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
    log.rename(tmp_path / "app.log.1")
    log.write_text("newer\n")
    found += settled(follower, clock)

    assert found == ["new", "newer"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_copy_of_what_was_read_is_not_read_again(
    tmp_path: Path, follow: Follow, clock: Clock, compress: bool
) -> None:
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {number}\n" for number in range(200)))
    follower = follow(str(tmp_path / "app.log*"))
    settled(follower, clock)

    if compress:
        (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    else:
        shutil.copy(log, tmp_path / "app.log.1")
    os.truncate(log, 0)
    append(log, "fresh\n")
    found = settled(follower, clock)

    assert found == ["fresh"]


def test_rotated_files_that_are_there_at_the_start_are_read_oldest_first(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    (tmp_path / "app.log.2.gz").write_bytes(gzip.compress(b"first\n"))
    (tmp_path / "app.log.1").write_text("second\n")
    (tmp_path / "app.log").write_text("third\n")
    for age, name in enumerate(("app.log", "app.log.1", "app.log.2.gz")):
        os.utime(tmp_path / name, ns=(START_NS, START_NS - age * SECOND))
    follower = follow(str(tmp_path / "app.log*"))

    found = settled(follower, clock)

    assert found == ["first", "second", "third"]


def test_several_files_take_turns(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("".join(f"{name} {number}\n" for number in range(200)))
    follower = follow(tmp_path / "a.log", tmp_path / "b.log", chunk_bytes=512, budget_bytes=1 << 20)

    order = [message[0] for message in messages(follower)]

    assert order.index("b") < 100
    assert order.count("a") > 150
    assert order.count("b") > 150


def test_one_poll_reads_no_more_than_its_budget(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("0123456789\n" * 10_000)
    follower = follow(log, chunk_bytes=1_000, budget_bytes=5_000)

    counts = [len(messages(follower)) for _ in range(3)]

    assert max(counts) < 600
    assert not follower.caught_up


def test_a_compressed_file_is_read_once_and_nothing_else_is_waited_for(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    packed = tmp_path / "old.log.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo\n"))
    follower = follow(packed)

    found = settled(follower, clock)

    assert (found, follower.exhausted, follower.caught_up) == (["one", "two"], True, True)


def test_a_missing_file_is_one_line_and_the_others_go_on(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    follower = follow(tmp_path / "none.log", log)

    errors = follower.drain_errors()

    assert errors == ["none.log: no such file"]
    assert follower.drain_errors() == []
    assert settled(follower, clock) == ["one"]


def test_nothing_but_missing_files_is_the_end(tmp_path: Path, follow: Follow) -> None:
    follower = follow(tmp_path / "none.log")

    assert (follower.exhausted, follower.poll()) == (True, [])


def test_a_binary_file_in_a_glob_is_told_once_and_skipped(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    (tmp_path / "a.log").write_text("text\n")
    (tmp_path / "b.log").write_bytes(b"\x7fELF\0\0")
    follower = follow(str(tmp_path / "*.log"))

    found = settled(follower, clock)

    assert found == ["text"]
    assert follower.drain_errors() == ["b.log: binary file (NUL byte at offset 4), expected text"]


def test_a_file_that_is_replaced_by_a_binary_is_told_once_and_a_text_after_it_is_read(
    tmp_path: Path, follow: Follow, clock: Clock
) -> None:
    log = tmp_path / "app.log"
    log.write_text("text\n")
    follower = follow(log)
    settled(follower, clock)

    log.rename(tmp_path / "old")
    log.write_bytes(b"\x7fELF\0\0")
    nothing = settled(follower, clock) + settled(follower, clock)
    errors = follower.drain_errors()
    log.rename(tmp_path / "binary")
    log.write_text("text again\n")

    assert (nothing, len(errors), follower.drain_errors()) == ([], 1, [])
    assert settled(follower, clock) == ["text again"]


def test_from_the_end_only_new_lines_come(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("old\n")
    follower = follow(log, from_end=True)

    append(log, "new\n")

    assert settled(follower, clock) == ["new"]


def test_finish_gives_what_was_held_and_closes(tmp_path: Path, follow: Follow) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\nlast without newline")
    follower = follow(log)
    found = messages(follower, 2)

    rest = [message for chunk in follower.finish() for message in (chunk.columns.messages if chunk.columns else [])]

    assert found + rest == ["one", "last without newline"]
    assert follower.poll() == []


def test_a_named_pipe_never_blocks(tmp_path: Path, follow: Follow, clock: Clock) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    follower = follow(pipe)
    before = messages(follower, 2)

    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"through the pipe\n")
    after = settled(follower, clock)
    os.close(writer)

    assert (before, after) == ([], ["through the pipe"])


def test_an_old_file_without_years_goes_on_into_the_new_year_as_the_clock_does(tmp_path: Path, clock: Clock) -> None:
    log = tmp_path / "messages"
    log.write_text("Dec 29 09:20:00 web app[1]: one\n")
    os.utime(log, ns=(START_NS, START_NS))  # 2025-12-29
    follower = Follower([log], clock=clock)
    follower.poll()

    clock.forward(4 * 86_400)
    append(log, "Jan  2 08:00:00 web app[1]: two\n")
    chunks = follower.poll() + follower.finish()
    times = [int(time) for chunk in chunks if chunk.columns is not None for time in chunk.columns.time_ns]

    assert times[-1] == 1_767_340_800 * SECOND  # 2026-01-02T08:00:00Z


def test_run_sleeps_only_when_there_is_nothing_and_stops_when_told(tmp_path: Path, clock: Clock) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    slept: list[float] = []
    follower = Follower([log], clock=clock, sleep=slept.append, poll_interval_s=0.5, format="text")

    for turn, _ in enumerate(follower.run(lambda: len(slept) >= 3)):
        clock.forward(0.5)
        assert turn < 20
    follower.close()

    assert slept == [0.5, 0.5, 0.5]


def test_an_unknown_format_is_refused_at_once(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")

    with pytest.raises(ConfigError, match="no format 'xml'"):
        Follower([log], format="xml")
