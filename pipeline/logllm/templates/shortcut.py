"""From a text's code, where the source gives one, straight to what the key table says of the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.templates.keys import MISSING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import TextCodes
    from logllm.templates.keys import Keys

__all__ = ["Shortcut"]

_MOST_SCOPES = 16


class Shortcut:
    """Remembers for a code what the young table says of its key, if that is an index, and until its epoch changes.

    So a look-up here is one there: nothing the miner gives out or keeps depends on whether it was made.
    """

    def __init__(self) -> None:
        self._tables: dict[int, tuple[object, int, NDArray[np.int32]]] = {}

    def look_up(self, codes: TextCodes, keys: Keys) -> NDArray[np.int32]:
        """int32[n], MISSING where nothing is known."""
        return self._table(codes, keys)[codes.codes]

    def learn(self, codes: TextCodes, places: NDArray[np.int64], texts: list[bytes], keys: Keys) -> None:
        """Take over what the table says now of the keys of the records at these places."""
        table = self._table(codes, keys)
        distinct, first = np.unique(codes.codes[places], return_index=True)
        young = keys.young
        for code, at in zip(distinct.tolist(), first.tolist(), strict=True):
            if code and (index := young.get(texts[at], MISSING)) >= 0:
                table[code] = index

    def _table(self, codes: TextCodes, keys: Keys) -> NDArray[np.int32]:
        scope = codes.scope
        known, epoch, table = self._tables.get(id(scope), (None, -1, None))
        most = int(codes.codes.max(initial=0)) + 1
        if table is None or known is not scope or epoch != keys.epoch:
            table = np.full(max(most, 1024), MISSING, np.int32)
        elif len(table) < most:
            table = np.concatenate([table, np.full(max(len(table), most - len(table)), MISSING, np.int32)])
        else:
            return table
        if id(scope) not in self._tables and len(self._tables) >= _MOST_SCOPES:
            del self._tables[next(iter(self._tables))]
        self._tables[id(scope)] = (scope, keys.epoch, table)
        return table
