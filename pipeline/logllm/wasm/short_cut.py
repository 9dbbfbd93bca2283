"""C of our own in the sandbox, where it does what Python does too: an instance a thread, tried before it is used."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from logllm.wasm.call import bind

if TYPE_CHECKING:
    import logging

    from numpy.typing import NDArray

__all__ = ["FixedModule", "ShortCut"]

_T = TypeVar("_T")


class ShortCut(Generic[_T]):
    """An instance for each thread, or none where it cannot be had: Python then does the work.

    Args:
        load: Makes an instance; some 100 ms.
        passes: Whether an instance does what it must, on one small example.
        log, instead: Where it is said that there is none, and how the line begins.
    """

    def __init__(self, load: Callable[[], _T], passes: Callable[[_T], bool], log: logging.Logger, instead: str) -> None:
        self._load, self._passes, self._log, self._instead = load, passes, log, instead
        self._own = threading.local()
        self._wanted = True

    def use(self, wanted: bool) -> None:
        """Whether it may be taken from now on, in all threads."""
        self._wanted = wanted

    def get(self) -> _T | None:
        """This thread's instance; None where there is none."""
        if not self._wanted:
            return None
        try:
            found: _T | None = self._own.found
        except AttributeError:
            found = self._own.found = self._tried()
        return found

    def _tried(self) -> _T | None:
        try:
            import wasmtime
        except (ImportError, OSError) as error:
            self._log.info("%s: %s", self._instead, error)
            return None
        try:
            loaded = self._load()
            passed = self._passes(loaded)
        except (wasmtime.WasmtimeError, wasmtime.Trap, OSError, LookupError, ValueError) as error:
            self._log.warning("%s: it cannot be loaded: %s", self._instead, error)
            return None
        if passed:
            return loaded
        self._log.warning("%s: it failed its test on this machine", self._instead)
        return None


class FixedModule:
    """An instance of a module whose memory cannot grow, so that views of it stay where they are.

    Keep it for as long as its functions and views are used: they are of no use without it, and do not hold it.
    Not for several threads at once. Raises whatever wasmtime raises where it cannot be had.
    """

    def __init__(self, path: Path, memory_bytes: int) -> None:
        import wasmtime

        engine = wasmtime.Engine()
        module = wasmtime.Module.from_file(engine, str(path))
        self._store = wasmtime.Store(engine)
        self._store.set_limits(memory_size=memory_bytes, instances=1, memories=1)
        self._exports: Any = wasmtime.Instance(self._store, module, []).exports(self._store)
        memory: Any = self._exports["memory"]
        start = ctypes.addressof(memory.data_ptr(self._store).contents)
        space = (ctypes.c_ubyte * memory.data_len(self._store)).from_address(start)
        self._space = np.ctypeslib.as_array(space)
        # At exit, wasmtime's own way to let go comes too late for it.
        weakref.finalize(self, _close, self._store, module, engine)

    def function(self, name: str) -> Callable[..., Any]:
        """An export, to be called the fast way."""
        return bind(self._store, self._exports[name])

    def call(self, name: str) -> Any:
        """Call an export without arguments, once."""
        return self._exports[name](self._store)

    def layout(self, count: int) -> list[int]:
        """The addresses that the module says its buffers have."""
        addresses: list[int] = self.view(self.call("layout"), np.dtype("<u4"), count).tolist()
        return addresses

    def view(self, at: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        """So many values of its memory, from an address on."""
        return self._space[at : at + count * dtype.itemsize].view(dtype)


def _close(*owned: Any) -> None:
    for one in owned:
        one.close()
