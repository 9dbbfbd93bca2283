"""Standard output as a sink: whole lines, none twice, and the end when its reader has gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import DeliveryError
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel
from logllm.sinks.stdout import LineWriter, StdoutSink


def parcel(number: int) -> Parcel:
    return Parcel("app", bytes(msgpack.packb([1_700_000_000, {"n": number}])), 1, (b"%016d" % number,))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def test_one_parcel_after_the_other_is_written_and_committed() -> None:
    ledger = Ledger(None)
    with pipe() as (read, write):
        sink = StdoutSink(ledger, LineWriter(write))

        safe = [sink.write([parcel(1), parcel(2)]), sink.write([parcel(2)])]

        assert safe == [1, 1]
        assert [line[-3:] for line in os.read(read, 1000).splitlines()] == [b"1}}", b"2}}"]
        assert len(ledger.times([b"%016d" % 1, b"%016d" % 2])) == 2
    ledger.close()


def test_what_could_not_be_committed_is_not_written_again() -> None:
    class Full(Ledger):
        fails = True

        def commit(self, *arguments: object) -> None:
            if self.fails:
                raise DeliveryError("full", kind="full")
            super().commit(*arguments)  # type: ignore[arg-type]

    ledger = Full(None)
    with pipe() as (read, write):
        sink = StdoutSink(ledger, LineWriter(write))
        for _ in range(3):
            with pytest.raises(DeliveryError):
                sink.write([parcel(1)])

        ledger.fails = False
        sink.write([parcel(1)])
        sink.write([parcel(2)])

        assert len(os.read(read, 1000).splitlines()) == 2
    ledger.close()


def test_a_reader_that_has_gone_is_the_end() -> None:
    read, write = os.pipe()
    os.close(read)
    ledger = Ledger(None)

    with pytest.raises(DeliveryError, match="its reader has gone") as caught:
        StdoutSink(ledger, LineWriter(write)).write([parcel(1)])

    assert caught.value.last
    os.close(write)
    ledger.close()


def test_a_reader_that_stands_still_gets_each_line_once_when_it_goes_on() -> None:
    ledger = Ledger(None)
    wide = Parcel("app", bytes(msgpack.packb([1_700_000_000, {"n": "x" * 200_000}])), 1, (b"%016d" % 7,))
    with pipe() as (read, write):
        sink = StdoutSink(ledger, LineWriter(write))
        with pytest.raises(DeliveryError, match="stands still"):
            sink.write([wide])
        got = bytearray()

        def drain() -> None:
            while got.count(b"\n") < 2:
                got.extend(os.read(read, 65_536))

        reader = threading.Thread(target=drain)
        reader.start()
        safe = [sink.write([wide]), sink.write([parcel(8)])]
        reader.join(20)

        assert safe == [1, 1]
        assert [len(line) > 1000 for line in got.splitlines()] == [True, False]
        assert ledger.times([b"%016d" % 7]) == {b"%016d" % 7: 1}
    ledger.close()


def test_what_waits_for_a_reader_has_a_bound() -> None:
    with pipe() as (_, write):
        writer = LineWriter(write, most_bytes=1000)

        taken = [writer.put(b"x" * 400) for _ in range(10)]

        assert taken == [True] * 3 + [False] * 7
