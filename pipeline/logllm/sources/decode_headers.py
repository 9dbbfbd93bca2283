"""What the headers of lines say, found out once for each shape of line.

Two lines that are equal but for their digits, and whose begins have digits in the same places, have the same header:
the same level, the same service, the message at the same place. So a line whose code (see `sources.scan`) and shape
are known costs a look-up in bulk, and only new ones meet the expression. It holds for headers in which no digit means
anything but a time: not for syslog's priority, HTTP's status, or a service with a number in its name.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

from logllm.events import TextCodes
from logllm.sources.decode_lines import Lines, too_many
from logllm.sources.decode_texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.events import Columns
    from logllm.sources.decode_known import Known

__all__ = ["Headers", "KnownLines", "Told"]

HEAD_BYTES = 128
"""Headers that are longer are read each time."""
_MOST_SHAPES = 65_536
_MOST_FORMATS = 16
_NEVER = -1
# A block teaches so many shapes at most. Where fewer lines than this are known of late, all are read for a while.
_MOST_NEW = 512
_LEAST_SHARE = 0.3
_FORGETS = 0.2
_REST = 50

# Digits are one class; every other byte is its own, and so is the end of a line.
_CLASS = np.arange(256, dtype=np.uint8)
_CLASS[ord("0") : ord("9") + 1] = ord("0")
_CLASS[0] = 1
_PLACES = np.arange(HEAD_BYTES)
# Random, so that nobody can make lines of different shapes that count as one.
_WEIGHTS = np.array([secrets.randbits(64) | 1 for _ in range(HEAD_BYTES // 8 + 1)], np.uint64)


class Told:
    """What lines say, for the records at `places`.

    Shapes:
        severity: uint8[n]; services: int32[n], places in `names`; offset: int64[n], bytes of header; code: int32[n], of
        the message under this `Headers`, 0 where a text stands in `texts` instead. texts: by place in the block.
        at: int64[n], the records' places in it. misses: lines without a header.
    """

    def __init__(self, count: int, names: list[str], at: NDArray[np.int64]) -> None:
        self.names = names
        self.at = at
        self.severity = np.zeros(count, np.uint8)
        self.services = np.zeros(count, np.int32)
        self.offset = np.zeros(count, np.int64)
        self.code = np.zeros(count, np.int32)
        self.texts: dict[int, str] = {}
        self.misses = 0

    def name(self, known: Known) -> Known:
        """Services with what lines say of the records that say none themselves."""
        return known.filled(self.at, self.services, self.names)


class KnownLines:
    """The shapes of the formats that records' lines are in."""

    def __init__(self) -> None:
        self._formats: dict[str, Headers] = {}

    def read(
        self,
        lines: Lines,
        texts: Texts,
        codes: TextCodes,
        severity: NDArray[np.uint8],
        written: NDArray[np.bool_],
    ) -> tuple[Texts, TextCodes, Told] | None:
        """Messages, their codes and what headers say; `severity` is filled in place. See `Lines.read`, which must
        look at all of them where this is None.
        """
        form = lines.header
        if form is None:
            return None
        headers = self._formats.get(form.expression)
        if headers is None:
            if len(self._formats) >= _MOST_FORMATS:
                del self._formats[next(iter(self._formats))]
            headers = self._formats[form.expression] = Headers()
        bare = np.flatnonzero((severity == 0) & written)
        if not headers.pays or not len(bare):
            return None
        block, starts, ends = texts.spans
        some = TextCodes(codes.codes[bare], codes.scope)
        told = headers.read(block, starts[bare], ends[bare], some, bare, texts, lines.read_some, form.says_numbers)
        if told is None or too_many(told.misses, len(bare)):
            return None
        severity[bare] = told.severity
        starts[bare] += told.offset
        # What no shape tells keeps no code: it would be that of the whole line.
        mine = np.zeros(len(codes.codes), np.int32)
        mine[bare] = told.code
        others = {**texts.elsewhere(), **told.texts}
        messages = Texts(block, starts.astype(np.uint32), ends.astype(np.uint32), others)
        return messages, TextCodes(mine, headers), told


class Headers:
    """The shapes of one format; their codes mean the same as long as this is the same object."""

    def __init__(self) -> None:
        self.names = [""]
        self._numbers = {"": 0}
        self._scope: object = None
        self._share, self._rest = 1.0, 0
        self._keys = np.zeros(0, np.uint64)
        self._rows = np.zeros(0, np.int64)
        self._size = 0
        self._severity = np.zeros(1024, np.uint8)
        self._services = np.zeros(1024, np.int32)
        self._offset = np.zeros(1024, np.int64)

    def read(
        self, block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], codes: TextCodes,
        at: NDArray[np.int64], texts: Texts, parse: Callable[[list[str]], tuple[list[str], Columns, int] | None],
        says_numbers: Callable[[str], bool],
    ) -> Told | None:  # fmt: skip
        """What the lines of these records say; None where `parse` gives nothing.

        Args:
            block: What the texts lie in, from `starts` up to `ends`.
            codes: Of these records.
            at: The records' places in the block, which `texts` goes by.
            parse: Reads whole texts: the messages, what their headers say, and how many had none.
            says_numbers: Whether digits of a text's header mean something besides a time.
        """
        if codes.scope is not self._scope or self._size > _MOST_SHAPES:
            self._forget(codes.scope)
        told, places = Told(len(starts), self.names, at), at.tolist()
        keys, able = self._shapes(block, starts, ends, codes.codes)
        rows = self._rows_of(keys)
        rows[~able] = _NEVER
        slow = np.flatnonzero((rows < 0) | (self._offset[rows] < 0))
        known = np.flatnonzero((rows >= 0) & (self._offset[rows] >= 0))
        told.severity[known] = self._severity[rows[known]]
        told.services[known] = self._services[rows[known]]
        told.offset[known] = self._offset[rows[known]]
        told.code[known] = rows[known] + 1
        told.misses = int((told.offset[known] == 0).sum())
        if not len(slow):
            self._weigh(1.0)
            return told
        whole = [texts[places[row]] for row in slow.tolist()]
        found = parse(whole)
        if found is None:
            return None
        messages, columns, misses = found
        told.misses += misses
        told.severity[slow] = columns.severity
        told.services[slow] = np.array([self._number(name) for name in columns.service_names], np.int32)[
            columns.service_codes
        ]
        told.texts = {places[row]: message for row, message in zip(slow.tolist(), messages, strict=True)}
        self._learn(keys, rows, slow, told, whole, messages, says_numbers)
        self._weigh(len(known) / len(rows))
        return told

    @property
    def pays(self) -> bool:
        """Whether enough shapes come again; asked before each `read`. Texts full of random letters do not."""
        if self._share >= _LEAST_SHARE:
            return True
        self._rest -= 1
        if self._rest <= 0:
            self._share = 1.0
        return False

    def _weigh(self, share: float) -> None:
        self._share += _FORGETS * (share - self._share)
        self._rest = _REST

    def _forget(self, scope: object) -> None:
        share = self._share
        self.__init__()  # type: ignore[misc]
        self._scope, self._share = scope, share

    def _shapes(
        self, block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], codes: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """A number for each line's code and shape, and whether it has one."""
        able = (codes > 0) & (starts + HEAD_BYTES <= len(block))
        if len(block) < HEAD_BYTES:
            return np.zeros(len(starts), np.uint64), np.zeros(len(starts), np.bool_)
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(block, np.uint8), HEAD_BYTES)
        heads = _CLASS[windows[np.where(able, starts, 0)]]
        heads *= (ends - starts)[:, None] > _PLACES
        words = heads.view(np.uint64)
        return (words * _WEIGHTS[:-1]).sum(axis=1) + codes.astype(np.uint64) * _WEIGHTS[-1], able

    def _rows_of(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        if not len(self._keys):
            return np.full(len(keys), _NEVER, np.int64)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._rows[at], _NEVER)

    def _learn(
        self, keys: NDArray[np.uint64], rows: NDArray[np.int64], slow: NDArray[np.intp], told: Told,
        whole: list[str], messages: list[str], says_numbers: Callable[[str], bool],
    ) -> None:  # fmt: skip
        # Those that were looked at are new, or known as such that must be read each time.
        _, first = np.unique(keys[slow], return_index=True)
        new = [place for place in first.tolist() if rows[slow[place]] < 0][:_MOST_NEW]
        if not new:
            return
        numbers = []
        for place in new:
            row = int(slow[place])
            self._grow()
            self._severity[self._size] = told.severity[row]
            self._services[self._size] = told.services[row]
            service = self.names[told.services[row]]
            offset = _offset(whole[place], messages[place], service)
            self._offset[self._size] = _NEVER if offset > 0 and says_numbers(whole[place]) else offset
            numbers.append(self._size)
            self._size += 1
        keys = np.concatenate([self._keys, keys[slow[new]]])
        order = np.argsort(keys)
        self._keys = keys[order]
        self._rows = np.concatenate([self._rows, np.array(numbers, np.int64)])[order]

    def _grow(self) -> None:
        if self._size == len(self._severity):
            self._severity = np.concatenate([self._severity, np.zeros_like(self._severity)])
            self._services = np.concatenate([self._services, np.zeros_like(self._services)])
            self._offset = np.concatenate([self._offset, np.zeros_like(self._offset)])

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


def _offset(text: str, message: str, service: str) -> int:
    """Where the message begins, in bytes; _NEVER where the shape of the line does not say it all.

    >>> _offset("10:00 app: hello 5", "hello 5", "app"), _offset("10:00 app1: hello", "hello", "app1")
    (11, -1)
    """
    if not text.endswith(message) or any(character.isdigit() for character in service):
        return _NEVER
    offset = len(text.encode()) - len(message.encode())
    return offset if offset <= HEAD_BYTES else _NEVER
