"""How many memories a component has and how large they begin, read from its bytes.

wasmtime holds each memory of a store to one limit and shows none of a component's. What the plugin may use is meant for
all of it, so the limit is shared out among the memories that may grow.
"""

from __future__ import annotations

from dataclasses import dataclass

from logllm.errors import PluginLoadError
from logllm.filters.sections import COMPONENT, CORE, integer, kind_of, sections

__all__ = ["Memories", "memories_of"]

_PAGE_BYTES = 64 << 10
_MOST_MEMORIES = 16
_MOST_DEPTH = 8
_CORE_MODULE, _COMPONENT = 1, 4  # sections of a component
_MEMORY = 5  # section of a core module
_HAS_MOST, _SIXTY_FOUR, _ODD_PAGES = 0x01, 0x04, 0x08


@dataclass(frozen=True, slots=True)
class Memories:
    """The memories that a component's modules define.

    Args:
        least: What each begins with, in bytes.
        growing: How many of them may grow.
    """

    least: tuple[int, ...] = ()
    growing: int = 0

    @property
    def count(self) -> int:
        """How many there are; an instance may have no more."""
        return len(self.least)

    @property
    def least_bytes(self) -> int:
        """What all of them begin with."""
        return sum(self.least)

    def each(self, memory_bytes: int) -> int:
        """The limit of one memory, so that all together stay within `memory_bytes`."""
        largest = max(self.least, default=0)
        return largest + max(0, memory_bytes - self.least_bytes) // max(self.growing, 1)

    def check(self, memory_bytes: int) -> None:
        """Raises PluginLoadError: it cannot even start with that."""
        if self.least_bytes > memory_bytes:
            raise PluginLoadError(
                f"it needs {_megabytes(self.least_bytes)} of memory to start; `memory_bytes` allows "
                f"{_megabytes(memory_bytes)}, expected some MiB more than it needs"
            )


def memories_of(code: bytes) -> Memories:
    """Look into a component and all modules and components in it.

    Raises:
        PluginLoadError: It is damaged, holds components some levels deep, or more memories than any toolchain makes.
    """
    least: list[int] = []
    growing = _collect(code, least, 0)
    return Memories(tuple(least), growing)


def _collect(code: bytes, least: list[int], depth: int) -> int:
    if depth > _MOST_DEPTH:
        raise PluginLoadError(f"it holds components within components, more than {_MOST_DEPTH} deep")
    kind = kind_of(code)
    growing = 0
    for section in sections(code):
        if kind == CORE and section.kind == _MEMORY:
            growing += _read(code, section.content, section.end, least)
        elif kind == COMPONENT and section.kind in (_CORE_MODULE, _COMPONENT):
            growing += _collect(code[section.content : section.end], least, depth + 1)
    return growing


def _read(code: bytes, at: int, end: int, least: list[int]) -> int:
    count, at = integer(code, at, end)
    if count + len(least) > _MOST_MEMORIES:
        raise PluginLoadError(f"it has more than {_MOST_MEMORIES} memories")
    growing = 0
    for _ in range(count):
        flags, at = integer(code, at, end)
        if flags & (_SIXTY_FOUR | _ODD_PAGES):
            raise PluginLoadError("it has a memory of 64 bits or of odd pages; expected an ordinary one")
        pages, at = integer(code, at, end)
        most = None
        if flags & _HAS_MOST:
            most, at = integer(code, at, end)
        least.append(pages * _PAGE_BYTES)
        growing += most is None or most > pages
    return growing


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
