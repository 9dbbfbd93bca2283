"""Which ids in the text name sessions, found out on a sample of records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from logllm.detectors.sessions.pattern import READ_CHARS
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AGAIN_RECORDS", "SAMPLES", "SAMPLE_RECORDS", "Discovery"]

SAMPLE_RECORDS = 5_000
SAMPLES = 8
"""Samples without a finding after which it is given up for long: the log has no such ids."""

AGAIN_RECORDS = 10_000_000
"""Records after which it is tried with one more sample: what a log holds changes. Looking costs 4 us a record, so
this is 0.002 us."""

MIN_SESSIONS = 40
MIN_SHARE = 0.3
"""Of the sample's records: those that belong to a session of at least two kinds of message."""

MOST_RECORDS = 200
"""More a session, on average: an id of a host, a user or a job that never ends."""

_MOST_SHAPES = 64
_MOST_IDS = 5_000
_MOST_KEYS = 8

# A name, a joint and a number; or what is long enough to be an id without a name.
_CANDIDATE = re.compile(
    r"(?<![\w-])(?:(?P<name>[A-Za-z][A-Za-z0-9]{0,23}[_=:-])?"
    r"(?:(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"
    r"|(?P<num>-?\d{4,20})|(?P<hex>(?=[a-f]{0,15}\d)[0-9a-f]{12,40})))(?![\w-])"
)
_FORMS = {
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "num": r"-?\d{4,20}",
    "hex": "[0-9a-f]{12,40}",
}
_MOST_CANDIDATES = 8
"""Looked at in one message."""


class Ids(msgspec.Struct):
    """The ids of one shape in a sample: of each the keys it came with, and how many records."""

    keys: dict[str, list[int]] = {}
    records: dict[str, int] = {}


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    sampled: int
    samples: int
    shapes: dict[str, Ids]
    resting: int = 0


class Discovery:
    """Looks for ids of one shape (`blk_` and a number, a UUID, `req-` and hexadecimal digits) that recur over several
    kinds of message, a few records each.

    Finds nothing where ids have no name and are short, or where each record has another. Deterministic: the sample is
    the first records that it is shown, however they are cut. Bounded: SAMPLES times SAMPLE_RECORDS records are looked
    at, then as many as one sample in AGAIN_RECORDS, and so many shapes and ids of each are counted.
    """

    def __init__(self) -> None:
        self._sampled = 0
        self._samples = 0
        self._shapes: dict[str, Ids] = {}
        self._resting = 0

    @property
    def wanted(self) -> int:
        """Records still missing to the end of this sample; 0 between samples."""
        return 0 if self._resting else SAMPLE_RECORDS - self._sampled

    def pass_over(self, count: int) -> int:
        """How many of the next `count` records lie between samples."""
        passed = min(count, self._resting)
        self._resting -= passed
        return passed

    def see(self, messages: Sequence[str], keys: list[int]) -> str | None:
        """Some records of the sample, not more than are wanted; returns the pattern, where one has been found."""
        for text, key in zip(messages, keys, strict=True):
            for at, match in enumerate(_CANDIDATE.finditer(text, 0, READ_CHARS)):
                if at == _MOST_CANDIDATES:
                    break
                self._count(match, key)
        self._sampled += len(messages)
        if self._sampled < SAMPLE_RECORDS:
            return None
        found = self._found()
        self._sampled, self._shapes = 0, {}
        self._samples += 1
        self._resting = AGAIN_RECORDS if self._samples >= SAMPLES else 0
        return found

    def _count(self, match: re.Match[str], key: int) -> None:
        form, name = match.lastgroup, match["name"] or ""
        if form is None or (form == "num" and not name):
            return
        shape = f"{form} {name}"
        ids = self._shapes.get(shape)
        if ids is None:
            if len(self._shapes) >= _MOST_SHAPES:
                return
            ids = self._shapes[shape] = Ids()
        text = match[0]
        if text not in ids.records:
            if len(ids.records) >= _MOST_IDS:
                return
            ids.records[text], ids.keys[text] = 0, []
        ids.records[text] += 1
        with_it = ids.keys[text]
        if key not in with_it and len(with_it) < _MOST_KEYS:
            with_it.append(key)

    def _found(self) -> str | None:
        best, pattern = MIN_SHARE * self._sampled, None
        for shape in sorted(self._shapes):
            ids = self._shapes[shape]
            sessions = [count for text, count in ids.records.items() if len(ids.keys[text]) > 1]
            if len(sessions) < MIN_SESSIONS or sum(sessions) > MOST_RECORDS * len(sessions):
                continue
            if sum(sessions) > best:
                form, _, name = shape.partition(" ")
                best, pattern = sum(sessions), _pattern(re.escape(name), form)
        return pattern

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        for ids in self._shapes.values():
            for with_it in ids.keys.values():
                if old in with_it:
                    with_it[:] = dict.fromkeys(new if key == old else key for key in with_it)

    def state(self) -> dict[str, object]:
        """A msgpack-able copy."""
        saved: dict[str, object] = msgspec.to_builtins(
            _Saved(self._sampled, self._samples, self._shapes, self._resting)
        )
        return saved

    def restore(self, state: object) -> None:
        """Take a copy back. Raises StateError where it does not fit."""
        try:
            saved = msgspec.convert(state, _Saved)
        except msgspec.ValidationError as error:
            raise StateError(f"saved sessions: the sample is damaged: {error}") from error
        if not 0 <= saved.sampled < SAMPLE_RECORDS or saved.samples < 0:
            raise StateError(f"saved sessions: a sample of {saved.sampled} records, expected up to {SAMPLE_RECORDS}")
        if not 0 <= saved.resting <= AGAIN_RECORDS:
            raise StateError(f"saved sessions: {saved.resting} records to the next sample, expected {AGAIN_RECORDS}")
        if any(ids.keys.keys() != ids.records.keys() for ids in saved.shapes.values()):
            raise StateError("saved sessions: the sample's ids do not agree")
        self._sampled, self._samples, self._shapes = saved.sampled, saved.samples, saved.shapes
        self._resting = saved.resting


def _pattern(name: str, form: str) -> str:
    # What may not stand before the name is looked at behind it: a pattern that begins with plain text is found in a
    # third of the time.
    return rf"{name}(?<![\w-]{name}){_FORMS[form]}(?![\w-])"
