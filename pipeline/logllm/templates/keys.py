"""From a message to the key its template is remembered under, and the bounded table of such keys.

A key is the message's bytes without digits: one C call for a whole chunk. Two messages with the same key share a
template, with one exception that the table marks: where a short code (`E1`, `http2`) may have stood, the codes are
made part of the key.
"""

from __future__ import annotations

import re
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from logllm.templates.codes import codes_in
from logllm.templates.mined import MAX_CHARS, mined_part
from logllm.templates.records import record_of
from logllm.templates.sealed import SealedKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "AMBIGUOUS",
    "MISSING",
    "NO_KEY",
    "OVERFLOWED",
    "Keys",
    "coded",
    "keys_of",
    "record_key",
    "without_hex",
]

MISSING = -1
AMBIGUOUS = -2
OVERFLOWED = -3
NO_KEY = b"\0"  # stands in no message: it is cut there

_DIGITS = b"0123456789"
# Runs of hex digits that are an identifier by their length: UUIDs, and twelve digits or more.
_MAYBE_CODE = re.compile(r"[A-Za-z][0-9]|[A-Z]-[0-9]")
# With each such digit as one byte, and that byte as another, they begin with plain text, which is found twice as fast.
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_FLATTENED = bytes.maketrans(_HEX_DIGITS + b"\4", b"\4" * len(_HEX_DIGITS) + b"\5")
_HEX_RUN = re.compile(rb"\x04\x04\x04\x04\x04\x04\x04\x04(?:\x04{4,}|(?:-\x04{4}){3}-\x04{12})")


def keys_of(messages: Sequence[str]) -> tuple[Sequence[str], list[bytes]]:
    """The parts of the messages that are mined, and their keys, both of the same length."""
    text = "\0".join(messages)
    cut = "\n" in text or _holds_long(text)
    if cut:
        messages = _mined(messages, text)
        text = "\0".join(messages)
    keys = text.encode("utf-8", "surrogatepass").translate(None, _DIGITS).split(b"\0")
    if len(keys) != len(messages):
        if not cut:
            messages = _mined(messages, text)
        messages = [m.replace("\0", " ") for m in messages]
        keys = [m.encode("utf-8", "surrogatepass").translate(None, _DIGITS) for m in messages]
    return messages, keys


def _holds_long(text: str) -> bool:
    """Whether more than `MAX_CHARS` stand in it without a "\\0"; a quarter of the cost of asking each message."""
    at, end = 0, len(text) - MAX_CHARS
    while at < end:
        at = text.rfind("\0", at, at + MAX_CHARS + 1) + 1
        if not at:
            return True
    return False


def _mined(messages: Sequence[str], text: str) -> list[str]:
    """The messages with those that are long or of several lines cut; `text` is all of them, one char between."""
    lengths = np.fromiter(map(len, messages), np.int64, len(messages))
    cut = set(np.flatnonzero(lengths > MAX_CHARS).tolist())
    ends = np.cumsum(lengths + 1)
    found = text.find("\n")
    while found >= 0:
        at = int(np.searchsorted(ends, found, "right"))
        cut.add(at)
        found = text.find("\n", int(ends[at]))
    mined = list(messages)
    for at in cut:
        mined[at] = mined_part(mined[at])
    return mined


def coded(key: bytes, message: str) -> bytes:
    """The key of a message whose plain key is ambiguous: with the codes that stand in it."""
    return b"\1".join((key, b"", *(code.encode() for code in codes_in(message))))


def without_hex(messages: list[str]) -> list[bytes]:
    """Keys of mined messages without their hexadecimal identifiers: `b"\\2"`, then the key where there are none."""
    text = "\2" + "\0\2".join(messages)
    return _hexless(text.encode("utf-8", "surrogatepass")).translate(None, _DIGITS).split(b"\0")


def _hexless(text: bytes) -> bytes:
    parts, at = [], 0
    for found in _HEX_RUN.finditer(text.translate(_FLATTENED)):
        start, end = found.span()
        parts.append(text[at:start])
        at = end
    return b"".join([*parts, text[at:]]) if at else text


def record_key(key: bytes, message: str) -> bytes | None:
    """The key of a message that is a record: without its values, with its codes. None where it is none.

    `key` is the message's plain one.
    """
    if key[:1] != b"{" and key.count(b"=") < 2:
        return None
    record = record_of(message)
    if record is None:
        return None
    short = b"\3" + _hexless(record.stripped.encode("utf-8", "surrogatepass")).translate(None, _DIGITS)
    if record.names:
        short = b"\1".join((short, *(name.encode("utf-8", "surrogatepass") for name in record.names)))
    return coded(short, record.stripped) if _MAYBE_CODE.search(record.stripped) else short


class Keys:
    """Key to template index, in two generations: when the young one is full it becomes the old one, whose keys are
    carried over as they are used and otherwise forgotten. At most twice `capacity` keys are held.

    Those taken back from a saved state are `sealed`, and count as `young` and `old` do: `unseal` opens them once they
    are met again.

    `epoch` changes whenever a look-up made earlier in `young` may no longer be what `young` would say.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.young: dict[bytes, int] = {}
        self.old: dict[bytes, int] = {}
        self.sealed = SealedKeys(b"")
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.young) + len(self.old) + len(self.sealed)

    def unseal(self, keys: Iterable[bytes]) -> bool:
        """Open those of the keys that are sealed in the young table; whether any was. 0.5 us each, if any are sealed.

        Asked before `young` is looked up, for what is not there.
        """
        sealed = self.sealed.young
        before = len(sealed)
        if before:
            number = self.sealed.number
            for key in keys:
                value = sealed.pop(number(key), MISSING)
                if value != MISSING:
                    self.young[key] = value
        return len(sealed) < before

    def get(self, key: bytes) -> int:
        value = self.young.get(key, MISSING)
        if value == MISSING and self.sealed:
            self.unseal([key])
            value = self.young.get(key, MISSING)
            if value == MISSING and self.sealed.old:
                value = self.sealed.old.pop(self.sealed.number(key), MISSING)
                if value != MISSING:
                    self.old[key] = value
                    self.put(key, value)
                    return value
        if value == MISSING:
            value = self.old.get(key, MISSING)
            if value != MISSING:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: int) -> None:
        if len(self.young) + len(self.sealed.young) >= self.capacity:
            self.old = self.young
            self.young = {}
            self.sealed.turn()
            self.epoch += 1
        self.young[key] = value

    def clear(self) -> None:
        """Drop every key: each text will be looked at once more."""
        self.young = {}
        self.old = {}
        self.sealed = SealedKeys(b"")
        self.epoch += 1

    def forget(self, gone: NDArray[np.bool_]) -> None:
        """Drop every key of the templates at whose index `gone` is true. Costs a pass over the values."""
        for table in (self.young, self.old):
            for key in list(compress(table, _dead(table.values(), gone))):
                del table[key]
        for sealed in (self.sealed.young, self.sealed.old):
            for number in list(compress(sealed, _dead(sealed.values(), gone))):
                del sealed[number]
        self.epoch += 1


def _dead(indices: Collection[int], gone: NDArray[np.bool_]) -> bytes:
    values = np.fromiter(indices, np.int32, len(indices))
    dead: NDArray[np.bool_] = gone[values] & (values >= 0)
    return dead.tobytes()
