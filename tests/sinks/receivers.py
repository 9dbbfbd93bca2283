"""Receivers of OTLP and of Loki's push API that read what comes with published protobuf, and do what a test wants."""

from __future__ import annotations

import gzip
import json
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from logllm.errors import DeliveryError

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "CUT", "CUT_AFTER_TAKING", "HANG", "Answer", "Behaviour", "Got", "Line", "LokiReceiver", "MemoryLedger",
    "OtlpReceiver", "Receiver", "partial_success", "refusing", "values_of",
]  # fmt: skip

_PATIENCE_S = 20.0


class Answer(NamedTuple):
    """What a request gets.

    Args:
        status: 0 closes the connection instead of answering, -1 never answers.
        takes: Whether the receiver keeps what came; by default if the status is one of 2xx.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    takes: bool | None = None


CUT, CUT_AFTER_TAKING, HANG = Answer(0), Answer(0, takes=True), Answer(-1)


class Got(NamedTuple):
    """A request as it came, its body inflated. `size`: its body's bytes on the wire."""

    path: str
    headers: dict[str, str]
    body: bytes
    size: int


Behaviour = Callable[[Got], Answer]


class Receiver:
    """An HTTP server on this machine.

    Args:
        answers: For the first requests, in turn; then `after` answers.
        after: What the others get.
        port: 0 picks one.
        tls: What it listens with.
    """

    def __init__(
        self,
        *answers: Answer | Behaviour,
        after: Behaviour | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.got: list[Got] = []
        self.wrong: list[BaseException] = []
        self._answers = deque(answers)
        self._after = after or (lambda _: Answer(self.taken))
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self._handler(), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "http" if tls is None else "https"
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    taken = 200

    @property
    def url(self) -> str:
        """Without a path."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def take(self, got: Got) -> None:
        """Read a request that is taken; ValueError for one that is wrong."""

    def answer(self, got: Got) -> Answer:
        """Whatever it is, in order."""
        with self._lock:
            self.got.append(got)
            behaviour = self._answers.popleft() if self._answers else self._after
        answer = behaviour if isinstance(behaviour, Answer) else behaviour(got)
        if answer.takes if answer.takes is not None else 200 <= answer.status < 300:
            with self._lock:
                self.take(got)
        if answer.status < 0:
            self._ending.wait(_PATIENCE_S)
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                if len(body) < size:
                    return
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.answer(Got(self.path, headers, body, size))
                if answer.status > 0:
                    self.send_response(answer.status)
                    for name, value in answer.headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join(_PATIENCE_S)
        self._server.server_close()
        assert not self.wrong, self.wrong


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], receiver: Receiver) -> None:
        self._receiver = receiver
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        # A client that gives up is no mistake of ours.
        if error is not None and not isinstance(error, ConnectionError | ssl.SSLError):
            self._receiver.wrong.append(error)


class OtlpReceiver(Receiver):
    """Keeps log records with their resources' attributes."""

    def __init__(self, *answers: Answer | Behaviour, **settings: object) -> None:
        self.requests: list[ExportLogsServiceRequest] = []
        self.records: list[tuple[dict[str, object], LogRecord]] = []
        super().__init__(*answers, **settings)  # type: ignore[arg-type]

    def take(self, got: Got) -> None:
        """By the published classes, and nothing in it that these do not know."""
        assert (got.path, got.headers["content-type"]) == ("/v1/logs", "application/x-protobuf")
        request = ExportLogsServiceRequest.FromString(got.body)
        # What a message has no field for is kept and counted in its size.
        known = ExportLogsServiceRequest.FromString(got.body)
        known.DiscardUnknownFields()
        assert known.ByteSize() == request.ByteSize()
        self.requests.append(request)
        for resource in request.resource_logs:
            attributes = values_of(resource.resource.attributes)
            for scope in resource.scope_logs:
                assert scope.scope.name == "logllm"
                self.records += [(attributes, record) for record in scope.log_records]

    @property
    def texts(self) -> list[str]:
        """The bodies, in the order they came."""
        return [record.body.string_value for _, record in self.records]


def values_of(pairs: object) -> dict[str, object]:
    """Attributes, or the fields of a map, as Python has them. Names must not repeat."""
    found: dict[str, object] = {}
    for pair in pairs:  # type: ignore[attr-defined]
        assert pair.key not in found, pair.key
        found[pair.key] = _value(pair.value)
    return found


def _value(value: object) -> object:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    inner = getattr(value, kind) if kind else None
    if kind == "kvlist_value":
        return values_of(inner.values)  # type: ignore[union-attr]
    return [_value(each) for each in inner.values] if kind == "array_value" else inner  # type: ignore[union-attr]


def partial_success(rejected: int, message: str) -> Answer:
    """A request that is taken but for some of its records."""
    said = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    )
    return Answer(200, said.SerializeToString(), (("Content-Type", "application/x-protobuf"),))


class Line(NamedTuple):
    """A line in Loki, with its stream's labels."""

    labels: tuple[tuple[str, str], ...]
    time_ns: int
    text: str
    metadata: tuple[tuple[str, str], ...] = ()


class LokiReceiver(Receiver):
    """Keeps lines as Loki does: those that are equal once. `pushed` has them as often as they came."""

    taken = 204

    def __init__(self, *answers: Answer | Behaviour, **settings: object) -> None:
        self.pushed: list[Line] = []
        super().__init__(*answers, **settings)  # type: ignore[arg-type]

    @property
    def lines(self) -> list[Line]:
        """What a query would find."""
        return list(dict.fromkeys(self.pushed))

    def take(self, got: Got) -> None:
        """Checked as strictly as Loki does."""
        assert (got.path, got.headers["content-type"]) == ("/loki/api/v1/push", "application/json")
        said = json.loads(got.body)
        assert set(said) == {"streams"}
        for stream in said["streams"]:
            assert set(stream) == {"stream", "values"}
            assert stream["stream"]
            assert all(isinstance(value, str) and value for value in stream["stream"].values())
            times = []
            for time, text, *metadata in stream["values"]:
                assert isinstance(time, str)
                assert isinstance(text, str)
                times.append(int(time))
                more = tuple(sorted(metadata[0].items())) if metadata else ()
                self.pushed.append(Line(tuple(sorted(stream["stream"].items())), times[-1], text, more))
            assert times == sorted(times)


def refusing(word: bytes, status: int = 400, taken: int = 200) -> Behaviour:
    """Answers requests that hold a word with 400, and takes all others."""
    return lambda got: Answer(status, b"cannot read " + word) if word in got.body else Answer(taken)


class MemoryLedger:
    """A ledger that notes what it is told; says no `fails` times first."""

    def __init__(self, path: Path | None = None, fails: int = 0) -> None:
        self.path = path
        self.keys: list[bytes] = []
        self.fails = fails

    def commit(self, keys: Sequence[bytes]) -> None:
        """Note them."""
        if self.fails:
            self.fails -= 1
            raise DeliveryError("ledger: disk full", kind="full")
        self.keys += keys
