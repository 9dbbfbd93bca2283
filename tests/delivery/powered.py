"""Writes numbered parcels to a file sink, and says in a file of its own which are safe: `powered.py FOLDER GROUPS`."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from logllm.errors import DeliveryError
from logllm.sinks.file import FileSink, FileSinkConfig
from logllm.sinks.keys import delivery_key
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel
from tests.delivery.sender import entries_of

__all__ = ["MARKS", "RECORDS", "TAG", "key_of", "opened", "parcel_of"]

TAG = "app"
MARKS = "marks"
RECORDS = 3
_ROTATE_BYTES = 12_000


def key_of(number: int) -> bytes:
    """What a parcel is known by."""
    return delivery_key(TAG, str(number).encode())


def parcel_of(number: int) -> Parcel:
    """The parcel with this number: three records."""
    return Parcel(TAG, b"".join(entries_of(number * RECORDS, RECORDS)), RECORDS, (key_of(number),))


def opened(folder: Path) -> tuple[FileSink, Ledger]:
    """A sink with its ledger; each file's name has another second."""
    seconds = count(1_700_000_000)
    ledger = Ledger(folder / "ledger")
    config = FileSinkConfig(str(folder / "out.ndjson"), rotate_bytes=_ROTATE_BYTES)
    return FileSink(config, ledger, lambda: float(next(seconds))), ledger


def _main(folder: Path, groups: int) -> None:
    sink, ledger = opened(folder)
    marks = os.open(folder / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at = 0
    for group in range(groups):
        numbers = range(at, at + 1 + group % 3)
        at = numbers.stop
        while True:
            try:
                assert sink.write([parcel_of(number) for number in numbers]) == len(numbers)
            except DeliveryError:
                continue
            break
        os.write(marks, f"{at}\n".encode())
    # No tidying up: that is what the power does.
    os._exit(0 if ledger.path else 1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
