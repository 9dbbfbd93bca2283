"""Values of a record's fields, decoded and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from logllm.sources.forward.wire import UNREADABLE

__all__ = ["Lookup", "text_of"]

T = TypeVar("T")


def text_of(value: object) -> str | None:
    """A field's value as message text; None where it is no text (a map, a list, nil).

    >>> text_of("hi"), text_of(b"caf\\xe9"), text_of({"a": 1})
    ('hi', 'caf\\ufffd', None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | int | float):
        return str(value)
    return None


class Lookup(dict[bytes, T], Generic[T]):
    """What an encoded value of one field means, remembered; bounded, since a hostile field never repeats."""

    _MOST = 8192
    _LONGEST = 16_384

    def __init__(self, key: str, meaning: Callable[[str, object], T], absent: T) -> None:
        super().__init__({b"": absent, b"\xc0": absent})
        self._key = key
        self._meaning = meaning
        self._absent = absent

    def __missing__(self, raw: bytes) -> T:
        try:
            value = self._meaning(self._key, msgspec.msgpack.decode(raw, strict=False))
        except UNREADABLE:
            # Not UTF-8, keys that are no strings: `decode_slowly` reads such records.
            value = self._absent
        if len(self) >= self._MOST:
            self.clear()
            self.update({b"": self._absent, b"\xc0": self._absent})
        if len(raw) <= self._LONGEST:
            self[raw] = value
        return value
