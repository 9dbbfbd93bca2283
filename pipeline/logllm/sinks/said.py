"""What records say of their level, service and trace, looked up by their fields' bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgpack  # type: ignore[import-untyped]

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS, service_of, service_of_tag, severity_of
from logllm.sinks.entries import Fields

__all__ = ["Remembered", "Said", "Shapes", "decoded"]

T = TypeVar("T")
_MOST_SHAPES = 256


class Remembered(dict[bytes, T], Generic[T]):
    """What was found out about some bytes, until they take too much memory: then it begins anew.

    Args:
        find: Asked for what is not known yet.
        most_bytes: For all of it.
        longest: What is longer is found out each time.
    """

    def __init__(self, find: Callable[[bytes], T], most_bytes: int = 1 << 20, longest: int = 4096) -> None:
        super().__init__()
        self._find, self._most_bytes, self._longest, self._bytes = find, most_bytes, longest, 0

    def __missing__(self, key: bytes) -> T:
        found = self._find(key)
        if len(key) <= self._longest:
            # With what a dict takes for an entry, and about as much for the value as for the key.
            self._bytes += 200 + 2 * len(key)
            if self._bytes > self._most_bytes:
                self.clear()
                self._bytes = 200 + 2 * len(key)
            self[key] = found
        return found


class Shapes(Generic[T]):
    """What is known of records with the same names in the same order, made once for each, within a bound."""

    def __init__(self, make: Callable[[tuple[str, ...]], T]) -> None:
        self._make = make
        self._made: dict[tuple[str, ...], T] = {}

    def of(self, record: Fields) -> T:
        """That of a record."""
        names = tuple(record)
        found = self._made.get(names)
        if found is None:
            if len(self._made) >= _MOST_SHAPES:
                self._made.clear()
            found = self._made[names] = self._make(names)
        return found


def decoded(value: bytes) -> object:
    """A value as Python has it, texts that are no UTF-8 with U+FFFD in them; None for what nests too deeply."""
    try:
        return msgpack.unpackb(value, unicode_errors="replace", strict_map_key=False)
    except (ValueError, TypeError):
        return None


class Said:
    """Levels and services of records. Not for several threads at once."""

    def __init__(self) -> None:
        self._severity = {key: Remembered(_meaning(severity_of, key)) for key in SEVERITY_KEYS}
        self._service = {key: Remembered(_meaning(service_of, key)) for key in SERVICE_KEYS}
        self._present = Shapes(_present)

    def severity(self, record: Fields) -> int:
        """OpenTelemetry's number; 0 where the record does not say."""
        for key in self._present.of(record)[0]:
            if number := self._severity[key][bytes(record[key])]:
                return number
        return 0

    def service(self, record: Fields, tag: str) -> str:
        """The service a record names, else the one that its tag does; "" for none."""
        for key in self._present.of(record)[1]:
            if name := self._service[key][bytes(record[key])]:
                return name
        return service_of_tag(tag)[0]

    def messages(self, record: Fields) -> Iterable[str]:
        """The fields that may hold the message, the best one first."""
        return self._present.of(record)[2]


def _meaning(find: Callable[[str, object], T], key: str) -> Callable[[bytes], T]:
    return lambda value: find(key, decoded(value))


def _present(names: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    severities, services, messages = (
        [key for key in keys if key in names] for keys in (SEVERITY_KEYS, SERVICE_KEYS, MESSAGE_KEYS)
    )
    return severities, services, messages
