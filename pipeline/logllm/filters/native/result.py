"""What a guest of the native ABI answers, looked at before it is believed.

A result struct is eight u32, little-endian: mode, n_in, n_out, ptr, len, keep_ptr, err_ptr, err_len. Every pointer is
checked against the memory's size, every number against what was given and what is allowed.
"""

from __future__ import annotations

import struct
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.errors import PluginTrap
from logllm.filters.instance import Filtered

if TYPE_CHECKING:
    from logllm.filters.config import Limits
    from logllm.wasm.guest import Guest

__all__ = ["ERROR_BYTES", "FAILED", "KEEP", "PASS", "REPLACE", "filtered", "held_back", "state"]

PASS, KEEP, REPLACE, FAILED = 0, 1, 2, 0xFFFF_FF00
"""The modes; FAILED and all above it are failures."""

ERROR_BYTES = 4096
"""So much is read of why a guest says it failed."""

_LAYOUT = struct.Struct("<8I")
_SMALLEST_ENTRY = 3
_MOST_FROM_ONE, _MOST_FROM_NONE = 16, 16
_RAW = msgspec.msgpack.Decoder(list[msgspec.Raw])


class _Result(NamedTuple):
    mode: int
    n_in: int
    n_out: int
    pointer: int
    size: int
    keep: int
    error: int
    error_size: int


def filtered(guest: Guest, result: int, block: bytes, count: int, limits: Limits) -> Filtered:
    """What was made of a block.

    Args:
        result: Where the struct is.

    Raises:
        PluginTrap: The guest says it failed, or its answer is none.
    """
    told = _read(guest, result)
    if told.n_in != count:
        raise PluginTrap("bad_result", f"it says it was given {told.n_in} entries; it was given {count}")
    if told.mode == PASS:
        return Filtered(block, count)
    if told.mode == KEEP:
        return _kept(guest.read(told.keep, count), block, count, told.n_out)
    most = _MOST_FROM_ONE * count + _MOST_FROM_NONE
    if told.n_out > most:
        raise PluginTrap("output", f"it made {told.n_out} entries of {count}; expected at most {most}")
    data = _entries(guest, told, limits.most_output(len(block)))
    if data == block:
        if told.n_out != count:
            raise PluginTrap("bad_result", f"it answered what it was given as {told.n_out} entries of {count}")
        return Filtered(block, count)
    return Filtered(data, told.n_out, max(0, count - told.n_out))


def held_back(guest: Guest, result: int, limits: Limits) -> Filtered | None:
    """What a flush gives; None for nothing. Raises PluginTrap as `filtered` does."""
    told = _read(guest, result)
    if told.n_in:
        raise PluginTrap("bad_result", f"it says it was given {told.n_in} entries; it was given none")
    _no_flags(told)
    # There is no number of entries to measure it by: the bytes are bound alone.
    if told.mode == PASS or not (data := _entries(guest, told, limits.most_output(0))):
        return None
    return Filtered(data, told.n_out)


def state(guest: Guest, result: int, limits: Limits) -> bytes | None:
    """The state a guest saves; None for none. Raises PluginTrap as `filtered` does."""
    told = _read(guest, result)
    _no_flags(told)
    return None if told.mode == PASS else _copy(guest, told, limits.state_bytes, "state_bytes")


def _read(guest: Guest, at: int) -> _Result:
    told = _Result._make(_LAYOUT.unpack(guest.read(at, _LAYOUT.size)))
    if told.mode >= FAILED:
        raise PluginTrap("refused", _why(guest, told))
    if told.mode > REPLACE:
        raise PluginTrap("bad_result", f"its answer is of mode {told.mode}; expected 0, 1 or 2")
    return told


def _why(guest: Guest, told: _Result) -> str:
    try:
        said = guest.read(told.error, min(told.error_size, ERROR_BYTES)) if told.error_size else b""
    except PluginTrap:
        return "it failed; its words are outside its memory"
    shown = "".join(one if one.isprintable() else " " for one in said.decode("utf-8", "replace"))
    return shown.strip() or "it failed and does not say why"


def _no_flags(told: _Result) -> None:
    if told.mode == KEEP:
        raise PluginTrap("bad_result", "its answer is of mode 1, and it was given no entries; expected 0 or 2")


def _copy(guest: Guest, told: _Result, most: int, name: str) -> bytes:
    if told.size > most:
        raise PluginTrap("output", f"it answered {told.size} bytes; `{name}` allows {most}")
    # The pointer of an empty list has no meaning in some languages.
    return guest.read(told.pointer, told.size) if told.size else b""


def _entries(guest: Guest, told: _Result, most: int) -> bytes:
    data = _copy(guest, told, most, "output_bytes")
    # Whoever takes the block counts what is in it; here it is only whether it can be.
    if told.n_out * _SMALLEST_ENTRY > told.size or (told.size and not told.n_out):
        raise PluginTrap("bad_result", f"it answered {told.size} bytes as {told.n_out} entries")
    return data


def _kept(flags: bytes, block: bytes, count: int, n_out: int) -> Filtered:
    kept = count - flags.count(0)
    if kept != n_out:
        raise PluginTrap("bad_result", f"it says it keeps {n_out} of {count} entries; its flags keep {kept}")
    if kept == count:
        return Filtered(block, count)
    if not kept:
        return Filtered(b"", 0, count)
    try:
        entries = _RAW.decode(b"\xdd" + count.to_bytes(4, "big") + block)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PluginTrap("bad_result", f"its flags are for {count} entries, the block holds others: {error}") from error
    return Filtered(b"".join(compress(entries, flags)), kept, count - kept)
