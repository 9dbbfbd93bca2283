"""Whether each record that incidents cite, and what was said around it, is in the bytes that went on.

Nothing that the reducer counts is believed: incidents are taken as they are told, looked up in the input, and what is
found there is looked up in the output, read back from where a sink wrote it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from logllm.incidents.recent import cut_between_words
from logllm.service.stored import frames, kind_of, lines
from logllm.sinks.ndjson import ndjson
from logllm.sources.file_stats import ReadStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from logllm.events import Columns, IncidentEvent

__all__ = ["IncidentProof", "Prover"]

MILLISECOND_NS = 1_000_000
MAX_TEXT = 1000
"""So much of a text is evidence at most."""


class IncidentProof(msgspec.Struct, frozen=True, tag_field="type", tag="proof"):
    """What of one incident is in the output.

    `cited` of its evidence are records of the input, `cited_found` of those are in the output; `unknown` are not in
    the input: plugins raised them. `before` and `after` are records of its service within the configured seconds of
    what it cites: earlier than the first of it, and the others.
    """

    id: str
    title: str
    service: str
    cited: int
    cited_found: int
    before: int
    before_found: int
    after: int
    after_found: int
    unknown: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all that it cites is there."""
        return self.cited == self.cited_found


@dataclass(slots=True)
class _Wanted:
    """An incident's evidence, by time in milliseconds, and the records of the input that it turned out to be."""

    event: IncidentEvent
    evidence: dict[tuple[int, str, int | None], list[bytes]] = field(default_factory=dict)
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)

    @property
    def anchors_ns(self) -> NDArray[np.int64]:
        return np.unique(np.array([time_ms for time_ms, _, _ in self.evidence], np.int64)) * MILLISECOND_NS


class Prover:
    """Proves it of the incidents that were told.

    Args:
        events: As they were told, masked.
        mask: What masked them.
        context_s: As it was configured.
        count_field: The field that the reducer adds to records.
    """

    def __init__(
        self, events: Iterable[IncidentEvent], mask: Callable[[str], str], context_s: float, count_field: str
    ) -> None:
        self._mask = mask
        self._field = count_field
        # Evidence is told in milliseconds: what is so close to the edge may lie beyond it.
        self._around_ns = max(0, int(context_s * 1e9) - MILLISECOND_NS)
        self._wanted: dict[str, _Wanted] = {}
        for event in events:
            wanted = self._wanted.setdefault(event.id, _Wanted(event))
            for item in event.evidence:
                time_ms = round(datetime.fromisoformat(item.time).timestamp() * 1000)
                wanted.evidence.setdefault((time_ms, item.text, item.line), [])
        self._times_ms = np.unique(
            np.array([time_ms for one in self._wanted.values() for time_ms, _, _ in one.evidence], np.int64)
        )
        self._anchors = {name: one.anchors_ns for name, one in self._wanted.items()}

    def look_up(self, tag: str, columns: Columns, entry: Callable[[int], bytes]) -> None:
        """Find what is wanted among some records of the input; to be shown all of them, in order.

        Args:
            entry: The MessagePack of a record.
        """
        if not len(columns) or not len(self._times_ms):
            return
        time_ns = columns.time_ns
        rows = np.flatnonzero(np.isin(time_ns // MILLISECOND_NS, self._times_ms))
        for row in rows.tolist():
            time_ms = int(time_ns[row]) // MILLISECOND_NS
            text = self._mask(cut_between_words(columns.messages[row], MAX_TEXT))
            line = None if columns.position is None else int(columns.position[row])
            for one in self._wanted.values():
                found = one.evidence.get((time_ms, text, line))
                if found is not None:
                    found.append(self._digest(tag, entry(row)))
        earliest, latest = int(time_ns.min()), int(time_ns.max())
        for name, one in self._wanted.items():
            anchors = self._anchors[name]
            first, last = int(anchors[0]) if len(anchors) else 0, int(anchors[-1]) if len(anchors) else -1
            if latest < first - self._around_ns or earliest > last + self._around_ns or last < first:
                continue
            for row in self._near(one.event.service, anchors, columns).tolist():
                side = one.before if time_ns[row] < first else one.after
                side.append(self._digest(tag, entry(row)))

    def _near(self, service: str, anchors: NDArray[np.int64], columns: Columns) -> NDArray[np.int64]:
        """int64[m]: rows of a service close to what is cited; of all services where the incident names none."""
        after = np.searchsorted(anchors, columns.time_ns)
        right = np.abs(anchors[np.minimum(after, len(anchors) - 1)] - columns.time_ns)
        left = np.abs(columns.time_ns - anchors[np.maximum(after - 1, 0)])
        near = np.minimum(left, right) <= self._around_ns
        if service:
            is_mine = np.array([name == service for name in columns.service_names], np.bool_)
            near &= is_mine[columns.service_codes]
        return np.flatnonzero(near)

    def _digest(self, tag: str, entry: bytes) -> bytes:
        return _digest_of(ndjson(tag, entry, 1), self._field)

    def proofs(self, output: str) -> list[IncidentProof]:
        """What of all that is in a file, in the order incidents were told. Raises SourceError: it cannot be read."""
        wanted = {digest for one in self._wanted.values() for found in one.evidence.values() for digest in found}
        for one in self._wanted.values():
            wanted |= {*one.before, *one.after}
        there = Counter(digest for line in _lines_of(output) if (digest := _digest_of(line, self._field)) in wanted)
        return [_proof(one, there) for one in self._wanted.values()]


def _proof(one: _Wanted, there: Counter[bytes]) -> IncidentProof:
    known = [digests for digests in one.evidence.values() if digests]
    return IncidentProof(
        id=one.event.id,
        title=one.event.title,
        service=one.event.service,
        cited=len(known),
        # Of records that look the same in every field, which one was meant cannot be told.
        cited_found=sum(any(there[digest] for digest in digests) for digests in known),
        before=len(one.before),
        before_found=_found(one.before, there),
        after=len(one.after),
        after_found=_found(one.after, there),
        unknown=len(one.evidence) - len(known),
    )


def _found(digests: list[bytes], there: Counter[bytes]) -> int:
    return sum(min(count, there[digest]) for digest, count in Counter(digests).items())


def _lines_of(path: str) -> Iterator[bytes]:
    """Each record of a file that a sink wrote as a line of JSON."""
    stats = ReadStats()
    if kind_of(path, stats) == "msgpack":
        for chunk in frames(path, stats):
            yield from ndjson(chunk.tag, chunk.block or b"", chunk.count).splitlines()
    else:
        yield from lines(path, stats)


def _digest_of(line: bytes, count_field: str) -> bytes:
    """What a record is known by: all that its line says but for the count."""
    pairs = json.loads(line, object_pairs_hook=tuple)
    said = [
        (name, tuple(pair for pair in value if pair[0] != count_field) if name == "record" else value)
        for name, value in pairs
    ]
    return blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()
