"""Blocks of entries to Loki's push API."""

from __future__ import annotations

import json
import re

from logllm.sinks.loki_encode import Encoder, Streams
from logllm.sinks.parcel import Parcel
from tests.fuzz.frames import let_in
from tests.fuzz.fuzz_otlp import MAX_BYTES, seeds
from tests.fuzz.inputs import Choices

__all__ = ["MAX_BYTES", "check", "seeds"]

_NOW_NS = 1_800_000_000_000_000_000
_TAGS = ("app.web", "", 'é\ud800"\\\n', "kube.var.log.containers.cart-7d9f_shop_cart-" + "0" * 64 + ".log", "a\0.log")
_KEYS = (("service", "severity"), (), ("tag", "k", "http.status", "level"), ("service", "log", "kubernetes"))
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MOST_STREAMS = 20


def _encoder(number: int) -> Encoder:
    keys = _KEYS[number % 4]
    streams = Streams({"job": "logllm"}, keys, _MOST_STREAMS, lambda: 0.0)
    as_message, with_trace = number % 8 > 3, number > 7
    return Encoder(
        streams, keys, as_message=as_message, with_trace=with_trace, now_ns=lambda: _NOW_NS, clock=lambda: 0.0
    )


_ENCODERS = [_encoder(number) for number in range(16)]


def check(data: bytes) -> None:
    """Whatever the receiver lets through is a line each, with a time, in one of so many streams and no more."""
    choices = Choices(data)
    tag = choices.one_of(_TAGS)
    as_messages = choices.below(4) == 3
    encoder = choices.one_of(_ENCODERS)
    block, count = let_in(choices.rest(), as_messages=as_messages)
    if not count:
        return
    made = encoder.records(Parcel(tag, block, count))
    said = json.loads(encoder.body(made).decode())
    found = 0
    labels = set()
    for stream in said["streams"]:
        labels.add(json.dumps(stream["stream"], sort_keys=True))
        assert stream["stream"]["job"] == "logllm"
        for name, value in stream["stream"].items():
            assert _LABEL.fullmatch(name)
            assert isinstance(value, str)
            assert 0 < len(value) <= 256
        times = []
        for time, text, *more in stream["values"]:
            found += 1
            times.append(int(time))
            assert 0 < times[-1] < 1 << 63
            assert isinstance(text, str)
            for ids in more:
                assert set(ids) <= {"trace_id", "span_id"}
                assert all(re.fullmatch("[0-9a-f]{16,32}", each) for each in ids.values())
        assert times == sorted(times)
    assert len(labels) == len(said["streams"])
    assert found == count == len(made)
