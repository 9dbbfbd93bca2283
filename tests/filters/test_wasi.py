from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import wasi
from logllm.filters.host import LOG_BYTES, Host
from logllm.filters.wasi.files import Files
from logllm.wasm import engine
from logllm.wasm.guest import Guest
from tests.filters.fluentbit_lives import silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator

OK, EBADF, EFAULT, EINVAL, ENOSYS, ESPIPE, ENOTCAPABLE = 0, 8, 21, 28, 52, 70, 76
TYPES = {"i": "i32", "I": "i64"}
MODULE = "wasi_snapshot_preview1"


def text(home: str = MODULE) -> str:
    """A module that hands every function of WASI on, under its own name."""
    functions = ""
    imports = ""
    for name, letters in wasi.FUNCTIONS.items():
        params = " ".join(TYPES[one] for one in letters)
        result = "" if name == "proc_exit" else "(result i32)"
        values = " ".join(f"(local.get {number})" for number in range(len(letters)))
        imports += f'(import "{home}" "{name}" (func ${name} (param {params}) {result}))'
        functions += f'(func (export "{name}") (param {params}) {result} (call ${name} {values}))'
    return f'(module {imports} (memory (export "memory") 2) {functions})'


class Caller:
    """Calls WASI as a guest does."""

    def __init__(self, host: Host | None = None, home: str = MODULE, **given: Any) -> None:
        import wasmtime

        self.lines: list[str] = []
        self.host = host or silent_host(self.lines)
        module = engine.module(bytes(wasmtime.wat2wasm(text(home))))
        self.guest = Guest(module, wasi.imports(module, self.host, **given), memory_bytes=1 << 20)
        self._functions = {name: self.guest.function(name) for name in wasi.FUNCTIONS}

    def __call__(self, name: str, *values: int) -> int:
        return self.guest.run(self._functions[name], *values, time_ms=1_000)

    def long(self, at: int) -> int:
        return int.from_bytes(self.guest.read(at, 8), "little")

    def word(self, at: int) -> int:
        return int.from_bytes(self.guest.read(at, 4), "little")

    def places(self, *pieces: bytes, at: int = 0, data_at: int = 4096) -> int:
        """Lay out pieces and where they are; their number."""
        for number, piece in enumerate(pieces):
            self.guest.write(data_at, piece)
            self.guest.write(at + 8 * number, struct.pack("<II", data_at, len(piece)))
            data_at += len(piece)
        return len(pieces)


@pytest.fixture(scope="module")
def shared() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.guest.close()


@pytest.mark.parametrize("home", wasi.MODULES)
def test_every_function_is_there_under_both_names_of_preview_1(home: str) -> None:
    caller = Caller(home=home)

    assert caller("sched_yield") == OK


def test_a_function_of_another_type_is_refused() -> None:
    import wasmtime

    code = f'(module (import "{MODULE}" "fd_close" (func (param i64) (result i32))) (memory (export "memory") 1))'
    module = engine.module(bytes(wasmtime.wat2wasm(code)))

    with pytest.raises(PluginLoadError, match=r"fd_close as \(i64\) -> \(i32\); expected \(i32\) -> \(i32\)"):
        Guest(module, wasi.imports(module, silent_host()), memory_bytes=1 << 20)


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        (("fd_prestat_get", 3, 0), EBADF),
        (("fd_prestat_dir_name", 3, 0, 10), EBADF),
        (("fd_read", 3, 0, 0, 0), EBADF),
        (("fd_write", 3, 0, 0, 0), EBADF),
        (("fd_write", 0, 0, 0, 0), ENOTCAPABLE),
        (("fd_close", 9), EBADF),
        (("fd_close", 1), OK),
        (("fd_seek", 1, 0, 0, 0), ESPIPE),
        (("fd_tell", 2, 0), ESPIPE),
        (("fd_pread", 0, 0, 0, 0, 0), ESPIPE),
        (("fd_seek", 5, 0, 0, 0), EBADF),
        (("fd_fdstat_set_flags", 1, 0), ENOTCAPABLE),
        (("fd_fdstat_set_flags", 4, 0), EBADF),
        (("fd_pwrite", 7, 0, 0, 0, 0), EBADF),
        (("fd_readdir", 3, 0, 0, 0, 0), EBADF),
        (("path_open", 3, 0, 0, 1, 0, 0, 0, 0, 0), ENOTCAPABLE),
        (("path_unlink_file", 3, 0, 1), ENOTCAPABLE),
        (("path_create_directory", 3, 0, 1), ENOTCAPABLE),
        (("path_filestat_get", 3, 0, 0, 1, 0), ENOTCAPABLE),
        (("sock_accept", 3, 0, 0), ENOSYS),
        (("sock_send", 3, 0, 0, 0, 0), ENOSYS),
        (("proc_raise", 9), ENOSYS),
        (("clock_time_get", 4, 0, 0), EINVAL),
        (("clock_res_get", 4, 0), EINVAL),
        (("poll_oneoff", 0, 0, 0, 0), EINVAL),
        (("poll_oneoff", 0, 0, 65, 0), EINVAL),
        (("random_get", 0, (1 << 20) + 1), EINVAL),
        (("args_get", 0, 0), OK),
        (("sched_yield",), OK),
    ],
)
def test_each_call_gets_the_right_errno(shared: Caller, call: tuple[Any, ...], errno: int) -> None:
    name, *values = call

    assert shared(name, *values) == errno


OUTSIDE = 0xFFFF_FFF0


@pytest.mark.parametrize(
    "call",
    [
        ("fd_write", 1, OUTSIDE, 1, 0),
        ("fd_write", 1, 0, 0, OUTSIDE),
        ("fd_read", 0, 0, 0, OUTSIDE),
        ("clock_time_get", 0, 0, OUTSIDE),
        ("clock_res_get", 0, OUTSIDE),
        ("random_get", OUTSIDE, 8),
        ("args_sizes_get", OUTSIDE, 0),
        ("environ_sizes_get", 0, OUTSIDE),
        ("fd_fdstat_get", 1, OUTSIDE),
        ("fd_filestat_get", 2, OUTSIDE),
        ("poll_oneoff", OUTSIDE, 0, 1, 0),
        ("poll_oneoff", 0, OUTSIDE, 1, 0),
        ("poll_oneoff", 0, 0, 1, OUTSIDE),
    ],
)
def test_a_bad_pointer_is_efault(shared: Caller, call: tuple[Any, ...]) -> None:
    name, *values = call
    shared.guest.write(0, bytes(128))

    assert shared(name, *values) == EFAULT


WORDS = st.one_of(st.integers(0, 8), st.integers(0, 0xFFFF_FFFF), st.sampled_from([OUTSIDE, 131_071, 131_064]))
LONGS = st.one_of(WORDS, st.integers(0, (1 << 64) - 1))


@given(st.data())
@settings(max_examples=300)
def test_no_call_with_any_values_ever_raises(shared: Caller, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([one for one in wasi.FUNCTIONS if one != "proc_exit"]))
    values = [data.draw(WORDS if letter == "i" else LONGS) for letter in wasi.FUNCTIONS[name]]
    shared.guest.write(0, data.draw(st.binary(max_size=64)))

    assert 0 <= shared(name, *values) <= 76


def test_there_are_no_arguments_and_no_environment(shared: Caller) -> None:
    for name in ("args_sizes_get", "environ_sizes_get"):
        shared.guest.write(0, b"\xff" * 8)

        assert shared(name, 0, 4) == OK
        assert shared.guest.read(0, 8) == bytes(8)


def test_standard_input_is_at_its_end_and_the_outputs_are_terminals(shared: Caller) -> None:
    assert shared("fd_read", 0, 0, 0, 64) == OK
    assert shared.word(64) == 0
    for fd in (0, 1, 2):
        assert shared("fd_fdstat_get", fd, 0) == OK
        assert shared.guest.read(0, 1) == b"\x02"
        assert shared("fd_filestat_get", fd, 0) == OK
        assert shared.guest.read(16, 1) == b"\x02"


def test_what_is_printed_is_logged_line_by_line() -> None:
    caller = Caller()
    caller("fd_write", 1, 0, caller.places(b"one", b" line\ntwo ", b"", b"lines\nand"), 800)

    assert caller.lines == ["one line", "two lines"]
    assert caller.word(800) == 3 + 10 + 9
    caller("fd_write", 2, 0, caller.places(b"error\n"), 800)
    caller("fd_write", 1, 0, caller.places(b" more\n\n"), 800)
    assert caller.lines[2:] == ["error", "and more"]


def test_a_line_that_does_not_end_is_logged_when_it_is_as_long_as_a_line_may_be() -> None:
    caller = Caller()

    for _ in range(3):
        assert caller("fd_write", 1, 0, caller.places(b"x" * (LOG_BYTES // 2)), 800) == OK

    assert [len(line) for line in caller.lines] == [LOG_BYTES]


def test_sixty_four_places_are_written_at_once_and_no_more() -> None:
    caller = Caller()
    count = caller.places(*[b"ab"] * 100)

    assert caller("fd_write", 1, 0, count, 900) == OK
    assert caller.word(900) == 128
    # The same large place many times over: more than there can be.
    caller.guest.write(0, struct.pack("<II", 0, 131_072) * 64)
    assert caller("fd_write", 1, 0, 64, 900) == OK
    assert caller.word(900) == 64 * 131_072


def test_a_flood_of_lines_costs_lines_and_nothing_else() -> None:
    caller = Caller()
    count = caller.places(b"spam\n" * 800)

    for _ in range(100):
        assert caller("fd_write", 1, 0, count, 900) == OK

    assert len(caller.lines) <= 100
    assert caller.host.lost.log_lines > 50_000


def test_without_the_log_what_is_printed_goes_nowhere() -> None:
    caller = Caller(log=False)

    assert caller("fd_write", 1, 0, caller.places(b"secret\n"), 900) == OK
    assert caller.word(900) == 7
    assert caller.lines == []


def test_clocks_are_coarse_unless_they_are_granted() -> None:
    def host() -> Host:
        return silent_host(clock_ns=lambda: 1_700_000_000_123_456_789, monotonic_s=lambda: 12.75)

    coarse, exact = Caller(host()), Caller(host(), clock=True)

    for caller, wall, steady, resolution in (
        (coarse, 1_700_000_000_000_000_000, 12_000_000_000, 1_000_000_000),
        (exact, 1_700_000_000_123_456_789, 12_750_000_000, 1),
    ):
        for clock, expected in ((0, wall), (1, steady), (2, steady), (3, steady)):
            assert caller("clock_time_get", clock, 0, 0) == OK
            assert caller.long(0) == expected
        assert caller("clock_res_get", 1, 0) == OK
        assert caller.long(0) == resolution


def test_no_clock_is_ever_at_zero() -> None:
    caller = Caller(silent_host(clock_ns=lambda: 0, monotonic_s=lambda: 0.0))

    for clock in (0, 1):
        caller("clock_time_get", clock, 0, 0)
        assert caller.long(0) > 0


def test_random_bytes_are_the_same_for_every_instance_unless_they_are_granted() -> None:
    def some(**given: Any) -> bytes:
        caller = Caller(**given)
        assert caller("random_get", 0, 64) == OK
        first = caller.guest.read(0, 64)
        caller("random_get", 0, 64)
        assert caller.guest.read(0, 64) != first
        return first

    assert some() == some() != bytes(64)
    assert some(random=True) != some(random=True)


def subscription(userdata: int, kind: int, value: int, timeout: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", userdata, kind, value, timeout, 0, flags)


def test_a_guest_that_sleeps_is_awake_at_once_and_its_own_clock_has_gone_on() -> None:
    caller = Caller(silent_host(monotonic_s=lambda: 5.0), clock=True)
    second = 1_000_000_000
    caller.guest.write(0, subscription(7, 0, 1, 3 * second) + subscription(8, 0, 1, 2 * second))

    assert caller("poll_oneoff", 0, 200, 2, 400) == OK

    assert caller.word(400) == 1
    assert struct.unpack("<QHB", caller.guest.read(200, 11)) == (8, 0, 0)
    caller("clock_time_get", 1, 0, 500)
    assert caller.long(500) == 7 * second
    # Until a moment, not for a while.
    caller.guest.write(0, subscription(9, 0, 1, 10 * second, 1))
    caller("poll_oneoff", 0, 200, 1, 400)
    caller("clock_time_get", 1, 0, 500)
    assert caller.long(500) == 10 * second


def test_descriptors_are_ready_at_once_or_are_none() -> None:
    caller = Caller()
    caller.guest.write(0, subscription(1, 2, 1) + subscription(2, 1, 77) + subscription(3, 0, 1, 1 << 60))

    assert caller("poll_oneoff", 0, 200, 3, 400) == OK

    assert caller.word(400) == 2
    assert struct.unpack("<QHB", caller.guest.read(200, 11)) == (1, OK, 2)
    assert struct.unpack("<QHB", caller.guest.read(232, 11)) == (2, EBADF, 1)


def test_endless_sleeping_does_not_overflow_the_clock() -> None:
    caller = Caller()
    caller.guest.write(0, subscription(1, 0, 1, (1 << 64) - 1))

    for _ in range(5):
        assert caller("poll_oneoff", 0, 200, 1, 400) == OK

    assert caller("clock_time_get", 1, 0, 0) == OK


@pytest.mark.parametrize("code", [0, 1, 255])
def test_a_guest_that_ends_itself_has_failed_with_its_code(code: int) -> None:
    caller = Caller()

    with pytest.raises(PluginTrap, match=f"it ended itself with code {code}") as caught:
        caller("proc_exit", code)

    assert caught.value.reason == "exit"


def test_no_files_at_all_is_the_default() -> None:
    assert Files().any is False
    assert not Files().has(3)
