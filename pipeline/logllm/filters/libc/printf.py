"""C's `printf` on a guest's memory.

Arguments lie one after the other where a pointer says, as clang packs them for wasm32: four bytes each; `long long`
and `double` take eight, at a multiple of eight.
"""

from __future__ import annotations

import math
import re
from struct import Struct as Layout
from typing import TYPE_CHECKING

from logllm.errors import PluginTrap

if TYPE_CHECKING:
    from logllm.wasm.guest import Guest

__all__ = ["MOST_BYTES", "formatted", "string"]

MOST_BYTES = 16 << 20
"""A string or an output that is longer stops the guest."""

_MOST_WIDTH = 1 << 16
_MOST_PRECISION = 1_000
_PIECE = 4096
_SPEC = re.compile(rb"%([-+ 0#]*)(\*|[0-9]*)(?:(\.)(\*|[0-9]*))?(hh|h|ll|l|j|z|t|L)?([diouxXcspfFeEgGaAn%])")
_BITS = {b"hh": 8, b"h": 16, b"ll": 64, b"j": 64}
_DOUBLE = Layout("<d")
_FORMS = {b"x": b"%x", b"X": b"%X", b"o": b"%o"}


def string(guest: Guest, pointer: int, most: int | None = None) -> bytes:
    """The bytes from a pointer to the first NUL; no more than `most`, if it is given, and then it needs no NUL.

    Raises:
        PluginTrap: It is not in the memory, does not end there, or is longer than MOST_BYTES.
    """
    found = bytearray()
    size = _PIECE
    wanted = MOST_BYTES if most is None else min(most, MOST_BYTES)
    while len(found) < wanted:
        size = min(size, wanted - len(found), guest.memory_bytes - pointer)
        if size <= 0:
            break
        piece = guest.read(pointer, size)
        at = piece.find(0)
        if at >= 0:
            return bytes(found + piece[:at])
        found += piece
        pointer += size
        size *= 4
    if len(found) == most:
        return bytes(found)
    raise PluginTrap("bad_pointer", f"its string before {pointer} has no end")


class _Values:
    """The arguments, in their order."""

    def __init__(self, guest: Guest, pointer: int) -> None:
        self._guest = guest
        self._at = pointer

    def word(self) -> int:
        value = int.from_bytes(self._guest.read(self._at, 4), "little")
        self._at += 4
        return value

    def signed(self) -> int:
        return _signed(self.word(), 32)

    def long(self) -> bytes:
        self._at = (self._at + 7) & ~7
        value = self._guest.read(self._at, 8)
        self._at += 8
        return value


def formatted(guest: Guest, text: int, values: int) -> bytes:
    """What `printf` would print.

    Args:
        text: Where the format is.
        values: Where its arguments are.

    Raises:
        PluginTrap: A bad pointer, or more than MOST_BYTES.
    """
    form = string(guest, text)
    given = _Values(guest, values)
    made: list[bytes] = []
    size = at = 0
    for spec in _SPEC.finditer(form):
        made.append(form[at : spec.start()])
        made.append(_one(guest, given, spec))
        at = spec.end()
        size += len(made[-1])
        if size > MOST_BYTES:
            raise PluginTrap("output", f"it prints more than {MOST_BYTES} bytes at once")
    made.append(form[at:])
    return b"".join(made)


def _one(guest: Guest, given: _Values, spec: re.Match[bytes]) -> bytes:
    flags, width_text, dot, precision_text, length, kind = spec.groups()
    if kind == b"%":
        return b"%"
    width = given.signed() if width_text == b"*" else int(width_text[:9] or 0)
    precision = None
    if dot is not None:
        precision = given.signed() if precision_text == b"*" else int(precision_text[:9] or 0)
        precision = precision if precision >= 0 else None
    if width < 0:
        flags, width = flags + b"-", -width
    made, number = _value(guest, given, flags, precision, length, kind)
    width = min(width, _MOST_WIDTH)
    if b"-" in flags:
        return made.ljust(width)
    # A number with a precision is not filled with zeros, but a float is.
    if b"0" in flags and number and (precision is None or kind not in b"diouxX"):
        sign = made[: 1 if made[:1] in (b"-", b"+", b" ") else 0]
        sign += made[len(sign) : len(sign) + 2] if made[len(sign) : len(sign) + 2] in (b"0x", b"0X") else b""
        return sign + made[len(sign) :].rjust(width - len(sign), b"0")
    return made.rjust(width)


def _value(
    guest: Guest, given: _Values, flags: bytes, precision: int | None, length: bytes | None, kind: bytes
) -> tuple[bytes, bool]:
    """One argument as text, and whether it is a number that zeros may be put before."""
    if kind == b"c":
        return bytes((given.word() & 0xFF,)), False
    if kind == b"s":
        return string(guest, given.word(), MOST_BYTES if precision is None else min(precision, MOST_BYTES)), False
    if kind == b"n":
        given.word()  # it would write; nobody needs it
        return b"", False
    if kind == b"p":
        return b"0x%x" % given.word(), True
    plus = b"+" if b"+" in flags else b" " if b" " in flags else b""
    if kind in b"fFeEgGaA":
        (value,) = _DOUBLE.unpack(given.long())
        return _real(value, plus, flags, precision, kind)
    bits = _BITS.get(length or b"", 32)
    number = int.from_bytes(given.long(), "little") if bits == 64 else given.word()
    number &= (1 << bits) - 1
    sign = b""
    if kind in b"di":
        number = _signed(number, bits)
        sign, number = (b"-" if number < 0 else plus), abs(number)
    elif b"#" in flags and number:
        sign = {b"x": b"0x", b"X": b"0X", b"o": b"0"}.get(kind, b"")
    digits = _FORMS.get(kind, b"%d") % number
    if precision is not None:
        digits = digits.rjust(min(precision, _MOST_WIDTH), b"0") if number or precision else b""
    return sign + digits, True


def _real(value: float, plus: bytes, flags: bytes, precision: int | None, kind: bytes) -> tuple[bytes, bool]:
    sign = b"-" if math.copysign(1, value) < 0 else plus
    value = abs(value)
    if not math.isfinite(value):
        word = b"nan" if math.isnan(value) else b"inf"
        return sign + (word.upper() if kind.isupper() else word), False
    if kind in b"aA":
        text = value.hex().encode()
        return sign + (text.upper() if kind == b"A" else text), True
    precision = 6 if precision is None else min(precision, _MOST_PRECISION)
    return sign + b"%%%s.%d%s" % (b"#" if b"#" in flags else b"", precision, kind) % value, True


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
