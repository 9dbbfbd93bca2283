"""Answers that a sink over HTTP must not take for what they look like, and secrets that receivers repeat in parts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from logllm.errors import DeliveryError
from logllm.sinks.loki import LokiSinkConfig
from logllm.sinks.otlp.sink import OtlpSinkConfig
from tests.sinks.forward_parts import parcel
from tests.sinks.receivers import Answer, Got, MemoryLedger, OtlpReceiver

_HTML = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, _HTML, takes=False),
        Answer(200, b"<HTML>", (("Content-Type", "text/plain"),), takes=False),
        Answer(200, b"", (("Content-Type", " Application/XHTML+xml; charset=utf-8"),), takes=False),
    ],
)
def test_a_page_is_no_word_of_a_receiver_whatever_it_says_it_is(answer: Answer) -> None:
    ledger = MemoryLedger()
    with OtlpReceiver(answer) as receiver:
        sink = OtlpSinkConfig(receiver.url).build(ledger)

        with pytest.raises(DeliveryError, match="answers with a page"):
            sink.write([parcel("a", ids=[b"1"])])
        before = list(ledger.keys)
        sink.write([parcel("a", ids=[b"1"])])

    assert (before, ledger.keys, receiver.texts) == ([], [b"key 1"], ["a"])


def test_a_receiver_that_reads_no_gzip_gets_it_uncompressed_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    def plain_alone(got: Got) -> Answer:
        return Answer(415 if "content-encoding" in got.headers else 200)

    with OtlpReceiver(after=plain_alone) as receiver:
        sink = OtlpSinkConfig(receiver.url).build(MemoryLedger())
        for text in ("a", "b", "c"):
            sink.write([parcel(text)])

    assert receiver.texts == ["a", "b", "c"]
    assert len(receiver.got) == 4
    assert caplog.text.count("does not read gzip") == 1


def test_a_receiver_that_takes_nothing_uncompressed_either_gets_it_compressed_again() -> None:
    with OtlpReceiver(Answer(415), Answer(415)) as receiver:
        sink = OtlpSinkConfig(receiver.url).build(MemoryLedger())

        with pytest.raises(DeliveryError, match="status 415"):
            sink.write([parcel("a")])
        sink.write([parcel("a")])

    assert ["content-encoding" in got.headers for got in receiver.got] == [True, False, True]


def test_where_every_request_is_too_large_even_one_without_records_nothing_is_set_aside(tmp_path: Path) -> None:
    with OtlpReceiver(after=lambda _: Answer(413, b"too large")) as receiver:
        sink = OtlpSinkConfig(receiver.url).build(MemoryLedger(tmp_path / "x.ledger"))

        with pytest.raises(DeliveryError, match="refuses records: status 413: too large"):
            sink.write([parcel("a")])

    assert sink.refused == 0
    assert list(tmp_path.iterdir()) == []


def test_one_record_that_is_too_large_is_set_aside_and_the_others_arrive(tmp_path: Path) -> None:
    def at_most(got: Got) -> Answer:
        return Answer(413 if len(got.body) > 20_000 else 200)

    with OtlpReceiver(after=at_most) as receiver:
        sink = OtlpSinkConfig(receiver.url).build(MemoryLedger(tmp_path / "x.ledger"))
        sink.write([parcel("x" * 50_000)])
        sink.write([parcel("a")])
        sink.close()

    assert (receiver.texts, sink.refused) == (["a"], 1)
    assert (tmp_path / "x.refused.ndjson").stat().st_size > 50_000


def test_parts_of_an_address_that_may_be_secret_are_not_shown_where_a_receiver_repeats_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = b"no s3cret-in-path, s3cret-query, s3cret user or s3cret-pw for the logs you push"
    with OtlpReceiver(after=lambda _: Answer(403, said)) as receiver:
        host = f"127.0.0.1:{receiver.port}"
        for config in (
            OtlpSinkConfig(f"http://s3cret%20user:s3cret-pw@{host}/logs/s3cret-in-path?a=s3cret-query"),
            LokiSinkConfig(f"http://s3cret%20user:s3cret-pw@{host}/push/s3cret-in-path?a=s3cret-query&b=1"),
        ):
            with pytest.raises(DeliveryError) as error:
                config.build(MemoryLedger()).write([parcel("a")])

            assert "s3cret" not in f"{error.value} {caplog.text}"
            assert "for the logs you push" in str(error.value)
