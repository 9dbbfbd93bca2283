"""One instance of a core module: its own Store, bounded memory, bounded calls, host functions that cannot raise."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from logllm.errors import PluginLoadError, PluginTrap
from logllm.wasm.call import Stopped, bind, expose, signature, type_names
from logllm.wasm.engine import STACK_BYTES, Allowance, engine, ticker

if TYPE_CHECKING:
    import wasmtime

    from logllm.wasm.call import Call

__all__ = ["Guest", "HostFunction", "Imports"]


class HostFunction(NamedTuple):
    """A function the host gives. `call` gets the guest and the arguments as unsigned ints; it gives an int or None.

    What it raises ends the guest there and comes out of the call into the guest, in its own thread.
    """

    params: tuple[str, ...]
    results: tuple[str, ...]
    call: Callable[..., int | None]


Imports = Mapping[tuple[str, str], HostFunction]
"""Host functions by module and name."""

_PAGE = 65_536
_INTEGERS = ("i32", "i64")
_MOST_IMPORTS, _MOST_EXPORTS = 1_000, 2_000  # finding the exports of an instance takes time with their square
_TOO_LONG = "ran for longer than it may"


class Guest:
    """A module brought to life. For one thread at a time; another may take it over between calls.

    Args:
        module: From `engine.module`, with the same stack.
        imports: Every function the module may import. One it wants that is not here is an error; its caller has the
            better words and looks before.
        memory_bytes: The most its memory may grow to.

    Raises:
        PluginLoadError: An import is missing or of another type; it exports no memory; it wants more than its limits;
            its start function failed.
    """

    def __init__(
        self,
        module: wasmtime.Module,
        imports: Imports,
        *,
        memory_bytes: int,
        stack_bytes: int = STACK_BYTES,
        start_ms: float = 1000,
    ) -> None:
        import wasmtime

        self.exited: int | None = None
        self._ticker = ticker(stack_bytes)
        self._allowance = Allowance()
        self._raised: BaseException | None = None
        self._memory: wasmtime.Memory | None = None
        self._exports: dict[str, Any] = {}
        self._store = wasmtime.Store(engine(stack_bytes))
        self._functions: list[wasmtime.Func] = []
        # The host's functions must be there for as long as the store.
        weakref.finalize(self, _close, self._store, self._functions)
        try:
            self._store.set_limits(memory_size=memory_bytes, instances=1, memories=1, tables=4, table_elements=100_000)
            _check_size(module, memory_bytes)
            self._start(module, imports, start_ms)
        except BaseException:
            self.close()
            raise

    def _start(self, module: wasmtime.Module, imports: Imports, start_ms: float) -> None:
        import wasmtime

        externs: list[Any] = [self._extern(wanted, imports) for wanted in module.imports]
        self.limit(start_ms)
        try:
            with self._ticker:
                instance = wasmtime.Instance(self._store, module, externs)
            self._look_back()
        except (wasmtime.Trap, wasmtime.WasmtimeError, Stopped) as error:
            # It did not come to a start, unless a host function ended it.
            if isinstance(error, wasmtime.WasmtimeError) and self._raised is None and self.exited is None:
                raise PluginLoadError(_line(error)) from error
            raise PluginLoadError(f"its start function failed: {self._trapped(error)}") from error
        except PluginTrap as trap:
            raise PluginLoadError(f"its start function failed: {trap}") from trap
        self._exports = dict(instance.exports(self._store))
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
        params, results = signature(wanted.type)
        if (tuple(params), tuple(results)) != (given.params, given.results):
            raise PluginLoadError(
                f"it imports {name} as ({', '.join(params)}) -> ({', '.join(results)}); "
                f"expected ({', '.join(given.params)}) -> ({', '.join(given.results)})"
            )
        # The store keeps its functions for ever; the guest keeps the store.
        me = weakref.ref(self)

        def call(*values: int) -> int | None:
            guest = me()
            if guest is None:
                raise Stopped
            try:
                result = given.call(guest, *values)
            except BaseException as error:
                guest.stop(error)
                raise
            if guest._allowance.over:
                guest.stop(PluginTrap("timeout", _TOO_LONG))
            if guest._raised is not None or guest.exited is not None:
                raise Stopped
            return result

        func = expose(self._store, wanted.type, call)
        self._functions.append(func)
        return func

    def stop(self, why: BaseException) -> None:
        """From within a host function: the guest ends when it returns, and the call into it raises this."""
        self._raised = self._raised or why

    def exit(self, code: int) -> None:
        """From within a host function: the guest has ended itself."""
        self.exited = code

    def limit(self, time_ms: float) -> None:
        """How long the guest may run from now on; set it before every entry."""
        self._store.set_epoch_deadline(self._ticker.ticks(time_ms))
        self._allowance.start(time_ms)

    def has(self, name: str) -> bool:
        """Whether the module exports a function of this name."""
        import wasmtime

        return isinstance(self._exports.get(name), wasmtime.Func)

    def value(self, name: str) -> int | None:
        """An exported integer global, such as `__heap_base`; None where there is none."""
        import wasmtime

        found = self._exports.get(name)
        if not isinstance(found, wasmtime.Global):
            return None
        (kind,) = type_names([found.type(self._store).content])
        return int(found.value(self._store)) if kind in _INTEGERS else None

    def signature(self, name: str) -> tuple[list[str], list[str]] | None:
        """Parameter and result types of an exported function, see `call.signature`; None where there is none."""
        import wasmtime

        found = self._exports.get(name)
        return signature(found.type(self._store)) if isinstance(found, wasmtime.Func) else None

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
            if params is not None and len(found.type(self._store).params) != params:
                raise PluginLoadError(f"its function {name!r} takes other than {params} parameters")
            return bind(self._store, found)
        except TypeError as error:
            raise PluginLoadError(f"its function {name!r} is {error}; expected integers") from error

    def run(self, function: Call, *values: int, time_ms: float) -> int:
        """Call into the guest, for at most `time_ms` milliseconds. Ctrl-C is noticed when the guest is back.

        Raises:
            PluginTrap: It failed; throw this guest away, nothing is known about its state.
        """
        self.limit(time_ms)
        with self._ticker:
            return self.enter(function, *values)

    def enter(self, function: Call, *values: int) -> int:
        """The same without the clock: inside `with guest.clock:`, after `limit`, for many calls in a row.

        Never after `close`: unlike `run` it does not look.
        """
        import wasmtime

        try:
            result = function(*values)
        except (wasmtime.Trap, wasmtime.WasmtimeError, Stopped) as trap:
            raise self._trapped(trap) from trap
        self._look_back()
        return result

    @property
    def clock(self) -> Any:
        """The engine's clock, a context manager."""
        return self._ticker

    def _look_back(self) -> None:
        """What host functions left behind: an error to raise, or the guest's wish to end."""
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        if self.exited is not None:
            raise PluginTrap("exit", f"it ended itself with code {self.exited}")

    def _trapped(self, trap: wasmtime.Trap | wasmtime.WasmtimeError | Stopped) -> PluginTrap:
        import wasmtime

        try:
            self._look_back()
        except PluginTrap as ended:
            return ended
        if isinstance(trap, Stopped):
            return PluginTrap("trap", "it was stopped")
        code = trap.trap_code if isinstance(trap, wasmtime.Trap) else None
        if code is wasmtime.TrapCode.INTERRUPT:
            return PluginTrap("timeout", _TOO_LONG)
        return PluginTrap("stack" if code is wasmtime.TrapCode.STACK_OVERFLOW else "trap", _line(trap))

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
        return int(self._where(self._context, self._memory_at) or 0) + pointer

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
        self._store.close()


def _close(store: wasmtime.Store, _: object) -> None:
    store.close()


def _check_size(module: wasmtime.Module, memory_bytes: int) -> None:
    import wasmtime

    exports = module.exports
    for many, most, what in ((module.imports, _MOST_IMPORTS, "imports"), (exports, _MOST_EXPORTS, "exports")):
        if len(many) > most:
            raise PluginLoadError(f"it {what} {len(many)} things; expected at most {most}")
    for one in exports:
        if isinstance(one.type, wasmtime.MemoryType):
            least = one.type.limits.min * _PAGE
            if least > memory_bytes:
                raise PluginLoadError(
                    f"its memory begins with {least} bytes; its limit `memory_bytes` is {memory_bytes}"
                )


def _line(error: Exception) -> str:
    """wasmtime's words without its list of frames."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line[:2].strip(":").isdigit() and "backtrace" not in line.lower()]
    return "; ".join(line for line in told if line != "Caused by:")[:300] or "wasmtime refused it"


def _memory_calls() -> tuple[Any, Any]:
    """Where a memory is and how large: the two calls that every copy needs, kept as small as ctypes makes them."""
    from wasmtime import _ffi as ffi

    pointer = ctypes.c_void_p
    where = ctypes.PYFUNCTYPE(pointer, pointer, pointer)(("wasmtime_memory_data", ffi.dll))
    size = ctypes.PYFUNCTYPE(ctypes.c_size_t, pointer, pointer)(("wasmtime_memory_data_size", ffi.dll))
    return where, size
