"""The forward sink's way in: shared keys, users, TLS, and receivers that have none of it or lie about it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.forward import ForwardSinkConfig
from logllm.wire.handshake import Helo, read_ping, write_helo, write_pong
from tests.sinks.certificates import Certificates, certificates
from tests.sinks.fake_receiver import Behaviour, FakeReceiver, Peer, healthy, welcoming
from tests.sinks.forward_parts import Ledger, numbered, sink_for

KEY, PASSWORD = b"k3y of ours", b"p4ssword"
HELO = Helo(b"0123456789abcdef")


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Any]:
    """The options of a sink that knows the key and a user."""
    (tmp_path / "key").write_bytes(KEY + b"\n")
    (tmp_path / "password").write_bytes(PASSWORD + b"\r\n")
    return {
        "shared_key_file": str(tmp_path / "key"),
        "username": "ann",
        "password_file": str(tmp_path / "password"),
        "self_hostname": "sender",
    }


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def test_a_receiver_with_a_shared_key_and_users_lets_us_in_once_for_a_connection(secrets: dict[str, Any]) -> None:
    with FakeReceiver(welcoming(KEY, {b"ann": PASSWORD})) as receiver:
        sink = sink_for(receiver, **secrets)
        done = [sink.write([sent]) for sent in numbered(3)]
        sink.close()

    assert (done, receiver.connections) == ([1, 1, 1], 1)


def test_a_user_may_be_all_that_is_asked_for(secrets: dict[str, Any]) -> None:
    with FakeReceiver(welcoming(b"", {b"ann": PASSWORD})) as receiver:
        sink = sink_for(receiver, **{**secrets, "shared_key_file": ""})
        done = sink.write(numbered(1))
        sink.close()

    assert done == 1


def slowly(peer: Peer) -> None:
    for byte in write_helo(HELO):
        peer.send(bytes((byte,)))
    ping = read_ping(msgpack.packb(peer.message(), use_bin_type=False))
    for byte in write_pong(ping, HELO.nonce, KEY, "receiver"):
        peer.send(bytes((byte,)))
    healthy(peer)


def test_a_handshake_may_come_a_byte_at_a_time(secrets: dict[str, Any]) -> None:
    with FakeReceiver(slowly) as receiver:
        sink = sink_for(receiver, **secrets)
        done = sink.write(numbered(1))
        sink.close()

    assert done == 1


def opens_with(data: bytes, *, close: bool = False) -> Behaviour:
    """Says this; then waits for the sink to close, and no frame may come."""

    def behave(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            peer.send(data)
        if not close:
            assert peer.message() is None

    return behave


def answers(pong: Callable[[list[bytes]], bytes], *, close: bool = False) -> Behaviour:
    """A HELO, and then what this makes of the PING."""

    def behave(peer: Peer) -> None:
        peer.send(write_helo(HELO))
        message = peer.message()
        assert isinstance(message, list)
        # The sink may have closed already, at the first bytes it did not like.
        with contextlib.suppress(ConnectionError):
            peer.send(pong(message))
        if not close:
            assert peer.message() is None

    return behave


def pong(*fields: object) -> Callable[[list[bytes]], bytes]:
    return lambda ping: bytes(msgpack.packb(["PONG", *fields]))


def true_pong(ping: list[bytes], key: bytes = KEY, host: str = "receiver") -> bytes:
    return write_pong(read_ping(msgpack.packb(ping, use_bin_type=False)), HELO.nonce, key, host)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (welcoming(b"another key"), "the server does not let us in: 'shared_key mismatch'"),
        (welcoming(KEY, {b"ann": b"x"}), "the server does not let us in: 'username/password mismatch'"),
        (welcoming(KEY, {b"bob": PASSWORD}), "the server does not let us in: 'username/password mismatch'"),
        (answers(pong(False, "go\x1b[2Jaway\n", "", "")), r"does not let us in: 'go\x1b[2Jaway\n'"),
        (answers(lambda ping: true_pong(ping, b"guessed")), "does not prove that it knows the shared key"),
        (answers(lambda ping: true_pong(ping, host="sender")), "the server calls itself 'sender', as we do"),
        # Who sends our own proof back knows nothing.
        (answers(lambda ping: msgpack.packb(["PONG", True, "", ping[1], ping[3]])), "the server calls itself"),
        (answers(pong(True, "", "receiver", "0" * 128)), "does not prove that it knows the shared key"),
        (answers(pong(True, "", "receiver", "")), "does not prove that it knows the shared key"),
        (answers(pong(True, "", "receiver")), "got a PONG of 4 fields"),
        (answers(pong(1, "", "receiver", "")), "does not let us in: 'no reason given'"),
        (answers(lambda ping: true_pong(ping) + b"\x81\xa3ack\xa3id0"), "behind the PONG"),
        (answers(lambda ping: b"\x81\xa3ack\xa3id0"), "expected a PONG"),
        (answers(lambda ping: b"\xdd\xff\xff\xff\xff" + b"\xc0" * 100_000), "expected a PONG"),
        (answers(lambda ping: b"", close=True), "closes without a word when the shared key is not its own"),
        (answers(lambda ping: true_pong(ping)[:-9], close=True), "closed the connection"),
        (opens_with(b"", close=True), "the server does not seem to have a shared key"),
        (opens_with(b"\xc1"), "expected a HELO"),
        (opens_with(b"\xc0"), "expected a HELO"),
        (opens_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "expected a HELO"),
        (opens_with(msgpack.packb(["HELO", {}])), "got a HELO without a nonce"),
        (opens_with(msgpack.packb(["HELO", {"nonce": 1}])), "got a HELO without a nonce"),
        (opens_with(b"\x92\xa4HELO\x81\x90\xc0"), "handshake failed"),
        (opens_with(msgpack.packb(["HELO", {"nonce": b"n" * 100_000}])), "expected a HELO"),
        (opens_with(b"\x91" * 100_000), "expected a HELO"),
        (opens_with(b"\xd9\xff" * 100_000), "expected a HELO"),
    ],
)
def test_whom_we_cannot_trust_gets_no_record_and_the_next_write_starts_afresh(
    secrets: dict[str, Any], behaviour: Behaviour, told: str
) -> None:
    ledger = Ledger()

    with FakeReceiver(behaviour, welcoming(KEY, {b"ann": PASSWORD})) as receiver:
        sink = sink_for(receiver, ledger, **secrets)
        with pytest.raises(DeliveryError) as caught:
            sink.write(numbered(1))
        receiver.wait_for_end(1)
        before = list(receiver.got)
        done = sink.write(numbered(1))
        sink.close()

    assert (caught.value.kind, before, done) == ("handshake", [], 1)
    assert told in str(caught.value)
    assert str(caught.value).startswith(receiver.address)
    for shown in (str(caught.value), repr(sink), repr(sink.config), repr(sink.config.endpoint())):
        assert KEY.decode() not in shown
        assert PASSWORD.decode() not in shown


def test_a_receiver_that_says_nothing_is_given_up_and_the_likely_reason_told(secrets: dict[str, Any]) -> None:
    with FakeReceiver(opens_with(b"")) as receiver:
        sink = sink_for(receiver, connect_timeout_s=0.2, **secrets)
        with pytest.raises(DeliveryError, match=r"no answer within 0\.2 s: the server does not seem to have") as caught:
            sink.write(numbered(1))

    assert caught.value.kind == "handshake"


def test_a_receiver_that_wants_a_key_we_do_not_have_is_recognised() -> None:
    with FakeReceiver(welcoming(KEY)) as receiver:
        sink = sink_for(receiver)
        with pytest.raises(DeliveryError, match=r"it sent HELO.*`shared_key_file`") as caught:
            sink.write(numbered(1))

    assert caught.value.kind == "handshake"


@pytest.mark.parametrize("mode", ["forward", "packed"])
def test_tls_checks_the_receiver_and_shows_our_own_certificate(
    tls: Certificates, secrets: dict[str, Any], mode: str
) -> None:
    context = tls.server_context(client_wanted=True)
    options: dict[str, Any] = {
        "tls": True,
        "tls_ca": str(tls.ca),
        "tls_cert": str(tls.client),
        "tls_key": str(tls.client_key),
    }
    parcels = [*numbered(50), *numbered(3, size=1_000_000)]

    with FakeReceiver(welcoming(KEY), tls=context) as receiver:
        sink = sink_for(receiver, mode=mode, **options, **secrets)
        done = sink.write(parcels)
        done += sink.write(parcels)
        sink.close()

    assert (done, receiver.connections) == (2 * len(parcels), 1)
    assert len(receiver.got) == 2 * len(parcels)


@pytest.mark.parametrize("name", ["receiver.test", ""])
def test_the_name_on_the_certificate_may_be_told(tls: Certificates, name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s") if name else ""

    with FakeReceiver(path=path, tls=tls.server_context()) as receiver:
        sink = sink_for(receiver, tls=True, tls_ca=str(tls.ca), tls_server_name=name)
        done = sink.write(numbered(1))
        sink.close()

    assert done == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "its certificate is not accepted: unable to get local issuer certificate"),
        ({"tls_ca": "ca", "tls_server_name": "other.test"}, "its certificate is not accepted: Hostname mismatch"),
        ({"tls_ca": "client", "tls_server_name": "receiver.test"}, "its certificate is not accepted"),
    ],
)
def test_a_certificate_that_is_not_good_is_refused_before_any_record(
    tls: Certificates, options: dict[str, str], told: str
) -> None:
    given: dict[str, Any] = {
        key: str(getattr(tls, value)) if key == "tls_ca" else value for key, value in options.items()
    }

    with FakeReceiver(tls=tls.server_context()) as receiver:
        sink = sink_for(receiver, tls=True, **given)
        with pytest.raises(DeliveryError) as caught:
            sink.write(numbered(1))

    assert (caught.value.kind, receiver.got) == ("handshake", [])
    assert told in str(caught.value)


def test_a_certificate_goes_unchecked_only_where_that_is_asked_for(tls: Certificates) -> None:
    with FakeReceiver(tls=tls.server_context()) as receiver:
        sink = sink_for(receiver, tls=True, tls_verify=False)
        done = sink.write(numbered(1))
        sink.close()

    assert done == 1


def test_a_receiver_that_wants_a_certificate_of_ours_is_understood(tls: Certificates) -> None:
    with FakeReceiver(tls=tls.server_context(client_wanted=True)) as receiver:
        sink = sink_for(receiver, tls=True, tls_ca=str(tls.ca))
        with pytest.raises(DeliveryError) as caught:
            sink.write(numbered(1))

    # Which of the two is seen depends on whether our record is there before the refusal.
    assert caught.value.kind in ("handshake", "closed")


def test_plain_text_where_tls_is_expected_and_the_other_way_round(tls: Certificates) -> None:
    def speaks_http(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while peer.sock.recv(4096):
            pass

    with FakeReceiver(speaks_http) as receiver:
        sink = sink_for(receiver, tls=True)
        with pytest.raises(DeliveryError, match=r"TLS failed: .*expected a TLS listener") as plain:
            sink.write(numbered(1))
    with FakeReceiver(tls=tls.server_context()) as receiver:
        sink = sink_for(receiver)
        with pytest.raises(DeliveryError) as encrypted:
            sink.write(numbered(1))

    assert plain.value.kind == "handshake"
    assert encrypted.value.kind in ("closed", "answer")


def test_a_receiver_silent_at_tls_is_given_up() -> None:
    def reads(peer: Peer) -> None:
        while peer.sock.recv(4096):
            pass

    with FakeReceiver(reads) as receiver:
        sink = sink_for(receiver, tls=True, connect_timeout_s=0.2)
        with pytest.raises(DeliveryError, match=r"no TLS within 0\.2 s") as caught:
            sink.write(numbered(1))

    assert caught.value.kind == "timeout"


def test_a_key_with_a_passphrase_is_refused_without_asking_anyone(tls: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(tls.client_key), "-out", str(locked), "-aes256", "-passout", "pass:word"]
    subprocess.run(command, check=True, timeout=60)

    with pytest.raises(ConfigError, match="cannot be used"):
        ForwardSinkConfig("h:1", tls=True, tls_cert=str(tls.client), tls_key=str(locked)).build(Ledger())
