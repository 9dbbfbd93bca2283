"""A module's memory, so that there is room after it for records.

A guest that exports no allocator gets its records on pages of ours after its own memory. One whose memory may not grow
gets them in Fluent Bit as well: its runtime adds pages to what the module says is the most.
"""

from __future__ import annotations

from logllm.filters.sections import integer, sections, take

__all__ = ["without_maximum"]

_MEMORY = 5
_HAS_MAXIMUM = 1


def without_maximum(code: bytes) -> bytes:
    """The same module, its memory bounded by nothing but its limits.

    Raises:
        PluginLoadError: The file is damaged.
    """
    for section in sections(code):
        if section.kind == _MEMORY:
            count, kind_at = integer(code, section.content, section.end)
            if count != 1 or take(code, kind_at, section.end) != _HAS_MAXIMUM:
                return code
            _, end = integer(code, kind_at + 1, section.end)
            inside = b"\x01\x00" + code[kind_at + 1 : end]
            return code[: section.start] + bytes((_MEMORY, len(inside))) + inside + code[section.end :]
    return code
