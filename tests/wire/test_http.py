"""Requests to servers that hang, drip, lie, cut and redirect; and nothing of a secret in what is said of it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError, DeliveryError
from logllm.wire.http import HttpAnswer, HttpClient, retry_after_s
from tests.sinks.certificates import Certificates, certificates
from tests.wire.raw_server import Peer, RawServer, answering

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr3t-path-0123456789"
LATE_S = 0.15
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def failure(
    url: str, *, body: bytes = b"{}", headers: dict[str, str] | None = None, ca: str = "", proxy: str = ""
) -> DeliveryError:
    """What a request with a short deadline fails with, and that it fails soon and shows no secret."""
    began = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        HttpClient(url + SECRET, deadline_s=LATE_S, ca=ca, proxy=proxy).request(body, headers or {})
    assert time.monotonic() - began < 5.0
    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    return caught.value


def test_a_request_arrives_with_its_path_its_headers_and_its_body() -> None:
    with RawServer(answering(b"HTTP/1.1 202 Accepted\r\nX-Limit: 7\r\nContent-Length: 2\r\n\r\nok")) as server:
        client = HttpClient(server.url + "a/b?c=d")

        answer = client.request(b'{"n": 1}', {"Content-Type": "application/json"})

    head, _, body = server.got[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a/b?c=d HTTP/1.1"
    assert {b"Content-Type: application/json", b"Connection: close", b"Content-Length: 8"} <= set(lines)
    assert f"Host: 127.0.0.1:{server.port}".encode() in lines
    assert body == b'{"n": 1}'
    assert answer == HttpAnswer(202, {"x-limit": "7", "content-length": "2"}, b"ok")


def test_another_path_and_method_may_be_asked_for() -> None:
    with RawServer(answering(OK)) as server:
        HttpClient(server.url + "base").request(b"", {}, method="GET", path="/other?q=1")

    assert server.got[0].startswith(b"GET /other?q=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (lambda peer: peer.hang(), "timeout"),
        (lambda peer: (peer.read(), peer.hang()), "timeout"),
        (lambda peer: (peer.read(), peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-"), peer.hang()), "timeout"),
        (lambda peer: (peer.read(), peer.sock.sendall(OK[:-1]), peer.hang()), "timeout"),
        (lambda peer: (peer.read(), peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nto the end"), peer.hang()), "timeout"),
        (lambda peer: (peer.read(), peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90)), "timeout"),
        (lambda peer: (peer.read(), peer.sock.sendall(OK[:-2]), peer.drip(b"ok" * 1000)), None),
        (lambda peer: (peer.read(), peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), peer.drip(b"x" * 900)), "timeout"),
        (lambda peer: (peer.read(), peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 90, 0.001)), "timeout"),
    ],
    ids=[
        "before the request is read",
        "before the header",
        "in the header",
        "in the body",
        "in a body without a length",
        "a header that drips",
        "a body that drips and is whole in time",
        "a body without a length that drips",
        "informational answers without end",
    ],
)
def test_no_server_can_hold_a_request_beyond_its_deadline(behave: Callable[[Peer], None], kind: str | None) -> None:
    with RawServer(behave) as server:
        if kind is None:
            assert HttpClient(server.url).request(b"{}", {}).body == b"ok"
            return

        error = failure(server.url)

    assert error.kind == kind
    assert f"no answer in {LATE_S:g} s" in str(error)


def test_a_server_that_reads_nothing_of_a_long_body_does_not_hold_it_either() -> None:
    with RawServer(lambda peer: peer.server.stopped.wait(5.0)) as server:  # type: ignore[arg-type]
        error = failure(server.url, body=bytes(64 << 20))
        server.stopped.set()

    assert error.kind == "timeout"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
    ],
)
def test_a_connection_that_is_cut_is_no_answer(answer: bytes) -> None:
    with RawServer(answering(answer)) as server:
        error = failure(server.url)

    assert error.kind == "io"
    assert "broke before the answer was whole" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x50" * 20,
        b"SSH-2.0-OpenSSH\r\n" + SECRET.encode() + b"\r\n",
        b"HTTP/1.1 \x1b[31m\xe2\x80\xaeevil\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_said_in_our_own_words(answer: bytes) -> None:
    with RawServer(answering(answer)) as server:
        error = failure(server.url)

    assert error.kind == "io"
    assert str(error).endswith("what it answered is not HTTP")


def test_of_an_endless_answer_only_the_beginning_is_read() -> None:
    def gigabyte(peer: Peer) -> None:
        peer.read()
        peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            peer.sock.sendall(b"x" * (1 << 20))

    with RawServer(gigabyte) as server:
        answer = HttpClient(server.url, max_bytes=1000).request(b"", {})

    assert answer.body == b"x" * 1000


def test_a_refusal_that_comes_before_the_body_was_read_is_heard() -> None:
    def refuse(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with RawServer(refuse) as server:
        answer = HttpClient(server.url).request(bytes(8 << 20), {})

    assert answer.status == 413


def test_a_redirect_is_an_answer_and_nothing_goes_where_it_leads() -> None:
    with RawServer(answering(OK)) as elsewhere:
        location = b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: " + elsewhere.url.encode() + b"\r\n\r\n"
        with RawServer(answering(location)) as server:
            answer = HttpClient(server.url).request(b"secret", {})

    assert answer.status == 307
    assert elsewhere.got == []


def test_where_nothing_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = failure(f"http://127.0.0.1:{port}/")

    assert (error.kind, str(error)) == (
        "refused",
        f"http://127.0.0.1:{port}/...: cannot connect: nothing listens there",
    )


def test_a_name_that_nobody_knows_is_a_connection_that_is_refused() -> None:
    with pytest.raises(DeliveryError) as caught:
        HttpClient(f"http://{'a' * 70}.invalid/{SECRET}").request(b"", {})

    assert caught.value.kind == "refused"
    assert SECRET not in str(caught.value)


def test_an_address_of_ipv6_is_reached_and_named() -> None:
    try:
        server = RawServer(answering(OK), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        client = HttpClient(server.url + SECRET)

        assert client.request(b"", {}).status == 200

    assert client.shown == f"http://[::1]:{server.port}/..."
    assert f"Host: [::1]:{server.port}".encode() in server.got[0]


def test_a_user_and_a_password_in_the_url_become_a_header_and_are_shown_nowhere() -> None:
    with RawServer(answering(OK)) as server:
        client = HttpClient(server.url.replace("http://", "http://me:p%40ss@"))

        client.request(b"", {})
        client.request(b"", {"authorization": "Bearer t"})

    assert b"Authorization: Basic " + b64encode(b"me:p@ss") in server.got[0]
    assert b"Authorization: Basic" not in server.got[1]
    assert "p@ss" not in repr(client)
    assert all("ss" not in repr(value) for value in vars(client).values())


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\n b", "a\rb", "a\0b", "\x1b", "\u20ac", "\ud800"])
def test_a_header_cannot_be_smuggled_in_by_a_value_and_the_value_is_not_shown(value: str) -> None:
    with RawServer(answering(OK)) as server:
        error = failure(server.url, headers={"X-Token": SECRET + value})

    assert error.kind == "config"
    assert "X-Token" in str(error)
    assert server.got == []


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é"])
def test_a_header_cannot_be_smuggled_in_by_a_name(name: str) -> None:
    assert failure("http://127.0.0.1:9/", headers={name: SECRET}).kind == "config"


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/é", "/\x7f"])
def test_a_path_cannot_break_the_request_line(path: str) -> None:
    with pytest.raises(DeliveryError, match="HTTP cannot carry") as caught:
        HttpClient("http://127.0.0.1:9").request(b"", {}, path=path + SECRET)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/" + SECRET,
        "ftp://hooks.example.com/" + SECRET,
        "http:///" + SECRET,
        "http://h:99999/" + SECRET,
        "http://h:0/" + SECRET,
        "http://h:x/" + SECRET,
        "http://[::1/" + SECRET,
        "http://h/" + SECRET + "\r\nX: y",
        "http://h/a b" + SECRET,
        "http://h/é" + SECRET,
        "http://exämple.com/" + SECRET,
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="expected http") as caught:
        HttpClient(url)

    assert SECRET not in str(caught.value)


def test_authorities_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.pem: cannot read the authorities to trust"):
        HttpClient("https://127.0.0.1/", ca="nowhere.pem")


def test_tls_is_spoken_with_whom_we_trust(made: Certificates) -> None:
    with RawServer(answering(OK), tls=made.server_context()) as server:
        answer = HttpClient(server.url, ca=str(made.ca)).request(b"x" * 100_000, {})

        untrusted = failure(server.url)

    assert answer.status == 200
    assert server.got[0].endswith(b"x" * 100_000)
    assert untrusted.kind == "refused"
    assert "its certificate is not trusted" in str(untrusted)


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 50, b"\x16\x03\x03\x00\x01\x00", b""]
)
def test_a_server_that_speaks_no_tls_gets_nothing_of_the_request(garbage: bytes, made: Certificates) -> None:
    def behave(peer: Peer) -> None:
        peer.server.got.append(peer.sock.recv(65_536))
        peer.sock.sendall(garbage)

    with RawServer(behave) as server:
        error = failure(server.url.replace("http:", "https:"), ca=str(made.ca))

    assert error.kind == "refused"
    assert SECRET.encode() not in b"".join(server.got)


def test_a_handshake_that_drips_is_ended_in_time(made: Certificates) -> None:
    # A record that says it is 16 kB long, whose bytes come one by one: each read of it succeeds.
    with RawServer(lambda peer: peer.drip(b"\x16\x03\x03\x40\x00" + bytes(2000))) as server:
        error = failure(server.url.replace("http:", "https:"), ca=str(made.ca))

    assert (error.kind, "no answer in time" in str(error)) == ("refused", True)


def test_an_answer_that_drips_through_tls_is_ended_in_time(made: Certificates) -> None:
    def behave(peer: Peer) -> None:
        peer.read()
        peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90)

    with RawServer(behave, tls=made.server_context()) as server:
        client = HttpClient(server.url, ca=str(made.ca), deadline_s=1.0)
        began = time.monotonic()

        with pytest.raises(DeliveryError) as caught:
            client.request(b"", {})

    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 5.0


def pumping(first: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Callable[[Peer], None]:
    """A proxy: it does as it is told by CONNECT."""

    def behave(peer: Peer) -> None:
        head = peer.read()
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), 5.0) as onward:
            peer.sock.sendall(first)
            onward.settimeout(0.02)
            peer.sock.settimeout(0.02)
            for _ in range(500):
                for here, there in ((peer.sock, onward), (onward, peer.sock)):
                    try:
                        data = here.recv(65_536)
                    except TimeoutError:
                        continue
                    if not data:
                        return
                    there.sendall(data)

    return behave


def test_a_proxy_connects_and_sees_nothing_of_what_is_encrypted(made: Certificates) -> None:
    with (
        RawServer(answering(OK), tls=made.server_context()) as server,
        RawServer(pumping()) as proxy,
    ):
        login = proxy.url.replace("http://", "http://me:pw@")
        answer = HttpClient(server.url + SECRET, ca=str(made.ca), proxy=login).request(b"body", {"X-Key": SECRET})

    assert answer.body == b"ok"
    lines = proxy.got[0].split(b"\r\n")
    assert lines[:2] == [
        f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode(),
        f"Host: 127.0.0.1:{server.port}".encode(),
    ]
    assert lines[2] == b"Proxy-Authorization: Basic " + b64encode(b"me:pw")
    assert SECRET.encode() not in proxy.got[0]
    assert b"Proxy-Authorization" not in server.got[0]


def test_a_proxy_is_asked_for_what_is_not_encrypted_by_its_whole_address() -> None:
    with RawServer(answering(OK)) as proxy:
        HttpClient("http://me:pw@db.example:81/a?b", proxy=proxy.url).request(b"", {})

    head = proxy.got[0]
    assert head.startswith(b"POST http://db.example:81/a?b HTTP/1.1\r\n")
    assert b"Host: db.example:81\r\n" in head
    assert b"Authorization: Basic " in head


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 " + SECRET.encode() + b"\r\n\r\n", "the proxy answered 407"),
        (b"SSH-2.0\r\n\r\n", "what the proxy answered is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20_000, "the proxy gave no answer"),
        (b"", "the proxy gave no answer"),
    ],
)
def test_a_proxy_that_refuses_is_named_as_the_reason(answer: bytes, why: str) -> None:
    with RawServer(answering(answer)) as proxy:
        error = failure("https://127.0.0.1:9/", proxy=proxy.url.replace("http://", f"http://me:{SECRET}@"))

    assert error.kind == "refused"
    assert str(error).endswith(f"cannot connect: {why}")


def test_a_proxy_that_drips_is_ended_in_time() -> None:
    with RawServer(lambda peer: (peer.read(), peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90))) as proxy:  # type: ignore[arg-type,func-returns-value]
        error = failure("https://127.0.0.1:9/", proxy=proxy.url)

    assert error.kind == "refused"


@pytest.mark.parametrize("proxy", ["https://p:1/" + SECRET, "p:1", f"http://me:{SECRET}@/"])
def test_a_proxy_that_is_none_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigError, match="of a proxy") as caught:
        HttpClient("https://127.0.0.1:9/", proxy=proxy)

    assert SECRET not in str(caught.value)


def test_nothing_is_logged_and_no_thread_is_left(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), RawServer(answering(OK)) as server:
        client = HttpClient(server.url + SECRET)
        for _ in range(5):
            client.request(b"", {})
        timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]

    assert caplog.records == []
    assert timers == []


def test_what_a_server_said_is_one_printable_line() -> None:
    answer = HttpAnswer(400, {}, "no\r\n\x1b[31m\u202eyes\0".encode() + b"\xff" + b"x" * 1000)

    assert answer.said.isprintable()
    assert len(answer.said) == 200
    assert answer.said.startswith("no")


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("999999999999999999999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
        ("", None),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_by_a_date(value: str, pause_s: float | None) -> None:
    assert retry_after_s({"retry-after": value}, 100.0) == pause_s


@given(st.text(max_size=200) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:.]+ [A-Z+\-\d]*"))
def test_whatever_a_server_asks_for_the_pause_is_bounded(value: str) -> None:
    pause_s = retry_after_s({"retry-after": value}, 1e9)

    assert pause_s is None or 0.0 <= pause_s <= 86_400.0
