"""What servers answer, byte for byte, and what destinations make of it."""

from __future__ import annotations

import contextlib
import socket
import threading

from logllm.errors import DeliveryError, NotifyError
from logllm.notify.post import post
from logllm.notify.slack.api import SlackApi
from logllm.notify.slack.buttons import Buttons
from logllm.notify.slack.message import Composer
from logllm.notify.slack.webhook import SlackWebhook
from logllm.sinks.otlp.proto import response
from logllm.wire.http import HttpClient, retry_after_s
from tests.fuzz.inputs import Choices, check_refusal
from tests.notify.slack.samples import LINKS, notification

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1200

_DEADLINE_S = 3.0
_MOST_BYTES = 700
_NOW_S = 1_715_700_000.0
_SECRET = "s3cretpath"
# None is a timeout: the server always ends.
_KINDS = frozenset(("refused", "io"))
_TOLD = notification("open")
_COMPOSER = Composer(Buttons(LINKS, interactive=False))


def check(data: bytes) -> None:
    """Any bytes are an answer, or an error in one line that shows no secret; in time, and no more of it is kept."""
    choices = Choices(data)
    use = choices.one_of((_answer, _answer, _post, _slack, _bot, _proxy))
    cuts = choices.below(4)
    with _Server(choices.rest(), cuts) as address:
        failed: NotifyError | DeliveryError | None = None
        try:
            use(address)
        except (NotifyError, DeliveryError) as error:
            failed = error
    if failed is None:
        return
    check_refusal(failed)
    assert _SECRET not in str(failed)
    if isinstance(failed, NotifyError):
        assert failed.retry_after_s is None or 0 <= failed.retry_after_s <= 86_400
    else:
        assert failed.kind in _KINDS


def _answer(address: str) -> None:
    client = HttpClient(f"http://{address}/{_SECRET}", deadline_s=_DEADLINE_S, max_bytes=_MOST_BYTES)
    answer = client.request(b"{}", {})
    assert 100 <= answer.status <= 999
    assert len(answer.body) <= _MOST_BYTES
    assert len(answer.said) <= 200
    assert answer.said.isprintable()
    assert all(name == name.lower() for name in answer.headers)
    wait_s = retry_after_s(answer.headers, _NOW_S)
    assert wait_s is None or 0 <= wait_s <= 86_400
    taken = response(answer.body)
    assert taken is None or isinstance(taken.message, str)


def _post(address: str) -> None:
    client = HttpClient(f"http://{address}/{_SECRET}", deadline_s=_DEADLINE_S)
    post(client, b"{}", {}, _NOW_S, name="ours", secrets=(client.shown + _SECRET, _SECRET))


def _slack(address: str) -> None:
    client = HttpClient(f"http://{address}/{_SECRET}", deadline_s=_DEADLINE_S)
    assert SlackWebhook("ours", client, _COMPOSER, lambda: _NOW_S).send(_TOLD, "") == ""


def _bot(address: str) -> None:
    api = SlackApi("ours", f"http://{address}/api/", f"xoxb-{_SECRET}", deadline_s=_DEADLINE_S, clock=lambda: _NOW_S)
    place = api.post("C0123ABCD", {"text": "x"})
    assert place is None or len(str(place)) <= 100


def _proxy(address: str) -> None:
    proxy = f"http://me:{_SECRET}@{address}"
    HttpClient("https://receiver.example/", deadline_s=_DEADLINE_S, proxy=proxy).request(b"{}", {})


class _Server:
    """Answers the connections that come with these bytes, in some pieces, whatever it is asked."""

    def __init__(self, said: bytes, cuts: int) -> None:
        self._said, self._cuts = said, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_DEADLINE_S)
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __exit__(self, *_: object) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            # Wakes what waits for one more connection.
            socket.create_connection(self._listener.getsockname(), timeout=1.0).close()
        self._thread.join(_DEADLINE_S)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                if self._ended:
                    return
                peer.settimeout(_DEADLINE_S)
                self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        if self._cuts != 3:
            peer.recv(65_536)
        size = len(self._said) // (self._cuts % 3 + 1) + 1
        for at in range(0, len(self._said), size):
            peer.sendall(self._said[at : at + size])
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65_536):
            pass


def seeds() -> list[bytes]:
    """Answers of every kind, and such as no server gives."""
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.0 200\r\n\r\nok", b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 7\r\n\r\ns3cret\n",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 14\r\n\r\ninvalid_blocks", b"HTTP/1.1 404 x\r\n\r\nno_service",
        b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\nok", b"HTTP/1.1 100 Continue\r\n\r\n" * 5,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        b'HTTP/1.1 200 OK\r\nContent-Length: 59\r\n\r\n{"ok":true,"channel":"C0123ABCD","ts":"1700000000.000100"}\n',
        b'HTTP/1.1 200 OK\r\n\r\n{"ok":false,"error":"ratelimited"}', b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 600,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 110 + b"\r\n", b"HTTP/1.1 200 OK\r\nX:\xff\r\n y\r\n\r\nok", b"\xff\xfe",
        b"HTTP/9.9 abc\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"", b"\r\n" * 9,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x03\0\2\2\x28", b"HTTP/1.1 407 who\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    )  # fmt: skip
    return [bytes([number % 6, number % 4]) + said for number, said in enumerate(answers)] + [
        bytes([(number + 3) % 6, (number + 1) % 4]) + said for number, said in enumerate(answers)
    ]
