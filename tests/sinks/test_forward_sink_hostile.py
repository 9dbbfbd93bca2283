"""The forward sink against receivers that are broken or worse: it says what happened, and takes nothing for an ack."""

from __future__ import annotations

from collections.abc import Callable

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.errors import DeliveryError
from tests.sinks.fake_receiver import FakeReceiver, Peer, ack, healthy
from tests.sinks.forward_parts import Ledger, numbered, parcel, sink_for

DEEP = 100_000


def sends(data: bytes) -> Callable[[Peer], None]:
    """Reads two frames, says this, and waits for the sink to close."""

    def behave(peer: Peer) -> None:
        peer.frame()
        peer.frame()
        peer.send(data)
        while peer.message() is not None:
            pass

    return behave


def reads_and_closes(peer: Peer) -> None:
    peer.frame()
    peer.frame()


def closes_in_the_middle_of_an_ack(peer: Peer) -> None:
    peer.frame()
    peer.frame()
    peer.send(ack(b"id0")[:-1])


@pytest.mark.parametrize(
    ("behaviour", "kind", "told"),
    [
        (lambda peer: None, "closed", "connection closed"),
        (reads_and_closes, "closed", "connection closed (end of stream), expected acks"),
        (closes_in_the_middle_of_an_ack, "closed", "closed in the middle of an answer"),
        (sends(ack(b"other")), "answer", "got an ack for b'other', which is not owed"),
        (sends(ack(b"")), "answer", "which is not owed"),
        (sends(ack(b"id0")[:-1] + b"X"), "answer", "got an ack for b'idX', which is not owed"),
        (sends(b"\xc0"), "answer", "expected an ack"),
        (sends(b"\xc1"), "answer", "expected an ack"),
        (sends(b"\x90"), "answer", "expected an ack"),
        (sends(b"\x80"), "answer", "expected an ack"),
        (sends(b"\x81\xa3ack\x01"), "answer", "expected an ack"),
        (sends(b"\x81\xa3ack\x91\xa3id0"), "answer", "expected an ack"),
        (sends(b"\x81\x90\xa3id0"), "answer", "expected an ack"),
        (sends(b"\x92\xa3ack\xa3id0"), "answer", "expected an ack"),
        (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "answer", "expected an ack"),
        (sends(b'{"ack":"id0"}'), "answer", "expected an ack"),
        (sends(b"\xdb\xff\xff\xff\xff" + b"a" * 1_000_000), "answer", "expected an ack"),
        (sends(b"\x81\xa3ack\xda\xff\xff" + b"a" * 65_534), "timeout", "expected acks of 2 frames"),
        (sends(b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1_000_000), "answer", "expected an ack"),
        (sends(b"\xdc\xff\xff" + b"\xa9" + b"a" * 1_000_000), "answer", "expected an ack"),
        (sends(b"\x91" * DEEP), "answer", "expected an ack"),
        (sends(msgpack.packb(["HELO", {"nonce": b"n" * 16}])), "handshake", "it sent HELO"),
        (sends(b""), "timeout", "nothing for 0.2 s, expected acks of 2 frames"),
    ],
)
def test_no_wrong_answer_counts_and_the_next_write_starts_afresh(
    behaviour: Callable[[Peer], None], kind: str, told: str
) -> None:
    ledger = Ledger()

    with FakeReceiver(behaviour, healthy) as receiver:
        sink = sink_for(receiver, ledger, ack_timeout_s=0.2 if kind == "timeout" else 20.0)
        with pytest.raises(DeliveryError) as caught:
            sink.write(numbered(2))
        committed = list(ledger.keys)
        done = sink.write(numbered(2))
        sink.close()

    assert (caught.value.kind, committed) == (kind, [])
    assert str(caught.value).startswith(f"{receiver.address}: ")
    assert told in str(caught.value)
    assert (done, receiver.connections, receiver.ids[-2:]) == (2, 2, [b"id0", b"id1"])


@pytest.mark.parametrize("nonsense", [ack(b"other"), b"\xc1", b"\xc0", b"\x81"])
def test_acks_in_front_of_nonsense_count(nonsense: bytes) -> None:
    ledger = Ledger()

    with FakeReceiver(sends(ack(b"id0") + ack(b"id1") + nonsense), healthy) as receiver:
        sink = sink_for(receiver, ledger)
        first = sink.write(numbered(2))
        second = sink.write(numbered(3)[2:])
        sink.close()

    assert (first, second) == (2, 1)
    assert receiver.got[-1].connection == 2
    assert ledger.keys == [b"key id0", b"key id1", b"key id2"]


def test_acks_may_come_a_byte_at_a_time_several_at_once_or_as_binary() -> None:
    def a_byte_at_a_time(peer: Peer) -> None:
        peer.frame()
        peer.frame()
        for byte in ack(b"id0") + ack(b"id1"):
            peer.send(bytes((byte,)))
        third, fourth = peer.frame(), peer.frame()
        assert third is not None
        assert fourth is not None
        peer.send(msgpack.packb({"ack": third.chunk_id}) + ack(fourth.chunk_id))
        healthy(peer)

    with FakeReceiver(a_byte_at_a_time) as receiver:
        sink = sink_for(receiver)
        done = sink.write(numbered(4))
        sink.close()

    assert (done, receiver.connections) == (4, 1)


def test_an_ack_for_a_frame_that_is_not_all_sent_is_refused() -> None:
    large = parcel("x" * 40_000_000, ids=[b"large"])

    def guesses(peer: Peer) -> None:
        peer.sock.recv(10)
        peer.send(ack(b"large"))
        # Read on, all of it could be under way before the ack is looked at.
        assert receiver.released.wait(20)

    ledger = Ledger()
    with FakeReceiver(guesses, buffer_bytes=4096) as receiver:
        sink = sink_for(receiver, ledger)
        with pytest.raises(DeliveryError, match="ack for b'large', which is not owed"):
            sink.write([large])
        receiver.released.set()

    assert ledger.keys == []


def test_a_receiver_that_takes_no_bytes_is_given_up() -> None:
    def reads_nothing(peer: Peer) -> None:
        assert receiver.released.wait(20)

    with FakeReceiver(reads_nothing, buffer_bytes=4096) as receiver:
        sink = sink_for(receiver, ack_timeout_s=0.2)
        with pytest.raises(DeliveryError, match=r"nothing for 0\.2 s") as caught:
            sink.write([parcel("x" * 40_000_000)])
        receiver.released.set()

    assert caught.value.kind == "timeout"


def test_acks_that_trickle_without_ever_being_whole_are_given_up() -> None:
    def trickles(peer: Peer) -> None:
        peer.send(b"\x81\xa3ack\xda\xff\xff")
        for _ in range(10_000):
            if receiver.released.wait(0.005):
                return
            peer.send(b"a")

    with FakeReceiver(trickles) as receiver:
        sink = sink_for(receiver, ack_timeout_s=0.3)
        with pytest.raises(DeliveryError, match=r"nothing for 0\.3 s"):
            sink.write(numbered(1))
        receiver.released.set()
