"""Records on their way: which session showed which key in windows that have not been judged yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from logllm.detectors.packing import pack_array, unpack_array
from logllm.detectors.sessions.opened import KEY_BITS
from logllm.errors import StateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_A_WINDOW", "MOST_SAMPLING", "Arriving", "Slots", "followed"]

MOST_A_WINDOW = 8_192
"""Sessions kept of one window. Where it has more, every second of them is followed, and so on."""

MOST_SAMPLING = 24
"""Every 2^24th: beyond that somebody makes up ids by their checksum."""

MOST_ID_CHARS = 128
_LOOSE_CELLS = 65_536
_KEY_MASK = (1 << KEY_BITS) - 1


def followed(checks: NDArray[np.int64], sampling: int) -> NDArray[np.bool_]:
    """Which sessions are followed when only each 2**sampling-th is: by checksum, so the same whole ones always."""
    stay: NDArray[np.bool_] = (checks & ((1 << sampling) - 1)) == 0
    return stay


class Slots:
    """A small number for each session that is remembered, given again when it is not.

    Shapes:
        checks: int64[slots], checksum of each id.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.checks = np.zeros(0, np.int64)
        self._given = np.zeros(0, np.bool_)
        self._free: list[int] = []
        self._of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._of)

    def number(self, names: list[str]) -> list[int]:
        """The slots of ids, new ones where need be."""
        of = self._of
        found = []
        for name in names:
            slot = of.get(name)
            if slot is None:
                slot = self._new(name)
            found.append(slot)
        return found

    def _new(self, name: str) -> int:
        # What a hostile log holds for an id must fit into the state, and be short.
        name = name[:MOST_ID_CHARS].encode("utf-8", "replace").decode()
        slot = self._of.get(name)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self.names[slot] = name
        else:
            slot = len(self.names)
            self.names.append(name)
            if slot >= len(self.checks):
                more = max(1_024, slot)
                self.checks, self._given = np.pad(self.checks, (0, more)), np.pad(self._given, (0, more))
        self._given[slot] = True
        self.checks[slot] = crc32(name.encode())
        self._of[name] = slot
        return slot

    def keep(self, used: NDArray[np.bool_]) -> None:
        """Give back what is not used. Shapes: used: bool[len(names)]."""
        given = self._given[: len(used)]
        for slot in np.flatnonzero(given & ~used).tolist():
            name = self.names[slot]
            if name:
                del self._of[name]
                self.names[slot] = ""
                self._free.append(slot)
        given &= used

    def state(self) -> list[str]:
        """A msgpack-able copy."""
        return list(self.names)

    def restore(self, names: list[str]) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        given = {name: slot for slot, name in enumerate(names) if name}
        if len(given) != sum(map(bool, names)) or any(len(name) > MOST_ID_CHARS for name in given):
            raise StateError("saved sessions: ids are there twice, or too long")
        self.names, self._of = list(names), given
        self._free = [slot for slot, name in enumerate(names) if not name]
        self._given = np.array([bool(name) for name in names], np.bool_)
        self.checks = np.array([crc32(name.encode()) for name in names], np.int64)


class Arriving:
    """Cells (session and key) of windows that are still open, and what of them is followed.

    Bounded by MOST_A_WINDOW sessions a window, which are chosen by checksum: a session that is followed in one window
    is followed in the next, unless that one is fuller.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._windows: dict[int, _Window] = {}

    def add(
        self, window: NDArray[np.int64], codes: NDArray[np.int64], names: list[str], keys: NDArray[np.int32]
    ) -> None:
        """Take records in.

        Shapes:
            window, codes, keys: [n]; codes index `names`, -1 for a record of no session.
        """
        for start in range(0, len(codes), MOST_A_WINDOW):
            part = slice(start, start + MOST_A_WINDOW)
            mine = np.flatnonzero(codes[part] >= 0) + start
            if not len(mine):
                continue
            distinct, which = np.unique(codes[mine], return_inverse=True)
            slots = np.array(self._slots.number([names[code] for code in distinct.tolist()]), np.int64)[which]
            cells = slots << KEY_BITS | keys[mine]
            at = window[mine]
            if at[0] == at[-1] and (at == at[0]).all():
                self._add(int(at[0]), cells)
            else:
                for each in np.unique(at).tolist():
                    self._add(each, cells[at == each])

    def _add(self, window: int, cells: NDArray[np.int64]) -> None:
        held = self._windows.get(window)
        if held is None:
            held = self._windows[window] = _Window()
        if held.sampling:
            cells = cells[followed(self._slots.checks[cells >> KEY_BITS], held.sampling)]
        held.add(cells)
        if held.unchecked > MOST_A_WINDOW // 2:
            self._thin(held)

    def _thin(self, held: _Window) -> None:
        """Follow so few of a window's sessions that they are not too many: when it is done does not matter."""
        slots = held.slots()
        held.unchecked = 0
        if len(slots) <= MOST_A_WINDOW:
            return
        while len(slots) > MOST_A_WINDOW and held.sampling < MOST_SAMPLING:
            held.sampling += 1
            slots = slots[followed(self._slots.checks[slots], held.sampling)]
        held.keep(slots[:MOST_A_WINDOW])

    def waiting(self, end: int) -> list[int]:
        """The windows before `end` that something was taken in for, in order."""
        return sorted(window for window in self._windows if window < end)

    def of(self, window: int, sampling: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """The cells of a window, the records of each, and how few of its sessions are followed.

        Args:
            sampling: How few are followed otherwise.

        Shapes:
            returns: cells int64[c], each once and in order; counts int64[c]; the larger sampling.
        """
        held = self._windows.get(window)
        if held is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), sampling
        self._thin(held)
        cells, counts = held.tight()
        sampling = max(sampling, held.sampling)
        stay = followed(self._slots.checks[cells >> KEY_BITS], sampling)
        return cells[stay], counts[stay], sampling

    def drop(self, end: int) -> None:
        """Forget what is before `end`: it has been judged and learned."""
        for window in self.waiting(end):
            del self._windows[window]

    def use(self, used: NDArray[np.bool_]) -> None:
        """Mark the slots that something is waiting for."""
        for held in self._windows.values():
            used[held.slots()] = True

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        for held in self._windows.values():
            held.rename(old, new)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        windows: list[list[Any]] = []
        for window in sorted(self._windows):
            held = self._windows[window]
            self._thin(held)
            cells, counts = held.tight()
            windows.append([window, held.sampling, pack_array(cells), pack_array(counts)])
        return {"windows": windows}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back; the slots must have been restored. Raises StateError where it does not fit."""
        windows = {}
        for window, sampling, packed, counted in state["windows"]:
            held = windows[int(window)] = _Window()
            held.sampling = min(max(int(sampling), 0), MOST_SAMPLING)
            cells, counts = unpack_array(packed, np.int64), unpack_array(counted, np.int64)
            if cells.ndim != 1 or cells.shape != counts.shape or (counts < 1).any():
                raise StateError("saved sessions: cells and their counts do not agree")
            if len(cells) and (int(cells.min()) < 0 or int(cells.max()) >> KEY_BITS >= len(self._slots.names)):
                raise StateError("saved sessions: records wait for a session that is not there")
            held.put(cells, counts)
        self._windows = windows


class _Window:
    """The cells of one window, first as they come, then each once and counted."""

    def __init__(self) -> None:
        self.sampling = 0
        self.unchecked = 0
        self._cells = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._coming: list[NDArray[np.int64]] = []
        self._came = 0

    def add(self, cells: NDArray[np.int64]) -> None:
        self._coming.append(cells)
        self._came += len(cells)
        self.unchecked += len(cells)
        if self._came > _LOOSE_CELLS or len(self._coming) > _LOOSE_CELLS // 64:
            self.tight()

    def tight(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._coming:
            cells = np.concatenate([self._cells, *self._coming])
            counts = np.concatenate([self._counts, np.ones(self._came, np.int64)])
            self._coming, self._came = [], 0
            self.put(cells, counts)
        return self._cells, self._counts

    def put(self, cells: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        self._cells, which = np.unique(cells, return_inverse=True)
        self._counts = np.bincount(which, weights=counts, minlength=len(self._cells)).astype(np.int64)

    def slots(self) -> NDArray[np.int64]:
        """The slots of its sessions, each once and in order."""
        return np.unique(self.tight()[0] >> KEY_BITS)

    def keep(self, slots: NDArray[np.int64]) -> None:
        cells, counts = self.tight()
        stay = np.isin(cells >> KEY_BITS, slots)
        self._cells, self._counts = cells[stay], counts[stay]

    def rename(self, old: int, new: int) -> None:
        cells, counts = self.tight()
        keys = cells & _KEY_MASK
        if (keys == old).any():
            self.put(np.where(keys == old, cells - old + new, cells), counts)
