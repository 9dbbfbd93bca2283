"""The C functions that WAMR, Fluent Bit's runtime, gives modules built without a libc, under the module name `env`.

They work on the guest's own memory and reach nothing else; what is printed goes to the plugin's log. A bad pointer
stops the guest, as it does there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.errors import PluginTrap
from logllm.filters.libc.printf import formatted, string
from logllm.filters.wasi import Lines
from logllm.wasm.guest import HostFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from logllm.filters.host import Host
    from logllm.filters.libc.heap import Heap
    from logllm.wasm.guest import Guest, Imports

__all__ = ["FUNCTIONS", "MODULE", "has", "imports"]

MODULE = "env"
_MOST_SIZE = 0xFFFF_FFFF
_NUMBER = re.compile(rb"[ \t-\r]*([+-]?)")
_DIGITS = {8: rb"[0-7]+", 10: rb"[0-9]+", 16: rb"[0-9a-fA-F]+"}

FUNCTIONS = {
    **dict.fromkeys(("malloc", "free", "strdup", "strlen", "atoi", "puts", "putchar", "exit", "abort"), 1),
    **dict.fromkeys(("calloc", "realloc", "strcmp", "strcpy", "strcat", "strchr", "strrchr", "strstr"), 2),
    **dict.fromkeys(("strspn", "strcspn", "printf", "vprintf"), 2),
    **dict.fromkeys(("memcpy", "memmove", "memset", "memcmp", "memchr", "strncmp", "strncasecmp"), 3),
    **dict.fromkeys(("strncpy", "strncat", "strtol", "strtoul", "sprintf", "vsprintf"), 3),
    **dict.fromkeys(("snprintf", "vsnprintf"), 4),
    **dict.fromkeys(("isalnum", "isalpha", "isdigit", "isgraph", "islower", "isprint", "isspace", "isupper"), 1),
    **dict.fromkeys(("isxdigit", "tolower", "toupper"), 1),
}
"""How many parameters each takes, all of them i32."""

_NO_RESULT = ("free", "exit", "abort")


def has(name: str) -> bool:
    """Whether a function of this name is here; an underscore before it does not matter."""
    return name in FUNCTIONS or name.removeprefix("_") in FUNCTIONS


def imports(module: wasmtime.Module, host: Host, heap: Heap, *, log: bool = True) -> Imports:
    """The C functions that a module imports, for one instance."""
    import wasmtime

    library = _Library(host, heap, log=log)
    given: dict[tuple[str, str], HostFunction] = {}
    for one in module.imports:
        if one.module != MODULE or one.name is None or not has(one.name):
            continue
        name = one.name if one.name in FUNCTIONS else one.name.removeprefix("_")
        params = ("i32",) * FUNCTIONS[name]
        if name == "abort" and isinstance(one.type, wasmtime.FuncType) and len(one.type.params) in (0, 4):
            params = ("i32",) * len(one.type.params)  # AssemblyScript's has a message and a place
        results = () if name in _NO_RESULT else ("i32",)
        given[MODULE, one.name] = HostFunction(params, results, library.function(name))
    return given


class _Library:
    """The functions, for one guest. They may raise PluginTrap, which stops it."""

    def __init__(self, host: Host, heap: Heap, *, log: bool) -> None:
        self._heap = heap
        self._out = Lines(host, 1) if log else None

    def function(self, name: str) -> Callable[..., int | None]:
        kind = _KINDS.get(name)
        if kind is not None:
            return lambda _, character: int(character < 128 and kind(chr(character)))
        found: Callable[..., int | None] = getattr(self, name)
        return found

    def malloc(self, guest: Guest, size: int) -> int:
        return self._heap.allocate(guest, size)

    def calloc(self, guest: Guest, count: int, size: int) -> int:
        if count * size > _MOST_SIZE:
            return 0
        place = self._heap.allocate(guest, count * size)
        if place:
            guest.write(place, bytes(count * size))
        return place

    def realloc(self, guest: Guest, place: int, size: int) -> int:
        before = self._heap.size(place)
        if before >= size and before:
            return place
        moved = self._heap.allocate(guest, size)
        if moved and before:
            guest.write(moved, guest.read(place, before))
            self._heap.free(place)
        return moved

    def free(self, guest: Guest, place: int) -> None:
        self._heap.free(place)

    def strdup(self, guest: Guest, text: int) -> int:
        data = string(guest, text) + b"\0"
        place = self._heap.allocate(guest, len(data))
        if place:
            guest.write(place, data)
        return place

    def memcpy(self, guest: Guest, to: int, source: int, size: int) -> int:
        guest.write(to, guest.read(source, size))
        return to

    memmove = memcpy

    def memset(self, guest: Guest, to: int, byte: int, size: int) -> int:
        guest.at(to, size)
        guest.write(to, bytes((byte & 0xFF,)) * size)
        return to

    def memcmp(self, guest: Guest, one: int, other: int, size: int) -> int:
        return _compared(guest.read(one, size), guest.read(other, size))

    def memchr(self, guest: Guest, place: int, byte: int, size: int) -> int:
        at = guest.read(place, size).find(byte & 0xFF)
        return 0 if at < 0 else place + at

    def strlen(self, guest: Guest, text: int) -> int:
        return len(string(guest, text))

    def strcmp(self, guest: Guest, one: int, other: int) -> int:
        return _compared(string(guest, one), string(guest, other))

    def strncmp(self, guest: Guest, one: int, other: int, size: int) -> int:
        return _compared(string(guest, one, size), string(guest, other, size))

    def strncasecmp(self, guest: Guest, one: int, other: int, size: int) -> int:
        return _compared(string(guest, one, size).lower(), string(guest, other, size).lower())

    def strcpy(self, guest: Guest, to: int, source: int) -> int:
        guest.write(to, string(guest, source) + b"\0")
        return to

    def strncpy(self, guest: Guest, to: int, source: int, size: int) -> int:
        guest.at(to, size)
        guest.write(to, string(guest, source, size).ljust(size, b"\0"))
        return to

    def strcat(self, guest: Guest, to: int, source: int) -> int:
        guest.write(to + len(string(guest, to)), string(guest, source) + b"\0")
        return to

    def strncat(self, guest: Guest, to: int, source: int, size: int) -> int:
        guest.write(to + len(string(guest, to)), string(guest, source, size) + b"\0")
        return to

    def strchr(self, guest: Guest, text: int, character: int) -> int:
        at = (string(guest, text) + b"\0").find(character & 0xFF)
        return 0 if at < 0 else text + at

    def strrchr(self, guest: Guest, text: int, character: int) -> int:
        at = (string(guest, text) + b"\0").rfind(character & 0xFF)
        return 0 if at < 0 else text + at

    def strstr(self, guest: Guest, text: int, part: int) -> int:
        at = string(guest, text).find(string(guest, part))
        return 0 if at < 0 else text + at

    def strspn(self, guest: Guest, text: int, accepted: int) -> int:
        data = string(guest, text)
        return len(data) - len(data.lstrip(string(guest, accepted) or b"\0"))

    def strcspn(self, guest: Guest, text: int, refused: int) -> int:
        data, ends = string(guest, text), set(string(guest, refused))
        return next((at for at, byte in enumerate(data) if byte in ends), len(data))

    def tolower(self, guest: Guest, character: int) -> int:
        return character + 32 if 65 <= character <= 90 else character

    def toupper(self, guest: Guest, character: int) -> int:
        return character - 32 if 97 <= character <= 122 else character

    def atoi(self, guest: Guest, text: int) -> int:
        value, _ = _number(string(guest, text), 10)
        return min(max(value, -(1 << 31)), (1 << 31) - 1)

    def strtol(self, guest: Guest, text: int, end: int, base: int) -> int:
        value, used = _number(string(guest, text), base)
        self._set_end(guest, end, text + used)
        return min(max(value, -(1 << 31)), (1 << 31) - 1)

    def strtoul(self, guest: Guest, text: int, end: int, base: int) -> int:
        value, used = _number(string(guest, text), base)
        self._set_end(guest, end, text + used)
        return value & _MOST_SIZE if abs(value) <= _MOST_SIZE else _MOST_SIZE

    def _set_end(self, guest: Guest, end: int, place: int) -> None:
        if end:
            guest.write(end, place.to_bytes(4, "little"))

    def printf(self, guest: Guest, text: int, values: int) -> int:
        return self._print(formatted(guest, text, values))

    vprintf = printf

    def sprintf(self, guest: Guest, to: int, text: int, values: int) -> int:
        made = formatted(guest, text, values)
        guest.write(to, made + b"\0")
        return len(made)

    vsprintf = sprintf

    def snprintf(self, guest: Guest, to: int, size: int, text: int, values: int) -> int:
        made = formatted(guest, text, values)
        if size:
            guest.write(to, made[: size - 1] + b"\0")
        return len(made)

    vsnprintf = snprintf

    def puts(self, guest: Guest, text: int) -> int:
        return self._print(string(guest, text) + b"\n")

    def putchar(self, guest: Guest, character: int) -> int:
        self._print(bytes((character & 0xFF,)))
        return character & 0xFF

    def _print(self, text: bytes) -> int:
        if self._out is not None:
            self._out.write(text)
        return len(text)

    def exit(self, guest: Guest, code: int) -> None:
        guest.exit(code)

    def abort(self, guest: Guest, *_: int) -> None:
        guest.stop(PluginTrap("trap", "it called abort"))


_KINDS: dict[str, Callable[[str], bool]] = {
    "isalnum": str.isalnum,
    "isalpha": str.isalpha,
    "isdigit": str.isdigit,
    "isgraph": lambda one: "!" <= one <= "~",
    "islower": str.islower,
    "isprint": lambda one: " " <= one <= "~",
    "isspace": lambda one: one in " \t\n\v\f\r",
    "isupper": str.isupper,
    "isxdigit": lambda one: one in "0123456789abcdefABCDEF",
}


def _compared(one: bytes, other: bytes) -> int:
    return (one > other) - (one < other)


def _number(text: bytes, base: int) -> tuple[int, int]:
    """The number a text begins with, and how many bytes it takes with the spaces before it; (0, 0) for none."""
    begin = _NUMBER.match(text)
    at = begin.end() if begin is not None else 0
    prefixed = text[at : at + 2].lower() == b"0x" and re.match(_DIGITS[16], text[at + 2 : at + 3]) is not None
    if base == 0:
        base = 16 if prefixed else 8 if text[at : at + 1] == b"0" else 10
    if base == 16 and prefixed:
        at += 2
    if not 2 <= base <= 36:
        return 0, 0
    letters = b"0123456789abcdefghijklmnopqrstuvwxyz"[:base]
    digits = text[at:]
    size = len(digits) - len(digits.lower().lstrip(letters))
    if not size:
        return 0, 0
    # Longer ones are out of range in any case, and slow to read.
    value = int(digits[: min(size, 100)], base) if size <= 100 else _MOST_SIZE << 8
    return (-value if begin is not None and begin[1] == b"-" else value), at + size
