"""Calls into a guest and out of it, without wasmtime-py's checks at each call.

`Func.__call__` takes some 30 us: it asks for the function's type and boxes every value. The C API's unchecked call
takes 1 us, and the types are checked once, when a function is bound. The same holds for a guest's calls of the host's
functions; there wasmtime-py moreover keeps what they raise in one place for all threads. It has no methods for the
unchecked calls, so its private names are used: a self-test at the first use decides, and where it fails wasmtime-py's
own calls do the work.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wasmtime

__all__ = ["Call", "Stopped", "bind", "expose", "signature", "type_names", "unchecked", "use_unchecked"]

Call = Callable[..., int]
"""A bound guest function: takes ints, gives an int (0 where the guest gives nothing); i32 come back unsigned."""

_log = logging.getLogger("logllm.wasm")

# The private names below were read in this major version; another may lay out things differently.
_KNOWN_MAJOR = "50"
_SLOT_WORDS = 2  # a value takes the size of a v128
_MASKS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}
_TEST = """(module (import "host" "twice" (func $twice (param i32 i64) (result i64)))
  (func (export "add") (param i32 i64 i32) (result i64)
    (i64.add (i64.add (i64.extend_i32_u (local.get 0)) (local.get 1)) (i64.extend_i32_s (local.get 2))))
  (func (export "call") (param i32 i64) (result i64) (call $twice (local.get 0) (local.get 1)))
  (func (export "trap") unreachable))"""

_wanted = True


class Stopped(Exception):  # noqa: N818 - what a host function wants, not what went wrong
    """Raised by a host function: the guest is to end there."""


def use_unchecked(wanted: bool) -> None:
    """Whether functions that are bound or exposed from now on may be called without checks, in all threads."""
    global _wanted
    _wanted = wanted


def type_names(types: Iterable[wasmtime.ValType]) -> list[str]:
    """`i32`, `i64`, `f32`, `f64`; `?` for every other type.

    Never `str(type)`: wasmtime-py asks the C API for the type's kind, which for vectors and typed references is not
    implemented and ends the process.
    """
    same, known = _known_types()
    return [next((name for name, one in known if same(value.ptr(), one)), "?") for value in types]


@cache
def _known_types() -> tuple[Any, list[tuple[str, Any]]]:
    from wasmtime import ValType
    from wasmtime import _ffi as ffi

    pointer = ctypes.POINTER(ffi.wasm_valtype_t)
    same = ctypes.CFUNCTYPE(ctypes.c_bool, pointer, pointer)(("wasmtime_wasm_valtype_equal", ffi.dll))
    made = {"i32": ValType.i32(), "i64": ValType.i64(), "f32": ValType.f32(), "f64": ValType.f64()}
    # Never freed: at the interpreter's end wasmtime-py is gone before they are.
    return same, [(name, one._consume()) for name, one in made.items()]


def signature(kind: wasmtime.FuncType) -> tuple[list[str], list[str]]:
    """The types of a function's parameters and results, see `type_names`."""
    return type_names(kind.params), type_names(kind.results)


def bind(store: wasmtime.Store, func: wasmtime.Func) -> Call:
    """A guest function as a Python one. It may be called by one thread at a time, as its store may.

    Raises:
        TypeError: It takes or gives what is no integer, or gives more than one.
    """
    params, results = signature(func.type(store))
    if any(name not in _MASKS for name in (*params, *results)) or len(results) > 1:
        raise TypeError(f"({', '.join(params)}) -> ({', '.join(results)})")
    mask = _MASKS[results[0]] if results else 0
    if _wanted and unchecked():
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
        # Ctrl-C may have come between a trap and the look at it.
        trap.value = None
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


def expose(store: wasmtime.Store, kind: wasmtime.FuncType, function: Callable[..., int | None]) -> wasmtime.Func:
    """A Python function as one that guests of a store can call. It gets integers as unsigned, and gives one or None.

    Where it raises, whatever it is, the guest ends there; to tell why is up to the function.

    Raises:
        TypeError: The type has other things than integers in it, or more than one result.
    """
    params, results = signature(kind)
    if any(name not in _MASKS for name in (*params, *results)) or len(results) > 1:
        raise TypeError(f"({', '.join(params)}) -> ({', '.join(results)})")
    masks, mask = [_MASKS[name] for name in params], _MASKS[results[0]] if results else 0
    if _wanted and unchecked():
        return _expose_unchecked(store, kind, function, masks, mask)
    return _expose_checked(store, kind, function, masks, mask)


def _expose_checked(
    store: wasmtime.Store, kind: wasmtime.FuncType, function: Callable[..., int | None], masks: list[int], mask: int
) -> wasmtime.Func:
    import wasmtime

    def call(*values: int) -> int | None:
        try:
            result = function(*(value & every for value, every in zip(values, masks, strict=True)))
        except BaseException as error:
            # wasmtime-py gives it to whichever thread asks first: nothing but a word without meaning may get there.
            raise Stopped from error
        sign = (mask >> 1) + 1
        return (((result or 0) & mask) ^ sign) - sign if mask else None

    return wasmtime.Func(store, kind, call)


def _expose_unchecked(
    store: wasmtime.Store, kind: wasmtime.FuncType, function: Callable[..., int | None], masks: list[int], mask: int
) -> wasmtime.Func:
    import wasmtime
    from wasmtime import _ffi as ffi

    slots_of = [(_SLOT_WORDS * number, every) for number, every in enumerate(masks)]

    def call(_env: object, _caller: object, slots: Any, _count: int) -> int:
        try:
            result = function(*[slots[at] & every for at, every in slots_of])
            if mask:
                slots[0] = (result or 0) & mask
        except BaseException:  # noqa: BLE001 - nothing may be raised into the guest's frames
            trap = ffi.wasmtime_trap_new(ctypes.create_string_buffer(b"stopped"), 7)
            return ctypes.cast(trap, ctypes.c_void_p).value or 0
        return 0

    prototype, make = _raw_function()
    callback, made = prototype(call), ffi.wasmtime_func_t()
    make(store._context(), kind.ptr(), callback, None, None, ctypes.byref(made))
    func = wasmtime.Func._from_raw(made)
    func.owned = callback  # type: ignore[attr-defined]  # must live as long as the store
    return func


@cache
def _raw_function() -> tuple[Any, Any]:
    from wasmtime import _ffi as ffi

    pointer = ctypes.c_void_p
    callback = ctypes.CFUNCTYPE(pointer, pointer, pointer, ctypes.POINTER(ctypes.c_uint64), ctypes.c_size_t)
    make = ctypes.CFUNCTYPE(None, pointer, pointer, callback, pointer, pointer, pointer)
    return callback, make(("wasmtime_func_new_unchecked", ffi.dll))


@cache
def unchecked() -> bool:
    """Whether the unchecked call works with the wasmtime that is installed; tried once, on a module of our own."""
    import wasmtime

    installed = version("wasmtime")
    if installed.partition(".")[0] != _KNOWN_MAJOR:
        _log.warning("wasmtime %s is not %s: plugins are called the slow way", installed, _KNOWN_MAJOR)
        return False
    try:
        right = _tried()
    except (AttributeError, TypeError, ValueError, wasmtime.WasmtimeError) as error:
        _log.warning("plugins are called the slow way: %s: %s", type(error).__name__, error)
        return False
    if not right:
        _log.warning("plugins are called the slow way: the fast call failed its test on this machine")
    return right


def _tried() -> bool:
    import wasmtime

    def twice(word: int, long: int) -> int:
        if word == 0:
            raise Stopped
        return word + 2 * long

    engine = wasmtime.Engine()
    store, module = wasmtime.Store(engine), wasmtime.Module(engine, _TEST)
    (wanted,) = module.imports
    if not isinstance(wanted.type, wasmtime.FuncType):
        return False
    host = _expose_unchecked(store, wanted.type, twice, [_MASKS["i32"], _MASKS["i64"]], _MASKS["i64"])
    exports = wasmtime.Instance(store, module, [host]).exports(store)
    found = {name: one for name in ("add", "call", "trap") if isinstance(one := exports[name], wasmtime.Func)}
    add, call = (_bind_unchecked(store, found[name], count, _MASKS["i64"]) for name, count in (("add", 3), ("call", 2)))
    trap = _bind_unchecked(store, found["trap"], 0, 0)
    right = add(0xFFFF_FFFF, 1 << 40, -3) == 0xFFFF_FFFF + (1 << 40) - 3 and call(-1, 1 << 62) == 0x8000_0000_FFFF_FFFF
    try:
        trap()
    except wasmtime.Trap as caught:
        right = right and caught.trap_code is wasmtime.TrapCode.UNREACHABLE
    else:
        return False
    try:
        call(0, 1)
    except wasmtime.WasmtimeError:
        return right
    return False
