"""The bytes of the forward protocol that need no state: kinds of MessagePack values, acks, what a stranger speaks."""

from __future__ import annotations

import msgspec

from logllm.errors import ProtocolError

__all__ = [
    "ARRAY_OF_TWO",
    "KINDS",
    "LONG_FORMS",
    "NAMES",
    "UNREADABLE",
    "ack_bytes",
    "declared",
    "is_marker",
    "may_hold_marker",
    "payload",
    "stranger",
]


def _kinds() -> str:
    ranges = [
        (0x80, "i"), (0x90, "m"), (0xA0, "a"), (0xC0, "s"), (0xC1, "n"), (0xC2, "x"), (0xC4, "b"), (0xC7, "B"),
        (0xCA, "e"), (0xCC, "f"), (0xD4, "i"), (0xD9, "e"), (0xDC, "s"), (0xDE, "a"), (0xE0, "m"), (0x100, "i"),
    ]  # fmt: skip
    table = ""
    for end, kind in ranges:
        table += kind * (end - len(table))
    return table


KINDS = _kinds()
"""The kind of a value by its first byte; `NAMES` says what the letters mean."""

NAMES = {
    "i": "an integer", "f": "a float", "e": "an extension", "s": "a string", "B": "a binary", "a": "an array",
    "m": "a map", "n": "nil", "b": "a boolean", "x": "the byte c1, which MessagePack never uses",
}  # fmt: skip

# First bytes with a 32-bit length behind them: bin, ext, str, array, map.
LONG_FORMS = frozenset((0xC6, 0xC9, 0xDB, 0xDD, 0xDF))

_HEADER = {0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5}

# EventTimes by which Fluent Bit brackets the records of one OTLP resource; no record has them (the year is 2106).
_MARKERS = (b"\xff\xff\xff\xff\0\0\0\0", b"\xff\xff\xff\xfe\0\0\0\0")
_MARKER_TIMES = tuple(prefix + marker for prefix in (b"\xd7\0", b"\xc7\x08\0") for marker in _MARKERS)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not what it was told to expect."""

_MOST_HOPS = 1024

ARRAY_OF_TWO = (b"\x92", b"\xdc\0\2", b"\xdd\0\0\0\2")
"""The headers an array of two may have; Fluent Bit's legacy entries have the last."""


def payload(value: bytes) -> bytes | None:
    """The bytes of a MessagePack str or bin; None where it is neither.

    >>> payload(b"\\xa3app"), payload(b"\\xc4\\x01x"), payload(b"\\xc0")
    (b'app', b'x', None)
    """
    kind = KINDS[value[0]]
    if kind not in "sB":
        return None
    return value[_HEADER.get(value[0], 1) :]


def declared(value: bytes | bytearray, at: int) -> int:
    """The 32-bit length that the value at `at` declares; 0 while its header is not whole."""
    return int.from_bytes(value[at + 1 : at + 5], "big") if len(value) >= at + 5 else 0


def ack_bytes(chunk_id: bytes) -> bytes:
    """The answer to a chunk: the map `{"ack": chunk_id}`, to be sent in one write of its own.

    The id goes back as a str, byte for byte, also where it is not UTF-8: Fluent Bit refuses a bin.

    >>> ack_bytes(b"Zm9v\\n")
    b'\\x81\\xa3ack\\xa5Zm9v\\n'
    """
    length = len(chunk_id)
    if length < 32:
        header = bytes((0xA0 | length,))
    elif length < 256:
        header = bytes((0xD9, length))
    elif length < 65536:
        header = b"\xda" + length.to_bytes(2, "big")
    else:
        raise ProtocolError(f"chunk id of {length} bytes, expected at most 65535")
    return b"\x81\xa3ack" + header + chunk_id


def may_hold_marker(block: bytes) -> bool:
    """Whether group markers may be in a block; also true where some record's own bytes look like one."""
    # A single byte is found by memchr, at twenty times the speed of any longer pattern, and text has none of it.
    at = block.find(b"\xff")
    for _ in range(_MOST_HOPS):
        if at < 0:
            return False
        if block[at : at + 3] == b"\xff\xff\xff":
            break
        at = block.find(b"\xff", at + 1)
    return any(block.find(marker, at) >= 0 for marker in _MARKERS)


def is_marker(value: bytes) -> bool:
    """Whether a time, or an entry, is that of a group marker."""
    for _ in range(2):
        value = next((value[len(header) :] for header in ARRAY_OF_TWO if value.startswith(header)), value)
    return value.startswith(_MARKER_TIMES)


def stranger(head: bytes) -> str:
    """What a peer seems to speak whose frame begins with `head`, in words for a log line."""
    first = head[0]
    if first in b"{[":
        return f"JSON ({head[:24]!r})"
    if head[:2] == b"\x16\x03":
        return "a TLS handshake (this listener takes plain TCP)"
    if head.split(b" ", 1)[0] in (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PRI", b"CONNECT"):
        return f"an HTTP request ({head[:24]!r})"
    text = head[:24]
    shown = repr(text) if text.isascii() and len(text) > 1 else text[:8].hex(" ")
    return f"{NAMES[KINDS[first]]} ({shown})"
