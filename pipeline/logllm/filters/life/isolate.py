"""Blocks through an instance that may fail: what it fails at is found by halves, everything else goes through.

A plugin that takes a whole block at once says nothing of which record it failed at, so the block is cut in two and each
half tried on a new instance, until single records are left. That takes about two calls for each halving and poison
record, all within the time that a chunk may take; what cannot be tried any more in that time is treated as if the
plugin had failed at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from logllm.errors import PluginTrap
from logllm.filters.instance import Filtered, RecordFailed, entries_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.host import Signal

__all__ = ["PIECE_BYTES", "Attempt", "Passed", "isolated"]

PIECE_BYTES = 4 << 20
"""What an instance is given at once, about: guests need not hold more, and a call stays short."""

_LESS = 0.75
_LEAST_SHARE = 1 / 16
_NOT_WELL = "its answer does not hold the entries it says"


class Attempt(Protocol):
    """What is done with pieces of a block; it keeps count, and makes a new instance after each failure."""

    def call(self, block: bytes, count: int, share: float) -> Filtered:
        """Have a piece filtered, in `share` of the time a call may take. Raises PluginTrap, RecordFailed."""
        ...

    def failed(self, trap: PluginTrap) -> None:
        """A call failed, or what it answered is not well-formed. May raise PluginStopped."""
        ...

    def gave_up(self, records: int) -> None:
        """So many records, the poison ones of the call that failed last, are treated as `on_error` says."""
        ...

    def stopped(self, records: int) -> bool:
        """Whether nothing more may be tried for this block; then so many records are left untried."""
        ...


@dataclass(slots=True)
class _Part:
    """What became of the entries from `start` to `end`."""

    start: int
    end: int
    block: bytes
    count: int
    dropped: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a block.

    Args:
        block: Concatenated entries; the very object that was given where nothing was changed.
        count: Entries in it.
        scan: What `check` gave for it; what was given with it where it was not changed; None where it is empty.
        signals: Anomalies that were raised on the way.
        dropped: Records that were given and are not in it.
    """

    block: bytes
    count: int
    scan: object | None = None
    signals: tuple[Signal, ...] = ()
    dropped: int = 0


class _Cut:
    """A block and where its entries begin."""

    def __init__(self, block: bytes, count: int) -> None:
        self.block = block
        self.count = count
        self._offsets: list[int] | None = None

    @property
    def offsets(self) -> list[int] | None:
        """Where each entry begins, and the end; None for a block that does not hold `count` entries."""
        if self._offsets is None:
            try:
                entries = entries_of(self.block, self.count)
            except (ValueError, RecursionError):
                return None
            self._offsets = list(accumulate(map(len, entries), initial=0))
        return self._offsets

    def part(self, start: int, end: int) -> bytes:
        if (start, end) == (0, self.count):
            return self.block
        offsets = self.offsets or [0]
        return self.block[offsets[start] : offsets[end]]

    def pieces(self, most_bytes: int) -> list[tuple[int, int]]:
        """The entries in pieces of at most `most_bytes`, an entry that is larger by itself."""
        offsets = self.offsets if len(self.block) > most_bytes else None
        if offsets is None:
            return [(0, self.count)]
        pieces, start = [], 0
        for end in range(1, self.count):
            if offsets[end + 1] - offsets[start] > most_bytes:
                pieces.append((start, end))
                start = end
        return [*pieces, (start, self.count)]


def isolated(
    given: Passed,
    attempt: Attempt,
    check: Callable[[bytes, int], object | None],
    *,
    keep: bool,
    piece_bytes: int = PIECE_BYTES,
) -> Passed:
    """Have a block filtered, whatever the instance does.

    Args:
        given: The block, its count and what is known of it.
        check: Looks at a changed block; None where it is not well-formed, which is a failure like any other.
        keep: Whether records that fail stay as they were, in their place, or are dropped.

    Raises:
        PluginStopped: Out of `attempt`.
    """
    cut = _Cut(given.block, given.count)
    parts = _walk(cut, cut.pieces(piece_bytes), attempt, keep=keep, check=None)
    made = _joined(cut, parts)
    if made.block is given.block and made.count == given.count:
        return given
    scan = _checked(made, check)
    if scan is None and made.count + len(made.block):
        parts = _walk_again(cut, parts, attempt, check, keep=keep)
        made = _joined(cut, parts)
        if made.block is given.block:
            return given
        scan = _checked(made, check)
    return Passed(made.block, made.count, scan, dropped=made.dropped)


def _checked(made: Filtered, check: Callable[[bytes, int], object | None]) -> object | None:
    return check(made.block, made.count) if made.count else None


def _joined(cut: _Cut, parts: list[_Part]) -> Filtered:
    if not any(part.changed for part in parts):
        return Filtered(cut.block, cut.count)
    if len(parts) == 1:
        return Filtered(parts[0].block, parts[0].count, parts[0].dropped)
    count = sum(part.count for part in parts)
    return Filtered(b"".join(part.block for part in parts), count, sum(part.dropped for part in parts))


def _part(start: int, end: int, given: bytes, made: Filtered) -> _Part:
    changed = made.block is not given or made.count != end - start
    return _Part(start, end, made.block, made.count, min(max(made.dropped, 0), end - start), changed)


def _spared(cut: _Cut, start: int, end: int, keep: bool) -> _Part:
    """Records the plugin failed at."""
    if keep:
        return _Part(start, end, cut.part(start, end), end - start, 0, False)
    return _Part(start, end, b"", 0, end - start, True)


def _walk(
    cut: _Cut,
    ranges: list[tuple[int, int]],
    attempt: Attempt,
    *,
    keep: bool,
    check: Callable[[bytes, int], object | None] | None,
) -> list[_Part]:
    """Filter ranges of entries, in order. With `check`, each answer is looked at by itself."""
    parts: list[_Part] = []
    todo = [(start, end, 1.0) for start, end in reversed(ranges)]
    while todo:
        start, end, share = todo.pop()
        if attempt.stopped(end - start + sum(other - one for one, other, _ in todo)):
            left = [(start, end), *((one, other) for one, other, _ in reversed(todo))]
            parts += [_spared(cut, one, other, keep) for one, other in left]
            break
        given = cut.part(start, end)
        try:
            made = attempt.call(given, end - start, share)
            if check is not None and made.block is not given and not _is_well(made, check):
                # What was not well-formed before (nested to the very limit, say) is not the plugin's doing.
                mine = end - start > 1 or check(given, 1) is not None
                raise PluginTrap("bad_result" if mine else "bad_record", _NOT_WELL)
        except PluginTrap as trap:
            attempt.failed(trap)
            if end - start < 2 or cut.offsets is None:
                attempt.gave_up(end - start)
                parts.append(_spared(cut, start, end, keep))
            elif isinstance(trap, RecordFailed):
                parts += _around(cut, start, end, trap, attempt, keep=keep, check=check)
                if parts[-1].end < end:
                    todo.append((parts[-1].end, end, share))
            else:
                # Half the records need about half the time; only a single one is given all of it again.
                less = max(share * _LESS, _LEAST_SHARE) if trap.reason == "timeout" else share
                middle = (start + end) // 2
                todo += [
                    (one, other, 1.0 if other - one == 1 else less) for one, other in ((middle, end), (start, middle))
                ]
        else:
            parts.append(_part(start, end, given, made))
    return parts


def _around(
    cut: _Cut,
    start: int,
    end: int,
    failed: RecordFailed,
    attempt: Attempt,
    *,
    keep: bool,
    check: Callable[[bytes, int], object | None] | None,
) -> list[_Part]:
    """What came before the record that failed, and that record."""
    at = start + min(max(failed.index, 0), end - start - 1)
    before: list[_Part] = []
    if at > start:
        given = cut.part(start, at)
        done = _part(start, at, given, failed.done)
        done.changed = failed.done.block != given or failed.done.count != at - start
        if check is not None and done.changed and not _is_well(failed.done, check):
            attempt.failed(PluginTrap("bad_result", _NOT_WELL))
            attempt.gave_up(at - start)
            done = _spared(cut, start, at, keep)
        before.append(done)
    attempt.gave_up(1)
    return [*before, _spared(cut, at, at + 1, keep)]


def _is_well(made: Filtered, check: Callable[[bytes, int], object | None]) -> bool:
    if not made.count:
        return not made.block
    return check(made.block, made.count) is not None


def _walk_again(
    cut: _Cut, parts: list[_Part], attempt: Attempt, check: Callable[[bytes, int], object | None], *, keep: bool
) -> list[_Part]:
    """The whole is not well-formed: find the parts that are not, and filter those anew."""
    again: list[_Part] = []
    for part in parts:
        if not part.changed or _is_well(Filtered(part.block, part.count), check):
            again.append(part)
            continue
        attempt.failed(PluginTrap("bad_result", _NOT_WELL))
        again += _walk(cut, [(part.start, part.end)], attempt, keep=keep, check=check)
    return again
