"""Stack traces of many languages become one record; what only stands beside them does not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.sources.formats.line_format import Reading
from logllm.sources.formats.text import TextFormat
from logllm.sources.multiline import CUT, continues, join_records, record_starts, unfinished_lines

TRACES = {
    "python": """\
Traceback (most recent call last):
  File "shop.py", line 7, in <module>
    buy()
ValueError: no such thing""",
    "python, chained twice": """\
Traceback (most recent call last):
  File "shop.py", line 7, in buy
KeyError: 'cart'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "shop.py", line 9, in buy
LookupError

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "shop.py", line 12, in main
RuntimeError: gone""",
    "python after a message": """\
ERROR in shop: Traceback (most recent call last):
  File "shop.py", line 7
OSError: disk""",
    "java": """\
Exception in thread "main" java.lang.IllegalStateException: closed
\tat com.shop.Cart.add(Cart.java:10)
\tat com.shop.Main.main(Main.java:3)
\tSuppressed: java.io.IOException: also
\t\tat com.shop.Cart.close(Cart.java:20)
Caused by: java.io.IOException: reset
\tat com.shop.Net.read(Net.java:7)
\t... 2 more""",
    "java without tabs": """\
java.lang.IllegalStateException: closed
at com.shop.Cart.add(Cart.java:10)
Caused by: java.io.IOException: reset
... 2 more""",
    "go": """\
panic: runtime error: index out of range [3] with length 3

goroutine 1 [running]:
main.buy(0x1, {0xc000012345, 0x3})
\t/app/shop.go:12 +0x1d
main.main()
\t/app/shop.go:3 +0x11
created by main.start in goroutine 7
\t/app/shop.go:30 +0x22
exit status 2""",
    "node": """\
TypeError: Cannot read properties of undefined (reading 'cart')
    at buy (/app/shop.js:10:9)
    at async main (/app/shop.js:20:3)""",
    "dotnet": """\
Unhandled exception. System.InvalidOperationException: closed
 ---> System.IO.IOException: reset
   at Shop.Net.Read() in /app/Net.cs:line 7
   --- End of inner exception stack trace ---
   at Shop.Cart.Add() in /app/Cart.cs:line 10""",
    "ruby": """\
shop.rb:7:in `buy': no such thing (ArgumentError)
\tfrom shop.rb:9:in `main'
\tfrom shop.rb:12:in `<main>'""",
    "php": """\
PHP Fatal error:  Uncaught Exception: closed in /app/shop.php:7
Stack trace:
#0 /app/shop.php(9): buy()
#1 {main}
  thrown in /app/shop.php on line 7""",
    "rust": """\
thread 'main' panicked at src/main.rs:7:5:
    explicit panic
   0: std::panicking::begin_panic
             at /rustc/library/std/src/panicking.rs:616:12""",
}


def records(lines: list[str]) -> list[str]:
    return list(TextFormat(Reading(0)).parse(lines).messages)


@pytest.mark.parametrize("language", [name for name in TRACES if name != "php"])
def test_a_trace_is_one_record_between_its_neighbours(language: str) -> None:
    trace = TRACES[language]

    assert records(["before", *trace.split("\n"), "after"]) == ["before", trace, "after"]


def test_a_php_trace_hangs_on_its_own_second_line() -> None:
    first, rest = TRACES["php"].split("\n", 1)

    assert records(["before", *TRACES["php"].split("\n"), "after"]) == ["before", first, rest, "after"]


@pytest.mark.parametrize("language", [name for name in TRACES if name != "php"])
def test_two_traces_in_a_row_are_two_records(language: str) -> None:
    trace = TRACES[language]

    assert records(trace.split("\n") * 2) == [trace, trace]


def test_lines_of_prose_are_records_each() -> None:
    lines = ["at noon the server stopped", "panic at the disco", "during the night", "goroutines are cheap"]

    assert record_starts(lines) is None
    assert records(lines) == lines


def test_blank_lines_vanish_between_records() -> None:
    assert records(["", "one", "", "", "two", "  "]) == ["one", "two"]


def test_an_indented_first_line_is_a_record_for_want_of_another() -> None:
    assert records(["  indented", "    deeper", "next"]) == ["  indented\n    deeper", "next"]


def test_a_record_that_is_too_long_is_cut_and_counted() -> None:
    lines = ["head", *(f"  line {number}" for number in range(1000)), "next"]
    counts: Counter[str] = Counter()

    starts = record_starts(lines)
    assert starts is not None
    joined = join_records(lines, lines, starts, counts, max_lines=10, max_chars=10_000)
    short = join_records(lines, lines, starts, counts, max_lines=10_000, max_chars=50)

    assert [len(message.split("\n")) for message in joined] == [10, 1]
    assert [len(message) for message in short] == [50, 4]
    assert counts == {CUT: 2}


@pytest.mark.parametrize("language", TRACES)
def test_a_trace_at_the_end_is_not_finished(language: str) -> None:
    trace = TRACES[language].split("\n")
    whole = len(trace) - (language == "php")

    assert unfinished_lines(["before", *trace]) == whole
    assert unfinished_lines(["before", *trace, "after"]) == 1


def test_looking_back_for_the_start_of_a_record_is_bounded() -> None:
    assert unfinished_lines(["head"] + ["  more"] * 100_000) <= 256


def test_the_shape_of_a_line_alone() -> None:
    assert all(map(continues, ["\tat a.b(C.java:1)", "  x", "Caused by: y", "... 3 more", "#1 {main}", " ---> x"]))
    assert not any(map(continues, ["at noon", "", "ValueError: bad", "cause", "#hashtag", "..."]))


LINE = st.sampled_from(
    [
        "plain", "other plain", "", "   ", "  indented", "\tat a.b(C.java:1)", "Caused by: x",
        "Traceback (most recent call last):", "ValueError: x", "panic: x", "goroutine 1 [running]:", "main.f(0x1)",
        "During handling of the above exception, another exception occurred:",
    ]
)  # fmt: skip


@given(st.lists(LINE, max_size=30))
def test_no_line_that_says_something_is_lost_or_moved(lines: list[str]) -> None:
    columns = TextFormat(Reading(0)).parse(lines)

    said = [line for message in columns.messages for line in message.split("\n") if line.strip()]

    assert said == [line for line in lines if line.strip()]
    assert columns.position is not None
    assert (np.diff(columns.position) > 0).all()
    assert all(
        lines[start] == message.split("\n")[0]
        for start, message in zip(columns.position, columns.messages, strict=True)
    )


@given(st.lists(LINE, min_size=1, max_size=30))
def test_what_is_held_back_begins_with_a_record_and_reading_in_two_parts_gives_the_same(lines: list[str]) -> None:
    held = unfinished_lines(lines)
    done, rest = lines[: len(lines) - held], lines[len(lines) - held :]

    assert records(done) + records(rest) == records(lines)
