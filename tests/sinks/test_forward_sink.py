"""What the forward sink promises: parcels arrive, count when they are acked, and never before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import DeliveryError
from logllm.sinks.forward_frames import Packing, content_id
from logllm.sinks.forward_window import MOST_BYTES, MOST_FRAMES, Window
from tests.sinks.fake_receiver import PATIENCE_S, Behaviour, FakeReceiver, Peer, ack, entries_of, healthy
from tests.sinks.forward_parts import Ledger, entry, numbered, parcel, sink_for


def test_parcels_arrive_in_order_and_their_keys_are_committed() -> None:
    ledger = Ledger()
    parcels = [parcel("a", "b", ids=[b"one\n"]), parcel("c", tag="other"), parcel("d", ids=[b"\xff two"])]

    with FakeReceiver() as receiver:
        sink = sink_for(receiver, ledger)
        done = sink.write(parcels)
        sink.close()

    assert done == 3
    assert [(got.tag, got.entries, got.chunk_id) for got in receiver.got] == [
        (sent.tag.encode(), entries_of(sent.block), chunk_id)
        for sent, chunk_id in zip(parcels, [b"one\n", content_id(parcels[1].block), b"\xff two"], strict=True)
    ]
    assert ledger.keys == [b"key one\n", b"key \xff two"]


def test_a_parcel_with_an_id_for_each_entry_counts_when_every_entry_is_acked() -> None:
    ledger = Ledger()
    whole = parcel("a", "b", "c", ids=[b"1", b"2", b"3"])

    def all_but_the_last(peer: Peer) -> None:
        got = [peer.frame() for _ in range(4)]
        peer.send(b"".join(ack(frame.chunk_id) for frame in got[:3] if frame))

    with FakeReceiver(all_but_the_last, healthy) as receiver:
        sink = sink_for(receiver, ledger)
        first = sink.write([parcel("x", ids=[b"0"]), whole])
        second = sink.write([whole])
        sink.close()

    assert (first, second) == (1, 1)
    assert receiver.ids == [b"0", b"1", b"2", b"3", b"1", b"2", b"3"]
    assert [got.entries for got in receiver.got[1:4]] == [entries_of(entry(text)) for text in "abc"]
    assert ledger.keys == [b"key 0", b"key 1", b"key 2", b"key 3"]


def test_one_connection_serves_many_writes_and_a_second_close_does_nothing() -> None:
    with FakeReceiver() as receiver:
        sink = sink_for(receiver)
        for sent in numbered(5):
            assert sink.write([sent]) == 1
        sink.close()
        sink.close()

    assert (receiver.connections, len(receiver.got)) == (1, 5)


def test_frames_go_out_before_the_acks_of_those_in_front_have_come() -> None:
    def wait_for_all(peer: Peer) -> None:
        ids = [got.chunk_id for _ in range(MOST_FRAMES) if (got := peer.frame())]
        peer.send(b"".join(map(ack, ids)))
        healthy(peer)

    with FakeReceiver(wait_for_all) as receiver:
        sink = sink_for(receiver)
        done = sink.write(numbered(MOST_FRAMES + 1))
        sink.close()

    assert done == MOST_FRAMES + 1


def test_a_receiver_that_reads_no_further_until_its_acks_are_read_is_read_from() -> None:
    # Ids so long that neither the acks nor the frames fit into the sockets' buffers.
    parcels = [parcel("x", ids=[b"%05d" % i * 12_000]) for i in range(2 * MOST_FRAMES)]

    with FakeReceiver(buffer_bytes=4096) as receiver:
        sink = sink_for(receiver)
        done = sink.write(parcels)
        sink.close()

    assert done == len(parcels)


def test_what_is_acked_and_cannot_be_committed_is_committed_later_and_not_sent_again() -> None:
    ledger = Ledger(fails=1)

    with FakeReceiver() as receiver:
        sink = sink_for(receiver, ledger)
        with pytest.raises(DeliveryError, match="disk full"):
            sink.write(numbered(2))
        done = sink.write(numbered(2))
        sink.close()

    assert (done, receiver.ids) == (2, [b"id0", b"id1"])
    assert ledger.keys == [b"key id0", b"key id1"]


def test_what_was_acked_before_the_connection_died_is_returned() -> None:
    ledger = Ledger()

    def dies_after_two(peer: Peer) -> None:
        for _ in range(2):
            got = peer.frame()
            assert got is not None
            peer.send(ack(got.chunk_id))

    with FakeReceiver(dies_after_two, healthy) as receiver:
        sink = sink_for(receiver, ledger)
        first = sink.write(numbered(5))
        second = sink.write(numbered(5)[first:])
        sink.close()

    assert (first, second, receiver.connections) == (2, 3, 2)
    assert ledger.keys == [b"key id%d" % i for i in range(5)]


def test_an_ack_for_a_later_parcel_does_not_count_for_those_in_front() -> None:
    ledger = Ledger()

    def acks_the_second(peer: Peer) -> None:
        frames = [peer.frame(), peer.frame()]
        assert frames[1] is not None
        peer.send(ack(frames[1].chunk_id))

    with FakeReceiver(acks_the_second) as receiver:
        sink = sink_for(receiver, ledger)
        with pytest.raises(DeliveryError) as caught:
            sink.write(numbered(2))

    assert (caught.value.kind, ledger.keys) == ("closed", [])


def test_acks_may_come_in_any_order_and_the_same_id_several_times() -> None:
    def backwards(peer: Peer) -> None:
        ids = [got.chunk_id for _ in range(4) if (got := peer.frame())]
        peer.send(b"".join(map(ack, reversed(ids))))
        healthy(peer)

    same = parcel("same")

    with FakeReceiver(backwards) as receiver:
        sink = sink_for(receiver)
        done = sink.write([same, parcel("other"), same, same])
        sink.close()

    assert done == 4


def test_a_connection_the_receiver_closed_while_idle_is_replaced_unseen() -> None:
    def one_frame(peer: Peer) -> None:
        got = peer.frame()
        assert got is not None
        peer.send(ack(got.chunk_id))

    with FakeReceiver(one_frame) as receiver:
        sink = sink_for(receiver)
        for number, sent in enumerate(numbered(3), start=1):
            assert sink.write([sent]) == 1
            receiver.wait_for_end(number)
        sink.close()

    assert receiver.ids == [b"id0", b"id1", b"id2"]


def test_bytes_that_come_while_nothing_is_owed_cost_the_connection_and_no_record() -> None:
    said = threading.Event()

    def says_more(peer: Peer) -> None:
        got = peer.frame()
        assert got is not None
        peer.send(ack(got.chunk_id))
        peer.send(ack(b"id1"))
        said.set()
        assert peer.frame() is None

    with FakeReceiver(says_more, healthy) as receiver:
        sink = sink_for(receiver)
        first, second = numbered(2)
        assert sink.write([first]) == 1
        assert said.wait(PATIENCE_S)
        assert sink.write([second]) == 1
        sink.close()

    assert [(got.connection, got.chunk_id) for got in receiver.got] == [(1, b"id0"), (2, b"id1")]


def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    with FakeReceiver(path=str(tmp_path / "s")) as receiver:
        sink = sink_for(receiver)
        done = sink.write(numbered(2))
        sink.close()

    assert done == 2


def test_no_more_is_under_way_than_the_window_holds() -> None:
    small = Window(numbered(MOST_FRAMES + 10), Packing())
    large = Window(numbered(10, size=MOST_BYTES // 3), Packing())

    small.fill()
    large.fill()

    assert small.frames == MOST_FRAMES
    assert large.frames == 3
    assert MOST_BYTES <= large.bytes < 2 * MOST_BYTES


def test_an_ack_counts_only_once_its_whole_frame_has_been_sent() -> None:
    window = Window(numbered(1), Packing())
    window.fill()
    size = len(window.to_send(1)[0])

    window.sent(size - 1)
    early = window.acked(b"id0")
    window.sent(1)
    due = window.acked(b"id0")
    again = window.acked(b"id0")

    assert (early, due, again, window.done) == (False, True, False, 1)


def dying(most_bytes: int, most_acks: int) -> Behaviour:
    """A receiver that dies having read so many bytes, or at the first frame after so many acks."""

    def behave(peer: Peer) -> None:
        read, acked = 0, 0
        while read < most_bytes:
            data = peer.sock.recv(most_bytes - read)
            if not data:
                return
            read += len(data)
            for got in peer.feed(data):
                if acked == most_acks:
                    return
                peer.send(ack(got.chunk_id))
                acked += 1

    return behave


@settings(max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["none", "one", "each"])), min_size=1, max_size=12),
    plan=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 6)), max_size=5),
    options=st.sampled_from([{}, {"mode": "packed"}, {"compress": "gzip"}, {"max_frame_bytes": 1024}]),
)
def test_whatever_dies_and_when_each_record_arrives_and_once_by_its_id(
    shapes: list[tuple[int, str]], plan: list[tuple[int, int]], options: dict[str, Any]
) -> None:
    parcels = []
    for place, (count, ids) in enumerate(shapes):
        names = {"none": 0, "one": 1, "each": count}[ids]
        texts = [f"{place}.{i} " + "y" * 300 for i in range(count)]
        parcels.append(parcel(*texts, ids=[b"%d.%d" % (place, i) for i in range(names)]))
    ledger = Ledger()
    rest = list(parcels)
    failures = []

    with FakeReceiver(*(dying(*death) for death in plan), healthy) as receiver:
        sink = sink_for(receiver, ledger, **options)
        # A write that fails or is cut short has used up a connection; the last one is healthy.
        for _ in range(len(plan) + 1):
            try:
                rest = rest[sink.write(rest) :]
            except DeliveryError as error:
                failures.append(error.kind)
            if not rest:
                break
        sink.close()

    assert (rest, set(failures)) in (([], set()), ([], {"closed"}))
    by_id: dict[bytes, list[object]] = {}
    for got in receiver.got:
        assert by_id.setdefault(got.chunk_id, got.entries) == got.entries
    arrived = [item for entries in by_id.values() for item in entries]
    sent = [item for whole in parcels for item in entries_of(whole.block)]
    assert sorted(map(repr, arrived)) == sorted(map(repr, sent))
    assert ledger.keys == [key for whole in parcels for key in whole.keys]
