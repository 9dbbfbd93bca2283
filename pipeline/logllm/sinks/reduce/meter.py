"""What came and what went on, by tag and by template, and what is saved by it; kept over restarts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from logllm.sinks.reduce.config import ReduceConfig

__all__ = ["OTHERS", "Account", "Flow", "Meter", "Named", "load_account", "save_account"]

OTHERS = "(others)"
MOST_TAGS = 1000
MOST_TEMPLATES = 1000
GIGABYTE = 1e9
_DAY_S = 86_400.0
_VERSION = 1


class Flow(msgspec.Struct, frozen=True):
    """Records and bytes of MessagePack, in and out; `records_late` of those out had been culled before."""

    records_in: int = 0
    bytes_in: int = 0
    records_out: int = 0
    bytes_out: int = 0
    records_late: int = 0

    def __add__(self, other: Flow) -> Flow:
        return Flow(*(a + b for a, b in zip(self.columns, other.columns, strict=True)))

    @property
    def columns(self) -> tuple[int, ...]:
        """Its numbers in order."""
        return (self.records_in, self.bytes_in, self.records_out, self.bytes_out, self.records_late)

    @property
    def ratio(self) -> float:
        """Bytes out for a byte in; 1 where nothing came."""
        return self.bytes_out / self.bytes_in if self.bytes_in else 1.0


class Named(msgspec.Struct, frozen=True):
    """What a key is called: its service, its template's id, and its text, masked."""

    service: str
    id: str
    text: str


class Row(msgspec.Struct, frozen=True):
    """One template of one service."""

    name: Named
    flow: Flow


_REST = Named("", "", OTHERS)


class Account(msgspec.Struct, frozen=True):
    """All that was metered since `since_s` (Unix time), in `seconds` of running.

    Templates beyond the first 1000 by what is saved are one row, "(others)"; so are tags.
    """

    version: int = _VERSION
    since_s: float = 0.0
    as_of_s: float = 0.0
    seconds: float = 0.0
    total: Flow = Flow()
    tags: dict[str, Flow] = {}
    templates: list[Row] = []
    kept: dict[str, int] = {}
    price_per_gb: float = 0.0
    currency: str = ""

    @property
    def saved_bytes(self) -> int:
        """Bytes that were not sent on."""
        return self.total.bytes_in - self.total.bytes_out

    @property
    def saved(self) -> float:
        """Money not spent, at the price of now."""
        return self.saved_bytes / GIGABYTE * self.price_per_gb

    @property
    def saved_per_day(self) -> float:
        """Of a day of running."""
        return self.saved / self.seconds * _DAY_S if self.seconds else 0.0


class Meter:
    """Counts; cheap per chunk, whatever the number of keys.

    Args:
        name: What a key is called. Asked when an account is drawn up, and when a key is gone.
        clock: Unix time in seconds.
    """

    def __init__(self, name: Callable[[int], Named], clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._clock = clock
        self._begun_s = clock()
        self._before = Account(since_s=self._begun_s)
        self._keys = np.zeros((5, 0), np.int64)
        self._gone: dict[tuple[str, str], Row] = {}
        self._tags: dict[str, list[int]] = {}
        self.kept: dict[str, int] = {}
        self.total = Flow()

    def resume(self, before: Account) -> None:
        """Go on from an account of an earlier run."""
        self._before = before

    def reserve(self, keys: int) -> None:
        """Make room for so many keys."""
        more = keys - self._keys.shape[1]
        if more > 0:
            self._keys = np.pad(self._keys, ((0, 0), (0, max(more, self._keys.shape[1], 256))))

    def came(self, keys: NDArray[np.int64], records: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """So many records and bytes came of some keys, each of which is named once."""
        self._keys[0, keys] += records
        self._keys[1, keys] += sizes

    def went(
        self, keys: NDArray[np.int64], records: NDArray[np.int64], sizes: NDArray[np.int64], *, late: bool = False
    ) -> None:
        """And so many went on; a key may be named more than once, -1 is one that is gone."""
        known = keys >= 0
        keys, records = keys[known], records[known]
        np.add.at(self._keys[2], keys, records)
        np.add.at(self._keys[3], keys, sizes[known])
        if late:
            np.add.at(self._keys[4], keys, records)

    def chunk(self, tag: str, flow: Flow) -> None:
        """What came of a tag, and what went on."""
        self.total += flow
        mine = self._tags.get(tag)
        if mine is None:
            name = tag if len(self._tags) < MOST_TAGS else OTHERS
            mine = self._tags.setdefault(name, [0, 0, 0, 0, 0])
        for at, value in enumerate(flow.columns):
            mine[at] += value

    def count(self, reason: str, records: int) -> None:
        """So many were kept for a reason."""
        if records:
            self.kept[reason] = self.kept.get(reason, 0) + records

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        self.reserve(max(old, new) + 1)
        self._keys[:, new] += self._keys[:, old]
        self._keys[:, old] = 0

    def forget(self, keys: Sequence[int]) -> None:
        """The numbers of keys are given to others: what they counted stays under their names."""
        for key in keys:
            if key >= self._keys.shape[1] or not self._keys[0, key]:
                continue
            _add(self._gone, self._name(key), self._flow(key))
            self._keys[:, key] = 0
            if len(self._gone) > 2 * MOST_TEMPLATES:
                fewer = _largest(self._gone, MOST_TEMPLATES)
                self._gone = {(row.name.service, row.name.id): row for row in fewer}

    def _flow(self, key: int) -> Flow:
        return Flow(*self._keys[:, key].tolist())

    def tags(self) -> dict[str, Flow]:
        """Of this run, by tag."""
        return {tag: Flow(*numbers) for tag, numbers in self._tags.copy().items()}

    def account(self, config: ReduceConfig, most: int = MOST_TEMPLATES) -> Account:
        """All of it, earlier runs included; not while records are being judged."""
        before, now_s = self._before, self._clock()
        order = np.argsort(self._keys[3] - self._keys[1], kind="stable")
        order = order[self._keys[0, order] > 0]
        rows: dict[tuple[str, str], Row] = {}
        for key in order[:most].tolist():
            _add(rows, self._name(key), self._flow(key))
        _add(rows, _REST, Flow(*self._keys[:, order[most:]].sum(axis=1).tolist()))
        for row in (*self._gone.values(), *before.templates):
            _add(rows, row.name, row.flow)
        tags = self.tags()
        for tag, flow in before.tags.items():
            tags[tag] = tags.get(tag, Flow()) + flow
        kept = dict(before.kept)
        for reason, records in self.kept.copy().items():
            kept[reason] = kept.get(reason, 0) + records
        return Account(
            since_s=before.since_s,
            as_of_s=now_s,
            seconds=before.seconds + max(0.0, now_s - self._begun_s),
            total=before.total + self.total,
            tags=_fewer_tags(tags),
            templates=_largest(rows, most),
            kept=kept,
            price_per_gb=config.price_per_gb,
            currency=config.currency,
        )


def _add(rows: dict[tuple[str, str], Row], name: Named, flow: Flow) -> None:
    """A template's id says which it is; its text may be masked otherwise in another run."""
    have = rows.get((name.service, name.id))
    if flow.records_in:
        rows[name.service, name.id] = Row(name, flow if have is None else have.flow + flow)


def _largest(rows: dict[tuple[str, str], Row], most: int) -> list[Row]:
    """The templates that save most, and the rest as one row behind them."""
    ordered = sorted(rows.values(), key=lambda row: row.flow.bytes_out - row.flow.bytes_in)
    named = [row for row in ordered if row.name.text != OTHERS]
    rest = [row.flow for row in (*named[most:], *(row for row in ordered if row.name.text == OTHERS))]
    return named[:most] + ([Row(_REST, sum(rest, Flow()))] if rest else [])


def _fewer_tags(tags: dict[str, Flow]) -> dict[str, Flow]:
    if len(tags) <= MOST_TAGS + 1:
        return tags
    ordered = sorted(tags.items(), key=lambda each: -each[1].bytes_in)
    kept = {tag: flow for tag, flow in ordered if tag != OTHERS}
    few = dict(list(kept.items())[:MOST_TAGS])
    rest = [flow for tag, flow in tags.items() if tag not in few]
    return {**few, OTHERS: sum(rest, Flow())}


def save_account(path: Path, account: Account) -> None:
    """Write it beside `path` and put it in its place. Raises StateError."""
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(account))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateError(f"{path}: cannot save what was reduced: {error.strerror or error}") from error


def load_account(path: Path) -> Account | None:
    """An account that was saved; None where there is none. Raises StateError: it cannot be read."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot read what was reduced: {error.strerror or error}") from error
    try:
        account = msgspec.json.decode(body, type=Account)
    except msgspec.MsgspecError as error:
        raise StateError(f"{path}: not an account of what was reduced: {error}") from error
    if account.version != _VERSION:
        raise StateError(f"{path}: an account of version {account.version}, expected {_VERSION}")
    return account
