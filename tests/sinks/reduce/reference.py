"""What the reducer decides, said once more: record by record, in plain Python, with a ring that has no end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logllm.sinks.reduce.config import ReduceConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_NS = 3_600_000_000_000
LATE_NS = 900_000_000_000


@dataclass(slots=True)
class Made:
    """One record as a test makes it."""

    time_ns: int
    key: int
    service: int = 0
    severity: int = 9
    bad: bool = False
    counted: bool = False
    size: int = 0


@dataclass(slots=True)
class Open:
    """An open incident."""

    id: str
    service: int
    keys: list[int]
    started: int


@dataclass(frozen=True, slots=True)
class Line:
    """A record that is cited."""

    time_ns: int
    key: int


@dataclass(slots=True)
class _Key:
    seen: int = 0
    turn: int = 0
    full_ns: int = 0
    pending: int = 0
    carried: int = -1
    last: int = -1


@dataclass(slots=True)
class _Culled:
    number: int
    record: Made
    key: int


@dataclass(slots=True)
class Reference:
    """The same calls as `Reducer`, and the same words; `out` is what has gone on, number by number, with its count."""

    config: ReduceConfig
    out: dict[int, int] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    keys: dict[int, _Key] = field(default_factory=dict)
    ring: list[_Culled] = field(default_factory=list)
    number: int = 0
    owner: dict[int, str] = field(default_factory=dict)
    clock_ns: int = 0
    on_keys: dict[str, int] = field(default_factory=dict)
    on_past: dict[str, int] = field(default_factory=dict)
    on_coming: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[Open, list[int], set[tuple[int, int]]]] = field(default_factory=dict)
    context: dict[int, tuple[int, int, str]] = field(default_factory=dict)

    def see(self, records: list[Made], clock_ns: int, *, learning: bool = False) -> None:
        """The next records."""
        self.clock_ns = clock_ns
        for record in records:
            key = self.keys.setdefault(record.key, _Key())
            why = self._why(record, key, clock_ns, learning=learning)
            key.seen += 1
            if why:
                self.why[self.number] = why
                self.out[self.number] = 1
                if not record.counted:
                    self.out[self.number] += key.pending
                    key.pending, key.last, key.carried = 0, -1, self.number
            else:
                key.pending += 1
                key.last = self.number
                self.ring.append(_Culled(self.number, record, record.key))
            self.number += 1

    def _why(self, record: Made, key: _Key, clock_ns: int, *, learning: bool) -> str:
        config = self.config
        if learning:
            return "learning"
        if record.severity >= config.least_severity if record.severity else record.bad:
            return "severe"
        if key.seen < config.burst:
            return "first"
        if record.counted:
            return "counted"
        mine = self.owner.get(record.key)
        if mine is not None and self._spend(self.on_keys, mine, record.size, config.incident_bytes):
            return "incident"
        for service in (record.service, -1):
            lo, hi, incident_id = self.context.get(service, (1, 0, ""))
            if lo <= record.time_ns <= hi:
                if self._spend(self.on_coming, incident_id, record.size, config.context_bytes):
                    return "context"
                break
        if config.per_hour:
            token_ns = HOUR_NS // config.per_hour
            whole_ns = token_ns * config.per_hour
            full_ns = max(key.full_ns, clock_ns)
            if full_ns > clock_ns + whole_ns:
                full_ns = clock_ns
            if full_ns + token_ns <= clock_ns + whole_ns:
                key.full_ns = full_ns + token_ns
                return "rare"
        key.turn = (key.turn + 1) % config.sample
        return "" if key.turn else "sampled"

    @staticmethod
    def _spend(spent: dict[str, int], incident: str, size: int, most: int) -> bool:
        before = spent.setdefault(incident, 0)
        if before >= most:
            return False
        spent[incident] = before + size
        return True

    def cite(self, incident: Open, cited: list[Line]) -> None:
        """An incident is told."""
        _, _, pairs = self.told.get(incident.id, (incident, [], set()))
        pairs = pairs | {(line.key, line.time_ns) for line in cited}
        self.told[incident.id] = (incident, list(incident.keys), pairs)

    def judged(self, incidents: list[Open]) -> None:
        """Send on what is needed, and keep what will be."""
        config = self.config
        around_ns = int(config.context_s * 1e9)
        pairs = {pair for _, _, some in self.told.values() for pair in some}
        mine = [one for one in self.ring if (one.key, one.record.time_ns) in pairs]
        cited = {one.number for one in mine}
        owner: dict[int, Open] = {}
        for incident, keys, _ in self.told.values():
            for key in keys:
                owner.setdefault(key, incident)
        for one in self.ring:
            incident_of = owner.get(one.key)
            since_ns = incident_of.started * 60_000_000_000 if incident_of else 0
            if one.number in cited or incident_of is None or one.record.time_ns < since_ns:
                continue
            if self._spend(self.on_keys, incident_of.id, one.record.size, config.incident_bytes):
                mine.append(one)
        chosen = {one.number for one in mine}
        for incident, _, some in self.told.values():
            anchors = [time_ns for _, time_ns in some]
            near = []
            for one in self.ring:
                if one.number in chosen or not anchors or incident.service not in (one.record.service, -1):
                    continue
                distance = min(abs(one.record.time_ns - anchor) for anchor in anchors)
                if distance <= around_ns:
                    near.append((distance, one.number, one) if incident.service >= 0 else (distance, 0, one))
            if incident.service < 0:
                near.sort(key=lambda each: (each[0], each[2].record.service, each[2].number))
            else:
                near.sort(key=lambda each: each[:2])
            for _, _, one in near:
                if self._spend(self.on_past, incident.id, one.record.size, config.context_bytes):
                    mine.append(one)
                    chosen.add(one.number)
        self._release(mine)
        for incident, _, some in self.told.values():
            if some:
                times = [time_ns for _, time_ns in some]
                lo, hi, _ = self.context.get(incident.service, (2**62, -(2**62), ""))
                bounds = min(lo, min(times) - around_ns), max(hi, max(times) + around_ns)
                self.context[incident.service] = (*bounds, incident.id)
        self.told = {}
        self.owner = {}
        for incident in incidents:
            if self.on_keys.setdefault(incident.id, 0) < config.incident_bytes:
                for key in incident.keys:
                    self.owner.setdefault(key, incident.id)
        over = [service for service, (_, hi, _) in self.context.items() if hi + LATE_NS < self.clock_ns]
        for service in over:
            del self.context[service]

    def _release(self, some: list[_Culled]) -> None:
        """They go on together. The latest culled of a key tells of all that are pending, the others of themselves."""
        last: list[_Culled] = []
        for one in some:
            key = self.keys.get(one.key, _Key())
            if one.number == key.last:
                last.append(one)
                continue
            owed = int(one.number > key.carried and one.key >= 0)
            self.out[one.number] = owed
            key.pending -= owed
        for one in last:
            key = self.keys[one.key]
            self.out[one.number] = key.pending
            key.pending, key.last = 0, -1
            key.carried = max(key.carried, one.number)
        gone = {one.number for one in some}
        self.ring = [one for one in self.ring if one.number not in gone]

    def flush(self) -> None:
        """No more records come."""
        self._release([one for one in self.ring if one.key >= 0 and self.keys[one.key].last == one.number])

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        mine, other = self.keys.pop(old, _Key()), self.keys.setdefault(new, _Key())
        other.seen += mine.seen
        other.full_ns = max(other.full_ns, mine.full_ns)
        other.pending += mine.pending
        other.carried, other.last = max(other.carried, mine.carried), max(other.last, mine.last)
        for one in self.ring:
            one.key = new if one.key == old else one.key
        if old in self.owner:
            self.owner.setdefault(new, self.owner[old])
            del self.owner[old]

    def forget(self, keys: Sequence[int]) -> None:
        """The numbers of keys may be given to others."""
        for key in keys:
            if key in self.keys:
                self._release([one for one in self.ring if one.number == self.keys[key].last])
                del self.keys[key]
            for one in self.ring:
                one.key = -1 if one.key == key else one.key

    @property
    def pending(self) -> int:
        """Culled records that no record has told of yet."""
        return sum(key.pending for key in self.keys.values())
