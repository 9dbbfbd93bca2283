"""The sections of a .wasm file, read and written without running or compiling it.

Both core modules and components are a preamble of eight bytes and then sections: a byte that says which kind, a length
(LEB128), the content. A custom section (kind 0) begins with its name. `logllm.plugin` holds JSON about the plugin.
Everything here is bounded: a file that lies about its lengths is refused, never followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from logllm.errors import PluginLoadError

__all__ = [
    "COMPONENT",
    "CORE",
    "MAGIC",
    "PLUGIN_SECTION",
    "Section",
    "append",
    "custom",
    "integer",
    "kind_of",
    "plugin_section",
    "sections",
    "strip",
    "take",
    "text",
]

MAGIC = b"\0asm"
CORE = b"\x01\0\0\0"
COMPONENT = b"\x0d\0\x01\0"
PLUGIN_SECTION = "logllm.plugin"

_MOST_SECTIONS = 100_000
_MOST_NAME_BYTES = 100_000
_MOST_JSON_BYTES = 64 << 10


class Section(NamedTuple):
    """One section: its kind, and where in the file it begins, its content begins, and it ends. `name` of a custom one,
    whose content then begins behind the name."""

    kind: int
    start: int
    content: int
    end: int
    name: str = ""


def kind_of(code: bytes) -> bytes:
    """CORE or COMPONENT.

    Raises:
        PluginLoadError: It is neither; the message says what it looks like instead.
    """
    kind = code[4:8]
    if code.startswith(MAGIC) and kind in (CORE, COMPONENT):
        return kind
    raise PluginLoadError(f"{_looks_like(code)}; expected a WebAssembly module or component")


def _looks_like(code: bytes) -> str:
    if not code:
        return "it is empty"
    if code.startswith(MAGIC):
        if len(code) < 8:
            return "it is cut off"
        return f"it is WebAssembly of an unknown version ({code[4:8].hex()})"
    known = {
        b"\x7fELF": "it is an ELF program or library",
        b"MZ": "it is a Windows program",
        b"\x1f\x8b": "it is gzip",
        b"\0aot": "it is compiled ahead of time, by wamrc for one kind of machine",
    }
    for begin, words in known.items():
        if code.startswith(begin):
            return words
    if code.lstrip()[:7] in (b"(module", b"(compon"):
        return "it is WebAssembly text; give it a name that ends in .wat, or compile it"
    if code.startswith((b"version https://git-lfs", b"<!", b"<html", b"{")) or code[:512].isascii():
        return "it is text"
    return "it is no WebAssembly"


def sections(code: bytes) -> Iterator[Section]:
    """All sections, in order.

    Raises:
        PluginLoadError: A length leads out of the file, or there are absurdly many.
    """
    kind_of(code)
    at = 8
    for _ in range(_MOST_SECTIONS):
        if at == len(code):
            return
        kind = code[at]
        size, content = integer(code, at + 1, len(code))
        end = content + size
        if end > len(code):
            raise PluginLoadError(f"it is cut off: a section at byte {at} is to end at {end}, the file at {len(code)}")
        if kind == 0:
            name, after = text(code, content, end)
            yield Section(kind, at, after, end, name)
        else:
            yield Section(kind, at, content, end)
        at = end
    raise PluginLoadError(f"it has more than {_MOST_SECTIONS} sections")


def integer(code: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned LEB128 of at most 32 bits at a place, and where it ends. Raises PluginLoadError."""
    value = 0
    for i in range(5):
        if at + i >= end:
            break
        byte = code[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value > 0xFFFF_FFFF:
                break
            return value, at + i + 1
    raise PluginLoadError(f"it is damaged: no number at byte {at}")


def take(code: bytes, at: int, end: int) -> int:
    """The byte at a place that is before `end`. Raises PluginLoadError."""
    if at >= end:
        raise PluginLoadError(f"it is damaged: a section ends too soon, at byte {end}")
    return code[at]


def text(code: bytes, at: int, end: int) -> tuple[str, int]:
    """A name at a place, and where it ends. Raises PluginLoadError."""
    size, start = integer(code, at, end)
    if start + size > end or size > _MOST_NAME_BYTES:
        raise PluginLoadError(f"it is damaged: no name at byte {at}")
    return code[start : start + size].decode("utf-8", "replace"), start + size


def custom(code: bytes, name: str) -> bytes | None:
    """The content of the last custom section of that name; None where there is none. Raises PluginLoadError."""
    found = [section for section in sections(code) if section.kind == 0 and section.name == name]
    return code[found[-1].content : found[-1].end] if found else None


def plugin_section(code: bytes) -> dict[str, Any] | None:
    """What the section `logllm.plugin` says: name, version, license, abi, wants; None where there is none.

    Raises:
        PluginLoadError: The file is damaged, or the section holds something else than a JSON object.
    """
    content = custom(code, PLUGIN_SECTION)
    if content is None:
        return None
    try:
        if len(content) > _MOST_JSON_BYTES:
            raise PluginLoadError(f"its section {PLUGIN_SECTION!r} is larger than {_MOST_JSON_BYTES >> 10} KiB")
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PluginLoadError(f"its section {PLUGIN_SECTION!r} is no JSON object: {error}") from error


def append(code: bytes, about: dict[str, Any]) -> bytes:
    """The same file with `about` as its one section `logllm.plugin`, at the end. Equal input gives equal bytes."""
    content = msgspec.json.encode(about, order="sorted")
    name = PLUGIN_SECTION.encode()
    inside = _leb(len(name)) + name + content
    kept = strip(code, lambda found: found != PLUGIN_SECTION)
    return kept + b"\0" + _leb(len(inside)) + inside


def strip(code: bytes, keep: Callable[[str], bool] | None = None) -> bytes:
    """The same file without its custom sections (names, debug information, what built it).

    Args:
        keep: Called with a section's name; what it says yes to stays. None keeps nothing.
    """
    gone = [one for one in sections(code) if one.kind == 0 and not (keep is not None and keep(one.name))]
    kept, at = [], 0
    for section in gone:
        kept.append(code[at : section.start])
        at = section.end
    return b"".join([*kept, code[at:]])


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
