"""What the codes of a scan stand for: levels and services, found out once for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.sources.scan.host import Codes, Part

__all__ = ["Known", "Meanings"]

_UNKNOWN = 255
_MOST_SCOPES = 8


class Meanings:
    """The meanings of codes, by what the codes belong to.

    Args:
        means: The severity and the service ("" for none) that an entry's own fields say.
    """

    def __init__(self, means: Callable[[bytes], tuple[int, str]]) -> None:
        self._means = means
        self._of: dict[Codes, _Meanings] = {}

    def of(self, codes: Codes) -> _Meanings:
        """Those of one scope; what was not used for long is forgotten."""
        found = self._of.get(codes)
        if found is None:
            if len(self._of) >= _MOST_SCOPES:
                del self._of[next(iter(self._of))]
            found = self._of[codes] = _Meanings(self._means)
        return found


class _Meanings:
    def __init__(self, means: Callable[[bytes], tuple[int, str]]) -> None:
        self._means = means
        self._severity: NDArray[np.uint8] = np.zeros(1, np.uint8)
        self._service: NDArray[np.int32] = np.zeros(1, np.int32)
        self._number = {"": 0}
        self.names = [""]

    def severities(self, scan: Part, block: bytes) -> NDArray[np.uint8]:
        """uint8[n], 0 where a record says none."""
        codes = scan.level_code
        most = int(codes.max(initial=0))
        if not most:
            return np.zeros(len(codes), np.uint8)
        if most >= len(self._severity):
            more = np.full(2 * most + 1 - len(self._severity), _UNKNOWN, np.uint8)
            self._severity = np.concatenate([self._severity, more])
        severity = self._severity[codes]
        if severity.max() == _UNKNOWN:
            for code, entry in _firsts(codes, severity == _UNKNOWN, scan, block):
                self._severity[code] = self._means(entry)[0]
            severity = self._severity[codes]
        return severity

    def services(self, scan: Part, block: bytes) -> NDArray[np.int32]:
        """int32[n], places in `names`; 0, the empty name, where a record says none."""
        codes = scan.service_code
        most = int(codes.max(initial=0))
        if not most:
            return np.zeros(len(codes), np.int32)
        if most >= len(self._service):
            more = np.full(2 * most + 1 - len(self._service), -1, np.int32)
            self._service = np.concatenate([self._service, more])
        numbers = self._service[codes]
        if numbers.min() < 0:
            for code, entry in _firsts(codes, numbers < 0, scan, block):
                self._service[code] = self._number_of(self._means(entry)[1])
            numbers = self._service[codes]
        return numbers

    def _number_of(self, name: str) -> int:
        number = self._number.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


class Known:
    """The services of a block's records, by number.

    Args:
        numbers: int32[n], places in `names`, of which the first is "".
    """

    def __init__(self, numbers: NDArray[np.int32], names: list[str]) -> None:
        self._numbers = numbers
        self._names = names

    def each(self) -> list[str]:
        """The name of each record's service; none at all where no record says one."""
        if not self._numbers.any():
            return []
        return list(map(self._names.__getitem__, self._numbers.tolist()))

    def but(self, places: NDArray[np.int64], names: list[str]) -> Known:
        """The same with other names for some records."""
        all_names = list(dict.fromkeys([*self._names, *names]))
        number = {name: index for index, name in enumerate(all_names)}
        numbers = self._numbers.copy()
        numbers[places] = [number[name] for name in names]
        return Known(numbers, all_names)

    def filled(self, places: NDArray[np.int64], numbers: NDArray[np.int32], names: list[str]) -> Known:
        """The same where records that say no service have those that others say of them, `names[numbers[i]]`."""
        if not numbers.any():
            return self
        mine = self._numbers[places]
        both = self._numbers.copy()
        both[places] = np.where((mine == 0) & (numbers > 0), numbers + (len(self._names) - 1), mine)
        return Known(both, [*self._names, *names[1:]])

    def codes(self, default: str) -> tuple[NDArray[np.int32], list[str]]:
        """int32[n] and the names they are places in, in the order of the records; `default` is for "" ."""
        numbers = self._numbers
        if not len(numbers):
            return np.zeros(0, np.int32), []
        first = int(numbers[0])
        if (numbers == first).all():
            return np.zeros(len(numbers), np.int32), [self._names[first] or default]
        present = np.flatnonzero(np.bincount(numbers))
        at = np.empty(len(self._names), np.int64)
        # Of several assignments to one place the last one stays.
        at[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)
        order = present[np.argsort(at[present])].tolist()
        names = list(dict.fromkeys(self._names[number] or default for number in order))
        place = {name: index for index, name in enumerate(names)}
        table = np.zeros(len(self._names), np.int32)
        table[order] = [place[self._names[number] or default] for number in order]
        return table[numbers], names


def _firsts(codes: NDArray[np.int32], where: NDArray[np.bool_], scan: Part, block: bytes) -> list[tuple[int, bytes]]:
    """The codes there, each with an entry that has it."""
    places = np.flatnonzero(where)
    distinct, at = np.unique(codes[places], return_index=True)
    found = []
    for code, place in zip(distinct.tolist(), places[at].tolist(), strict=True):
        end = scan.size if place + 1 == len(scan) else int(scan.entry_at[place + 1])
        found.append((code, block[int(scan.entry_at[place]) : end]))
    return found
