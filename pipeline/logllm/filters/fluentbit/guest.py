"""One guest of Fluent Bit's ABI and the calls to it: a record goes in, a pointer to its answer comes out.

Records go where the guest's own allocator gives room. A guest that exports none gets them on pages after its memory,
which must then be nobody else's: what C, Rust and Zig make of it knows such pages; Go takes them for its own and is
refused, AssemblyScript needs `--exportRuntime`.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import msgpack  # type: ignore[import-untyped]

from logllm.errors import PluginTrap
from logllm.filters.records import is_map
from logllm.wasm.engine import functions
from logllm.wasm.guest import Guest

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from logllm.filters.config import Limits
    from logllm.filters.libc.heap import Heap
    from logllm.filters.wasi.files import Files
    from logllm.wasm.call import Call
    from logllm.wasm.guest import Imports

__all__ = ["FluentGuest", "World", "has_allocator"]

_PAGE = 65536
_SLACK = 256  # an answer is rarely longer than its record by more
_LEAST_ROOM = 4096
_NUL = b"\0"
_MALLOC = (["i32"], ["i32"])
_NEW = (["i32", "i32"], ["i32"])


class World(NamedTuple):
    """What one guest is given, and what of it must be closed or looked at."""

    imports: Imports
    files: Files
    heap: Heap


class FluentGuest:
    """A guest that has been started as Fluent Bit starts it. `_start` is never called.

    Args:
        module: From `engine.module`.
        name: The filter function, whose type has been looked at.
        world: Its imports.
        reuse: Give every record in the same place.
        has_wasi: Whether it imports anything of WASI.

    Attributes:
        worn: It has used more than half of the memory it may have beyond what it began with. Most such guests never
            free their answers, so it should be made anew before it fails.

    Raises:
        PluginLoadError: An import is of another type, its start failed, it has no memory.
        PluginTrap: Its initialisation failed.
    """

    def __init__(
        self, module: wasmtime.Module, name: str, world: World, limits: Limits, *, reuse: bool, has_wasi: bool
    ) -> None:
        self._world = world
        self.guest = guest = Guest(
            module,
            world.imports,
            memory_bytes=limits.memory_bytes,
            stack_bytes=limits.stack_bytes,
            start_ms=limits.init_ms,
        )
        self._view = memoryview(b"")
        self._size = 0
        self._place = 0
        self._room = 0
        self._function = guest.function(name, 6)
        try:
            guest.limit(limits.init_ms)
            with guest.clock:
                for start in ("_initialize", "__post_instantiate", *(() if has_wasi else ("__wasm_call_ctors",))):
                    # A module's own initialisation calls its constructors.
                    if guest.has(start) and not (start == "__wasm_call_ctors" and guest.has("_initialize")):
                        guest.enter(guest.function(start, 0))
            self._allocate = _allocator(guest)
            self._free = guest.function("free", 1) if guest.has("malloc") and guest.has("free") else None
        except BaseException:
            self.close()
            raise
        self._reuse = reuse or self._allocate is None
        fresh = guest.memory_bytes
        self._soft_bytes = fresh + max(limits.memory_bytes - fresh, 0) // 2
        self.worn = False
        self._look()

    def close(self) -> None:
        """Give everything back."""
        self._view = memoryview(b"")
        self._size = 0
        self._world.files.close()
        self.guest.close()

    def call(self, tag: bytes, tag_size: int, record: bytes, sec: int, nsec: int) -> int:
        """Filter one record; for use inside `guest.clock`, after `guest.limit`.

        Args:
            tag: With its NUL, and as many more as make its length a multiple of 8.
            record: Without a NUL.

        Returns:
            Where the answer is; 0 for a record that is dropped.

        Raises:
            PluginTrap: It failed, or has no room for the record.
        """
        if self._reuse:
            need = len(tag) + len(record) + 1
            if need > self._room:
                self._make_room(need)
            tag_at = self._place
            record_at = tag_at + len(tag)
            self._view[tag_at : tag_at + need] = tag + record + _NUL
        else:
            tag_at = self._put(tag)
            record_at = self._put(record + _NUL)
        pointer = self.guest.enter(self._function, tag_at, tag_size, sec, nsec, record_at, len(record))
        if self.guest.memory_bytes != self._size:
            self._look()
        return pointer

    def _look(self) -> None:
        """Its memory has grown, and may have moved."""
        self._size = size = self.guest.memory_bytes
        array = (ctypes.c_char * size).from_address(self.guest.at(0, size))
        self._view = memoryview(array).cast("B")
        self.worn = size > self._soft_bytes or self._world.heap.crowded

    def _make_room(self, need: int) -> None:
        if self._allocate is None:
            self._grow(need)
            return
        before, self._place, self._room = self._place, 0, 0
        if self._free is not None and before:
            self.guest.enter(self._free, before)
        room = max(_LEAST_ROOM, need + need // 4)
        self._place = self._new(self._allocate, room)
        self._room = room

    def _grow(self, need: int) -> None:
        """Pages at the end of its memory that are ours; those we have are kept where they are the last."""
        self._look()
        joined = self._place + self._room == self._size and self._room > 0
        pages = -(-(need - (self._room if joined else 0)) // _PAGE)
        place = self.guest.grow(pages)
        if place is None:
            raise PluginTrap(
                "memory", f"its memory cannot grow by the {pages} pages that a record of {need} bytes needs"
            )
        if not joined:
            self._place, self._room = place, 0
        self._room += pages * _PAGE
        self._look()

    def _put(self, data: bytes) -> int:
        if self._allocate is None:
            raise AssertionError("without an allocator the place is reused")
        place = self._new(self._allocate, len(data))
        self._view[place : place + len(data)] = data
        return place

    def _new(self, allocate: Callable[[int], int], size: int) -> int:
        place = allocate(size)
        self._look()
        if not place:
            raise PluginTrap("memory", f"it has no room for {size} bytes")
        if place + size > self._size:
            raise PluginTrap("bad_pointer", f"its allocator points at {size} bytes from {place}, outside its memory")
        return place

    def text(self, pointer: int, given: bytes, most: int) -> bytes:
        """The string at a pointer, without its NUL.

        Args:
            given: The record it answers to.
            most: How long it may be.

        Raises:
            PluginTrap: It is too long, has no end, or is outside the memory.
        """
        if pointer >= self._size:
            raise PluginTrap("bad_pointer", f"its answer is at {pointer}, outside its memory of {self._size} bytes")
        size = len(given) + _SLACK
        while True:
            found = bytes(self._view[pointer : pointer + size])
            end = found.find(_NUL)
            if end >= 0 and end <= most:
                return found[:end]
            if end > most or len(found) > most:
                raise PluginTrap(
                    "output", f"its answer is longer than the {most} bytes that `output_bytes` leaves for it"
                )
            if len(found) < size:
                raise PluginTrap("bad_pointer", f"its answer at {pointer} has no end: no NUL before the end of memory")
            size *= 4

    def packed(self, pointer: int, given: bytes, most: int) -> bytes:
        """The one msgpack map at a pointer; b"" where there is a NUL instead. What follows it does not matter.

        Args:
            given: The record it answers to; often it is the answer.
            most: How long it may be.

        Raises:
            PluginTrap: As for `text`; or it is no map.
        """
        if pointer >= self._size:
            raise PluginTrap("bad_pointer", f"its answer is at {pointer}, outside its memory of {self._size} bytes")
        if not self._view[pointer]:
            return b""
        if not is_map(self._view[pointer : pointer + 1]):
            raise PluginTrap(
                "bad_result", f"its answer begins with the byte {self._view[pointer]:#04x}; expected a map"
            )
        size = len(given) + _SLACK
        while True:
            found = bytes(self._view[pointer : pointer + size])
            end = len(given) if found.startswith(given) else _end_of_object(found)
            if 0 < end <= most:
                return found[:end]
            if end > most or len(found) > most:
                raise PluginTrap(
                    "output", f"its answer is longer than the {most} bytes that `output_bytes` leaves for it"
                )
            if len(found) < size:
                raise PluginTrap("bad_result", f"its answer at {pointer} goes on after the end of its memory")
            size *= 4


def has_allocator(module: wasmtime.Module) -> bool:
    """Whether a module exports an allocator that records can be given room with."""
    found = functions(module)
    return found.get("malloc") == _MALLOC or found.get("__new") == _NEW


def _allocator(guest: Guest) -> Callable[[int], int] | None:
    """The guest's own allocator: `malloc`, or AssemblyScript's `__new` and `__pin`; None where it exports none."""
    if guest.signature("malloc") == _MALLOC:
        malloc = guest.function("malloc")
        return lambda size: guest.enter(malloc, size)
    if guest.signature("__new") == _NEW:
        new = guest.function("__new")
        pin: Call | None = guest.function("__pin") if guest.signature("__pin") == _MALLOC else None

        def make(size: int) -> int:
            place = guest.enter(new, size, 0)
            return guest.enter(pin, place) if pin is not None and place else place

        return make
    return None


def _end_of_object(data: bytes) -> int:
    """Where the first msgpack object ends; 0 where it is not whole. Raises PluginTrap: it is none."""
    unpacker = msgpack.Unpacker(read_size=len(data), max_buffer_size=len(data))
    unpacker.feed(data)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        return 0
    except (msgpack.UnpackException, ValueError) as error:
        raise PluginTrap("bad_result", f"its answer is no msgpack: {error}") from error
    return int(unpacker.tell())
