"""The scan in its sandbox: memory shared as arrays, one instance for each thread that uses it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS
from logllm.wasm.short_cut import FixedModule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CUT", "MODULE", "ODD", "WHOLE", "Codes", "Part", "Scanner"]

MODULE = Path(__file__).with_name("scan.wasm")

# As in scan.c.
_INPUT = 1 << 20
_CAPACITY = 16_384
_NAMES, _NAME = 64, 32
_KEY_BYTES = 2 * 4096 + 16
WHOLE, CUT, ODD, _FULL = range(4)

# The module declares all the memory it will ever have.
_MEMORY_BYTES = 16 << 20
_COLUMNS: dict[str, np.dtype[Any]] = {
    "time_ns": np.dtype("<i8"),
    "entry_at": np.dtype("<u4"),
    "text_at": np.dtype("<u4"),
    "text_bytes": np.dtype("<u4"),
    "text_code": np.dtype("<i4"),
    "level_code": np.dtype("<i4"),
    "service_code": np.dtype("<i4"),
    "slow": np.dtype("u1"),
}


class Codes:
    """What a scan's codes belong to: they mean the same as long as this is the same object."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Part:
    """Entries in a row, by column.

    Codes stand for equal texts or values; 0 is none. Records that are `slow` have a time and nothing else: read
    them from their bytes.

    Shapes:
        time_ns: int64[n], 0 for no time. entry_at: uint32[n], where each entry begins. text_at, text_bytes: uint32[n],
        the message as UTF-8, without line ends behind it. text_code: int32[n], of the message without its digits, if
        it is one line of at most 2000 bytes. level_code, service_code: int32[n], of the values of the fields that say
        a level or a service. slow: uint8[n].
        size: bytes all of them take, from the first on. codes: what the codes belong to.
    """

    time_ns: NDArray[np.int64]
    entry_at: NDArray[np.uint32]
    text_at: NDArray[np.uint32]
    text_bytes: NDArray[np.uint32]
    text_code: NDArray[np.int32]
    level_code: NDArray[np.int32]
    service_code: NDArray[np.int32]
    slow: NDArray[np.uint8]
    size: int
    codes: Codes

    def __len__(self) -> int:
        return len(self.time_ns)

    @classmethod
    def joined(cls, parts: list[Part]) -> Part:
        """Parts that follow one another in a block, whose codes are the same, as one."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(part.size for part in parts)])
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            pieces = [getattr(part, name) for part in parts]
            if name in ("entry_at", "text_at"):
                pieces = [piece + np.uint32(start) for piece, start in zip(pieces, starts, strict=False)]
            columns[name] = np.concatenate(pieces)
        return cls(**columns, size=int(starts[-1]), codes=parts[0].codes)


class Scanner:
    """One instance of the module. Not for several threads at once.

    Raises whatever wasmtime raises where it cannot be had: `logllm.sources.scan.scanner` is the way to one.
    """

    def __init__(self) -> None:
        self._module = module = FixedModule(MODULE, _MEMORY_BYTES)
        self._call, self._reset = module.function("scan"), module.function("reset")
        self._view = module.view
        layout = module.layout(6 + len(_COLUMNS) + 3)
        self._input = self._view(layout[0], np.dtype("u1"), _INPUT)
        self._columns = {
            name: self._view(at, dtype, _CAPACITY)
            for (name, dtype), at in zip(_COLUMNS.items(), layout[1:], strict=False)
        }
        rest = layout[1 + len(_COLUMNS) :]
        self._view(rest[0], np.dtype("u1"), _KEY_BYTES)[:] = np.frombuffer(os.urandom(_KEY_BYTES), np.uint8)
        self._name_fields(rest[1], rest[2], rest[3])
        self._found = self._view(rest[4], np.dtype("<u4"), 2)
        self._counts = [self._view(at, np.dtype("<u4"), 1) for at in rest[5:8]]
        module.call("setup")
        self.codes = Codes()

    def _name_fields(self, names_at: int, bytes_at: int, groups_at: int) -> None:
        names = [key.encode() for key in (*MESSAGE_KEYS, *SEVERITY_KEYS, *SERVICE_KEYS)]
        table = self._view(names_at, np.dtype("u1"), _NAMES * _NAME).reshape(_NAMES, _NAME)
        for row, name in zip(table, names, strict=False):
            row[: len(name)] = np.frombuffer(name, np.uint8)
        self._view(bytes_at, np.dtype("<u4"), len(names))[:] = list(map(len, names))
        ends = np.cumsum([len(MESSAGE_KEYS), len(SEVERITY_KEYS), len(SERVICE_KEYS)])
        self._view(groups_at, np.dtype("<u4"), 3)[:] = ends

    def refresh(self) -> None:
        """Forget old codes where there is little room for new ones. Between blocks only."""
        if any(int(count[0]) * 4 > most * 3 for count, most in zip(self._counts, (65_536, 1024, 8192), strict=True)):
            self._reset()
            self.codes = Codes()

    def read(self, data: bytes | bytearray, at: int, most: int) -> tuple[list[Part], int, int]:
        """Read up to `most` entries from `at` on.

        Returns:
            The parts, where they end, and why there: WHOLE at the end of the data or with the last entry wanted; CUT
            before one that is not whole (or longer than a megabyte); ODD before one that is none.
        """
        parts: list[Part] = []
        source = np.frombuffer(data, np.uint8)
        while True:
            take = min(len(source) - at, _INPUT)
            self._input[:take] = source[at : at + take]
            count = self._call(take, min(most, 0x7FFFFFFF))
            used, status = self._found.tolist()
            if count:
                columns = {name: column[:count].copy() for name, column in self._columns.items()}
                parts.append(Part(**columns, size=used, codes=self.codes))
            at += used
            most -= count
            further = status == _FULL or (status == CUT and used > 0 and take == _INPUT)
            if not most or not (further or (status == WHOLE and at < len(source))):
                return parts, at, status
