"""A receiver of messages: a real HTTP server on 127.0.0.1 that keeps what came and answers from a script."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

__all__ = ["OK", "Arrived", "FakeHttp", "Reply"]

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Reply:
    """How one request is answered.

    Args:
        headers: Beside Content-Length, which is added unless it is named here (to lie about it).
        takes: Whether the receiver counts the message as its own, which the sender may never learn; None: it does
            where the status is 2xx.
        wait_s: Before the answer.
        way: `hang` never answers, `cut` closes the connection without an answer, `half` closes it in the middle of
            the body, `drip` sends a byte every `drip_s` and never comes to an end.
    """

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: bool | None = None
    wait_s: float = 0.0
    way: Literal["answer", "hang", "cut", "half", "drip"] = "answer"
    drip_s: float = 0.02


OK = Reply()


@dataclass
class Arrived:
    """One request, and what became of it.

    Attributes:
        number: From 0, in the order they came.
        headers: By their names in lower case.
        at_s: `time.monotonic()` when all of it had come.
        answered: The answer has been written, as far as the server can know.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float
    reply: Reply = OK
    answered: bool = False

    @property
    def taken(self) -> bool:
        return self.reply.status // 100 == 2 if self.reply.takes is None else self.reply.takes

    def json(self) -> Any:
        return json.loads(self.body)


class FakeHttp:
    """Serves until it is closed; use it in a `with`.

    Args:
        script: Answers in order of arrival; when they are used up, `otherwise` answers.
        otherwise: An answer, or what chooses one; it is called with the request already in `requests`.
    """

    def __init__(self, *script: Reply, otherwise: Reply | Callable[[Arrived], Reply] = OK) -> None:
        self.requests: list[Arrived] = []
        self.changed = threading.Condition()
        self._script = list(script)
        self._otherwise = otherwise
        self._closing = threading.Event()
        fake = self

        class Conversation(BaseHTTPRequestHandler):
            timeout = PATIENCE_S

            def do_POST(self) -> None:
                fake._converse(self)

            do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
                pass

        class Server(ThreadingHTTPServer):
            # Joined when the server is closed: nothing of it outlives a test.
            daemon_threads = False
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Conversation)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fake http")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def taken(self) -> list[Arrived]:
        """What the receiver has, in order."""
        with self.changed:
            return [one for one in self.requests if one.taken]

    def script(self, *replies: Reply) -> None:
        """Answers for the next requests, behind those still in the script."""
        with self.changed:
            self._script.extend(replies)

    def until(self, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
        """Wait for something that requests and answers bring about; whether it came to be."""
        with self.changed:
            return self.changed.wait_for(holds, timeout_s)

    def wait_for(self, count: int, timeout_s: float = PATIENCE_S) -> list[Arrived]:
        """The requests, when there are so many."""
        found = self.until(lambda: len(self.requests) >= count, timeout_s)
        assert found, f"{len(self.requests)} of {count} requests came in {timeout_s:g} s"
        return self.requests

    def close(self) -> None:
        """Let go of everybody. A second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()

    def __enter__(self) -> FakeHttp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _converse(self, of: BaseHTTPRequestHandler) -> None:
        of.close_connection = True
        with contextlib.suppress(OSError, ValueError):
            length = int(of.headers.get("Content-Length", "0"))
            body = of.rfile.read(length)
            if len(body) < length:
                return  # its sender died meanwhile: no receiver takes half a message
            headers = {name.lower(): value for name, value in of.headers.items()}
            with self.changed:
                one = Arrived(len(self.requests), of.command, of.path, headers, body, time.monotonic())
                self.requests.append(one)
                scripted = self._script.pop(0) if self._script else None
                if scripted is not None:
                    one.reply = scripted
                elif callable(self._otherwise):
                    one.reply = self._otherwise(one)
                else:
                    one.reply = self._otherwise
                self.changed.notify_all()
            self._answer(of, one.reply)
            with self.changed:
                one.answered = one.reply.way == "answer"
                self.changed.notify_all()

    def _answer(self, of: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.wait_s:
            self._closing.wait(reply.wait_s)
        if reply.way == "hang":
            self._closing.wait(PATIENCE_S)
        if reply.way in ("hang", "cut"):
            of.connection.shutdown(socket.SHUT_RDWR)
            return
        if reply.way == "drip":
            end = time.monotonic() + PATIENCE_S
            of.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while time.monotonic() < end and not self._closing.wait(reply.drip_s):
                of.wfile.write(b".")
            return
        of.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.body)), "Connection": "close", **reply.headers}
        for name, value in headers.items():
            of.send_header(name, value)
        of.end_headers()
        of.wfile.write(reply.body[: len(reply.body) // 2] if reply.way == "half" else reply.body)
        of.wfile.flush()
