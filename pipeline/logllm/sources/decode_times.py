"""The times of entries, all at once: EventTime, integers and floats to nanoseconds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from logllm.sources.formats.line_format import EARLIEST_NS
from logllm.sources.forward.wire import ARRAY_OF_TWO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["settled", "times_of"]

_SECOND_NS = 1_000_000_000
# A clock may be a little ahead; a time further in the future would pull every window after it.
_AHEAD_NS = 86_400 * _SECOND_NS
_LATEST_S = 9_000_000_000

# First byte to numpy dtype, struct format and width, for times that are plain numbers of seconds.
_NUMBERS = {
    0xCA: (">f4", ">f", 4), 0xCB: (">f8", ">d", 8), 0xCE: (">u4", ">I", 4), 0xCF: (">u8", ">Q", 8),
    0xD2: (">i4", ">i", 4), 0xD3: (">i8", ">q", 8),
}  # fmt: skip
_EVENT_TIME = {b"\xd7\x00": 2, b"\xc7\x08\x00": 3}


def times_of(heads: Sequence[bytes]) -> NDArray[np.int64]:
    """Encoded times to nanoseconds since the epoch; 0 where one is none.

    A head is a time or the pair `[time, metadata]`, any bytes-like object that holds one whole value.

    Shapes:
        returns: int64[n].
    """
    if not heads:
        return np.zeros(0, np.int64)
    joined = b"".join(heads)
    width, rest = divmod(len(joined), len(heads))
    if not rest:
        found = _alike(np.frombuffer(joined, np.uint8).reshape(len(heads), width), bytes(joined[:width]))
        if found is not None:
            return found
    return np.fromiter(map(_time_ns, map(bytes, heads)), np.int64, len(heads))


def _alike(rows: NDArray[np.uint8], first: bytes) -> NDArray[np.int64] | None:
    """The times of heads that differ from the first in nothing but the number.

    MessagePack is a prefix code, so if every row is a whole value of one form, the rows are where the values are.
    """
    at = _past_arrays(first)
    for prefix, length in _EVENT_TIME.items():
        if first[at : at + length] == prefix:
            begin, end = at + length, at + length + 8
            break
    else:
        if len(first) <= at or first[at] not in _NUMBERS:
            return None
        length = 0
        begin, end = at + 1, at + 1 + _NUMBERS[first[at]][2]
    fixed = np.frombuffer(first, np.uint8)
    same = rows == fixed
    same[:, begin:end] = True
    if len(first) < end or not same.all():
        return None
    numbers = np.ascontiguousarray(rows[:, begin:end])
    if length:
        pairs = numbers.view(">u4").astype(np.int64)
        return pairs[:, 0] * _SECOND_NS + pairs[:, 1]
    seconds = numbers.view(_NUMBERS[first[at]][0])[:, 0]
    good = (seconds > 0) & (seconds < _LATEST_S)
    if seconds.dtype.kind == "f":
        whole = np.where(good, seconds, 0).astype(np.float64)
        return np.floor(whole).astype(np.int64) * _SECOND_NS + ((whole % 1) * 1e9).astype(np.int64)
    return np.where(good, seconds, 0).astype(np.int64) * _SECOND_NS


def _past_arrays(head: bytes) -> int:
    """Where the time itself begins: 0, or behind the header of `[time, metadata]`."""
    for header in ARRAY_OF_TWO:
        if head.startswith(header):
            return len(header)
    return 0


def _time_ns(head: bytes) -> int:
    at = _past_arrays(head)
    for prefix, length in _EVENT_TIME.items():
        if head[at : at + length] == prefix:
            seconds, nanoseconds = struct.unpack_from(">II", head, at + length)
            return int(seconds * _SECOND_NS + nanoseconds)
    if len(head) > at and (number := _NUMBERS.get(head[at])) is not None:
        value = struct.unpack_from(number[1], head, at + 1)[0]
        if not 0 < value < _LATEST_S:
            return 0
        return int(value) * _SECOND_NS + int((value % 1) * 1e9)
    return 0


def settled(times: NDArray[np.int64], last_ns: int | None, observed_ns: int) -> NDArray[np.int64]:
    """Times with the impossible ones replaced by the last good one before them.

    Impossible is before 1990 (a clock that was never set) and more than a day after `observed_ns`.

    Args:
        times: int64[n]; 0 for none.
        last_ns: The last good time of the same stream, or None.
        observed_ns: Now; taken where there is no better. 0 where the clock is not known: then no time is too late.
    """
    good = times >= EARLIEST_NS
    if observed_ns:
        good &= times <= observed_ns + _AHEAD_NS
    if good.all():
        return times
    index = np.where(good, np.arange(len(times)), -1)
    np.maximum.accumulate(index, out=index)
    start = observed_ns if last_ns is None else last_ns
    return np.where(index >= 0, times[index], start)
