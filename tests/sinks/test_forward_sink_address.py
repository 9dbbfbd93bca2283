"""Where the forward sink connects to: addresses, settings that cannot be, hosts that are not there."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest

from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.forward import ForwardSinkConfig
from tests.sinks.forward_parts import Ledger, numbered


def test_a_refused_connection_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sink = ForwardSinkConfig(address).build(Ledger())

        with pytest.raises(DeliveryError, match=f"^{address}: cannot connect: ") as caught:
            sink.write(numbered(1))

    assert caught.value.kind == "refused"


def test_a_host_that_cannot_be_one_is_told() -> None:
    sink = ForwardSinkConfig(f"{'a' * 70}.test:1").build(Ledger())

    with pytest.raises(DeliveryError, match=": no such host: ") as caught:
        sink.write(numbered(1))

    assert caught.value.kind == "refused"


def test_a_host_that_does_not_answer_is_given_up() -> None:
    # Linux leaves a connection unanswered while the queue of those to be accepted is full.
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        sink = ForwardSinkConfig(f"127.0.0.1:{full.getsockname()[1]}", connect_timeout_s=0.2).build(Ledger())

        with pytest.raises(DeliveryError, match=r"no connection within 0\.2 s") as caught:
            sink.write(numbered(1))

    assert caught.value.kind == "timeout"


def test_a_unix_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    sink = ForwardSinkConfig(f"unix:{tmp_path}/none").build(Ledger())

    with pytest.raises(DeliveryError, match="none: cannot connect: No such file"):
        sink.write(numbered(1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"address": "host"}, "expected `host:port`"),
        ({"address": "host:0"}, "expected `host:port`"),
        ({"address": "unix:"}, "expected `host:port`"),
        ({"address": "host:70000"}, "expected `host:port`"),
        ({"shared_key_file": "/nowhere/key"}, "/nowhere/key: cannot read: No such file"),
        ({"shared_key_file": "{empty}"}, "is empty, expected a secret"),
        ({"username": "u"}, "`username` and `password_file` go together"),
        ({"password_file": "{empty}"}, "`username` and `password_file` go together"),
        ({"tls_ca": "{empty}"}, "`tls_ca` is set and `tls` is not"),
        ({"tls": True, "tls_ca": "{empty}"}, "cannot be used"),
        ({"tls": True, "tls_key": "{empty}"}, "`tls_key` is set and `tls_cert` is not"),
        ({"tls": True, "tls_cert": "/nowhere/cert"}, "/nowhere/cert: cannot be used: No such file"),
        ({"tls": True, "address": "unix:/s"}, "expected `tls_server_name`"),
        ({"tls": True, "tls_server_name": ".local"}, "'.local' is no host name"),
        ({"tls": True, "address": "a..b:1"}, "'a..b' is no host name"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_sent(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    given: dict[str, Any] = {
        key: value.format(empty=empty) if isinstance(value, str) else value
        for key, value in {"address": "h:1", **options}.items()
    }

    with pytest.raises(ConfigError) as caught:
        ForwardSinkConfig(**given).build(Ledger())

    assert expected in str(caught.value)
    assert str(caught.value).startswith("forward sink ")


def test_ports_of_ipv6_addresses_are_found() -> None:
    where = ForwardSinkConfig("[::1]:24224").endpoint().where

    assert where == ("::1", 24224)
