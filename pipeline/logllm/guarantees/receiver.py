"""A receiver of what logllm sends over HTTP: it keeps what came and answers as a check says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from logllm.guarantees.verdict import Broken
from logllm.guarantees.wait import until

__all__ = ["Answer", "Arrived", "Receiver", "taken"]

_MOST_BYTES = 4 << 20


class Arrived(msgspec.Struct, frozen=True):
    """One request. `headers` are by their names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Its body. Raises Broken where it is no JSON object."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Broken(f"a message is no JSON: {error}") from error


Answer = Callable[[Arrived], tuple[int, bytes]]


def taken(_: Arrived) -> tuple[int, bytes]:
    """What Slack and everybody else says of what it has taken."""
    return 200, b"ok"


class Receiver:
    """Listens on a free port of 127.0.0.1 until it is closed.

    Args:
        answer: Status and body for each request; called in a thread for each.
    """

    def __init__(self, answer: Answer = taken) -> None:
        self.answer = answer
        self.arrived: list[Arrived] = []
        receiver = self

        class Web(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length") or 0), _MOST_BYTES)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(size)
                if len(body) < size:
                    return  # The child was killed while it sent: nothing has arrived.
                arrived = Arrived(self.path, headers, body)
                receiver.arrived.append(arrived)
                status, body = receiver.answer(arrived)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # The child was killed meanwhile.

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, count: int, patience_s: float) -> bool:
        """Whether so many requests have come within that time."""
        return until(lambda: len(self.arrived) >= count, patience_s)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10.0)
