"""Fluent Bit's ABI: a function that is called for each record, with modules of `filter_wasm` unchanged.

    char *filter(char *tag, int tag_len, uint32_t sec, uint32_t nsec, char *record, int record_len)

The record goes in as JSON text or as a msgpack map; the guest's answer is the new record, NULL or "" drops it. Unlike
Fluent Bit, one whole msgpack object is read where the answer points to (Fluent Bit cuts it at the first zero byte), and
a trap or an answer that is none is a failure that `on_error` decides about, not a dropped record. An answer that equals
what was given leaves the record's own bytes. Time, tag and metadata are not the guest's to change.
"""

from __future__ import annotations

import math
from struct import Struct as Layout
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import imports, libc, wasi
from logllm.filters.fluentbit import bindgen
from logllm.filters.fluentbit.block import Made, as_object, as_packed, checked_text, texts
from logllm.filters.fluentbit.guest import FluentGuest, World, has_allocator
from logllm.filters.fluentbit.memory import without_maximum
from logllm.filters.instance import Filtered, RecordFailed
from logllm.filters.libc.heap import Heap
from logllm.filters.records import is_marker, maps_of, value_of
from logllm.filters.wasi.files import Files, Folders
from logllm.wasm import engine

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from logllm.filters.config import Limits, PluginConfig
    from logllm.filters.host import Host
    from logllm.filters.instance import Program
    from logllm.wasm.guest import Guest

__all__ = ["FluentBitInstance", "FluentBitProgram", "candidates", "program"]

_SIGNATURE = (["i32"] * 6, ["i32"])
_WORDS = "(tag, tag_len, sec, nsec, record, record_len: i32) -> i32"
_STARTS = ("_initialize", "__post_instantiate", "__wasm_call_ctors")
_REARM_S = 0.002
_U32 = 0xFFFF_FFFF
_MARKERS_FROM_S = 0xFFFF_FFFE
_USUAL_TIME = b"\x92\xd7\x00"  # EventTime before metadata
_U32_PAIR = Layout(">II")


def program(code: bytes, config: PluginConfig) -> Program:
    """A module with Fluent Bit's ABI, compiled and looked at; nothing of it has run yet.

    Raises:
        PluginLoadError: It is no module, has no such function (or several, and `function` names none), imports what is
            not to be had or not granted; a folder of `fs` is not there.
    """
    return FluentBitProgram(code, config)


def candidates(module: wasmtime.Module) -> list[str]:
    """The functions of a module that can be Fluent Bit filters, by their types."""
    return [name for name, kind in engine.functions(module).items() if kind == _SIGNATURE]


class FluentBitProgram:
    """A compiled module with Fluent Bit's ABI. Shared by threads."""

    abi = "fluentbit"

    def __init__(self, code: bytes, config: PluginConfig) -> None:
        self._modules = engine.ByStack(code, engine.module)
        module = self._modules.get(config.limits.stack_bytes)
        if not has_allocator(module) and (grows := without_maximum(code)) != code:
            self._modules = engine.ByStack(grows, engine.module)
            module = self._modules.get(config.limits.stack_bytes)
        self.function = _chosen(module, config.function)
        self._has_wasi = any(home in wasi.MODULES for home, _ in imports.wanted(module))
        _check(module, config)
        if b"go:buildid" in code and not {"malloc", "free"} <= engine.functions(module).keys():
            # Go's runtime takes all that comes after its memory for its own.
            raise PluginLoadError("it is a Go program that exports no `malloc` and `free`; expected both, for records")
        self._folders = Folders(config.fs)

    def instance(self, config: PluginConfig, limits: Limits, host: Host) -> FluentBitInstance:
        """Bring it to life as Fluent Bit does, `_start` left out.

        Raises:
            PluginLoadError: An import is not granted, its start failed.
        """
        module = self._modules.get(limits.stack_bytes)
        _check(module, config)

        def begin() -> FluentGuest:
            world = self._world(module, config, host)
            try:
                return FluentGuest(
                    module, self.function, world, limits, reuse=config.reuse_buffer, has_wasi=self._has_wasi
                )
            except PluginTrap as trap:
                told = f"; it says: {host.last_line}" if host.last_line else ""
                raise PluginLoadError(f"its start failed: {trap}{told}") from trap

        return FluentBitInstance(begin, limits, packed=config.event_format == "msgpack")

    def _world(self, module: wasmtime.Module, config: PluginConfig, host: Host) -> World:
        files, heap, grants = Files(self._folders), Heap(), config.grants
        given = {
            **imports.functions(host),
            **wasi.imports(
                module, host, clock="clock" in grants, random="random" in grants, log="log" in grants, files=files
            ),
            **libc.imports(module, host, heap, log="log" in grants),
            **bindgen.placeholders(module),
        }
        return World(given, files, heap)


def _chosen(module: wasmtime.Module, name: str) -> str:
    able = candidates(module)
    listed = f"those that can be are {', '.join(able)}" if able else f"none of its exports is {_WORDS}"
    if name in able:
        return name
    if name:
        found = engine.functions(module).get(name)
        if found is None:
            raise PluginLoadError(f"it exports no function {name!r}; {listed}")
        kind = f"({', '.join(found[0])}) -> ({', '.join(found[1])})"
        raise PluginLoadError(f"its function {name!r} is {kind}, expected {_WORDS}; {listed}")
    if len(able) != 1:
        expected = "; expected `function` to name one" if able else ""
        raise PluginLoadError(f"no function is configured, and {listed}{expected}")
    return able[0]


def _check(module: wasmtime.Module, config: PluginConfig) -> None:
    import wasmtime

    for one in module.imports:
        if not isinstance(one.type, wasmtime.FuncType):
            kind = type(one.type).__name__.removesuffix("Type").lower()
            raise PluginLoadError(f"it imports {one.module}.{one.name}, a {kind}; expected one of its own")
    for home, name in imports.wanted(module):
        if home in wasi.MODULES and name not in wasi.FUNCTIONS:
            raise PluginLoadError(f"it imports {home}.{name}, which is no function of WASI preview 1")
        if home == libc.MODULE and not libc.has(name):
            raise PluginLoadError(f"it imports {home}.{name}, which is none of the C functions that are to be had")
    for name in _STARTS:
        if engine.functions(module).get(name, ([], [])) != ([], []):
            raise PluginLoadError(f"its function {name} takes or gives something; expected nothing")
    imports.check(imports.wanted(module), config.grants, (*wasi.MODULES, libc.MODULE, *bindgen.MODULES))
    bindgen.placeholders(module)


class FluentBitInstance:
    """One instance; see `instance.Instance`. For one thread at a time.

    Most such guests never free what they answer with. One that has used half of the memory it may have is made anew
    between two records; what it remembered is lost then.
    """

    def __init__(self, begin: Callable[[], FluentGuest], limits: Limits, *, packed: bool) -> None:
        self._begin = begin
        self._limits = limits
        self._packed = packed
        self._life: FluentGuest | None = begin()
        self.restarts = 0

    def process(self, tag: str, block: bytes, count: int, budget_ms: float) -> Filtered:
        """Filter a block record by record; see `instance.Instance.process`."""
        until_s = monotonic() + budget_ms / 1000
        life = self._alive()
        try:
            made = Made(block, count)
            given = [] if self._packed else texts(maps_of(block, count))
        except ValueError as error:
            raise PluginTrap("bad_record", str(error)) from error
        pairs, packed = made.pairs, self._packed
        read = FluentGuest.packed if packed else FluentGuest.text
        # As text a record may be six times as long.
        left_bytes = self._limits.most_output(max(len(block), sum(map(len, given))))
        tag_bytes = tag.encode("utf-8", "replace")
        tag_size = len(tag_bytes)
        tag_bytes += bytes(8 - tag_size % 8)
        rearm_s = 0.0
        inside = False
        index = 0
        try:
            with life.guest.clock:
                for index in range(count):
                    time, raw = pairs[index]
                    written = bytes(time)
                    if written[:3] == _USUAL_TIME:
                        sec, nsec = _U32_PAIR.unpack_from(written, 3)
                    else:
                        sec, nsec = value_of(written)
                    if sec >= _MARKERS_FROM_S and is_marker(written):
                        made.leave(index)
                        continue
                    record = as_packed(raw) if packed else checked_text(given[index], raw)
                    if not record:
                        made.leave(index)
                        continue
                    if life.worn:
                        life, rearm_s = self._renewed(), 0.0
                    now_s = monotonic()
                    if now_s >= rearm_s:
                        self._arm(life, (until_s - now_s) * 1000)
                        rearm_s = now_s + _REARM_S
                    inside = True
                    pointer = life.call(tag_bytes, tag_size, record, sec & _U32, nsec & _U32)
                    inside = False
                    if not pointer:
                        continue
                    answer = read(life, pointer, record, left_bytes)
                    left_bytes -= len(answer)
                    if answer == record:
                        made.leave(index)
                    elif answer:
                        made.put(index, time, msgspec.Raw(answer) if packed else as_object(answer))
        except PluginTrap as trap:
            # It is whole where it only had no room for a record, or gave an answer that is none.
            if inside and trap.reason != "memory":
                self.close()
            broken = self._life is None
            raise RecordFailed(trap, made.until(index, broken=broken), index, broken=broken) from trap
        except BaseException:
            self.close()
            raise
        return made.until(count)

    @property
    def guest(self) -> Guest:
        """The guest that is alive. Raises PluginTrap: it failed before, or was closed."""
        return self._alive().guest

    def _alive(self) -> FluentGuest:
        if self._life is None:
            raise PluginTrap("trap", "it failed before, or was closed; expected a new instance")
        return self._life

    def _renewed(self) -> FluentGuest:
        self.close()
        try:
            life = self._life = self._begin()
        except PluginLoadError as error:
            raise PluginTrap("memory", f"it used up its memory and could not be made anew: {error}") from error
        self.restarts += 1
        return life

    def _arm(self, life: FluentGuest, left_ms: float) -> None:
        """Set how long it may run. Setting it takes as long as a call, so it is done every other millisecond."""
        if left_ms <= 0:
            raise PluginTrap("timeout", "the time that it may take for a chunk is over")
        life.guest.limit(math.ceil(min(self._limits.time_ms, left_ms) + _REARM_S * 1000))

    def flush(self, now_ms: int) -> Filtered | None:
        """A guest of this ABI holds nothing back."""
        return None

    def answer(self, ticket: int, text: str) -> None:
        """A guest of this ABI takes no answers."""

    def save(self) -> bytes | None:
        """A guest of this ABI has no state that can be taken out."""
        return None

    def load(self, state: bytes) -> None:
        """Nor one that can be put in."""

    @property
    def memory_bytes(self) -> int:
        """The linear memory it has now."""
        return 0 if self._life is None else self._life.guest.memory_bytes

    def close(self) -> None:
        """Give everything back."""
        if self._life is not None:
            self._life.close()
            self._life = None
