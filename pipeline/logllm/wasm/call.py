"""Calls into a guest without wasmtime-py's checks at each call.

`Func.__call__` takes some 30 us: it asks for the function's type and boxes every value. The C API's unchecked call
takes 1 us, and the types are checked once, when a function is bound. wasmtime-py wraps it with no method of its own,
so its private names are used: a self-test at the first use decides, and where it fails the checked call does the work.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wasmtime

__all__ = ["Call", "bind", "signature", "unchecked"]

Call = Callable[..., int]
"""A bound guest function: takes ints, gives an int (0 where the guest gives nothing); i32 come back unsigned."""

_log = logging.getLogger("logllm.wasm")

# The private names below were read in this major version; another may lay out things differently.
_KNOWN_MAJOR = "50"
_SLOT_WORDS = 2  # a value takes the size of a v128
_MASKS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}
_TEST = """(module
  (func (export "add") (param i32 i64 i32) (result i64)
    (i64.add (i64.add (i64.extend_i32_u (local.get 0)) (local.get 1)) (i64.extend_i32_s (local.get 2))))
  (func (export "trap") unreachable))"""


def signature(func: wasmtime.Func, store: wasmtime.Store) -> tuple[list[str], list[str]]:
    """The types of a function's parameters and results, as `i32`, `i64`, `f64`..."""
    kind = func.type(store)
    return [str(param) for param in kind.params], [str(result) for result in kind.results]


def bind(store: wasmtime.Store, func: wasmtime.Func) -> Call:
    """A guest function as a Python one. It may be called by one thread at a time, as its store may.

    Raises:
        TypeError: It takes or gives what is no integer, or gives more than one.
    """
    params, results = signature(func, store)
    if any(name not in _MASKS for name in (*params, *results)) or len(results) > 1:
        raise TypeError(f"({', '.join(params)}) -> ({', '.join(results)})")
    mask = _MASKS[results[0]] if results else 0
    if unchecked():
        return _bind_unchecked(store, func, len(params), mask)
    signed = [(_MASKS[name], (_MASKS[name] >> 1) + 1) for name in params]
    return _bind_checked(store, func, signed, mask)


def _bind_checked(store: wasmtime.Store, func: wasmtime.Func, signed: list[tuple[int, int]], mask: int) -> Call:
    def call(*values: int) -> int:
        # wasmtime-py takes integers as signed.
        args = [((value & every) ^ sign) - sign for value, (every, sign) in zip(values, signed, strict=True)]
        result = func(store, *args)
        return 0 if result is None else int(result) & mask

    return call


def _bind_unchecked(store: wasmtime.Store, func: wasmtime.Func, count: int, mask: int) -> Call:
    from wasmtime import Trap, WasmtimeError
    from wasmtime import _ffi as ffi

    slots = max(count, 1)
    buffer = (ctypes.c_uint64 * (_SLOT_WORDS * slots))()
    words = memoryview(buffer).cast("B").cast("Q")
    trap = ctypes.c_void_p()
    context = ctypes.cast(store._context(), ctypes.c_void_p).value
    address, values_at, trap_at = ctypes.addressof(func._func), ctypes.addressof(buffer), ctypes.addressof(trap)
    raw = _raw_call()

    def fail(error: int | None) -> None:
        if error:
            raise WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        found, trap.value = trap.value, None
        raise Trap._from_ptr(ctypes.cast(ctypes.c_void_p(found), ctypes.POINTER(ffi.wasm_trap_t)))

    def call(*values: int) -> int:
        at = 0
        for value in values:
            words[at] = value & 0xFFFF_FFFF_FFFF_FFFF
            at += _SLOT_WORDS
        error = raw(context, address, values_at, slots, trap_at)
        if error or trap.value:
            fail(error)
        return words[0] & mask

    # What the addresses above point into must live as long as the function.
    call.owned = (store, func, buffer, trap)  # type: ignore[attr-defined]
    return call


@cache
def _raw_call() -> Any:
    from wasmtime import _ffi as ffi

    pointer = ctypes.c_void_p
    # A CDLL function: other Python threads run while the guest does.
    prototype = ctypes.CFUNCTYPE(pointer, pointer, pointer, pointer, ctypes.c_size_t, pointer)
    return prototype(("wasmtime_func_call_unchecked", ffi.dll))


@cache
def unchecked() -> bool:
    """Whether the unchecked call works with the wasmtime that is installed; tried once, on a module of our own."""
    import wasmtime

    installed = version("wasmtime")
    if installed.partition(".")[0] != _KNOWN_MAJOR:
        _log.warning("wasmtime %s is not %s: plugins are called the slow way", installed, _KNOWN_MAJOR)
        return False
    try:
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, wasmtime.Module(engine, _TEST), []).exports(store)
        add, trap = exports["add"], exports["trap"]
        if not isinstance(add, wasmtime.Func) or not isinstance(trap, wasmtime.Func):
            return False
        args = (0xFFFF_FFFF, 1 << 40, -3 & 0xFFFF_FFFF)
        right = _bind_unchecked(store, add, 3, _MASKS["i64"])(*args) == 0xFFFF_FFFF + (1 << 40) - 3
        try:
            _bind_unchecked(store, trap, 0, 0)()
        except wasmtime.Trap as caught:
            right = right and caught.trap_code == wasmtime.TrapCode.UNREACHABLE
        else:
            right = False
    except (AttributeError, TypeError, ValueError, wasmtime.WasmtimeError) as error:
        _log.warning("plugins are called the slow way: %r", error)
        return False
    if not right:
        _log.warning("plugins are called the slow way: the fast call failed its test on this machine")
    return right
