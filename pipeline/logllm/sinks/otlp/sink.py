"""The `otlp` sink: OpenTelemetry's protocol, logs as protobuf over HTTP, for collectors and whoever else reads it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from logllm.sinks.http_config import HttpSinkConfig
from logllm.sinks.http_sink import Accepted, Commits, Encoded, HttpSink
from logllm.wire.http import HttpAnswer

if TYPE_CHECKING:
    from logllm.sinks.otlp.encode import Encoder
    from logllm.sinks.parcel import Parcel

__all__ = ["OtlpSinkConfig"]

_log = logging.getLogger("logllm.sinks")


class OtlpSinkConfig(HttpSinkConfig, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="otlp"):
    """A receiver of OTLP over HTTP. Without a path in `url`, `/v1/logs` is added."""

    path: ClassVar[str] = "/v1/logs"
    kind: ClassVar[str] = "otlp"

    def build(self, ledger: Commits, now_ns: Callable[[], int] = time.time_ns) -> HttpSink:
        """The sink, not yet connected.

        Raises:
            ConfigError: The address is none, a file cannot be read, or settings do not go together.
        """
        self.check()
        return HttpSink(self, _Otlp(now_ns, self.label), ledger)


class _Otlp:
    """What a receiver of OTLP is sent, and what it says."""

    content_type = "application/x-protobuf"

    def __init__(self, now_ns: Callable[[], int], label: str) -> None:
        from logllm.sinks.otlp.encode import Encoder
        from logllm.sinks.otlp.proto import empty_request

        self.probe = empty_request()
        self._encoder: Encoder = Encoder(now_ns)
        self._label = label
        self._has_wondered = False

    def records(self, parcel: Parcel) -> list[Encoded]:
        return self._encoder.records(parcel)

    def body(self, records: Sequence[Encoded]) -> bytes:
        return self._encoder.body(records)

    def accepted(self, answer: HttpAnswer) -> Accepted:
        from logllm.sinks.otlp.proto import response

        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        said = _of_json(answer.body) if kind == "application/json" else response(answer.body)
        if said is not None:
            return Accepted(*said)
        if not self._has_wondered:
            self._has_wondered = True
            _log.warning("%s: what it answers is no OTLP; status %d counts", self._label, answer.status)
        return Accepted()


class _Partial(msgspec.Struct, frozen=True, rename="camel"):
    # Of 64 bits, which JSON's numbers are not: protobuf writes them as texts.
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    partial_success: _Partial = _Partial()


def _of_json(body: bytes) -> tuple[int, str] | None:
    try:
        said = msgspec.json.decode(body, type=_Response).partial_success
        return int(said.rejected_log_records), said.error_message
    except (msgspec.MsgspecError, ValueError):
        return None
