"""Which series there are: a number for each pair of a key and a field, given again when the pair is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["Series"]

_MOST_FIELDS = 1024


class Series:
    """Numbers pairs of a key and a field's name, at most `most` of them; what does not fit is counted.

    Which pairs get a number depends on the order of the records alone, never on chunks.

    Shapes:
        count: numbers given so far; those of pairs that are gone are among them until they are given again.
        refused: values of pairs that found no room.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._table: dict[str, NDArray[np.int32]] = {}
        self._pairs: list[tuple[int, str] | None] = []
        self._free: list[int] = []
        self.refused = 0

    @property
    def count(self) -> int:
        """Numbers that arrays must have room for."""
        return len(self._pairs)

    @property
    def full(self) -> bool:
        """Whether a new pair would be refused."""
        return not self._free and len(self._pairs) >= self._most

    def pair(self, number: int) -> tuple[int, str]:
        """Key and field of a number."""
        found = self._pairs[number]
        if found is None:
            raise LookupError(f"series {number} is gone")
        return found

    def living(self) -> NDArray[np.int64]:
        """Numbers in use."""
        return np.array([number for number, pair in enumerate(self._pairs) if pair is not None], np.int64)

    def keys(self) -> NDArray[np.int64]:
        """int64[count]: the key of each number, -1 for those that are gone."""
        return np.array([-1 if pair is None else pair[0] for pair in self._pairs], np.int64)

    def numbers(self, columns: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
        """The numbers of some values, -1 where there is no room, by field.

        Args:
            columns: field -> (int64[m], which record each value is of, rising; int64[m], its key).
        """
        new: list[tuple[int, str, int]] = []
        for field, (at, keys) in columns.items():
            if len(keys):
                known = self._known(field, int(keys.max()))[keys]
                if (known < 0).any():
                    missing = np.flatnonzero(known < 0)
                    distinct, first = np.unique(keys[missing], return_index=True)
                    pairs = zip(distinct.tolist(), first.tolist(), strict=True)
                    new += [(int(at[missing[where]]), field, key) for key, where in pairs]
        for _, field, key in sorted(new):
            self.number(key, field)
        found = {field: self._known(field, int(keys.max(initial=0)))[keys] for field, (_, keys) in columns.items()}
        self.refused += sum(int((numbers < 0).sum()) for numbers in found.values())
        return {field: numbers.astype(np.int64) for field, numbers in found.items()}

    def number(self, key: int, field: str) -> int:
        """The number of a pair, -1 where there is no room."""
        table = self._known(field, key)
        if table[key] < 0 and not self.full and (field in self._table or len(self._table) < _MOST_FIELDS):
            self._table[field] = table
            if self._free:
                number = self._free.pop()
                self._pairs[number] = (key, field)
            else:
                number = len(self._pairs)
                self._pairs.append((key, field))
            table[key] = number
        return int(table[key])

    def _known(self, field: str, key: int) -> NDArray[np.int32]:
        table = self._table.get(field)
        if table is None:
            return np.full(key + 1, -1, np.int32)
        if len(table) <= key:
            more = max(key + 1 - len(table), len(table))
            table = self._table[field] = np.concatenate([table, np.full(more, -1, np.int32)])
        return table

    def of_key(self, key: int) -> list[tuple[str, int]]:
        """The fields of a key and their numbers."""
        return [
            (field, int(table[key])) for field, table in self._table.items() if key < len(table) and table[key] >= 0
        ]

    def of_keys(self, keys: Sequence[int]) -> list[int]:
        """The numbers of all pairs of some keys, field by field."""
        wanted = np.fromiter(keys, np.int64)
        found = (table[wanted[wanted < len(table)]] for table in self._table.values())
        return [number for numbers in found for number in numbers[numbers >= 0].tolist()]

    def rename(self, number: int, key: int) -> None:
        """The pair's key is another one from now on, which has no series of that field."""
        old, field = self.pair(number)
        self._table[field][old] = -1
        self._known(field, key)[key] = number
        self._pairs[number] = (key, field)

    def drop(self, numbers: Iterable[int]) -> None:
        """These pairs are gone: their numbers may be given again. The caller forgets what it knows of them."""
        fields: set[str] = set()
        for number in numbers:
            key, field = self.pair(number)
            self._table[field][key] = -1
            self._pairs[number] = None
            self._free.append(number)
            fields.add(field)
        for field in fields:
            if not (self._table[field] >= 0).any():
                del self._table[field]

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        pairs = [None if pair is None else list(pair) for pair in self._pairs]
        return {"pairs": pairs, "free": list(self._free), "refused": self.refused}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            pairs = [None if pair is None else (int(pair[0]), str(pair[1])) for pair in state["pairs"]]
            free, refused = [int(number) for number in state["free"]], int(state["refused"])
        except (LookupError, TypeError, ValueError) as error:
            raise StateError(f"saved series are damaged: {error!r}") from error
        gone = {number for number, pair in enumerate(pairs) if pair is None}
        if set(free) != gone or len(free) != len(gone) or any(pair is not None and pair[0] < 0 for pair in pairs):
            raise StateError("saved series are damaged: what is free does not agree with what is there")
        self._pairs, self._free, self.refused, self._table = pairs, free, refused, {}
        for number, pair in enumerate(pairs):
            if pair is not None:
                table = self._known(pair[1], pair[0])
                table[pair[0]] = number
                self._table[pair[1]] = table
