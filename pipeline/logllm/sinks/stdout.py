"""Records on standard output, for a pipe."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import DeliveryError
from logllm.sinks.ndjson import ndjson

if TYPE_CHECKING:
    from logllm.sinks.ledger import Ledger
    from logllm.sinks.parcel import Parcel

__all__ = ["STDOUT", "LineWriter", "StdoutSink", "StdoutSinkConfig"]

# So much can be written to a pipe without waiting where `poll` says that it can be written to.
_PIECE = 4096
_PATIENCE_S = 1.0


class LineWriter:
    """Whole lines to a file descriptor, from several threads, never mixed, and without waiting for ever.

    What its reader does not take in time stays here and goes out first next time.

    Args:
        most_bytes: So much may wait; `put` takes no more then.
    """

    def __init__(self, fd: int, most_bytes: int = 1 << 20) -> None:
        self._fd = fd
        self._most_bytes = most_bytes
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def put(self, lines: bytes) -> bool:
        """Have lines written by the next `flush`; False where too many wait already."""
        with self._lock:
            if len(self._waiting) > self._most_bytes:
                return False
            self._waiting += lines
        return True

    def flush(self, patience_s: float | None = None) -> bool:
        """Write what waits; False where the reader did not take all of it in time. Raises OSError.

        Args:
            patience_s: None waits as long as it takes.
        """
        until = None if patience_s is None else time.monotonic() + patience_s
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while True:
            left_ms = None if until is None else max(0.0, until - time.monotonic()) * 1000
            ready = poll.poll(left_ms)
            with self._lock:
                if not self._waiting:
                    return True
                if ready and poll.poll(0):
                    del self._waiting[: os.write(self._fd, self._waiting[:_PIECE])]
            if until is not None and time.monotonic() >= until:
                with self._lock:
                    return not self._waiting


STDOUT = LineWriter(1)
"""Standard output, for the records of a sink and the events beside them."""


class StdoutSinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="stdout"):
    """Records as NDJSON on standard output, between the events of `--json`: records have a `tag`, events a `type`.

    A record is safe once the pipe has taken it; what its reader does with it is not known here.
    """

    name: str = ""
    required: bool = True

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or "stdout"

    def ledger_path(self) -> None:
        """Nowhere: there is no place beside a pipe."""

    def check(self) -> None:
        """Nothing can be wrong with it."""

    def build(self, ledger: Ledger) -> StdoutSink:
        """The sink."""
        return StdoutSink(ledger)


class StdoutSink:
    """Writes lines, and keeps a ledger of what has been taken."""

    refused = 0

    def __init__(self, ledger: Ledger, writer: LineWriter = STDOUT) -> None:
        self._ledger = ledger
        self._writer = writer
        # It was handed over and is not committed yet: it must not be written again.
        self._is_put = False

    def write(self, parcels: Sequence[Parcel]) -> int:
        """See `Sink`. A reader that has gone is the end: nobody will come back to a pipe."""
        first = parcels[0]
        try:
            if first.count and not self._is_put:
                self._is_put = self._writer.put(ndjson(first.tag, first.block, first.count))
            if not self._writer.flush(_PATIENCE_S) or (first.count and not self._is_put):
                raise DeliveryError("standard output: its reader stands still", kind="timeout")
        except BrokenPipeError as error:
            raise DeliveryError("standard output: its reader has gone", kind="closed", last=True) from error
        except OSError as error:
            raise DeliveryError(f"standard output: cannot write: {error.strerror or error}") from error
        self._ledger.commit(first.keys)
        self._is_put = False
        return 1

    def close(self) -> None:
        """Nothing to close."""
