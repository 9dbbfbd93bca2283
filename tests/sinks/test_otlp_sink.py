"""What the otlp sink promises: a parcel is safe when the receiver has said so, and what it refuses is not lost."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.config import sink_named
from logllm.sinks.http_sink import HttpSink
from logllm.sinks.ledger import Ledger
from logllm.sinks.otlp.sink import OtlpSinkConfig
from logllm.sinks.parcel import Parcel
from tests.sinks.certificates import certificates
from tests.sinks.forward_parts import numbered, parcel
from tests.sinks.receivers import (
    CUT,
    CUT_AFTER_TAKING,
    HANG,
    Answer,
    Got,
    MemoryLedger,
    OtlpReceiver,
    partial_success,
    refusing,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def sink_for(
    receiver: OtlpReceiver, ledger: MemoryLedger | Ledger | None = None, clock: Clock | None = None, **options: Any
) -> HttpSink:
    config = OtlpSinkConfig(receiver.url, **options)
    sink = config.build(MemoryLedger() if ledger is None else ledger)
    if clock is not None:
        sink._clock = sink._wall = clock
    return sink


def written(sink: HttpSink, parcels: list[Parcel], tries: int = 10) -> int:
    """Write all of them as a worker does, as often as it takes; how often it failed."""
    failures = 0
    while parcels:
        try:
            parcels = parcels[sink.write(parcels) :]
        except DeliveryError:
            failures += 1
            assert failures < tries
    sink.close()
    return failures


def test_parcels_arrive_in_order_in_one_request_and_their_keys_are_committed() -> None:
    ledger = MemoryLedger()
    parcels = [parcel("a", "b", ids=[b"1"]), Parcel("t", b"", 0, (b"key 2",)), parcel("c", ids=[b"3"])]

    with OtlpReceiver() as receiver:
        sink = sink_for(receiver, ledger)
        done = sink.write(parcels)
        sink.close()
        sink.close()

    assert done == 3
    assert receiver.texts == ["a", "b", "c"]
    assert ledger.keys == [b"key 1", b"key 2", b"key 3"]
    (got,) = receiver.got
    assert got.headers["content-encoding"] == "gzip"
    assert got.size < len(got.body)


def test_parcels_without_records_ask_nobody() -> None:
    ledger = MemoryLedger()
    with OtlpReceiver() as receiver:
        done = sink_for(receiver, ledger).write([Parcel("t", b"", 0, (b"key",))])

    assert (done, ledger.keys, receiver.got) == (1, [b"key"], [])


_PAGE = Answer(200, b"<html>", (("Content-Type", "text/html"),), takes=False)


@pytest.mark.parametrize("answer", [*map(Answer, (429, 500, 502, 503, 504, 401, 404, 301)), CUT, _PAGE])
def test_what_is_not_taken_is_not_committed_and_goes_again(answer: Answer) -> None:
    ledger = MemoryLedger()
    with OtlpReceiver(answer) as receiver:
        sink = sink_for(receiver, ledger)

        with pytest.raises(DeliveryError):
            sink.write([parcel("a", ids=[b"1"])])
        before = list(ledger.keys)
        done = sink.write([parcel("a", ids=[b"1"])])

    assert (before, done, ledger.keys) == ([], 1, [b"key 1"])
    assert receiver.texts == ["a"]


def test_a_receiver_that_hangs_costs_its_deadline_and_no_more() -> None:
    with OtlpReceiver(HANG) as receiver:
        sink = sink_for(receiver, deadline_s=0.3)

        begun = time.monotonic()
        with pytest.raises(DeliveryError, match=r"no answer in 0\.3 s") as error:
            sink.write([parcel("a")])
        took_s = time.monotonic() - begun
        done = sink.write([parcel("a")])

    assert (error.value.kind, done) == ("timeout", 1)
    assert 0.25 < took_s < 5


def test_an_answer_that_is_lost_repeats_records_and_loses_none() -> None:
    with OtlpReceiver(CUT_AFTER_TAKING) as receiver:
        failures = written(sink_for(receiver), [parcel("a"), parcel("b")])

    assert failures == 1
    assert receiver.texts == ["a", "b", "a", "b"]


@pytest.mark.parametrize(("answer", "pause_s"), [
    (Answer(429, headers=(("Retry-After", "30"),)), 30),
    (Answer(503, headers=(("Retry-After", "Thu, 01 Jan 1970 00:17:10 GMT"),)), 30),
    (Answer(429, headers=(("Retry-After", "999999"),)), 600),
])  # fmt: skip
def test_a_pause_that_is_asked_for_is_kept_and_nobody_is_asked_meanwhile(answer: Answer, pause_s: int) -> None:
    clock = Clock()
    with OtlpReceiver(answer) as receiver:
        sink = sink_for(receiver, clock=clock)
        with pytest.raises(DeliveryError) as first:
            sink.write([parcel("a")])

        clock.now_s += pause_s - 1
        with pytest.raises(DeliveryError, match="asked for a pause, 1 s to go"):
            sink.write([parcel("a")])
        asked = len(receiver.got)
        clock.now_s += 1.5
        done = sink.write([parcel("a")])

    assert (asked, done) == (1, 1)
    assert first.value.kind in ("rate_limited", "server")


def test_what_a_partial_success_leaves_out_is_counted_said_and_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver(partial_success(2, "too old\x1b[31m"), partial_success(10**6, "")) as receiver:
        sink = sink_for(receiver)
        done = sink.write([parcel("a", "b", "c")])
        done += sink.write([parcel("d")])

    assert (done, len(receiver.got)) == (2, 2)
    assert sink.refused == 3
    assert "2 records left out by the receiver, and dropped: too old [31m; 2 so far" in caplog.text


def test_a_warning_with_a_success_is_said_and_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver(partial_success(0, "use the other port")) as receiver:
        sink = sink_for(receiver)
        sink.write([parcel("a")])

    assert sink.refused == 0
    assert "taken, with a warning: use the other port" in caplog.text


@pytest.mark.parametrize(("body", "kind", "rejected"), [
    (b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"old"}}', "application/json", 2),
    (b"{}", "application/json; charset=utf-8", 0),
    (b"OK", "text/plain", 0),
    (b"", "", 0),
    (b"\xff\xff", "application/x-protobuf", 0),
])  # fmt: skip
def test_answers_of_other_kinds_count_by_their_status(body: bytes, kind: str, rejected: int) -> None:
    with OtlpReceiver(Answer(200, body, (("Content-Type", kind),))) as receiver:
        sink = sink_for(receiver)
        done = sink.write([parcel("a", "b", "c")])

    assert (done, sink.refused) == (1, rejected)


def test_one_record_that_is_refused_is_kept_in_a_file_and_all_others_arrive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path / "otlp-1.ledger")
    parcels = [
        parcel(*(f"{n}" for n in range(50)), ids=[b"1"]),
        parcel("good", "poison", "fine", tag="other", ids=[b"2"]),
    ]
    with OtlpReceiver(after=refusing(b"poison")) as receiver:
        sink = sink_for(receiver, ledger, compress="")
        failures = written(sink, list(parcels))

    assert failures == 0
    assert sorted(receiver.texts) == sorted([*(f"{n}" for n in range(50)), "good", "fine"])
    assert len(receiver.got) < 20
    (line,) = (tmp_path / "otlp-1.refused.ndjson").read_text().splitlines()
    assert json.loads(line) == {"tag": "other", "time": "1700000000.000000005", "record": {"log": "poison"}}
    assert ledger.times([b"key 1", b"key 2"]) == {b"key 1": 1, b"key 2": 1}
    assert sink.refused == 1
    assert "1 records refused and kept in" in caplog.text
    assert "status 400: cannot read poison" in caplog.text
    ledger.close()


def test_a_record_that_is_alone_and_refused_holds_up_nothing_where_the_receiver_takes_others(tmp_path: Path) -> None:
    with OtlpReceiver(after=refusing(b"poison")) as receiver:
        sink = sink_for(receiver, MemoryLedger(tmp_path / "x.ledger"), compress="")
        done = sink.write([parcel("poison")])
        sink.close()

    assert (done, sink.refused) == (1, 1)
    assert receiver.texts == []
    assert (tmp_path / "x.refused.ndjson").exists()


def test_a_receiver_that_refuses_whatever_we_say_gets_no_record_set_aside(tmp_path: Path) -> None:
    with OtlpReceiver(after=lambda _: Answer(400, b"no")) as receiver:
        sink = sink_for(receiver, MemoryLedger(tmp_path / "x.ledger"))

        with pytest.raises(DeliveryError, match="refuses records: status 400: no"):
            sink.write([parcel("a", "b")])

    assert sink.refused == 0
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_a_copy_refused_records_are_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver(after=refusing(b"poison")) as receiver:
        sink = sink_for(receiver, compress="")
        done = sink.write([parcel("a", "poison")])

    assert (done, sink.refused) == (1, 1)
    assert "dropped, as there is no data folder" in caplog.text


def test_with_block_a_refused_record_is_tried_until_somebody_mends_it() -> None:
    ledger = MemoryLedger()
    with OtlpReceiver(*[refusing(b"poison")] * 3) as receiver:
        sink = sink_for(receiver, ledger, compress="", on_refused="block")
        with pytest.raises(DeliveryError, match="refuses records"):
            sink.write([parcel("a", "poison", ids=[b"1"])])
        before = list(ledger.keys)
        done = sink.write([parcel("a", "poison", ids=[b"1"])])

    assert (before, done, sink.refused) == ([], 1, 0)
    assert ledger.keys == [b"key 1"]


def test_many_refused_records_are_set_aside_together_in_the_end(tmp_path: Path) -> None:
    texts = [f"poison {n}" for n in range(3000)]
    with OtlpReceiver(after=refusing(b"poison")) as receiver:
        sink = sink_for(receiver, MemoryLedger(tmp_path / "x.ledger"), compress="")
        done = sink.write([parcel(*texts, "good")])
        sink.close()

    assert done == 1
    assert len(receiver.got) < 300
    kept = [json.loads(line)["record"]["log"] for line in (tmp_path / "x.refused.ndjson").read_text().splitlines()]
    assert sorted({*kept, *receiver.texts}) == sorted([*texts, "good"])
    assert len(kept) == sink.refused


def test_a_request_that_is_too_large_is_cut_and_later_ones_are_smaller() -> None:
    def at_most(got: Got) -> Answer:
        return Answer(413 if len(got.body) > 40_000 else 200)

    texts = [f"{n} " + "x" * 1000 for n in range(200)]
    with OtlpReceiver(after=at_most) as receiver:
        sink = sink_for(receiver)
        done = sink.write([parcel(*texts)])
        first = len(receiver.got)
        done += sink.write([parcel(*texts)])

    assert done == 2
    assert receiver.texts == texts + texts
    assert len(receiver.got) - first < first


def test_requests_hold_no_more_than_they_may() -> None:
    texts = [f"{n} " + "x" * 500 for n in range(400)]
    with OtlpReceiver() as receiver:
        sink = sink_for(receiver, max_request_bytes=20_000)
        failures = written(sink, [parcel(*texts), parcel("last", "y" * 50_000)])

    assert failures == 0
    assert receiver.texts == [*texts, "last", "y" * 50_000]
    sizes = [len(got.body) for got in receiver.got]
    assert max(sizes[:-1]) <= 20_000
    assert len(sizes) < 20


def test_what_was_taken_of_a_large_parcel_does_not_go_again_after_a_failure() -> None:
    texts = [f"{n} " + "x" * 500 for n in range(100)]
    with OtlpReceiver(Answer(200), Answer(503), Answer(200), CUT) as receiver:
        failures = written(sink_for(receiver, max_request_bytes=20_000), [parcel(*texts), parcel("z")])

    assert failures == 2
    assert receiver.texts == [*texts, "z"]


def test_what_was_taken_and_could_not_be_committed_is_not_sent_twice() -> None:
    ledger = MemoryLedger(fails=2)
    with OtlpReceiver() as receiver:
        failures = written(sink_for(receiver, ledger), [parcel("a", ids=[b"1"]), parcel("b", ids=[b"2"])])

    assert failures == 2
    assert receiver.texts == ["a", "b"]
    assert ledger.keys == [b"key 1", b"key 2"]


def test_whole_parcels_count_where_a_later_one_fails() -> None:
    ledger = MemoryLedger()
    parcels = [parcel("x" * 15_000, ids=[b"%d" % n]) for n in range(3)]
    with OtlpReceiver(Answer(200), Answer(503)) as receiver:
        sink = sink_for(receiver, ledger, max_request_bytes=16_384)
        first = sink.write(parcels)
        failures = written(sink, parcels[first:])

    assert first == 1
    assert failures == 1
    assert len(receiver.texts) == 3


def test_metadata_and_odd_times_go_along() -> None:
    entry = bytes(msgpack.packb([[1, {"source": "x"}], {"log": "a"}]))
    with OtlpReceiver() as receiver:
        sink_for(receiver).write([Parcel("t", entry, 1)])

    ((_, record),) = receiver.records
    assert record.time_unix_nano == 10**9


def test_tls_is_verified_and_a_stranger_gets_no_record(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with OtlpReceiver(tls=made.server_context()) as receiver:
        trusting = sink_for(receiver, tls_ca=str(made.ca)).write([parcel("a")])
        with pytest.raises(DeliveryError, match="certificate is not trusted"):
            sink_for(receiver).write([parcel("b")])

    assert trusting == 1
    assert receiver.texts == ["a"]


def test_secrets_are_sent_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name, text in (("headers", "# ours\nX-Key: s3cret-key\n"), ("token", "s3cret-token\n")):
        (tmp_path / name).write_text(text)
    said = (
        b"bad token s3cret-token for s3cret-key in s3cret-plain: cannot POST /v1/logs?key=s3cret-query " + b"x" * 9000
    )
    echo = Answer(500, said)
    with OtlpReceiver(echo) as receiver:
        config = OtlpSinkConfig(
            f"http://me:s3cret-pw@127.0.0.1:{receiver.port}/v1/logs?key=s3cret-query",
            headers={"X-Plain": "s3cret-plain"},
            headers_file=str(tmp_path / "headers"),
            bearer_file=str(tmp_path / "token"),
        )
        sink = config.build(MemoryLedger())
        with pytest.raises(DeliveryError) as error:
            sink.write([parcel("a")])

    (got,) = receiver.got
    assert got.path == "/v1/logs?key=s3cret-query"
    assert got.headers["authorization"] == "Bearer s3cret-token"
    assert (got.headers["x-key"], got.headers["x-plain"]) == ("s3cret-key", "s3cret-plain")
    shown = f"{error.value!r} {config!r} {config} {config.label} {config.address()} {sink._client!r} {caplog.text}"
    assert "s3cret" not in shown
    assert config.address() == f"http://127.0.0.1:{receiver.port}"


def test_a_secret_that_is_changed_is_used_at_once_and_one_that_has_gone_waits(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    with OtlpReceiver() as receiver:
        sink = sink_for(receiver, bearer_file=str(token))
        sink.write([parcel("a")])
        token.write_text("second")
        sink.write([parcel("b")])
        token.unlink()
        with pytest.raises(DeliveryError, match="cannot read: No such file") as error:
            sink.write([parcel("c")])

    assert error.value.kind == "config"
    assert [got.headers["authorization"] for got in receiver.got] == ["Bearer first", "Bearer second"]


def test_a_user_and_password_are_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("open sesame\n")
    with OtlpReceiver() as receiver:
        sink_for(receiver, username="me", password_file=str(tmp_path / "pw")).write([parcel("a")])

    assert receiver.got[0].headers["authorization"] == "Basic bWU6b3BlbiBzZXNhbWU="


@pytest.mark.parametrize(("options", "wrong"), [
    ({"url": "collector:4318"}, "expected `url` as http://HOST:PORT"),
    ({"url": "http://"}, "expected `url` as http://HOST:PORT"),
    ({"url": "http://h:99999"}, "expected http"),
    ({"url": "http://[::1"}, "expected `url` as http://HOST:PORT"),
    ({"headers": {"Content-Type": "x"}}, "header 'Content-Type'"),
    ({"headers": {"a b": "x"}}, "header 'a b'"),
    ({"headers": {"X": "a\r\nY: b"}}, "characters in it that a header cannot have"),
    ({"headers_file": "/nowhere/x"}, "cannot read: No such file"),
    ({"username": "me"}, "go together"),
    ({"tls_ca": "/nowhere/ca.pem", "url": "https://h"}, "cannot read the authorities"),
    ({"proxy": "socks://h:1"}, "expected http"),
    ({"refused_file": "/nowhere/x.ndjson"}, "the folder /nowhere does not exist"),
])  # fmt: skip
def test_what_cannot_be_right_is_a_config_error_that_names_the_sink(options: dict[str, Any], wrong: str) -> None:
    config = OtlpSinkConfig(**{"url": "http://127.0.0.1:4318", **options})

    with pytest.raises(ConfigError, match=r"^sink otlp:") as error:
        config.check()

    assert wrong in str(error.value)
    assert "\n" not in str(error.value)


def test_sinks_can_be_named_in_one_word() -> None:
    plain, tls, path = (
        sink_named(spec) for spec in ("otlp+http://h:4318", "otlp+https://me:pw@h", "loki+https://h:3100/x/push")
    )

    assert plain == OtlpSinkConfig("http://h:4318")
    assert tls == OtlpSinkConfig("https://me:pw@h")
    assert (path.label, type(path).__name__) == ("loki:https://h:3100", "LokiSinkConfig")
    with pytest.raises(ConfigError) as error:
        sink_named("otlp+ftp://me:s3cret@h:1/s3cret")
    assert "s3cret" not in str(error.value)


def test_many_parcels_from_a_worker_all_arrive_through_a_receiver_that_fails_now_and_then() -> None:
    unruly = [Answer(503), Answer(200), CUT, Answer(429), Answer(200), CUT]
    with OtlpReceiver(*unruly) as receiver:
        sink = sink_for(receiver, max_request_bytes=16_384)
        failures = written(sink, numbered(300, size=300))

    assert 0 < failures <= 4
    assert receiver.texts == [f"{n} " + "x" * 300 for n in range(300)]
    assert threading.active_count() < 20
