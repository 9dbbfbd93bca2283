"""Messages that stay bytes until someone reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Texts"]


class Texts(Sequence[str]):
    """The messages of a block, each decoded whenever it is asked for; equal to the list of them.

    Args:
        block: The bytes they are in.
        starts, ends: int64[n], where each lies in it, as UTF-8.
        others: Messages that are not in the block as such, by the place `first` + i.
    """

    __slots__ = ("_block", "_ends", "_first", "_others", "_starts")

    def __init__(
        self,
        block: bytes,
        starts: NDArray[np.uint32],
        ends: NDArray[np.uint32],
        others: Mapping[int, str],
        first: int = 0,
    ) -> None:
        self._block, self._starts, self._ends, self._others, self._first = block, starts, ends, others, first

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def spans(self) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
        """The block, and where each message lies in it; not for those that are `elsewhere`."""
        return self._block, self._starts.astype(np.int64), self._ends.astype(np.int64)

    def elsewhere(self) -> Mapping[int, str]:
        """Messages that are not in the block as such, by place."""
        return self._others

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            first, _, step = index.indices(len(self))
            if step != 1:
                return list(self)[index]
            return Texts(self._block, self._starts[index], self._ends[index], self._others, self._first + first)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"message {index} of {len(self)}")
        if self._others and (text := self._others.get(self._first + index)) is not None:
            return text
        return self._block[self._starts[index] : self._ends[index]].decode()

    def __iter__(self) -> Iterator[str]:
        block, others = self._block, self._others
        spans = zip(self._starts.tolist(), self._ends.tolist(), strict=True)
        if not others:
            return iter([block[start:end].decode() for start, end in spans])
        places = range(self._first, self._first + len(self))
        return iter(
            [
                block[start:end].decode() if (text := others.get(place)) is None else text
                for place, (start, end) in zip(places, spans, strict=True)
            ]
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))
