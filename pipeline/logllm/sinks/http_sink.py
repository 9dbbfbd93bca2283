"""Parcels as HTTP requests to a receiver that says of each whether it has it.

An answer of 2xx is the receiver's word that it has what the request held; then the keys go into the ledger, and the
parcel is safe. 429, 5xx and no answer are tried again. What is answered with 400, 413 or 422 will never be taken as it
is: the request is cut in two again and again, so that all else arrives, and what stays is set aside. To 415 the same is
sent as it is, uncompressed.
"""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from logllm.errors import DeliveryError
from logllm.sinks.entries import places
from logllm.sinks.http_aside import Aside
from logllm.wire.http import HttpAnswer, retry_after_s

if TYPE_CHECKING:
    from logllm.sinks.http_config import HttpSinkConfig
    from logllm.sinks.parcel import Parcel

__all__ = ["Accepted", "Commits", "Encoded", "Format", "HttpSink"]

# A record of its own is found in 2 log2(n) requests; where thousands are refused there is no end to it.
_MOST_TRIES = 256
_SMALLEST_REQUEST = 16 << 10
# Longer than anybody asks for who means it.
_LONGEST_PAUSE_S = 600.0
_GZIP_LEVEL = 1
_REFUSED = frozenset((400, 413, 422))
_PAGES = (b"<!doctype html", b"<html")
_LOUD_S = 60.0

_log = logging.getLogger("logllm.sinks")


class Encoded(NamedTuple):
    """A record as its receiver reads it.

    Args:
        group: What it shares with others: a resource, a stream's labels.
        record: The rest.
    """

    group: bytes
    record: bytes


class Accepted(NamedTuple):
    """What an answer of 2xx says: how many records were left out all the same, and why; or a warning."""

    rejected: int = 0
    message: str = ""


class Format(Protocol):
    """How records are written for a receiver, and what its answers mean."""

    @property
    def content_type(self) -> str:
        """Of requests."""

    @property
    def probe(self) -> bytes:
        """A request without records."""

    def records(self, parcel: Parcel) -> Sequence[Encoded]:
        """A parcel's entries, one for each, in order. Raises ValueError for what is no block."""

    def body(self, records: Sequence[Encoded]) -> bytes:
        """A request."""

    def accepted(self, answer: HttpAnswer) -> Accepted:
        """What an answer of 2xx says."""


class Commits(Protocol):
    """What the sink needs of its ledger."""

    @property
    def path(self) -> Path | None:
        """Where it is."""

    def commit(self, keys: Sequence[bytes]) -> None:
        """Make keys durable. Raises DeliveryError."""


class _Refused(NamedTuple):
    """The receiver will not take these records as they are."""

    reason: str


class _Batch(NamedTuple):
    """Whole parcels, and their records one after the other."""

    parcels: Sequence[Parcel]
    records: Sequence[Encoded]


class HttpSink:
    """Sends parcels and waits for the answers, one request at a time.

    Args:
        config: The receiver.
        format_: What it reads.
        ledger: Told of the keys of what has been taken.
        clock: Seconds that never go back.
        wall: Unix time in seconds, for a `Retry-After` that is a date.

    Attributes:
        refused: Records that the receiver has refused for good.
    """

    def __init__(
        self,
        config: HttpSinkConfig,
        format_: Format,
        ledger: Commits,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.refused = 0
        self._format = format_
        self._client = config.client()
        self._ledger = ledger
        self._clock, self._wall = clock, wall
        self._aside = Aside(config.aside(ledger.path), config.label)
        self._limit = config.max_request_bytes
        self._compresses = config.compress == "gzip"
        # Of the parcels from this one on, so many records are taken already: they do not go twice while we live.
        self._front: Parcel | None = None
        self._taken = 0
        self._not_before = 0.0
        self._quiet_until = 0.0

    def write(self, parcels: Sequence[Parcel]) -> int:
        """Send parcels; see `Sink`. At most as many as fit into a request, or one that takes several."""
        if self._clock() < self._not_before:
            left_s = self._not_before - self._clock()
            raise DeliveryError(f"{self._client.shown}: asked for a pause, {left_s:.0f} s to go", kind="rate_limited")
        if parcels[0] is not self._front:
            self._front, self._taken = parcels[0], 0
        batch = self._batch(parcels)
        safe = len(batch.parcels)
        try:
            while self._taken < len(batch.records):
                self._deliver(batch, self._taken, self._request_end(batch.records, self._taken))
        except DeliveryError as error:
            ends = accumulate(parcel.count for parcel in batch.parcels)
            safe = sum(end <= self._taken for end in ends)
            if not safe:
                raise
            _log.info("%s: %d of %d chunks delivered: %s", self.config.label, safe, len(batch.parcels), error)
        self._settle(parcels, safe)
        return safe

    def _batch(self, parcels: Sequence[Parcel]) -> _Batch:
        whole, size = 0, 0
        for parcel in parcels:
            size += parcel.size_bytes
            if whole and size > self._limit:
                break
            whole += 1
        return _Batch(parcels[:whole], [each for parcel in parcels[:whole] for each in self._format.records(parcel)])

    def _settle(self, parcels: Sequence[Parcel], safe: int) -> None:
        if keys := [key for parcel in parcels[:safe] for key in parcel.keys]:
            self._ledger.commit(keys)
        # What cannot be committed is known as taken until it can.
        self._taken -= sum(parcel.count for parcel in parcels[:safe])
        self._front = parcels[safe] if safe < len(parcels) else None

    def _request_end(self, records: Sequence[Encoded], start: int) -> int:
        """Where a request ends that begins at a record: at least behind that one."""
        size, groups = 0, set()
        for at in range(start, len(records)):
            group, record = records[at]
            size += len(record) + 1
            if group not in groups:
                groups.add(group)
                size += len(group) + 64
            if size > self._limit and at > start:
                return at
        return len(records)

    def _deliver(self, batch: _Batch, start: int, end: int) -> None:
        """Have these records taken, or set aside. `_taken` tells how far it came where it raises DeliveryError."""
        waiting = [(start, end)]
        tries, takes_others = 0, False
        while waiting:
            start, end = waiting.pop()
            refused = self._post(batch.records[start:end])
            tries += 1
            if refused is None:
                takes_others = True
            elif end - start > 1 and tries < _MOST_TRIES:
                middle = (start + end) // 2
                waiting += [(middle, end), (start, middle)]
                continue
            else:
                # Where it refuses whatever we say, nothing is wrong with the records.
                takes_others = takes_others or self._is_known()
                if not takes_others or self.config.on_refused == "block":
                    raise DeliveryError(f"{self._client.shown}: refuses records: {refused.reason}", kind="answer")
                self._set_aside(batch, start, end, refused.reason)
            self._taken = end

    def _post(self, records: Sequence[Encoded]) -> _Refused | None:
        """Send records; None when they are taken. Raises DeliveryError where it is to be tried again."""
        body = self._format.body(records)
        answer = self._request(body)
        if 200 <= answer.status < 300:
            if _is_page(answer):
                raise DeliveryError(f"{self._client.shown}: answers with a page, expected a receiver", kind="answer")
            accepted = self._format.accepted(answer)
            rejected = min(max(0, accepted.rejected), len(records))
            message = self.config.without_secrets(accepted.message)
            if rejected:
                self._count(rejected, "left out by the receiver, and dropped", message)
            elif message:
                self._say(logging.WARNING, f"taken, with a warning: {message}")
            return None
        if answer.status in _REFUSED:
            if answer.status == 413 and len(body) > _SMALLEST_REQUEST:
                self._limit = max(_SMALLEST_REQUEST, min(self._limit, len(body)) // 2)
            return _Refused(self._said(answer))
        raise self._not_now(answer)

    def _request(self, body: bytes) -> HttpAnswer:
        headers = {"Content-Type": self._format.content_type, **self.config.request_headers()}
        if self._compresses:
            squeezed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            answer = self._client.request(squeezed, {**headers, "Content-Encoding": "gzip"})
            if answer.status != 415:
                return answer
        answer = self._client.request(body, headers)
        if self._compresses and answer.status != 415:
            self._compresses = False
            _log.warning("%s: it does not read gzip; what it gets is no longer compressed", self.config.label)
        return answer

    def _not_now(self, answer: HttpAnswer) -> DeliveryError:
        pause_s = retry_after_s(answer.headers, self._wall())
        if pause_s is not None:
            self._not_before = self._clock() + min(pause_s, _LONGEST_PAUSE_S)
        kind = "rate_limited" if answer.status == 429 else "server" if answer.status >= 500 else "answer"
        return DeliveryError(f"{self._client.shown}: {self._said(answer)}", kind=kind)

    def _is_known(self) -> bool:
        answer = self._request(self._format.probe)
        # Loki reads a request without records, and says what is wrong with it.
        return 200 <= answer.status < 300 or (answer.status == 422 and b"at least one valid stream" in answer.body)

    def _said(self, answer: HttpAnswer) -> str:
        said = self.config.without_secrets(answer.body.decode(errors="replace"))
        return f"status {answer.status}" + (f": {said}" if said else "")

    def _set_aside(self, batch: _Batch, start: int, end: int, reason: str) -> None:
        first = 0
        for parcel in batch.parcels:
            inside = range(max(start - first, 0), min(end - first, parcel.count))
            if inside:
                entries = islice(places(parcel.block, parcel.count), inside.start, inside.stop)
                block = b"".join([parcel.block[begin:stop] for begin, stop in entries])
                self._aside.keep(parcel.tag, block, len(inside))
            first += parcel.count
        self._count(end - start, f"refused and {self._aside.where}", reason)

    def _count(self, records: int, what: str, reason: str) -> None:
        self.refused += records
        self._say(logging.ERROR, f"{records} records {what}: {reason or 'no reason given'}; {self.refused} so far")

    def _say(self, level: int, text: str) -> None:
        """Once in a while: a receiver may refuse all day."""
        if self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + _LOUD_S
            _log.log(level, "%s: %s", self.config.label, text)

    def close(self) -> None:
        """Close the file of what was set aside. A second call does nothing."""
        self._aside.close()


def _is_page(answer: HttpAnswer) -> bool:
    """Whether a browser would show it: a login, or what stands in front of a receiver, says 200 too."""
    kind = answer.headers.get("content-type", "").strip().lower()
    return kind.startswith(("text/html", "application/xhtml")) or answer.body.lstrip().lower().startswith(_PAGES)
