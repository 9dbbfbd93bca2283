"""What harnesses make of the bytes they are given, and what mutates those where no fuzzer does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logllm.errors import LogllmError

__all__ = ["TOKENS", "Choices", "Harness", "check_refusal", "mutated", "pieces"]

T = TypeVar("T")

TOKENS = (
    b"\x92", b"\x93", b"\x94", b"\x80", b"\x81", b"\x90", b"\x91", b"\xc0", b"\xc1", b"\xdc\0\2", b"\xdd\0\0\0\2",
    b"\xde\0\1", b"\xdf\0\0\0\1", b"\xc4\1", b"\xc5\0\1", b"\xc6\0\0\0\1", b"\xd9\1", b"\xda\0\1", b"\xdb\0\0\0\1",
    b"\xc7\x08\0", b"\xd7\0\x65\x53\xf1\0\0\0\0\7", b"\xd7\0" + b"\xff" * 4 + b"\0" * 4, b"\xff\xff\xff\xfe",
    b"\xce\x65\x53\xf1\0", b"\xcb\x41\xd9\x54\xfc\x40\0\0\0", b"\xd3" + b"\xff" * 8, b"\xcf" + b"\xff" * 8,
    b"\xa5chunk", b"\xaacompressed", b"\xa4gzip", b"\xa4zstd", b"\xa4text", b"\xa4size", b"\xadfluent_signal",
    b"\xa8metadata", b"\xa3log", b"\xa7message", b"\xa5level", b"\xa4PING", b"\xa4PONG", b"\xa4HELO", b"\xa5nonce",
    b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\xff\xff\xff\xff", b"\xff", b"\0", b"\x7f",
    b"\n", b"\r\n", b" ", b"\t", b"[", b"]", b": ", b"=", b'"', b"\\", b"{", b"}", b"|", b"<34>1 ", b" - ",
    b"2024-01-02T03:04:05.678Z ", b"Jan  2 03:04:05 ", b"1700000000 ", b"+0200", b"24:00:00", b"99", b"Feb 29 ",
    b" stdout F ", b" stderr P ", b"ERROR", b"    at a.b(C.java:1)", b"Traceback (most recent call last):", b'{"log":"',
    b"\\n", b"\\u0000", b"\\ud800", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xff\xfe", b"1e999", b"-1",
)  # fmt: skip
"""What the formats here are made of."""


class Harness(Protocol):
    """A module `fuzz_*.py` of this folder.

    `check` raises where something that must hold does not. `seeds` are inputs to begin with, the same at every call.
    """

    MAX_BYTES: int

    def check(self, data: bytes) -> None: ...
    def seeds(self) -> list[bytes]: ...


class Choices:
    """An input as a row of decisions; behind its end every decision is 0.

    >>> choices = Choices(b"\\x07\\x01abc")
    >>> choices.below(5), choices.one_of("xyz"), choices.rest()
    (2, 'y', b'abc')
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, end: int) -> int:
        """A number from 0 to `end` - 1, at most 256 of them; it takes a byte of the input."""
        at = self._at
        self._at = at + 1
        return self._data[at] % end if at < len(self._data) else 0

    def one_of(self, them: Sequence[T]) -> T:
        """One of them."""
        return them[self.below(len(them))]

    def rest(self) -> bytes:
        """All that no decision has read."""
        return self._data[self._at :]


def check_refusal(error: LogllmError, begin: str = "") -> None:
    """A refusal is one line that says something, the place first where there is one."""
    text = str(error)
    assert text.startswith(begin)
    assert len(text) > len(begin)
    assert "\n" not in text


def pieces(data: bytes, steps: tuple[int, ...]) -> Iterator[bytes]:
    """The data in pieces of these sizes, in turn; the last one is shorter."""
    at = turn = 0
    while at < len(data):
        step = steps[turn % len(steps)]
        yield data[at : at + step]
        at, turn = at + step, turn + 1


def mutated(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """A few bytes changed, put in, taken out, doubled, or taken from another input."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(made) + 1)
        size = chance.choice((1, 1, 2, 4, 16, 100))
        match chance.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(made):
                made[at] = chance.randrange(256)
            case 2:
                del made[at : at + size]
            case 3:
                made[at:at] = made[at : at + size]
            case 4:
                other = chance.choice(others) or b"\0"
                start = chance.randrange(len(other))
                made[at : at + size] = other[start : start + size]
            case _:
                token = chance.choice(TOKENS)
                made[at : at + chance.choice((0, len(token)))] = token
    return bytes(made)
