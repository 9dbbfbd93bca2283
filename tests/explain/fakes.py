"""Servers we wrote ourselves: one that speaks the chat API well and badly, one that serves files with ranges."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ChatServer", "FileServer", "sha256"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing on the test's output."""

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Running:
    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.before_end()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def before_end(self) -> None:
        """Let requests that hang go."""


class ChatServer(_Running):
    """Answers `/v1/chat/completions` with `reply`, in the manner `mode` names.

    Modes: ok, plain (not streamed), hang (nothing at all), hang_body (headers, then nothing), drip (a byte now and
    then), reset, cut (half of it), garbage, huge, and status codes as "401".
    """

    def __init__(
        self, reply: str | Callable[[dict[str, Any]], str] = "{}", mode: str = "ok", prompt_tokens: int = 0
    ) -> None:
        self.mode = mode
        self.reply = reply
        self.prompt_tokens = prompt_tokens
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.released = threading.Event()
        outer = self

        class Handler(_Quiet):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.keys.append(self.headers.get("Authorization", ""))
                outer.serve(self, body)

        super().__init__(Handler)

    def before_end(self) -> None:
        self.released.set()

    def serve(self, request: _Quiet, body: dict[str, Any]) -> None:
        text = self.reply if isinstance(self.reply, str) else self.reply(body)
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": len(text) // 4}
        whole = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
        if self.mode.isdigit():
            request.answer(int(self.mode), json.dumps({"error": {"message": "said the fake"}}).encode())
        elif self.mode == "plain":
            request.answer(200, json.dumps(whole).encode())
        elif self.mode == "garbage":
            request.answer(200, b"<html>not the API</html>")
        elif self.mode == "hang":
            self.released.wait(20)
            request.close_connection = True
        elif self.mode == "reset":
            request.close_connection = True
            request.connection.close()
        else:
            self._stream(request, text, usage)

    def _stream(self, request: _Quiet, text: str, usage: dict[str, int]) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        if self.mode == "hang_body":
            request.wfile.flush()
            self.released.wait(20)
            return
        try:
            if self.mode == "drip":
                while not self.released.wait(0.02):
                    request.wfile.write(b":")
                    request.wfile.flush()
                return
            pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
            if self.mode == "huge":
                pieces = ["x" * 60_000] * 10
            if self.mode == "cut":
                pieces = pieces[: len(pieces) // 2]
            for piece in pieces:
                self._event(request, {"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
            if self.mode != "cut":
                self._event(request, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
                self._event(request, {"choices": [], "usage": usage})
                request.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            return

    def _event(self, request: _Quiet, body: dict[str, Any]) -> None:
        request.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        request.wfile.flush()


class FileServer(_Running):
    """Serves `files` by path, with `Range`, `If-Range` and `ETag`.

    `break_after`: that many bytes into an answer the connection breaks, for as many answers as `breaks`.
    `redirects`: path to path and headers. `requests` are (path, Range).
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.redirects: dict[str, tuple[str, dict[str, str]]] = {}
        self.break_after = 0
        self.breaks = 0
        self.ranges = True
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(_Quiet):
            def do_GET(self) -> None:
                outer.serve(self)

        super().__init__(Handler)

    def serve(self, request: _Quiet) -> None:
        asked = request.headers.get("Range", "")
        self.requests.append((request.path, asked))
        if request.path in self.redirects:
            target, headers = self.redirects[request.path]
            request.answer(302, b"", {"Location": target, **headers})
            return
        data = self.files.get(request.path)
        if data is None:
            request.answer(404, b"no", {"Content-Type": "text/plain"})
            return
        tag = f'"{sha256(data)[:16]}"'
        start = 0
        if asked and self.ranges and request.headers.get("If-Range") in (None, tag):
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(data):
                request.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
        rest = data[start:]
        kind = "text/html" if request.path.endswith("/") else "application/octet-stream"
        if request.path.endswith("/") and data.startswith(b"{"):
            kind = "application/vnd.pypi.simple.v1+json"
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", kind)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(rest)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        if self.breaks and len(rest) > self.break_after:
            self.breaks -= 1
            request.wfile.write(rest[: self.break_after])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(1)
            return
        request.wfile.write(rest)
