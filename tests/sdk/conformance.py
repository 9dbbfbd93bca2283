"""What the template filter of every native SDK must do, whatever the language: `check(wasm, name)`.

The filter drops records whose `level` is "debug", sets `seen_by` to its name in those whose level is "error", and
leaves the rest. Here is the same in slow, obvious Python, and the blocks that both must agree on. Where a record has
two fields of one name, whichever of them a language takes is right.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]

from logllm.errors import PluginTrap
from logllm.wasm.engine import module
from logllm.wasm.guest import Guest, HostFunction

__all__ = ["Answer", "Entry", "Malformed", "Native", "check", "entry", "filtered", "split", "verify"]

PASS, KEEP, REPLACE, FAILED = 0, 1, 2, 0xFFFFFF00
EVENT_TIME = b"\xd7\x00" + struct.pack(">II", 1_700_000_000, 123_456_789)
HEADS = (
    EVENT_TIME,
    b"\x05",
    b"\xce" + struct.pack(">I", 1_700_000_000),
    b"\xcf" + struct.pack(">Q", 1_700_000_000),
    b"\xd2" + struct.pack(">i", -5),
    b"\xcb" + struct.pack(">d", 1_700_000_000.25),
    b"\xca" + struct.pack(">f", 1.5),
    b"\x92" + EVENT_TIME + b"\x80",
    b"\x92" + EVENT_TIME + b"\x81\xa1k\x93\x01\xc0\x81\xa1x\xc4\x02\x00\xff",
    b"\x92\x07\xde\x00\x01\xa5level\xa5debug",
)


class Malformed(ValueError):  # noqa: N818 - what a block is
    """This is no row of entries."""


class Entry(NamedTuple):
    """One entry as its bytes. `plain` is false where its shape is odd: a time that is a string, two levels..."""

    raw: bytes
    head: bytes
    fields: list[tuple[bytes, bytes]]
    plain: bool


class Answer(NamedTuple):
    """What `logllm_process` gave; `block` is the new entries or, for KEEP, one byte for each entry."""

    mode: int
    n_in: int
    n_out: int
    block: bytes
    error: str


class Native:
    """One instance of a native plugin, driven by hand: no rights but `log`, WASI only as stubs."""

    def __init__(self, wasm: bytes, *, config: bytes = b"{}", tag: bytes = b"app.web", refused: bool = False) -> None:
        self.lines: list[tuple[int, str]] = []
        compiled = module(wasm)
        imports = {}
        for wanted in compiled.imports:
            kind = wanted.type
            params = tuple(str(one) for one in kind.params)  # type: ignore[union-attr]
            results = tuple(str(one) for one in kind.results)  # type: ignore[union-attr]
            imports[(wanted.module, wanted.name or "")] = HostFunction(
                params, results, self._import(wanted.module, wanted.name or "")
            )
        self.guest = Guest(compiled, imports, memory_bytes=64 << 20)
        if self.guest.has("_initialize"):
            self.call("_initialize")
        assert self.call("logllm_abi") == 0x0001_0000
        self._buffer = self.guest.function("logllm_buffer", 1)
        self._process = self.guest.function("logllm_process", 3)
        if self.guest.has("logllm_init"):
            assert bool(self.call("logllm_init", self.put(config), len(config))) is refused
        if self.guest.has("logllm_tag"):
            self.call("logllm_tag", self.put(tag), len(tag))

    def _import(self, where: str, name: str) -> Callable[..., int | None]:
        assert where == "wasi_snapshot_preview1" or (where, name) == ("logllm", "log"), f"it imports {where}.{name}"

        def call(guest: Guest, *values: int) -> int | None:
            match name:
                case "log":
                    self.lines.append(
                        (values[0], guest.read(values[1], min(values[2], 4096)).decode("utf-8", "replace"))
                    )
                    return None
                case "clock_time_get":
                    guest.write(values[2], time.time_ns().to_bytes(8, "little"))
                case "random_get":
                    guest.write(values[0], random.randbytes(values[1]))
                case "args_sizes_get" | "environ_sizes_get":
                    guest.write(values[0], bytes(4))
                    guest.write(values[1], bytes(4))
                case "fd_write":
                    sizes = struct.iter_unpack("<II", guest.read(values[1], 8 * values[2]))
                    guest.write(values[3], sum(size for _, size in sizes).to_bytes(4, "little"))
                case "proc_exit":
                    guest.exit(values[0])
                case "fd_prestat_get" | "fd_fdstat_get":
                    return 8
            return 0

        return call

    def call(self, name: str, *values: int) -> int:
        """Call an export by name."""
        return self.guest.run(self.guest.function(name), *values, time_ms=30_000)

    def put(self, data: bytes) -> int:
        """Write where the guest says; the place."""
        pointer = self.guest.run(self._buffer, len(data), time_ms=5_000)
        assert pointer
        self.guest.write(pointer, data)
        return pointer

    def process(self, block: bytes, behind: bytes = b"") -> Answer:
        """Filter a block; `behind` lies after it in memory and is not to be read. Raises PluginTrap."""
        return self.answer(self.guest.run(self._process, self.put(block + behind), len(block), 0, time_ms=30_000))

    def answer(self, pointer: int) -> Answer:
        """The result struct at a place in its memory."""
        mode, n_in, n_out, at, size, keep, err, err_size = struct.unpack("<8I", self.guest.read(pointer, 32))
        block = self.guest.read(keep, n_in) if mode == KEEP else self.guest.read(at, size) if mode == REPLACE else b""
        error = self.guest.read(err, min(err_size, 4096)).decode() if mode >= FAILED else ""
        return Answer(mode, n_in, n_out, block, error)

    def many(self, blocks: list[bytes], calls: int) -> None:
        """Call it often, quickly."""
        with self.guest.clock:
            for at in range(calls):
                block = blocks[at % len(blocks)]
                self.guest.limit(30_000)
                pointer = self.guest.enter(self._buffer, len(block))
                self.guest.write(pointer, block)
                result = self.guest.enter(self._process, pointer, len(block), 0)
                assert self.guest.read(result, 4) < b"\x03", "a call failed"


_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4}
_FIXED |= {0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise Malformed("it ends within a length")
    return int.from_bytes(data[at : at + size], "big")


def end_of(data: bytes, at: int) -> int:
    """Where the object that begins there ends."""
    left = 1
    while left:
        first = _number(data, at, 1)
        left, at = left - 1, at + 1
        if first < 0x80 or first >= 0xE0:
            pass
        elif first < 0xA0:
            left += (first & 15) * (2 if first < 0x90 else 1)
        elif first < 0xC0:
            at += first & 31
        elif first in _FIXED:
            at += _FIXED[first]
        elif first in _SIZED:
            at += _SIZED[first] + _number(data, at, _SIZED[first]) + (0xC7 <= first <= 0xC9)
        elif first in _MANY:
            size, each = _MANY[first]
            left, at = left + each * _number(data, at, size), at + size
        else:
            raise Malformed("there is no type c1")
        if at > len(data):
            raise Malformed("it ends within a value")
    return at


def text(data: bytes) -> bytes | None:
    """What a string object holds; None for another object."""
    first = data[0]
    if 0xA0 <= first < 0xC0:
        return data[1:]
    return data[1 + _SIZED[first] :] if first in (0xD9, 0xDA, 0xDB) else None


def _fields(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    first = _number(data, at, 1)
    if first & 0xF0 == 0x80:
        count, at = first & 15, at + 1
    elif first in (0xDE, 0xDF):
        size = _MANY[first][0]
        count, at = _number(data, at + 1, size), at + 1 + size
    else:
        raise Malformed("a record is no map")
    fields = []
    for _ in range(count):
        value = end_of(data, at)
        end = end_of(data, value)
        fields.append((data[at:value], data[value:end]))
        at = end
    return fields, at


def _is_time(data: bytes) -> bool:
    return data[0] < 0x80 or data[0] >= 0xE0 or 0xCA <= data[0] <= 0xD3 or data[:2] == b"\xd7\x00"


def split(block: bytes) -> Iterator[Entry]:
    """The entries of a block, slowly. Raises Malformed."""
    at = 0
    while at < len(block):
        if block[at] != 0x92:
            raise Malformed("an entry is no array of two")
        head = end_of(block, at + 1)
        stamp = block[at + 1 : head]
        plain = _is_time(stamp)
        if stamp[0] == 0x92:
            middle = end_of(stamp, 1)
            plain = _is_time(stamp[1:middle]) and (stamp[middle] & 0xF0 == 0x80 or stamp[middle] in (0xDE, 0xDF))
        fields, end = _fields(block, head)
        levels = {value for key, value in fields if text(key) == b"level"}
        yield Entry(block[at:end], block[at:head], fields, plain and len(levels) <= 1)
        at = end


def filtered(one: Entry, name: str) -> list[tuple[bytes, bytes]] | None:
    """The template filter: the fields it leaves, None for a dropped record."""
    levels = [text(value) for key, value in one.fields if text(key) == b"level"]
    if levels and levels[0] == b"debug":
        return None
    if levels and levels[0] == b"error":
        others = [(key, value) for key, value in one.fields if text(key) != b"seen_by"]
        return [*others, (msgpack.packb("seen_by"), msgpack.packb(name))]
    return one.fields


def verify(given: list[Entry], answer: Answer, name: str) -> None:
    """An answer is what the filter promises."""
    wanted = [filtered(one, name) for one in given]
    dropped = [fields is None for fields in wanted]
    changed = [fields is not None and fields != one.fields for one, fields in zip(given, wanted, strict=True)]
    assert answer.mode in (PASS, KEEP, REPLACE), answer.error
    assert answer.n_in == len(given)
    if answer.mode == PASS:
        assert not any(dropped)
        assert not any(changed)
        return
    # An error's record that had the mark already may count as changed; one that was let be may not.
    assert any(fields is not one.fields for one, fields in zip(given, wanted, strict=True)), "nothing changed"
    assert answer.n_out == dropped.count(False)
    if answer.mode == KEEP:
        assert not any(changed)
        assert [not kept for kept in answer.block] == dropped
        return
    out = list(split(answer.block))
    assert len(out) == answer.n_out
    left = [(one, fields) for one, fields in zip(given, wanted, strict=True) if fields is not None]
    for (before, fields), after in zip(left, out, strict=True):
        if fields == before.fields:
            assert after.raw == before.raw
            continue
        assert after.head == before.head
        assert [one for one in after.fields if text(one[0]) != b"seen_by"] == fields[:-1]
        seen = [text(value) for key, value in after.fields if text(key) == b"seen_by"]
        assert seen
        assert set(seen) == {name.encode()}


def entry(record: bytes | Mapping[Any, Any], head: bytes = EVENT_TIME) -> bytes:
    """One entry; the record packed, or to be packed."""
    return b"\x92" + head + (record if isinstance(record, bytes) else bytes(msgpack.packb(record)))


def _string(data: bytes, width: int) -> bytes:
    return {1: b"\xd9", 2: b"\xda", 4: b"\xdb"}[width] + len(data).to_bytes(width, "big") + data


def _nested(depth: int) -> bytes:
    return b"\x91\x81\xa1k" * (depth // 2) + b"\xc0"


def _pairs(*pairs: bytes, head: bytes | None = None) -> bytes:
    return (head or bytes([0x80 | len(pairs)])) + b"".join(pairs)


def records() -> Iterator[bytes]:
    """Records of every shape, packed."""
    level = msgpack.packb("level")
    for value in ("debug", "error", "info", "", "debugger", "ERROR", None, 5, True, 1.5, ["debug"], {"level": "debug"}):
        yield msgpack.packb({"level": value, "log": "a line", "n": 1})
    yield b"\x80"
    yield b"\xde\x00\x00"
    yield b"\xdf\x00\x00\x00\x00"
    for value in ("debug", "error", "info"):
        packed = msgpack.packb(value)
        for width in (1, 2, 4):
            yield _pairs(_string(b"level", width) + packed, b"\xa1n\x01")
            yield _pairs(level + _string(value.encode(), width), b"\xa1n\x01")
        yield _pairs(level + packed, b"\xa1n\x01", head=b"\xde\x00\x02")
        yield _pairs(level + packed, b"\xa1n\x01", head=b"\xdf\x00\x00\x00\x02")
        yield _pairs(level + packed, b"\xa1n\x01", level + packed, b"\xa1n\x02")
        yield _pairs(level + packed, b"\xa7seen_by\xa3old")
        yield _pairs(b"\xa7seen_by\x01", level + packed, b"\xa7seen_by\x93\x01\x02\x03", b"\xa1z\xc0")
        for count in (1, 13, 14, 15, 16, 17, 255, 65_534, 65_535, 65_536):
            yield msgpack.packb({"level": value} | {f"k{i}": i for i in range(count - 1)})
            yield msgpack.packb({f"k{i}": i for i in range(count - 1)} | {"level": value})
        yield msgpack.packb({"log": "x" * 1_000_000, "level": value})
        yield msgpack.packb({"a" * 70_000: 1, "level": value})
        yield _pairs(b"\xa1t" + _nested(100), level + packed)
        yield _pairs(_nested(100) + b"\x01", level + packed)
        yield _pairs(b"\x01\x02", b"\xc0\xc0", b"\xc3\xc2", b"\x80\x90", b"\xca\x00\x00\x00\x00\x01", level + packed)
        yield _pairs(b"\xa4\xff\xfe\x00\x80\xa3\xc3\x28\x00", b"\xc4\x05level\xa5never", level + packed)
        yield _pairs(b"\xa0\xa0", b"\xa4leve\xa5debug", b"\xa6levels\xa5error", b"\xa5Level\xa5debug", level + packed)
        wide = [
            b"\xc4\x02\x00\x01",
            b"\xc5\x00\x01x",
            b"\xc6\x00\x00\x00\x01x",
            b"\xc7\x03\x05abc",
            b"\xc8\x00\x00\x07",
        ]
        wide += [b"\xc9\x00\x00\x00\x01\x05a", b"\xd4\x01a", b"\xd5\x01ab", b"\xd6\x01abcd", b"\xd7\x01" + b"e" * 8]
        wide += [b"\xd8\x01" + b"f" * 16, b"\x7f", b"\xe0", b"\xcc\xff", b"\xcd\xff\xff", b"\xce" + b"\xff" * 4]
        wide += [b"\xcf" + b"\xff" * 8, b"\xd0\x80", b"\xd1\x80\x00", b"\xd2\x80\0\0\0", b"\xd3\x80" + bytes(7)]
        wide += [b"\xca\x7f\xc0\x00\x00", b"\xcb\x7f\xf0" + bytes(6), b"\xdc\x00\x02\x01\x02", b"\xdd\0\0\0\x01\xc0"]
        wide += [
            b"\xde\x00\x01\x01\x02",
            b"\xdf\0\0\0\x01\xc0\xc0",
            b"\xdb\0\0\x00\x02hi",
            b"\xda\x01\x00" + b"s" * 256,
        ]
        fields = [_string(b"w%d" % at, 1) + value for at, value in enumerate(wide)]
        yield _pairs(*fields, level + packed, head=b"\xde" + struct.pack(">H", len(fields) + 1))


HOSTILE = (
    b"\xc1",
    b"\x92",
    b"\x00",
    b"\x91\x01",
    b"\x92\x01",
    b"\x92\x01\xa5level",
    b"\x92\x01\x90",
    b"\x92\x01\xc1",
    b"\x92\x01\x81\xc1\x01",
    b"\x92\x01\x81\x01\xc1",
    b"\x92\x92\x01\x80",
    b"\x92\x01\xdf\xff\xff\xff\xff",
    b"\x92\x01\xdf\x80\x00\x00\x00",
    b"\x92\x01\xdf\x80\x00\x00\x00\x80",
    b"\x92\x01\x81\xa1k\xdd\xff\xff\xff\xff",
    b"\x92\x01\x81\xa1k\xdf\x80\x00\x00\x00",
    b"\x92\x01\x81\xa1k\x92\xdd\xff\xff\xff\xff\xdd\xff\xff\xff\xff",
    b"\x92\x01\x81\xa1k\xdb\xff\xff\xff\xff",
    b"\x92\x01\x81\xa1k\xc6\xff\xff\xff\xf0",
    b"\x92\x01\x81\xa1k\xc9\xff\xff\xff\xff\x01",
    b"\x92\x01\x81\xdb\xff\xff\xff\xfe\x01",
    b"\x92\xdb\xff\xff\xff\xff\x80",
    b"\x92\x01\xde\xff\xff",
    b"\x92\x01\x81\xa1k" + b"\x91" * 200_000,
    b"\x92\x01\x81\xa1k" + b"\x81\x01" * 200_000,
    b"\x92\x01\x81" + b"\x91" * 200_000,
    b"\x92" * 200_000,
)
"""None of these is a block."""


def _agrees(plugin: Native, block: bytes, name: str) -> None:
    verify(list(split(block)), plugin.process(block), name)


def _shapes(plugin: Native, name: str) -> None:
    assert plugin.process(b"")[:2] == (PASS, 0)
    others = [entry({"level": level, "log": f"{level} {i}"}) for i, level in enumerate(("info", "error", "debug"))]
    mixed = []
    for at, record in enumerate(records()):
        one = entry(record, HEADS[at % len(HEADS)])
        _agrees(plugin, one, name)
        if len(one) < 10_000:
            mixed.append(one)
            _agrees(plugin, others[at % 3] + one + others[at // 3 % 3], name)
    for head in HEADS:
        for level in ("debug", "error", "info"):
            _agrees(plugin, entry({"level": level}, head) * 3, name)
    _agrees(plugin, b"".join(mixed) * 20, name)
    info, _, debug = others
    assert plugin.process(info * 1000)[:2] == (PASS, 1000)
    assert plugin.process((info + debug) * 1000).mode in (KEEP, REPLACE)
    assert plugin.process(debug * 50_000).n_out == 0


def _random(plugin: Native, name: str, seed: int, rounds: int) -> None:
    draw = random.Random(seed)

    def value(depth: int) -> object:
        kind = draw.randrange(9 if depth < 4 else 6)
        made: tuple[Callable[[], object], ...] = (
            lambda: draw.choice(("debug", "error", "info", "warn", "")),
            lambda: draw.randrange(-(1 << draw.randrange(1, 64)), 1 << draw.randrange(1, 65)),
            lambda: draw.choice((None, True, False, 0.5, float("inf"))),
            lambda: draw.randbytes(draw.randrange(40)),
            lambda: "é" * draw.randrange(300),
            lambda: msgpack.ExtType(draw.randrange(128), draw.randbytes(draw.choice((0, 1, 2, 4, 7, 8, 16, 300)))),
            lambda: [value(depth + 1) for _ in range(draw.randrange(20))],
            lambda: {key(depth): value(depth + 1) for _ in range(draw.randrange(20))},
            dict,
        )
        return made[kind]()

    def key(depth: int) -> object:
        return draw.choice((draw.randrange(100), "level", "seen_by", f"k{draw.randrange(1000)}", "", b"level", None))

    for _ in range(rounds):
        fields = [{key(0): value(1) for _ in range(draw.randrange(24))} for _ in range(draw.randrange(1, 12))]
        for one in fields:
            if draw.random() < 0.7:
                one["level"] = draw.choice(("debug", "error", "info"))
        block = b"".join(entry(one, draw.choice(HEADS)) for one in fields)
        _agrees(plugin, block, name)
        damaged = bytearray(block)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.choice((draw.randrange(256), 0xDF, 0xDD, 0xDB, 0xC1, 0x92))
        _damaged(plugin, bytes(damaged), name)
        _damaged(plugin, draw.randbytes(draw.randrange(1, 60)), name)
        _damaged(plugin, b"\x92\x01" + draw.randbytes(draw.randrange(1, 60)), name)


def _damaged(plugin: Native, block: bytes, name: str) -> None:
    answer = plugin.process(block)
    try:
        given = list(split(block))
    except Malformed:
        assert answer.mode >= FAILED, f"it took {block[:80].hex()}"
        assert answer.error
    else:
        if answer.mode < FAILED and all(one.plain for one in given):
            verify(given, answer, name)
        assert answer.mode >= FAILED or answer.n_in == len(given)


def _cuts(plugin: Native) -> None:
    good = [entry({"level": level, "a": [1, {"b": "c" * 40}], "n": 1.5}, HEADS[8]) for level in ("error", "info")]
    block = b"".join(good)
    for size in range(1, len(block)):
        if size != len(good[0]):
            answer = plugin.process(block[:size], block[size:])
            assert answer.mode >= FAILED, f"it took a block cut at {size}"
            assert answer.error
    for hostile in HOSTILE:
        for block in (hostile, good[0] + hostile):
            answer = plugin.process(block)
            assert answer.mode >= FAILED, f"it took {hostile[:40].hex()}"
            assert answer.error


def check(wasm: bytes, name: str, *, calls: int = 100_000, rounds: int = 300) -> None:
    """Raise AssertionError where a built template filter called `name` is not what every SDK promises.

    Args:
        calls: So often it is called to see that its memory does not grow.
        rounds: Blocks made at random.
    """
    plugin = Native(wasm)
    try:
        _shapes(plugin, name)
        _cuts(plugin)
        _random(plugin, name, 1, rounds)
        _agrees(plugin, b"".join(entry({"level": "error", "n": at}) for at in range(1000)), name)
    except PluginTrap as trap:
        raise AssertionError(f"{name}: {trap.reason}: {trap}") from trap
    plugin.guest.close()
    plugin = Native(wasm)
    blocks = [b"".join(entry({"level": level, "log": "x" * size}) for level in ("info", "error", "debug")) for size in
              (1, 100, 1000, 5000)]  # fmt: skip
    plugin.many(blocks, calls // 2)
    before = plugin.guest.memory_bytes
    plugin.many(blocks, calls - calls // 2)
    assert plugin.guest.memory_bytes == before, "its memory grows from call to call"
    if plugin.guest.has("logllm_flush"):
        assert plugin.answer(plugin.call("logllm_flush", 1_700_000_000_000)).mode in (PASS, REPLACE)
    plugin.guest.close()
