"""Records on standard output, for a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import DeliveryError
from logllm.sinks.ndjson import ndjson

if TYPE_CHECKING:
    from logllm.sinks.ledger import Ledger
    from logllm.sinks.parcel import Parcel

__all__ = ["StdoutSink", "StdoutSinkConfig", "write_stdout"]

_STDOUT = 1
_lock = threading.Lock()


def write_stdout(data: bytes, fd: int = _STDOUT) -> None:
    """Write whole lines, never mixed with those of another thread. Raises OSError."""
    with _lock, memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


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
    """Writes lines to a file descriptor."""

    def __init__(self, ledger: Ledger, fd: int = _STDOUT) -> None:
        self._ledger = ledger
        self._fd = fd
        # It stands there and its commit failed: it must not be written again.
        self._is_written = False

    def write(self, parcels: Sequence[Parcel]) -> int:
        """See `Sink`. A reader that has gone is the end: nobody will come back to a pipe."""
        first = parcels[0]
        try:
            if not self._is_written:
                write_stdout(ndjson(first.tag, first.block, first.count), self._fd)
        except BrokenPipeError as error:
            raise DeliveryError("standard output: its reader has gone", kind="closed", last=True) from error
        except OSError as error:
            raise DeliveryError(f"standard output: cannot write: {error.strerror or error}") from error
        self._is_written = True
        self._ledger.commit(first.keys)
        self._is_written = False
        return 1

    def close(self) -> None:
        """Nothing to close."""
