"""Records that go on and records that do not: decided for whole chunks, in the order they came."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from logllm.events import WINDOW_NS
from logllm.sinks.reduce.chunk import AtHand
from logllm.sinks.reduce.count import Counter
from logllm.sinks.reduce.fold import equals
from logllm.sinks.reduce.grouped import Grouped
from logllm.sinks.reduce.meter import Flow, Meter
from logllm.sinks.reduce.protect import Protection, Told
from logllm.sinks.reduce.recall import recalled
from logllm.sinks.reduce.ring import Ring, rows_of
from logllm.sinks.reduce.turns import NEVER, Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from logllm.events import Columns
    from logllm.sinks.reduce.config import ReduceConfig
    from logllm.sinks.reduce.protect import Cited, Concern
    from logllm.sinks.reduce.ring import Source

__all__ = ["Out", "Reducer"]

LATE_BYTES = 1 << 20
"""So much goes on after all in one block."""


@dataclass(frozen=True, slots=True)
class Out:
    """Entries of one tag that go on: a block of so many."""

    tag: str
    block: bytes
    count: int


class Reducer:
    """Decides of each record whether it goes on, and remembers those that do not, as long as there is room.

    `begin` with a chunk, `see` its records as they are judged, `judged` after each look of the detectors, `end`: it
    gives what goes on of the chunk. What an incident needs of earlier chunks is given by `late`. Each record comes out
    once at most. What is decided depends on the records and their order, not on how they are cut into chunks, but for
    `fold`, and for what the ring still holds.

    Whatever the chunks, the counts of all records that came out (1 where none is said) and of those that are still to
    be told (`pending`) add up to the records that came in.

    Not for several threads at once.
    """

    def __init__(self, config: ReduceConfig, meter: Meter) -> None:
        self.config = config
        self.meter = meter
        self.ring = Ring(config.ring_bytes)
        self._turns = Turns(config)
        self._protection = Protection(config)
        self._counter = Counter(config.count_field)
        self._chunk: AtHand | None = None
        # Of a tag that is kept as it is, byte for byte.
        self._is_whole = False
        self._told: dict[str, Told] = {}
        self._late: list[tuple[int, str, bytes]] = []
        self._number = 0
        self._keys = 0
        self._clock_ns = 0
        self._needed_from = 0

    @property
    def pending(self) -> int:
        """Culled records that no record has told of yet."""
        return int(self._turns.pending.sum())

    def begin(self, tag: str, block: bytes, at: NDArray[np.uint32]) -> None:
        """A chunk comes: its entries, and where each begins."""
        self._is_whole = any(fnmatchcase(tag, pattern) for pattern in self.config.keep_tags)
        self._chunk = AtHand(tag, block, at.astype(np.int64), self._number, self._counter.mark)

    def see(
        self,
        columns: Columns,
        keys: NDArray[np.int32],
        services: NDArray[np.int32],
        bad: NDArray[np.bool_],
        clock_ns: int,
        remembered: int,
        *,
        learning: bool,
    ) -> None:
        """The next records of the chunk, in between which detectors are not asked.

        Args:
            clock_ns: Event time up to which windows have closed.
            remembered: At most so many of the latest records, these included, may be cited by an incident.
            learning: Detectors do not tell yet what is odd: all of them are kept.

        Shapes:
            keys: int32[n]. services: int32[n], of each key. bad: bool[n], keys that sound like an error.
        """
        chunk = self._chunk
        if chunk is None or not len(keys):
            return
        self._clock_ns = clock_ns
        part = chunk.next(len(keys))
        sizes = chunk.sizes[part]
        self._keys = max(self._keys, int(keys.max()) + 1)
        self._turns.reserve(self._keys)
        self.meter.reserve(self._keys)
        grouped = Grouped.of(keys)
        order = grouped.order
        first = self._turns.first(grouped)
        if learning or self._is_whole:
            kept = np.ones(len(keys), np.bool_)
            self.meter.count("tag" if self._is_whole else "learning", len(keys))
            turn = order[:0]
        else:
            kept = np.where(columns.severity > 0, columns.severity >= self.config.least_severity, bad)
            self.meter.count("severe", int(np.count_nonzero(kept)))
            self._keep(kept, "first", order[first])
            if chunk.has_counted:
                self._keep(kept, "counted", chunk.counted[part].nonzero()[0])
            if self._protection.has_keys:
                self._keep(kept, "incident", self._protection.of_incidents((~kept).nonzero()[0], keys, sizes))
            if self._protection.has_context:
                rest = (~kept).nonzero()[0]
                self._keep(kept, "context", self._protection.of_context(rest, services, columns.time_ns, sizes))
            few, sampled = self._turns.take(grouped, ~kept[order], clock_ns)
            self._keep(kept, "rare", order[few])
            turn = order[sampled]
            self._keep(kept, "sampled", turn)
        kept_in_order = kept[order]
        first_number = self._number
        able = kept_in_order & ~chunk.counted[part][order] if chunk.has_counted else kept_in_order
        if self._is_whole:
            able = np.zeros_like(able)
        places, stands_for = self._turns.carry(grouped, kept_in_order, able, first_number)
        chunk.keep(part, kept, turn, keys, services, columns.time_ns)
        chunk.stand(part.start + order[places], stands_for)
        self._measure(grouped, kept_in_order, sizes[order])
        self._number += len(keys)
        self._needed_from = self._number - remembered
        culled = (~kept).nonzero()[0]
        if len(culled):
            numbers = first_number + culled
            at = chunk.at[part][culled]
            rows = rows_of(numbers, columns.time_ns[culled], keys[culled], services[culled], at, sizes[culled])
            self.ring.add(chunk.source, rows, self._number)
            self._evict()

    def _keep(self, kept: NDArray[np.bool_], reason: str, rows: NDArray[np.int64]) -> None:
        if len(rows):
            self.meter.count(reason, int(np.count_nonzero(~kept[rows])))
            kept[rows] = True

    def _measure(self, grouped: Grouped, kept: NDArray[np.bool_], sizes: NDArray[np.int64]) -> None:
        self.meter.came(grouped.keys, grouped.counts, grouped.sums(sizes))
        self.meter.went(grouped.keys, grouped.sums(kept), grouped.sums(sizes * kept))

    def cite(self, incident: Concern, cited: Iterable[Cited]) -> None:
        """An incident is told, resting on these records; `judged` sends them on."""
        told = self._told.get(incident.id)
        if told is None:
            told = Told(incident.id, incident.service, incident.started * WINDOW_NS, [])
            self._told[incident.id] = told
        told.keys = list(incident.keys)
        told.cited |= {(line.key, line.time_ns) for line in cited}

    def judged(self, incidents: Sequence[Concern]) -> None:
        """The detectors have looked; these incidents are open now."""
        named = [each.keys for each in incidents] + [each.keys for each in self._told.values()]
        keys = max([self._keys, *(max(some) + 1 for some in named if some)])
        if self._told:
            told, self._told = list(self._told.values()), {}
            found = recalled(self.ring, told, self._protection, keys)
            if self._chunk is not None:
                self._chunk.foldable = False
            self._send(found)
            for one in told:
                self._protection.watch(one)
        self._protection.follow(incidents, keys, self._clock_ns)

    def end(self) -> Out:
        """What goes on of the chunk."""
        chunk, self._chunk = self._chunk, None
        assert chunk is not None  # noqa: S101 - begun before
        if chunk.foldable:
            self._fold(chunk)
        block, count = chunk.result(self._counter)
        flow = Flow(chunk.seen, len(chunk.block), count, len(block), chunk.revived)
        self.meter.chunk(chunk.source.tag, flow)
        return Out(chunk.source.tag, block, count)

    def _fold(self, chunk: AtHand) -> None:
        """Of sampled records that are equal the first goes on, for all of them."""
        rows = chunk.sampled
        if len(rows) < 2:
            return
        later, firsts = equals(chunk.block, rows, chunk.keys, chunk.at, chunk.sizes)
        if not later:
            return
        for row, first in zip(later, firsts, strict=True):
            chunk.count[first] += chunk.count[row]
        gone = np.array(sorted(later), np.int64)
        chunk.kept[gone] = False
        self.meter.count("sampled", -len(gone))
        sizes, keys = chunk.sizes[gone], chunk.keys[gone]
        self.meter.went(keys.astype(np.int64), np.full(len(gone), -1), -sizes)
        rows_gone = rows_of(
            chunk.source.first + gone, chunk.time_ns[gone], keys, chunk.services[gone], chunk.at[gone], sizes
        )
        self.ring.add(chunk.source, rows_gone, self._number)

    def late(self) -> list[Out]:
        """What is sent on after all, since it was last asked for: of each tag in the order it came in."""
        entries, self._late = self._late, []
        entries.sort(key=lambda entry: entry[0])
        # Not as the tags took turns: a record may have come alone, and each block costs its way to the sinks.
        by_tag: dict[str, list[bytes]] = {}
        for _, tag, entry in entries:
            by_tag.setdefault(tag, []).append(entry)
        outs = [Out(tag, b"".join(part), len(part)) for tag, each in by_tag.items() for part in _parts(each)]
        for out in outs:
            self.meter.chunk(out.tag, Flow(0, 0, out.count, len(out.block), out.count))
        return outs

    def _send(self, found: list[tuple[NDArray[np.void], list[Source]]]) -> None:
        """Rows that have left the ring go on: with the chunk at hand where they are of it, else with `late`."""
        if not found:
            return
        rows = np.concatenate([rows for rows, _ in found])
        counts = self._turns.owed(rows["key"].astype(np.int64), rows["number"])
        self.meter.went(
            rows["key"].astype(np.int64), np.ones(len(rows), np.int64), rows["size"].astype(np.int64), late=True
        )
        at = 0
        for some, sources in found:
            self._hand_out(some, sources, counts[at : at + len(some)])
            at += len(some)

    def _hand_out(self, rows: NDArray[np.void], sources: list[Source], counts: NDArray[np.int64]) -> None:
        here = self._chunk
        for source, number, start, size, count in zip(
            rows["source"].tolist(), rows["number"].tolist(), rows["at"].tolist(), rows["size"].tolist(),
            counts.tolist(), strict=True,
        ):  # fmt: skip
            if here is not None and number >= here.source.first:
                here.revive(number - here.source.first, count)
                continue
            origin = sources[source]
            entry = origin.block[start : start + size]
            self._late.append((number, origin.tag, entry if count == 1 else self._counter.counted(entry, count)))

    def _evict(self) -> None:
        """Make room. A key's last culled record goes on if nothing else will tell of it and its like."""
        for slab in self.ring.evicted(self._needed_from):
            last = self._is_last(slab.rows)
            if last.any():
                self._send([(slab.rows[last], slab.sources)])

    def flush(self) -> None:
        """No more records come: what is still to be told goes on with the last of each key."""
        self._send(self.ring.take([self._is_last(slab.rows) for slab in self.ring.slabs()]))

    def _is_last(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        key = rows["key"].astype(np.int64)
        last: NDArray[np.bool_] = (key >= 0) & (self._turns.last[key] == rows["number"])
        return last

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self._keys = max(self._keys, old + 1, new + 1)
        self._turns.merge(old, new)
        self._protection.rename(old, new)
        self.meter.merge(old, new)
        self._rename(old, new)

    def forget(self, keys: Sequence[int]) -> None:
        """The numbers of keys may be given to others."""
        last = self._turns.last[[key for key in keys if key < self._keys]]
        last = last[last != NEVER]
        if len(last):
            self._send(self.ring.take([np.isin(slab.rows["number"], last) for slab in self.ring.slabs()]))
        self._turns.reset(keys)
        self.meter.forget(keys)
        self.ring.forget(keys)
        if self._chunk is not None:
            self._chunk.forget(keys)

    def _rename(self, old: int, new: int) -> None:
        self.ring.rename(old, new)
        if self._chunk is not None:
            self._chunk.rename(old, new)


def _parts(entries: list[bytes]) -> Iterator[list[bytes]]:
    """Entries in stretches of up to LATE_BYTES; a longer one goes alone."""
    part: list[bytes] = []
    size = 0
    for entry in entries:
        if part and size + len(entry) > LATE_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry)
    if part:
        yield part
