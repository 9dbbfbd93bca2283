"""Frames of the forward protocol as a sender writes them."""

from __future__ import annotations

__all__ = ["frame_head"]


def frame_head(tag: str, count: int, elements: int = 2) -> bytes:
    """What stands before a block of `count` entries to make it a Forward-mode frame; an option may follow it.

    Args:
        elements: 3 where an option follows.

    >>> frame_head("app", 1)
    b'\\x92\\xa3app\\xdd\\x00\\x00\\x00\\x01'
    """
    name = tag.encode("utf-8", "replace")
    length = len(name)
    if length < 32:
        head = bytes((0xA0 | length,))
    elif length < 256:
        head = bytes((0xD9, length))
    else:
        head = b"\xda" + min(length, 65_535).to_bytes(2, "big")
    return bytes((0x90 | elements,)) + head + name[:65_535] + b"\xdd" + count.to_bytes(4, "big")
