"""A block cut into calls of some hundred records, and the answers put together to a block again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from logllm.errors import PluginTrap
from logllm.filters.instance import Filtered, RecordFailed, entries_of
from logllm.filters.records import fitting, is_marker, join_entries, maps_of, object_of, pairs_of, value_of

if TYPE_CHECKING:
    from logllm.filters.config import Limits

__all__ = ["CALL_BYTES", "CALL_RECORDS", "Batches", "Call"]

CALL_RECORDS = 500
CALL_BYTES = 512 << 10

_FAILED = "!"
_KEPT = object()  # an answer: the entry's own bytes stay
_DROPPED = object()
_MOST_WORDS = 500
_TO_TEXT = msgspec.json.Encoder()


class Call(NamedTuple):
    """What one call hands over: the tag, a time a line, a record a line."""

    tag: str
    times: str
    records: str


class Batches:
    """One block on its way through a component.

    A record that fails ends what is handed over; the answers behind it are remembered for the rest of the block.

    Raises:
        ValueError: The block does not hold exactly `count` entries.
    """

    def __init__(self, tag: str, block: bytes, count: int) -> None:
        self._tag = tag
        self._block = block
        self._pairs = pairs_of(block, count)
        self._entries: list[bytes] | None = None
        self._answers: list[Any] = [None] * count
        self._lines = _lines(maps_of(block, count))
        self._times: list[str] = []
        for i, (time, _) in enumerate(self._pairs):
            seconds, nanoseconds = value_of(bytes(time))
            self._times.append(f"{seconds}.{nanoseconds:09d}")
            if is_marker(bytes(time)):
                # A marker says where a group of OTLP's records begins or ends: no record, not the guest's business.
                self._answers[i] = _KEPT
            elif self._lines[i] is None:
                self._answers[i] = PluginTrap("bad_record", "the record is no map, or nested too deep for JSON")
        self._begin = 0  # the first entry that is not handed over
        self._known = 0  # no entry before this one failed or waits for its answer
        self._asked = 0  # the first that is not asked about
        self._open: list[int] = []
        self._sent: list[str] = []

    def goes_on(self, tag: str, block: bytes, count: int) -> bool:
        """Whether this is the rest of the block, behind the record that failed."""
        return tag == self._tag and count == len(self._answers) - self._begin and block == self._block

    def next(self) -> Call | None:
        """The next call to make; None where all is answered that can be handed over now."""
        if self._failure() is not None:
            return None
        asked: list[int] = []
        size = 0
        i, count = self._asked, len(self._answers)
        while i < count and len(asked) < CALL_RECORDS:
            line = self._lines[i]
            if self._answers[i] is None and line is not None:
                if asked and size + len(line) >= CALL_BYTES:
                    break
                asked.append(i)
                size += len(line) + 1
            i += 1
        self._asked, self._open = i, asked
        if not asked:
            return None
        text = b"\n".join([line for line in map(self._lines.__getitem__, asked) if line is not None])
        records = text.decode("utf-8", "replace")
        self._sent = records.split("\n")
        return Call(_text(self._tag), "\n".join([self._times[i] for i in asked]), records)

    def take(self, answer: str, limits: Limits) -> None:
        """The answer to the call.

        Raises:
            PluginTrap: It is too long, or of another number of lines.
        """
        given = sum(map(len, self._sent)) + len(self._sent)
        if len(answer) > limits.most_output(given):
            raise PluginTrap(
                "output", f"it answered {len(answer)} characters; `output_bytes` allows {limits.most_output(given)}"
            )
        lines = answer.split("\n")
        if len(lines) != len(self._sent):
            raise PluginTrap("bad_result", f"it answered {len(lines)} lines to {len(self._sent)} records")
        for i, sent, line in zip(self._open, self._sent, lines, strict=True):
            self._answers[i] = _KEPT if line == sent else _read(line)

    def handed_over(self, block: bytes, limits: Limits) -> Filtered | RecordFailed:
        """What was made of the entries up to the end, or up to the first that failed.

        Args:
            block: The bytes of all entries not handed over yet; given back as it is where nothing changed.

        Raises:
            PluginTrap: The new block is larger than it may be.
        """
        begin, end = self._begin, self._failure()
        answers = self._answers[begin:end]
        if end is None and all(one is _KEPT for one in answers):
            return Filtered(block, len(answers))
        if self._entries is None:
            self._entries = entries_of(self._block, len(self._answers))
        kept = [i for i, one in enumerate(answers, begin) if one is not _DROPPED]
        made = b"" if not kept else self._joined(kept)
        if len(made) > limits.most_output(len(block)):
            raise PluginTrap(
                "output", f"it made {len(made)} bytes; `output_bytes` allows {limits.most_output(len(block))}"
            )
        done = Filtered(made, len(kept), len(answers) - len(kept))
        if end is None:
            return done
        self._begin = self._known = end + 1
        self._block = block[sum(map(len, self._entries[begin : end + 1])) :]
        return RecordFailed(self._answers[end], done, end - begin, broken=False)

    def _joined(self, kept: list[int]) -> bytes:
        entries = self._entries or []
        parts: list[Any] = [
            msgspec.Raw(entries[i]) if self._answers[i] is _KEPT else (self._pairs[i][0], self._answers[i])
            for i in kept
        ]
        try:
            return join_entries(parts)
        except OverflowError:
            return join_entries([one if isinstance(one, msgspec.Raw) else (one[0], fitting(one[1])) for one in parts])

    def _failure(self) -> int | None:
        """The first entry not handed over that failed, once all before it is known."""
        while self._known < len(self._answers):
            answer = self._answers[self._known]
            if answer is None:
                return None
            if isinstance(answer, PluginTrap):
                return self._known
            self._known += 1
        return None


def _lines(maps: list[dict[str, Any] | None]) -> list[bytes | None]:
    """Each record as a line of JSON; None for what is no map or too deep."""
    try:
        if None not in maps:
            text = _TO_TEXT.encode_lines(maps)
            return text.split(b"\n")[: len(maps)]  # type: ignore[return-value]
    except RecursionError:
        pass
    return [None if one is None else _line(one) for one in maps]


def _line(record: dict[str, Any]) -> bytes | None:
    try:
        return _TO_TEXT.encode(record)
    except RecursionError:
        return None


def _read(line: str) -> Any:
    """What a line that is not the one given means: dropped, failed, or the record changed."""
    if not line:
        return _DROPPED
    if line.startswith(_FAILED):
        words = "".join(one if one.isprintable() else " " for one in line[1 : _MOST_WORDS + 1]).strip()
        return PluginTrap("refused", words or "it failed at this record and does not say why")
    try:
        return object_of(line.encode("utf-8", "replace"))
    except ValueError as error:
        return PluginTrap("bad_result", f"its line for a record is no JSON object: {str(error)[:200]}")


def _text(text: str) -> str:
    """Halves of surrogate pairs are no text to a component."""
    return text.encode("utf-8", "replace").decode()
