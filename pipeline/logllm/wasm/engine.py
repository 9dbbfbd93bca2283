"""Engines, their clock, and compiled modules."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import threading
import time
import weakref
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from logllm.errors import PluginLoadError
from logllm.wasm.call import signature
from logllm.wasm.code_cache import code_dir, keep, ours
from logllm.wasm.compile import LARGE_BYTES, apart

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime
    from wasmtime.component import Component

__all__ = [
    "MOST_STACK_BYTES",
    "STACK_BYTES",
    "TICK_MS",
    "Allowance",
    "ByStack",
    "Ticker",
    "compiled",
    "component",
    "engine",
    "functions",
    "module",
    "ticker",
]

TICK_MS = 5
"""Guests are stopped at a tick, so a time limit is kept to within two of these; to within some more where other threads
keep Python's lock from the clock."""

STACK_BYTES = 512 << 10
MOST_STACK_BYTES = 2 << 20
"""wasmtime ends the process when it is asked for more."""

_Made = TypeVar("_Made")
_MOST_TICKS = 1 << 40
_MOST_AT_ONCE = 2
_log = logging.getLogger("logllm.wasm")

# A module is of one engine: two threads that ask at once must get the same one, and none may be made anew later.
_LOCK = threading.RLock()
_engines: dict[int, wasmtime.Engine] = {}
_tickers: dict[int, Ticker] = {}


def engine(stack_bytes: int = STACK_BYTES) -> wasmtime.Engine:
    """The engine for a size of the guests' stack. Shared by all threads; it has no threads of guests.

    Raises:
        PluginLoadError: The stack is larger than MOST_STACK_BYTES.
    """
    import wasmtime

    if not 0 < stack_bytes <= MOST_STACK_BYTES:
        raise PluginLoadError(f"a stack of {stack_bytes} bytes; expected at most {MOST_STACK_BYTES}")
    with _LOCK:
        if stack_bytes not in _engines:
            config = wasmtime.Config()
            config.epoch_interruption = True
            config.max_wasm_stack = stack_bytes
            config.wasm_threads = False
            config.shared_memory = False
            # Objects on the engine's own heap would be memory beside the guest's.
            config.wasm_gc = False
            config.wasm_component_model = True
            made = _engines[stack_bytes] = wasmtime.Engine(config)
            # For ever: its clock may tick until the process is gone.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
        return _engines[stack_bytes]


class Ticker:
    """Advances an engine's epoch every TICK_MS while somebody is inside a guest; sleeps otherwise.

    Use it in `with` around calls: a guest whose epochs do not pass is never stopped. A tick that comes a little late is
    made up for, so that many do not add up; that the process stood still (a laptop's lid, a container's quota) is not
    held against the guests that stood still with it. It does not survive a fork.

    Args:
        tick: Advances the epoch by one.
        clock_s: Seconds that only go forward.
    """

    def __init__(self, tick: Callable[[], object], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tick = tick
        self._clock_s = clock_s
        self._inside = 0
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        # When the first came in, and the ticks since.
        self._since_s = 0.0
        self._passed = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._since_s, self._passed = self._clock_s(), 0
                self._wanted.set()
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="wasm-ticker", daemon=True)
                    thread.start()
                    self._thread = thread

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._wanted.clear()

    def ticks(self, time_ms: float) -> int:
        """The deadline, in epochs from now, of a guest that may run for so long from now."""
        wanted = int(min(max(-(-time_ms // TICK_MS), 0), _MOST_TICKS)) + 1
        with self._lock:
            return wanted + (min(self._due(), _MOST_AT_ONCE) if self._inside else 0)

    def _due(self) -> int:
        return max(0, int((self._clock_s() - self._since_s) * 1000 / TICK_MS) - self._passed)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(TICK_MS / 1000)
            with self._lock:
                due = self._due() if self._inside else 0
                for _ in range(min(due, _MOST_AT_ONCE)):
                    self._tick()
                self._passed += due


def ticker(stack_bytes: int = STACK_BYTES) -> Ticker:
    """The one clock of an engine."""
    with _LOCK:
        if stack_bytes not in _tickers:
            its_engine = engine(stack_bytes).ptr()
            _tickers[stack_bytes] = Ticker(lambda: _increment()(its_engine))
        return _tickers[stack_bytes]


@cache
def _increment() -> Any:
    from wasmtime import _ffi as ffi

    # Another thread must not take over in the middle of some ticks: wasmtime-py's own would let it.
    kind = ctypes.PYFUNCTYPE(None, ctypes.POINTER(ffi.wasm_engine_t))
    return kind(("wasmtime_engine_increment_epoch", ffi.dll))


class Allowance:
    """The same limit as a guest's deadline, looked at by the host's functions.

    A guest that does nothing but call the host keeps Python's lock so busy that ticks come late, many at once, of which
    only some count. What decides here is the time that this thread has worked: standing still is not held against it.
    """

    __slots__ = ("_until_s", "_worked_s")

    def __init__(self) -> None:
        self.start(0.0)

    def start(self, time_ms: float) -> None:
        """So long from now, in this thread."""
        self._until_s = time.monotonic() + (time_ms + 2 * TICK_MS) / 1000
        self._worked_s = time.thread_time() + (time_ms + 2 * TICK_MS) / 1000

    @property
    def over(self) -> bool:
        """Whether it is used up. Cheap as long as it is not."""
        return time.monotonic() > self._until_s and time.thread_time() > self._worked_s


def module(code: bytes, stack_bytes: int = STACK_BYTES) -> wasmtime.Module:
    """A core module, compiled or taken from the cache.

    Raises:
        PluginLoadError: It is no valid module, or one that needs what the sandbox has not (threads...).
    """
    import wasmtime

    return _cached(code, stack_bytes, wasmtime.Module)


def component(code: bytes, stack_bytes: int = STACK_BYTES) -> Component:
    """The same for a component."""
    from wasmtime.component import Component

    return _cached(code, stack_bytes, Component)


class ByStack(Generic[_Made]):
    """Code compiled for each size of stack that is asked for, once. Shared by threads.

    Args:
        code: The module or component.
        compile_: `module` or `component`.
    """

    def __init__(self, code: bytes, compile_: Callable[[bytes, int], _Made]) -> None:
        self._code = code
        self._compile = compile_
        self._made: dict[int, _Made] = {}
        self._lock = threading.Lock()

    def get(self, stack_bytes: int) -> _Made:
        """It for guests of this stack. Raises PluginLoadError as `module` does."""
        with self._lock:
            found = self._made.get(stack_bytes)
            if found is None:
                found = self._made[stack_bytes] = self._compile(self._code, stack_bytes)
            return found


# At the interpreter's end wasmtime-py is gone before what it would have to free.
_alive: weakref.WeakSet[wasmtime.Module | Component] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for one in list(_alive):
        one.close()


_Compiled = TypeVar("_Compiled", "wasmtime.Module", "Component")


def _cached(code: bytes, stack_bytes: int, kind: type[_Compiled]) -> _Compiled:
    import wasmtime

    its_engine = engine(stack_bytes)
    folder = code_dir()
    path = None if folder is None else folder / f"{_key(code, stack_bytes)}.cwasm"
    found = None
    if path is not None and ours(path):
        try:
            found = kind.deserialize_file(its_engine, str(path))
        except wasmtime.WasmtimeError as error:
            _log.info("%s: compiled anew: %s", path, _first_line(error))
        else:
            with contextlib.suppress(OSError):
                os.utime(path)
    if found is None:
        found, machine_code = _made(code, stack_bytes, kind)
        if path is not None:
            keep(path, machine_code or found.serialize())
    _alive.add(found)
    return found


def _made(code: bytes, stack_bytes: int, kind: type[_Compiled]) -> tuple[_Compiled, bytes]:
    """It compiled, and its machine code where that is known already."""
    import wasmtime

    machine_code = b""
    if len(code) > LARGE_BYTES:
        try:
            machine_code = apart(code, kind.__name__, stack_bytes)
        except OSError as error:
            _log.warning("a large plugin is compiled in this process: %s", error)
    try:
        if machine_code:
            return kind.deserialize(engine(stack_bytes), machine_code), machine_code
        return kind(engine(stack_bytes), code), b""
    except wasmtime.WasmtimeError as error:
        raise PluginLoadError(_first_line(error)) from error


def compiled(code: bytes, kind: str, stack_bytes: int) -> bytes:
    """The machine code of a "Module" or "Component", made here and now. Raises PluginLoadError as `module` does."""
    import wasmtime
    from wasmtime.component import Component

    try:
        made = (Component if kind == "Component" else wasmtime.Module)(engine(stack_bytes), code)
    except wasmtime.WasmtimeError as error:
        raise PluginLoadError(_first_line(error)) from error
    return bytes(made.serialize())


def _first_line(error: Exception) -> str:
    """What wasmtime says, on one line, outermost first; it adds a list of causes below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and line.strip() != "Caused by:"]
    return ": ".join(lines[:3]) or "wasmtime refused it"


def _key(code: bytes, stack_bytes: int) -> str:
    made = hashlib.sha256(code)
    made.update(f"\0{version('wasmtime')}\0{stack_bytes}\0{platform.machine()}\0{platform.node()}".encode())
    return made.hexdigest()


def functions(module: wasmtime.Module) -> dict[str, tuple[list[str], list[str]]]:
    """The functions a module exports: name to the types of its parameters and results, see `call.signature`."""
    import wasmtime

    return {
        one.name: signature(one.type)
        for one in module.exports
        if one.name is not None and isinstance(one.type, wasmtime.FuncType)
    }
