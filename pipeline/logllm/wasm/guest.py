"""One instance of a core module: its own Store, bounded memory, bounded calls, host functions that cannot raise."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from logllm.errors import PluginLoadError, PluginTrap
from logllm.wasm.call import bind, signature
from logllm.wasm.engine import STACK_BYTES, TICK_MS, engine, ticker

if TYPE_CHECKING:
    import wasmtime

    from logllm.wasm.call import Call

__all__ = ["Guest", "HostFunction", "Imports"]


class HostFunction(NamedTuple):
    """A function the host gives. `call` gets the guest and the arguments as unsigned ints; it gives an int or None.

    What it raises stops the guest as soon as possible and comes out of the call into the guest, in its own thread.
    """

    params: tuple[str, ...]
    results: tuple[str, ...]
    call: Callable[..., int | None]


Imports = Mapping[tuple[str, str], HostFunction]
"""Host functions by module and name."""

# wasmtime-py keeps host functions in one table for the whole process, filled and emptied without a lock.
_TABLE = threading.RLock()
_SIGNED = {"i32": (0xFFFF_FFFF, 0x8000_0000), "i64": (0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000)}


class Guest:
    """A module brought to life. For one thread at a time; another may take it over between calls.

    Args:
        module: From `engine.module`, with the same stack.
        imports: Every function the module may import. One it wants that is not here is an error; its caller has the
            better words and looks before.
        memory_bytes: The most its memory may grow to.

    Raises:
        PluginLoadError: An import is missing or of another type; it exports no memory; it wants more than its limits;
            its start function trapped.
    """

    def __init__(
        self,
        module: wasmtime.Module,
        imports: Imports,
        *,
        memory_bytes: int,
        stack_bytes: int = STACK_BYTES,
        start_ms: int = 1000,
    ) -> None:
        import wasmtime

        self.exited: int | None = None
        self._ticker = ticker(stack_bytes)
        self._raised: BaseException | None = None
        self._memory: wasmtime.Memory | None = None
        with _TABLE:
            self._store = wasmtime.Store(engine(stack_bytes))
            self._store.set_limits(memory_size=memory_bytes, instances=1, memories=1, tables=4, table_elements=100_000)
            externs: list[Any] = [self._extern(wanted, imports) for wanted in module.imports]
            self.limit(start_ms)
            try:
                with self._ticker:
                    instance = wasmtime.Instance(self._store, module, externs)
            except wasmtime.WasmtimeError as error:
                raise PluginLoadError(_line(error)) from error
            except wasmtime.Trap as trap:
                raise PluginLoadError(f"its start function failed: {self._trapped(trap)}") from trap
            finally:
                weakref.finalize(self, _close, self._store)
        exports = instance.exports(self._store)
        self._exports = {kind.name: exports[kind.name] for kind in module.exports if kind.name is not None}
        memory = self._exports.get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise PluginLoadError("it exports no memory; expected an export named `memory`")
        self._memory = memory
        self._memory_at = ctypes.addressof(memory._memory)
        self._context = ctypes.cast(self._store._context(), ctypes.c_void_p).value
        self._where, self._how_much = _memory_calls()

    def _extern(self, wanted: wasmtime.ImportType, imports: Imports) -> wasmtime.Func:
        import wasmtime

        name = f"{wanted.module}.{wanted.name}"
        given = imports.get((wanted.module, wanted.name or ""))
        if given is None or not isinstance(wanted.type, wasmtime.FuncType):
            raise PluginLoadError(f"it imports {name}, which is not to be had")
        params, results = _types(wanted.type)
        if (params, results) != (given.params, given.results):
            raise PluginLoadError(
                f"it imports {name} as ({', '.join(params)}) -> ({', '.join(results)}); "
                f"expected ({', '.join(given.params)}) -> ({', '.join(given.results)})"
            )
        masks = [_SIGNED[param][0] for param in params]
        sign = _SIGNED[results[0]] if results else None
        # The store keeps its functions for ever; the guest keeps the store.
        me = weakref.ref(self)

        def call(*values: int) -> int | None:
            guest = me()
            if guest is None:
                return 0 if sign else None
            try:
                result = given.call(guest, *(value & mask for value, mask in zip(values, masks, strict=True)))
            except BaseException as error:  # noqa: BLE001 - it must not cross the guest: wasmtime-py mixes up threads
                guest.stop(error)
                result = 0
            return None if sign is None else (((result or 0) & sign[0]) ^ sign[1]) - sign[1]

        return wasmtime.Func(self._store, wanted.type, call)

    def stop(self, why: BaseException | None = None) -> None:
        """From within a host function: the guest is stopped at its next loop or call."""
        self._raised = self._raised or why
        self._store.set_epoch_deadline(0)

    def exit(self, code: int) -> None:
        """From within a host function: the guest has ended itself."""
        self.exited = code
        self.stop()

    def limit(self, time_ms: int) -> None:
        """How long the guest may run from now on; set it before every entry."""
        self._store.set_epoch_deadline(-(-time_ms // TICK_MS) + 1)

    def has(self, name: str) -> bool:
        """Whether the module exports a function of this name."""
        import wasmtime

        return isinstance(self._exports.get(name), wasmtime.Func)

    def value(self, name: str) -> int | None:
        """An exported integer global, such as `__heap_base`; None where there is none."""
        import wasmtime

        found = self._exports.get(name)
        return int(found.value(self._store)) if isinstance(found, wasmtime.Global) else None

    def signature(self, name: str) -> tuple[list[str], list[str]] | None:
        """Parameter and result types of an exported function; None where there is none."""
        import wasmtime

        found = self._exports.get(name)
        return signature(found, self._store) if isinstance(found, wasmtime.Func) else None

    def function(self, name: str, params: int | None = None) -> Call:
        """An exported function, bound; calls go through `run`.

        Raises:
            PluginLoadError: There is none, or it takes or gives other things than integers, or not `params` many.
        """
        import wasmtime

        found = self._exports.get(name)
        if not isinstance(found, wasmtime.Func):
            raise PluginLoadError(f"it exports no function {name!r}")
        try:
            if params is not None and len(signature(found, self._store)[0]) != params:
                raise PluginLoadError(f"its function {name!r} takes other than {params} parameters")
            return bind(self._store, found)
        except TypeError as error:
            raise PluginLoadError(f"its function {name!r} is {error}; expected integers") from error

    def run(self, function: Call, *values: int, time_ms: int) -> int:
        """Call into the guest, for at most `time_ms` milliseconds.

        Raises:
            PluginTrap: It failed; throw this guest away, nothing is known about its state.
        """
        self.limit(time_ms)
        with self._ticker:
            return self.enter(function, *values)

    def enter(self, function: Call, *values: int) -> int:
        """The same without the clock: inside `with guest.clock:`, after `limit`, for many calls in a row."""
        import wasmtime

        try:
            result = function(*values)
        except wasmtime.Trap as trap:
            raise self._trapped(trap) from trap
        except wasmtime.WasmtimeError as error:
            raise PluginTrap("trap", _line(error)) from error
        if self._raised is not None:
            self._throw()
        if self.exited is not None:
            raise PluginTrap("exit", f"it ended itself with code {self.exited}")
        return result

    @property
    def clock(self) -> Any:
        """The engine's clock, a context manager."""
        return self._ticker

    def _throw(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _trapped(self, trap: wasmtime.Trap) -> PluginTrap:
        import wasmtime

        self._throw()
        if self.exited is not None:
            return PluginTrap("exit", f"it ended itself with code {self.exited}")
        code = trap.trap_code
        reason = (
            {
                wasmtime.TrapCode.INTERRUPT: "timeout",
                wasmtime.TrapCode.STACK_OVERFLOW: "stack",
            }.get(code, "trap")
            if code is not None
            else "trap"
        )
        words = "ran for longer than it may" if reason == "timeout" else _line(trap)
        return PluginTrap(reason, words)

    @property
    def memory_bytes(self) -> int:
        """The size of its memory now."""
        if self._memory is None:
            return 0
        return int(self._how_much(self._context, self._memory_at))

    def at(self, pointer: int, size: int) -> int:
        """The address of `size` bytes of its memory, until it is entered again. Raises PluginTrap: none are there."""
        if self._memory is None or pointer + size > self._how_much(self._context, self._memory_at):
            raise PluginTrap("bad_pointer", f"it points at {size} bytes from {pointer}, outside its memory")
        return int(self._where(self._context, self._memory_at)) + pointer

    def read(self, pointer: int, size: int) -> bytes:
        """A copy of `size` bytes of its memory. Raises PluginTrap: they are not there."""
        return ctypes.string_at(self.at(pointer, size), size)

    def write(self, pointer: int, data: bytes | bytearray) -> None:
        """Put bytes into its memory. Raises PluginTrap: there is no such place."""
        where = self.at(pointer, len(data))
        ctypes.memmove(where, bytes(data), len(data))

    def grow(self, pages: int) -> int | None:
        """Add pages of 64 KiB that are the host's own; returns where they begin, None where the limit forbids it."""
        import wasmtime

        if self._memory is None:
            return None
        try:
            return self._memory.grow(self._store, pages) << 16
        except wasmtime.WasmtimeError:
            return None

    def close(self) -> None:
        """Give its memory back now."""
        self._memory = None
        self._exports.clear()
        _close(self._store)


def _close(store: wasmtime.Store) -> None:
    with _TABLE:
        store.close()


def _types(kind: wasmtime.FuncType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(str(param) for param in kind.params), tuple(str(result) for result in kind.results)


def _line(error: Exception) -> str:
    """wasmtime's words without its list of frames."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line[:2].strip(":").isdigit() and "backtrace" not in line]
    return "; ".join(line for line in told if line != "Caused by:")[:300] or "wasmtime refused it"


def _memory_calls() -> tuple[Any, Any]:
    """Where a memory is and how large: the two calls that every copy needs, kept as small as ctypes makes them."""
    from wasmtime import _ffi as ffi

    pointer = ctypes.c_void_p
    where = ctypes.PYFUNCTYPE(pointer, pointer, pointer)(("wasmtime_memory_data", ffi.dll))
    size = ctypes.PYFUNCTYPE(ctypes.c_size_t, pointer, pointer)(("wasmtime_memory_data_size", ffi.dll))
    return where, size
