"""Filters for Fluent Bit's ABI, built here with the compilers people use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from logllm.filters.config import Limits
from logllm.filters.instance import RecordFailed
from tests.filters.fluentbit_builds import Absent, assemblyscript, c, go, rust
from tests.filters.fluentbit_lives import BUDGET_MS, ask, block, bring_up, records_of, silent_host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.filters.fluentbit import FluentBitInstance

RICH: dict[str, Any] = {
    "level": "warn",
    "text": 'Gr\u00fc\u00dfe, \u4e16\u754c \U0001f600, "quoted" \\ and \n a line',
    "numbers": [1, -1, 0, 1 << 40, 0.5, 1e300],
    "nested": {"a": {"b": {"c": [None, True, False, {}]}}},
    "empty": {},
}
WIDE = {f"field {number:03}": number for number in range(40)}
LONG = {"level": "warn", "a": "x" * 256, "b": "y" * 65_535, "c": "z" * 65_536}
RECORDS = [RICH, WIDE, LONG, {"level": "warn"}]


def built(build: Callable[..., bytes], *args: Any) -> bytes:
    """What a compiler makes; the test is skipped where there is none."""
    try:
        return build(*args)
    except Absent as absent:
        pytest.skip(str(absent))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is built."""
    return tmp_path_factory.mktemp("guests")


@pytest.fixture(scope="module")
def c_filter(out: Path) -> bytes:
    """Without an allocator."""
    return built(c, "filter.c", out / "filter.wasm")


@pytest.fixture(scope="module")
def c_filter_with_malloc(out: Path) -> bytes:
    """With one, exported."""
    return built(c, "filter.c", out / "allocates.wasm", "-DALLOCATES")


@pytest.fixture(scope="module")
def c_library_filter(out: Path) -> bytes:
    """Its libc is the host's."""
    return built(c, "library.c", out / "library.wasm")


@pytest.fixture(scope="module")
def rust_filter(out: Path) -> bytes:
    """In msgpack mode, answering with memory it has freed."""
    return built(rust, out / "rust.wasm")


@pytest.fixture(scope="module")
def go_filter(out: Path) -> bytes:
    """With malloc and free, WASI, a garbage collector."""
    return built(go, out / "go.wasm")


@pytest.fixture(scope="module")
def assemblyscript_filter(out: Path) -> bytes:
    """With its runtime exported."""
    return built(assemblyscript, out / "as.wasm")


def check_marking(plugin: FluentBitInstance) -> None:
    """A filter that drops `debug`, and adds the tag to the rest: one record at a time, and a thousand."""
    expected = [{**record, "tag": "app.log"} for record in RECORDS]

    assert ask(plugin, *RECORDS) == expected
    assert ask(plugin, {"level": "debug"}, {"level": "warn"}, {"level": "debug"}) == [
        {"level": "warn", "tag": "app.log"}
    ]
    many = [{"level": "warn" if number % 3 else "debug", "n": number} for number in range(3_000)]
    assert ask(plugin, *many) == [{**one, "tag": "app.log"} for one in many if one["n"] % 3]
    assert ask(plugin, {"level": "warn"}, tag="") == [{"level": "warn", "tag": ""}]


@pytest.mark.parametrize("reuse", [True, False])
def test_c_without_an_allocator(c_filter: bytes, reuse: bool) -> None:
    check_marking(bring_up(c_filter, function="mark", reuse_buffer=reuse))


@pytest.mark.parametrize("reuse", [True, False])
def test_c_with_an_allocator(c_filter_with_malloc: bytes, reuse: bool) -> None:
    check_marking(bring_up(c_filter_with_malloc, function="mark", reuse_buffer=reuse))


def test_c_leaves_drops_and_is_told_the_time(c_filter: bytes) -> None:
    given = block({"level": "info", "f": 0.1}, {"level": "debug"})

    made = bring_up(c_filter, function="mark").process("t", given, 2, BUDGET_MS)
    when = ask(bring_up(c_filter, function="when"), {}, {}, {})

    assert made.block == given[: len(made.block)]
    assert (made.count, made.dropped) == (1, 1)
    assert ask(bring_up(c_filter, function="empty"), {"a": 1}, {"b": 1}) == []
    assert when == [{"sec": 1_700_000_000 + number, "nsec": number} for number in range(3)]


def test_c_has_had_its_constructors_called_once(c_filter: bytes, c_filter_with_malloc: bytes) -> None:
    for code in (c_filter, c_filter_with_malloc):
        assert ask(bring_up(code, function="ready"), {}, {}) == [{"constructed": 1}] * 2


def test_c_may_spoil_what_it_was_given(c_filter: bytes, c_filter_with_malloc: bytes) -> None:
    for code in (c_filter, c_filter_with_malloc):
        plugin = bring_up(code, function="spoil")
        assert ask(plugin, {"a": 1}, {"a": 1}, tag="app.web.log") == [{"first": "app"}] * 2


def test_c_that_leaks_runs_for_ever(c_filter_with_malloc: bytes) -> None:
    plugin = bring_up(c_filter_with_malloc, function="leak", limits=Limits(memory_bytes=8 << 20))
    records = [{"key": number, "text": "x" * 1_000} for number in range(1_000)]

    for _ in range(20):
        assert ask(plugin, *records) == [{"Ley": one["key"], "text": one["text"]} for one in records]

    assert plugin.memory_bytes <= 8 << 20
    assert 2 <= plugin.restarts <= 10


def test_c_with_the_hosts_library_as_in_fluent_bits_example(c_library_filter: bytes) -> None:
    lines: list[str] = []
    plugin = bring_up(c_library_filter, silent_host(lines), function="c_filter")

    made = ask(plugin, RICH, {"a": 1})

    times = ("1700000000.000000000", "1700000001.000000001")
    assert made == [
        {"time": time, "tag": "app.log", "original": record}
        for time, record in zip(times, (RICH, {"a": 1}), strict=True)
    ]
    assert lines[-1] == "app.log 7%"


def test_c_formats_as_c_does(c_library_filter: bytes) -> None:
    assert ask(bring_up(c_library_filter, function="forms"), {}) == [
        {
            "a": "-1    42|42   |00042|+42",
            "b": "beef 0XBEEF 10",
            "c": "cabc",
            "d": "3.14 1.234568e+04 0.0001",
            "e": "-1234567890123 18446744073709551615",
            "f": "   7|ab    |",
        }
    ]


def test_c_that_never_frees_what_the_host_gave_it_runs_for_ever(c_library_filter: bytes) -> None:
    plugin = bring_up(c_library_filter, function="forms", limits=Limits(memory_bytes=4 << 20))

    for _ in range(10):
        assert len(ask(plugin, *[{}] * 400)) == 400

    assert plugin.restarts >= 2
    assert plugin.memory_bytes <= 4 << 20


def test_rust_answers_with_freed_memory_that_no_zero_ends(rust_filter: bytes) -> None:
    plugin = bring_up(rust_filter, event_format="msgpack")
    records: list[dict[Any, Any]] = [*RECORDS, {"nul": "a\0b", "bin": b"\0\0\0", "zero": 0}, {}]
    records += [{f"{number}": number for number in range(count)} for count in range(14, 18)]

    made = ask(plugin, *records)

    assert made == [{**record, "platform": "wasm"} for record in records]
    assert ask(plugin, {"password": "x"}, {"user": "y"}) == [{"user": "y", "platform": "wasm"}]
    many = [{"n": number, "text": "x" * (number % 700)} for number in range(3_000)]
    assert ask(plugin, *many) == [{**one, "platform": "wasm"} for one in many]


@pytest.mark.parametrize("reuse", [True, False])
def test_assemblyscript(assemblyscript_filter: bytes, reuse: bool) -> None:
    check_marking(bring_up(assemblyscript_filter, reuse_buffer=reuse))


def test_go(go_filter: bytes) -> None:
    plugin = bring_up(go_filter)

    made = ask(plugin, *RECORDS, {"level": "debug"})

    times = range(1_700_000_000, 1_700_000_010)
    assert made == [{**one, "tag": "app.log", "time": time} for one, time in zip(RECORDS, times, strict=False)]
    many = [{"level": "warn", "n": number, "text": "x" * (number % 900)} for number in range(20_000)]
    assert len(ask(plugin, *many)) == 20_000
    assert plugin.memory_bytes < 32 << 20, "what it was given and what it made is collected"


def test_go_prints_to_the_log_and_what_panics_is_a_failure(go_filter: bytes) -> None:
    lines: list[str] = []
    plugin = bring_up(go_filter, silent_host(lines))
    given = block({"level": "print"}, {"level": "panic"}, {"level": "info"})

    with pytest.raises(RecordFailed) as caught:
        plugin.process("app.go", given, 3, BUDGET_MS)

    assert lines[0] == "printed by app.go"
    assert any("told to" in line for line in lines)
    assert (caught.value.reason, caught.value.index, caught.value.broken) == ("trap", 1, True)
    assert records_of(caught.value.done) == [{"level": "print", "tag": "app.go", "time": 1_700_000_000}]


def test_go_reads_the_folders_it_was_given_and_nothing_else(go_filter: bytes, tmp_path: Path) -> None:
    given = tmp_path / "given"
    (given / "sub").mkdir(parents=True)
    (given / "rules.txt").write_text("keep all\n" * 1_000)
    (tmp_path / "secret").write_text("secret")
    (given / "link").symlink_to(tmp_path / "secret")
    names = [
        "/data/rules.txt",
        "/data/link",
        "/data/../secret",
        "/etc/hostname",
        str(tmp_path / "secret"),
        "/data/none",
    ]

    (open_to,) = ask(bring_up(go_filter, fs=[f"{given}:/data"]), {"level": "files"}, tag=" ".join(names))
    (closed,) = ask(bring_up(go_filter), {"level": "files"}, tag=" ".join(names))

    assert open_to["names"] == "link rules.txt sub"
    assert open_to["read"] == f"9000 {'- ' * 5}".strip()
    assert closed["names"] == ""
    assert closed["read"] == "- - - - - -"
    assert sorted(path.name for path in given.iterdir()) == ["link", "rules.txt", "sub"]


def test_every_build_is_told_apart_by_what_it_exports(
    c_filter: bytes, c_library_filter: bytes, rust_filter: bytes, go_filter: bytes
) -> None:
    from logllm.filters import fluentbit
    from logllm.wasm import engine

    assert fluentbit.candidates(engine.module(go_filter)) == ["go_filter"]
    assert fluentbit.candidates(engine.module(rust_filter)) == ["rust_filter"]
    assert sorted(fluentbit.candidates(engine.module(c_library_filter))) == ["c_filter", "forms"]
    assert sorted(fluentbit.candidates(engine.module(c_filter))) == ["empty", "mark", "ready", "spoil", "when"]
