from __future__ import annotations

import ctypes
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginTrap
from logllm.filters import libc
from logllm.filters.libc.heap import Heap
from logllm.filters.libc.printf import MOST_BYTES
from logllm.wasm import engine
from logllm.wasm.guest import Guest
from tests.filters.fluentbit_lives import silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST_LIBC = ctypes.CDLL(None)
OUTSIDE = 0xFFFF_FFF0
NO_RESULT = {"free", "exit", "abort"}
NAMES = [name for name in libc.FUNCTIONS if name not in ("exit", "abort")]


def text() -> str:
    """A module that hands every C function on, under its own name; one with an underscore before it as well."""
    imports = functions = ""
    for name, count in libc.FUNCTIONS.items():
        params = "(param " + " ".join(["i32"] * count) + ")"
        result = "" if name in NO_RESULT else "(result i32)"
        values = " ".join(f"(local.get {number})" for number in range(count))
        imports += f'(import "env" "{name}" (func ${name} {params} {result}))'
        functions += f'(func (export "{name}") {params} {result} (call ${name} {values}))'
    imports += '(import "env" "_strlen" (func $old (param i32) (result i32)))'
    functions += '(func (export "_strlen") (param i32) (result i32) (call $old (local.get 0)))'
    return f'(module {imports} (memory (export "memory") 2) {functions})'


class Caller:
    """Calls C functions as a guest does."""

    def __init__(self, memory_bytes: int = 4 << 20) -> None:
        import wasmtime

        self.lines: list[str] = []
        self.heap = Heap()
        module = engine.module(bytes(wasmtime.wat2wasm(text())))
        given = libc.imports(module, silent_host(self.lines), self.heap)
        self.guest = Guest(module, given, memory_bytes=memory_bytes)
        self._functions = {name: self.guest.function(name) for name in (*libc.FUNCTIONS, "_strlen")}

    def __call__(self, name: str, *values: int) -> int:
        return self.guest.run(self._functions[name], *values, time_ms=1_000)

    def signed(self, name: str, *values: int) -> int:
        result = self(name, *values)
        return result - (1 << 32) if result >> 31 else result

    def put(self, at: int, data: bytes) -> int:
        self.guest.write(at, data + b"\0")
        return at

    def string(self, at: int) -> bytes:
        return self.guest.read(at, 4096).split(b"\0")[0]

    def formatted(self, form: str, *values: int | float | bytes) -> bytes:
        """`sprintf` with values packed as clang packs them: an int of more than 32 bits as a `long long`."""
        packed, at = b"", 20_000
        for value in values:
            if isinstance(value, bytes):
                packed += struct.pack("<I", self.put(at, value))
                at += len(value) + 1
            elif isinstance(value, float) or not -(1 << 31) <= value < 1 << 32:
                packed += b"?" * (-len(packed) % 8)
                packed += struct.pack("<d", value) if isinstance(value, float) else struct.pack("<Q", value % (1 << 64))
            else:
                packed += struct.pack("<I", value & 0xFFFF_FFFF)
        self.guest.write(10_000, packed + bytes(8))
        size = self("sprintf", 40_000, self.put(0, form.encode()), 10_000)
        made = self.guest.read(40_000, size + 1)
        assert made.endswith(b"\0")
        return made[:-1]


@pytest.fixture(scope="module")
def c() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.guest.close()


def expected(form: str, value: Any) -> bytes:
    """What the C library of this machine makes of it."""
    room = ctypes.create_string_buffer(4_096)
    HOST_LIBC.snprintf(room, ctypes.c_size_t(4_096), form.encode(), value)
    return room.value


FLAGS = st.text("-+ 0#", max_size=3)
WIDTHS = st.sampled_from(["", "0", "1", "7", "40"])
PRECISIONS = st.sampled_from(["", ".", ".0", ".1", ".5", ".12"])


@given(FLAGS, WIDTHS, PRECISIONS, st.sampled_from("diuxXo"), st.integers(-(1 << 31), (1 << 32) - 1))
@settings(max_examples=300)
def test_integers_are_printed_as_c_prints_them(
    c: Caller, flags: str, width: str, precision: str, kind: str, value: int
) -> None:
    # What `#` does to an octal number depends on its digits, and on whom one asks.
    form = f"%{flags.replace('#', '') if kind == 'o' else flags}{width}{precision}{kind}"

    assert c.formatted(form, value) == expected(form, ctypes.c_uint32(value & 0xFFFF_FFFF)), form


@given(FLAGS, WIDTHS, PRECISIONS, st.sampled_from("fFeEgG"), st.floats(width=64))
@settings(max_examples=300)
def test_floats_are_printed_as_c_prints_them(
    c: Caller, flags: str, width: str, precision: str, kind: str, value: float
) -> None:
    if value != value:  # which sign a nan has is nobody's business
        value = float("inf")
    form = f"%{flags}{width}{precision}{kind}"

    assert c.formatted(form, value) == expected(form, ctypes.c_double(value)), form


@pytest.mark.parametrize(
    ("form", "values", "made"),
    [
        ("plain", (), b"plain"),
        ("100%% of %s", (b"it",), b"100% of it"),
        ("%s=%d,%s=%d", (b"a", 1, b"b", -2), b"a=1,b=-2"),
        ("[%5s|%-5s|%.2s|%5.1s]", (b"ab", b"ab", b"abc", b"xyz"), b"[   ab|ab   |ab|    x]"),
        ("%c%c", (65, 0x142), b"AB"),
        ("%lld %llu %llx", (-(1 << 40), (1 << 64) - 1, 1 << 36), b"-1099511627776 18446744073709551615 1000000000"),
        ("%d %lld %d %f %d", (1, 1 << 40, 2, 0.5, 3), b"1 1099511627776 2 0.500000 3"),
        ("%hhd %hd %hhu", (255, 65_535, 257), b"-1 -1 1"),
        ("%ld %zu %ju", (-1, 5, 1 << 33), b"-1 5 8589934592"),
        ("%*d|%-*d|%.*f", (4, 7, 4, 7, 2, 1.0), b"   7|7   |1.00"),
        ("%*d|", (-4 & 0xFFFF_FFFF, 7), b"7   |"),
        ("%p", (0x1234,), b"0x1234"),
        ("%#x %#o %#X %#x", (255, 8, 255, 0), b"0xff 010 0XFF 0"),
        ("%n%s", (0, b"x"), b"x"),
        ("%q %", (), b"%q %"),
        ("%08.3f|%+.1e", (-3.14159, 12345.0), b"-003.142|+1.2e+04"),
    ],
)
def test_forms(c: Caller, form: str, values: tuple[int | float | bytes, ...], made: bytes) -> None:
    assert c.formatted(form, *values) == made


def test_a_string_with_a_precision_needs_no_end(c: Caller) -> None:
    end = c.guest.memory_bytes
    c.guest.write(end - 4, b"last")
    c.guest.write(10_000, struct.pack("<I", end - 4))

    assert c("sprintf", 40_000, c.put(0, b"%.4s"), 10_000) == 4
    assert c.string(40_000) == b"last"
    with pytest.raises(PluginTrap, match="has no end"):
        c("sprintf", 40_000, c.put(0, b"%s"), 10_000)


def test_snprintf_cuts_what_does_not_fit_and_tells_its_length(c: Caller) -> None:
    c.guest.write(40_000, b"x" * 20)
    form = c.put(0, b"hello %d")
    c.guest.write(10_000, struct.pack("<I", 12345))

    assert c("snprintf", 40_000, 8, form, 10_000) == 11
    assert c.guest.read(40_000, 9) == b"hello 1\0x"
    assert c("snprintf", 40_000, 0, form, 10_000) == 11
    assert c.guest.read(40_000, 1) == b"h"


def test_what_is_printed_is_logged_by_lines() -> None:
    c = Caller()
    c.guest.write(10_000, struct.pack("<I", 7))

    c("printf", c.put(0, b"number %d"), 10_000)
    c("puts", c.put(0, b"!"))
    for letter in b"abc\n":
        c("putchar", letter)

    assert c.lines == ["number 7!", "abc"]


def test_an_output_bomb_stops_the_guest_before_it_costs_much(c: Caller) -> None:
    form = b"%65536d" * (MOST_BYTES // 65_536 + 10)
    c.put(1_000, form)

    with pytest.raises(PluginTrap, match="prints more than") as caught:
        c("snprintf", 40_000, 10, 1_000, 100_000)

    assert caught.value.reason == "output"


def test_memory_that_is_given_out_is_there_and_does_not_overlap() -> None:
    c = Caller()
    before = c.guest.memory_bytes
    sizes = [1, 0, 255, 256, 257, 5_000, 70_000, 1_000_000, 3]

    places = [(c("malloc", size), max(size, 1)) for size in sizes]

    spans = sorted((place, place + size) for place, size in places)
    assert spans[0][0] >= before, "the pages are the host's, none of the guest's own"
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert spans[-1][1] <= c.guest.memory_bytes
    assert all(place % 16 == 0 for place, _ in places)


def test_what_is_given_back_is_given_out_again_and_memory_stays() -> None:
    c = Caller()

    for _ in range(3_000):
        place = c("malloc", 10_000)
        assert place
        c("free", place)
        c("free", place)
        c("free", 12_345)
    assert c.guest.memory_bytes <= 1 << 20


def test_calloc_is_zero_and_realloc_keeps_what_was_there() -> None:
    c = Caller()
    place = c("malloc", 400)
    c.guest.write(place, b"x" * 400)
    c("free", place)

    again = c("calloc", 100, 4)
    assert c.guest.read(again, 400) == bytes(400)
    c.put(again, b"kept")
    assert c("realloc", again, 300) == again
    larger = c("realloc", again, 9_000)
    assert larger != again
    assert c.string(larger) == b"kept"
    assert c("realloc", 0, 10) != 0
    assert c("calloc", 1 << 16, 1 << 16) == 0
    assert c.string(c("strdup", c.put(0, b"twice"))) == b"twice"


def test_there_is_no_memory_where_the_limit_is_reached() -> None:
    c = Caller(memory_bytes=1 << 20)

    assert c("malloc", 2 << 20) == 0
    assert c("malloc", 0xFFFF_FFFF) == 0
    assert sum(1 for _ in range(10_000) if c("malloc", 1_000)) < 1_000
    assert c("strdup", c.put(0, b"x" * 5_000)) == 0


STRINGS = st.binary(max_size=12).map(lambda one: one.replace(b"\0", b"n"))


@given(STRINGS, STRINGS, st.integers(0, 14), st.integers(0, 255))
@settings(max_examples=200)
def test_strings_are_compared_and_searched_as_in_c(c: Caller, one: bytes, other: bytes, size: int, byte: int) -> None:
    a, b = c.put(100, one), c.put(200, other)

    def sign(value: int) -> int:
        return (value > 0) - (value < 0)

    for name, more in (("strcmp", ()), ("strncmp", (size,)), ("strncasecmp", (size,))):
        theirs = getattr(HOST_LIBC, name)(one, other, *(ctypes.c_size_t(value) for value in more))
        assert sign(c.signed(name, a, b, *more)) == sign(theirs), name
    assert c("strlen", a) == c("_strlen", a) == len(one)
    assert c("strspn", a, b) == HOST_LIBC.strspn(one, other)
    assert c("strcspn", a, b) == HOST_LIBC.strcspn(one, other)
    ends = one + b"\0"
    assert c("strchr", a, byte) == (a + ends.find(byte) if byte in ends else 0)
    assert c("strrchr", a, byte) == (a + ends.rfind(byte) if byte in ends else 0)
    assert c("strstr", a, b) == (a + one.find(other) if other in one else 0)
    assert c("memchr", a, byte, len(one)) == (a + one.find(byte) if byte in one else 0)
    assert sign(c.signed("memcmp", a, b, min(len(one), len(other)))) == sign(
        (one[: len(other)] > other[: len(one)]) - (one[: len(other)] < other[: len(one)])
    )


def test_strings_and_memory_are_copied_as_in_c(c: Caller) -> None:
    source = c.put(100, b"source")
    c.guest.write(300, b"-" * 20)

    assert c("strcpy", 300, source) == 300
    assert c.guest.read(300, 8) == b"source\0-"
    c("strcat", 300, source)
    c("strncat", 300, source, 3)
    assert c.string(300) == b"sourcesourcesou"
    c("strncpy", 300, source, 9)
    assert c.guest.read(300, 10) == b"source\0\0\0r"
    c("strncpy", 300, source, 2)
    assert c.guest.read(300, 4) == b"sour"
    c.guest.write(300, b"0123456789")
    c("memmove", 302, 300, 6)
    assert c.guest.read(300, 10) == b"0101234589"
    c("memset", 300, 0x141, 3)
    assert c.guest.read(300, 4) == b"AAA1"
    c("memcpy", 400, 300, 4)
    assert c.guest.read(400, 4) == b"AAA1"


@pytest.mark.parametrize(
    ("data", "base", "value", "used"),
    [
        (b"42", 10, 42, 2),
        (b"  -17x", 10, -17, 5),
        (b"+8", 10, 8, 2),
        (b"x", 10, 0, 0),
        (b"", 10, 0, 0),
        (b"-", 10, 0, 0),
        (b"0x1fg", 16, 31, 4),
        (b"1f", 16, 31, 2),
        (b"0x1F", 0, 31, 4),
        (b"017", 0, 15, 3),
        (b"0x", 0, 0, 1),
        (b"0xg", 16, 0, 1),
        (b"zz", 36, 1295, 2),
        (b"12", 1, 0, 0),
        (b"99999999999", 10, 2147483647, 11),
        (b"-99999999999", 10, -2147483648, 12),
        (b"9" * 500, 10, 2147483647, 500),
    ],
)
def test_numbers_are_read_as_in_c(c: Caller, data: bytes, base: int, value: int, used: int) -> None:
    at = c.put(100, data)

    assert c.signed("strtol", at, 800, base) == value
    assert int.from_bytes(c.guest.read(800, 4), "little") == at + used
    assert c.signed("strtol", at, 0, base) == value
    if base == 10:
        assert c.signed("atoi", at) == value


def test_unsigned_numbers_wrap_as_in_c(c: Caller) -> None:
    assert c("strtoul", c.put(100, b"4294967295"), 0, 10) == 0xFFFF_FFFF
    assert c("strtoul", c.put(100, b"-1"), 0, 10) == 0xFFFF_FFFF
    assert c("strtoul", c.put(100, b"99999999999"), 0, 10) == 0xFFFF_FFFF


@pytest.mark.parametrize("name", [one for one in libc.FUNCTIONS if one.startswith(("is", "to"))])
def test_characters_are_told_apart_as_in_c(c: Caller, name: str) -> None:
    theirs = getattr(HOST_LIBC, name)

    for character in [*range(128), 200, 0xFFFF_FFFF]:
        result = c(name, character)
        if name.startswith("is"):
            assert bool(result) == (bool(theirs(character)) if character < 128 else False), character
        elif character < 128:
            assert result == theirs(character)


@pytest.mark.parametrize(
    "call",
    [
        ("memcpy", OUTSIDE, 0, 100),
        ("memcpy", 0, OUTSIDE, 100),
        ("memset", 0, 0, OUTSIDE),
        ("memcmp", 0, OUTSIDE, 64),
        ("strlen", OUTSIDE),
        ("strcpy", OUTSIDE, 0),
        ("strncpy", 0, 0, OUTSIDE),
        ("strtol", 100, OUTSIDE, 10),
        ("sprintf", OUTSIDE, 0, 0),
        ("sprintf", 0, OUTSIDE, 0),
        ("printf", OUTSIDE, 0),
        ("puts", OUTSIDE),
    ],
)
def test_a_bad_pointer_stops_the_guest(c: Caller, call: tuple[Any, ...]) -> None:
    name, *values = call
    c.put(0, b"%d text")

    with pytest.raises(PluginTrap) as caught:
        c(name, *values)

    assert caught.value.reason == "bad_pointer"


@given(st.data())
@settings(max_examples=300)
def test_any_values_give_an_answer_or_stop_the_guest(c: Caller, data: st.DataObject) -> None:
    words = st.one_of(st.integers(0, 300), st.sampled_from([OUTSIDE, 131_071, 131_000, 0xFFFF_FFFF, 0x8000_0000]))
    name = data.draw(st.sampled_from(NAMES))
    values = [data.draw(words) for _ in range(libc.FUNCTIONS[name])]
    c.guest.write(0, data.draw(st.binary(max_size=100)) + b"%s%n%*.*lld%99999999999d")

    try:
        result = c(name, *values)
    except PluginTrap as trap:
        if trap.reason not in ("bad_pointer", "output"):
            raise
    else:
        assert 0 <= result < 1 << 32


def test_exit_and_abort_are_failures() -> None:
    with pytest.raises(PluginTrap, match="ended itself with code 3"):
        Caller()("exit", 3)
    with pytest.raises(PluginTrap, match="called abort"):
        Caller()("abort", 1)


def test_only_functions_that_are_there_are_there() -> None:
    assert libc.has("malloc")
    assert libc.has("_printf")
    assert not libc.has("system")
    assert not libc.has("fopen")
