from __future__ import annotations

import socket

import pytest

from logllm.wire.dial import Deadline, dialled
from tests.notify.fake_http import FakeHttp


def leads_to(address: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "127.0.0.1"])
def test_this_machines_name_leads_nowhere_else_whatever_a_resolver_says(host: str) -> None:
    asked: list[str] = []

    def rebound(name: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(name)
        return leads_to("192.0.2.1", port)

    with Deadline(5.0) as deadline, pytest.raises(OSError, match="leads to another"):
        dialled(host, 9, deadline, rebound)

    assert asked == [host]


def test_of_several_addresses_the_one_that_is_this_machine_is_taken() -> None:
    with FakeHttp() as receiver, Deadline(5.0) as deadline:
        found = [*leads_to("192.0.2.1", receiver.port), *leads_to("127.0.0.1", receiver.port)]
        sock = dialled("localhost", receiver.port, deadline, lambda name, port: found)
        peer = sock.getpeername()
        sock.close()

    assert peer == ("127.0.0.1", receiver.port)


def test_an_allowed_name_goes_where_the_resolver_says() -> None:
    with FakeHttp() as receiver, Deadline(5.0) as deadline:
        sock = dialled("hooks.example.com", 443, deadline, lambda name, port: leads_to("127.0.0.1", receiver.port))
        peer = sock.getpeername()
        sock.close()

    assert peer == ("127.0.0.1", receiver.port)
