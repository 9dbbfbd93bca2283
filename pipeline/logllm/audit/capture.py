"""A receiver on this machine that takes what it is sent, as Slack or a model would, and keeps all of it."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

__all__ = ["Capture"]

_MOST_BYTES = 16 << 20
_TIMEOUT_S = 20.0
_SLACK = {"ok": True, "channel": "C0CANARY", "ts": "1700000000.000100"}
_MODEL = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}


class Capture:
    """Listens on 127.0.0.1 while it is entered.

    Attributes:
        bodies: What came, by the first part of its path, which says who it answers as: `api` (Slack's), `model`, and
            anybody else, who says ok.
        heads: Request lines and headers, likewise.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        self.heads: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()
        outer = self

        class Conversation(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_S

            def do_POST(self) -> None:
                with suppress(OSError, ValueError):
                    outer._converse(self)

            do_GET = do_PUT = do_POST  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Nothing on our output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Conversation)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="capture", daemon=True)

    def url(self, place: str) -> str:
        """The address that answers as `place`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{place}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _converse(self, of: BaseHTTPRequestHandler) -> None:
        body = of.rfile.read(min(int(of.headers.get("Content-Length", "0")), _MOST_BYTES))
        place = of.path.strip("/").partition("/")[0]
        head = f"{of.command} {of.path}\n{of.headers}".encode(errors="replace")
        with self._lock:
            self.bodies.setdefault(place, []).append(body)
            self.heads.setdefault(place, []).append(head)
        answer = b"ok"
        if place in ("api", "model"):
            answer = json.dumps(_SLACK if place == "api" else _MODEL).encode()
        of.send_response(200)
        of.send_header("Content-Type", "application/json" if place in ("api", "model") else "text/plain")
        of.send_header("Content-Length", str(len(answer)))
        of.end_headers()
        of.wfile.write(answer)
