"""A server that answers what a test wants, however wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

Answer = bytes | Callable[[socket.socket], None]
"""The bytes of an answer, or what to do with the connection once the question has been read."""

GOOD = {
    "/healthz": (200, b'{"status":"ok","version":"0.1.0","learning":null}'),
    "/readyz": (200, b'{"status":"ready"}'),
    "/metrics": (200, b"# TYPE logllm_templates gauge\nlogllm_templates 7.0\n"),
    "/senders": (200, b'[{"host":"10.0.0.7","frames":3,"records":900,"modes":["Forward"],"chunk_id_kind":"base64"}]'),
}


def answer(status: int, body: bytes, headers: str = "") -> bytes:
    """A whole answer of HTTP."""
    return f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n".encode() + body


@contextlib.contextmanager
def serving(pages: Mapping[str, tuple[int, bytes] | Answer]) -> Iterator[str]:
    """A server on a free port; its address. A path that is not there is answered with 404."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(10)
            question = b""
            while b"\r\n\r\n" not in question:
                part = sock.recv(65_536)
                if not part:
                    return
                question += part
            page = pages.get(question.split()[1].decode(), (404, b"{}"))
            if isinstance(page, tuple):
                page = answer(*page)
            if isinstance(page, bytes):
                sock.sendall(page)
            else:
                page(sock)

    def accept() -> None:
        while not ended.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        # Wakes `accept`, which closing alone does not.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)
