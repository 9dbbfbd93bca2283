"""The data that crosses stages: chunks of records on the way in, incidents and explanations on the way out.

A chunk stays bytes (or the text it came as) until the miner reads it; what the detectors need of it is a
`Columns`, decoded once, by column. Time is `int` nanoseconds since the epoch, UTC.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.cause import Cause
from logllm.explanation import Explanation, SeenBefore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "WINDOW_NS",
    "Anomaly",
    "Cause",
    "Chunk",
    "Columns",
    "Event",
    "Evidence",
    "Explanation",
    "Fields",
    "IncidentEvent",
    "Origin",
    "Reduced",
    "SeenBefore",
    "Severity",
    "Summary",
    "TextCodes",
    "rfc3339",
]


WINDOW_NS = 60_000_000_000
"""Records are counted by windows of one minute of event time."""


class Severity(enum.IntEnum):
    """OpenTelemetry's severity numbers, the first of each range; 0 where a record does not say.

    >>> Severity.parse("warning") is Severity.WARN, Severity.parse("nonsense").name
    (True, 'UNSPECIFIED')
    """

    UNSPECIFIED = 0
    TRACE = 1
    DEBUG = 5
    INFO = 9
    WARN = 13
    ERROR = 17
    FATAL = 21

    @classmethod
    def parse(cls, word: str) -> Severity:
        """The severity a level word names, in any case; UNSPECIFIED for words that name none."""
        return _WORDS.get(word.strip().lower(), cls.UNSPECIFIED)


_WORDS: dict[str, Severity] = {
    word: severity
    for severity, words in {
        Severity.TRACE: "trace trc t finest finer verbose v",
        Severity.DEBUG: "debug dbg d fine config",
        Severity.INFO: "info inf i information informational notice n log",
        Severity.WARN: "warn warning wrn w",
        Severity.ERROR: "error err e eror severe failure fail",
        Severity.FATAL: "fatal f ftl crit critical c alert emerg emergency panic dpanic",
    }.items()
    for word in words.split()
}


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a chunk came from: a file's path or a peer's address, and the sender's chunk id where it wants an ack."""

    peer: str = ""
    chunk_id: bytes | None = None


@dataclass(slots=True)
class TextCodes:
    """Which messages are equal but for their digits, where the source has found it out already.

    Shapes:
        codes: int32[n], 0 where it is not known; else equal codes stand for equal texts.
        scope: Codes mean the same in all chunks that have this very object; it is compared by identity.
    """

    codes: NDArray[np.int32]
    scope: object

    def __getitem__(self, part: slice) -> TextCodes:
        return TextCodes(self.codes[part], self.scope)


@dataclass(slots=True)
class Fields:
    """Further fields of a chunk's records, by column: what is measured, counted as distinct or names a session.

    Shapes:
        numbers: field -> float64[n], NaN where a record has no number there.
        words: field -> (int32[n], the values, each once): codes index the values, -1 where a record has none.
    """

    numbers: dict[str, NDArray[np.float64]]
    words: dict[str, tuple[NDArray[np.int32], list[str]]]

    def __getitem__(self, part: slice) -> Fields:
        return Fields(
            {name: values[part] for name, values in self.numbers.items()},
            {name: (codes[part], values) for name, (codes, values) in self.words.items()},
        )


@dataclass(slots=True)
class Columns:
    """What the detectors read of a chunk, one entry a record.

    Shapes:
        time_ns: int64[n], event time; where a record has none, the last one seen before it.
        messages: n str, the free text of the record without its header; never contains "\\0". They may be made when
            they are asked for, so ask once.
        severity: uint8[n], OpenTelemetry's number, 0 = unspecified.
        service_codes: int32[n], index into `service_names`.
        service_names: the services of this chunk, each once; "" for unknown.
        position: int64[n] or None, line number in the file (from 1) of the record's first line.
        text_codes: which messages are equal but for their digits, or None.
        raw: n str, each record as it stands in the file, where the source was asked to keep that; else None.
        fields: further fields, where detectors read some and the records have them; else None.
    """

    time_ns: NDArray[np.int64]
    messages: Sequence[str]
    severity: NDArray[np.uint8]
    service_codes: NDArray[np.int32]
    service_names: list[str]
    position: NDArray[np.int64] | None = None
    text_codes: TextCodes | None = None
    raw: Sequence[str] | None = None
    fields: Fields | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def part(self, start: int, end: int) -> Columns:
        """The records from `start` up to `end`."""
        return Columns(
            self.time_ns[start:end],
            self.messages[start:end],
            self.severity[start:end],
            self.service_codes[start:end],
            self.service_names,
            None if self.position is None else self.position[start:end],
            None if self.text_codes is None else self.text_codes[start:end],
            None if self.raw is None else self.raw[start:end],
            None if self.fields is None else self.fields[start:end],
        )


@dataclass(slots=True)
class Chunk:
    """Records of one tag, as they came.

    Exactly one of `block` and `columns` is given by a source: `block` by the forward protocol (concatenated
    msgpack entries, `[time, record]` or `[[time, metadata], record]`), `columns` by a file.

    Args:
        tag: Fluent's tag, or the file's name.
        count: Records in it.
        size_bytes: Bytes it took on the wire or in the file.
        scan: What the source knows of the block already; its decoder's own business.
    """

    tag: str
    count: int
    size_bytes: int
    origin: Origin = Origin()
    block: bytes | None = None
    columns: Columns | None = None
    scan: object = None


class Anomaly(msgspec.Struct, frozen=True):
    """One odd thing: what, where, since when, and how far from what was expected.

    `service` -1 is the whole source. `expected` and `seen` are records in `span` windows (for "severity": errors;
    for "silence": records per window expected, windows silent seen). `surprise` is -log10 of the tail probability,
    at most 300. `key` leads; `keys` are all it concerns. `about` says what of them: a field, a session, "" for the
    records themselves; for "value" and "distinct" `expected` and `seen` are of that field, in its unit.
    """

    kind: str
    window: int
    span: int
    service: int
    key: int
    keys: list[int]
    expected: float
    seen: float
    surprise: float
    severity: int
    about: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """One record that an incident rests on. `id` is "E1", "E2"... within the incident."""

    id: str
    time: str
    text: str
    template: str = ""
    source: str = ""
    line: int | None = None


class IncidentEvent(msgspec.Struct, frozen=True, tag_field="type", tag="incident"):
    """An incident was opened, changed or ended. Times are event time, RFC 3339 with `Z`.

    `kinds` are the detectors' names: `rate`, `silence`, `heartbeat`, `new`, `rare`, `severity`, `release`, `value`,
    `distinct`, `session`, `change`, `odd`, `dominant`, `plugin`; `injection` is text that speaks to a language model.
    `score` orders incidents of one report, larger is odder; it is not a probability.
    `causes` are its anomalies, the leading one first; absent in what an older logllm kept.
    `changes` are records near its beginning that tell of a deployment or of changed configuration, "C1", "C2"...,
    whoever wrote them; `timeline` says which of its anomalies came first, a sentence each, the first first.
    """

    id: str
    event: Literal["open", "update", "resolve"]
    time: str
    severity: Literal["info", "warning", "critical"]
    service: str
    kinds: list[str]
    title: str
    expected: str
    seen: str
    template: str
    count: int
    runbook: str | None
    evidence: list[Evidence]
    started: str = ""
    ended: str | None = None
    fingerprint: str = ""
    score: float = 0.0
    templates: list[str] = []
    services: list[str] = []
    facts: list[str] = []
    series: list[int] = []
    changes: list[Evidence] = []
    timeline: list[str] = []
    causes: list[Cause] | msgspec.UnsetType = msgspec.UNSET


class Reduced(msgspec.Struct, frozen=True):
    """What came and what went on to the sinks, in records and bytes of MessagePack.

    `records_late` of those out had been culled before; `saved` is in `currency`, empty where no price is known.
    """

    records_in: int
    bytes_in: int
    records_out: int
    bytes_out: int
    records_late: int = 0
    saved: float = 0.0
    currency: str = ""


class Summary(msgspec.Struct, frozen=True, tag_field="type", tag="summary"):
    """What a run saw. `lines` counts physical lines, `records` what they joined to and filters let through.

    `plugins`, in their order: name, records in, out and dropped, calls that failed. `reduced` where a reducer ran.
    `learning`: why nothing is told yet; `missing`: what will be told, or told better, later.
    """

    lines: int
    records: int
    templates: int
    incidents: int
    seconds: float
    bytes: int = 0
    skipped: dict[str, int] = {}
    services: int = 0
    learning: str | None = None
    missing: list[str] = []
    top: list[dict[str, str | int | float]] = []
    plugins: list[dict[str, str | int]] = []
    reduced: Reduced | None = None


Event = IncidentEvent | Explanation | Summary


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC, milliseconds kept.

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"
