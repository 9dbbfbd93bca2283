"""What counts as sent again, against a slow model: records that were stored and never acknowledged, exactly once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.service.dedup import KEYS_OF_A_PEER, KEYS_OF_ALL, Dedup, Flight

SINK = "file"


class Peer:
    def __init__(self, *, arrived: bool = True) -> None:
        self.is_open = True
        self.has_left = False
        self.arrived = arrived

    def ack_arrived(self) -> bool:
        return self.arrived and not self.has_left


class Store:
    """Dedup in front of a ledger in memory, as delivery uses it."""

    def __init__(self) -> None:
        self.dedup = Dedup()
        self.times: dict[bytes, int] = {}

    def begin(self, peer: Peer, *keys: bytes) -> Flight | None:
        """The deliveries that begin; None where it has to wait for another's."""
        missing = self.dedup.missing(keys, SINK)
        self.dedup.learn(SINK, missing, {key: self.times[key] for key in missing if key in self.times})
        if self.dedup.in_flight(peer, keys, [SINK]):
            self.dedup.release(keys)
            return None
        wants = self.dedup.judge(peer, keys, [SINK])
        return self.dedup.take_off(peer, [key for key, want in zip(keys, wants, strict=True) if want])

    def land(self, flight: Flight, *, done: bool = True) -> None:
        if done:
            for key in flight.keys:
                self.times[key] = self.times.get(key, 0) + 1
            self.dedup.landed(flight.keys, SINK)
        self.dedup.end(flight, done=done)

    def send(self, peer: Peer, *keys: bytes) -> int:
        """How many of the keys were stored."""
        flight = self.begin(peer, *keys)
        assert flight is not None
        self.land(flight)
        return len(flight.keys)

    def close(self, peer: Peer) -> None:
        peer.is_open, peer.has_left = False, True
        self.dedup.forget(peer)


def test_the_same_bytes_on_one_healthy_connection_are_different_records() -> None:
    store, peer = Store(), Peer()

    stored = [store.send(peer, b"k") for _ in range(3)]

    assert stored == [1, 1, 1]


def test_what_comes_again_after_its_connection_ended_is_a_retry_as_often_as_it_was_stored() -> None:
    store, first, second = Store(), Peer(), Peer()
    store.send(first, b"k", b"k", b"k")
    store.close(first)

    again = [store.send(second, b"k") for _ in range(4)]

    assert again == [0, 0, 0, 1]


def test_a_retry_after_a_restart_is_known_from_the_ledger() -> None:
    store, restarted = Store(), Store()
    store.send(Peer(), b"k")
    restarted.times = store.times

    assert restarted.send(Peer(), b"k") == 0
    assert restarted.send(Peer(), b"other") == 1


def test_another_healthy_connection_may_send_the_same_bytes_when_the_first_has_its_ack() -> None:
    store, first, second = Store(), Peer(), Peer()
    store.send(first, b"k")

    assert store.send(second, b"k") == 1


def test_while_an_ack_may_still_be_under_way_what_comes_elsewhere_is_a_retry() -> None:
    store, first, second = Store(), Peer(arrived=False), Peer()
    store.send(first, b"k")

    assert store.send(second, b"k") == 0


def test_a_retry_of_what_is_in_flight_waits_and_is_then_known() -> None:
    store, first, second = Store(), Peer(), Peer()
    flight = store.begin(first, b"k")
    assert flight is not None

    waits = store.begin(second, b"k") is None
    store.close(first)
    store.land(flight)

    assert waits
    assert store.send(second, b"k") == 0


def test_what_came_again_while_it_was_in_flight_is_a_retry_although_its_connection_is_open() -> None:
    store, first, second, third = Store(), Peer(), Peer(), Peer()
    flight = store.begin(first, b"k")
    assert flight is not None
    assert store.begin(second, b"k") is None
    store.land(flight)

    again = store.send(second, b"k"), store.send(third, b"k")
    on_the_first = store.send(first, b"k")

    assert again == (0, 0)
    assert on_the_first == 1


def test_what_waited_on_a_connection_that_has_left_and_was_stored_elsewhere_is_not_stored_again() -> None:
    store, first, second = Store(), Peer(), Peer()
    first.has_left = True
    store.send(second, b"k")

    assert store.send(first, b"k") == 0


def test_equal_records_of_a_peer_that_has_shut_its_side_are_all_stored() -> None:
    store, peer = Store(), Peer()
    peer.has_left = True

    assert [store.send(peer, b"k") for _ in range(3)] == [1, 1, 1]


def test_a_retry_of_what_failed_in_flight_is_stored() -> None:
    store, first, second = Store(), Peer(), Peer()
    flight = store.begin(first, b"k")
    assert flight is not None
    store.close(first)
    store.land(flight, done=False)

    assert store.send(second, b"k") == 1


def test_a_sink_that_lacks_a_chunk_gets_it_and_the_other_does_not() -> None:
    dedup, peer = Dedup(), Peer()
    dedup.learn("a", [b"k"], {b"k": 1})
    dedup.learn("b", [b"k"], {})

    assert dedup.judge(peer, [b"k"], ["a", "b"]) == [frozenset({"b"})]


def test_nothing_is_remembered_of_connections_that_have_ended() -> None:
    store = Store()

    for number in range(50):
        peer = Peer()
        store.send(peer, b"%d" % number, b"x")
        store.close(peer)

    assert len(store.dedup) == 0


def test_a_connection_that_lives_for_ever_has_a_bound() -> None:
    store, peer = Store(), Peer()

    for number in range(3 * KEYS_OF_A_PEER):
        store.send(peer, b"%d" % number)

    assert len(store.dedup) == KEYS_OF_A_PEER
    store.close(peer)
    assert len(store.dedup) == 0


def test_a_chunk_may_have_more_keys_than_are_remembered_of_a_connection() -> None:
    store, peer = Store(), Peer()
    keys = [b"%d" % number for number in range(2 * KEYS_OF_A_PEER)]

    stored = store.send(peer, *keys)

    assert stored == len(keys)
    assert len(store.dedup) == KEYS_OF_A_PEER


def test_many_connections_have_a_bound_together() -> None:
    store = Store()
    most = 0

    for number in range(200):
        store.send(Peer(), *[b"%d %d" % (number, key) for key in range(KEYS_OF_A_PEER)])
        most = max(most, len(store.dedup))

    assert most < 4 * KEYS_OF_ALL


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_fails_when_each_record_is_stored_exactly_once(data: st.DataObject) -> None:
    """A sender keeps a batch until it is acked and sends it again on a new connection; anything may fail between."""
    store, peer = Store(), Peer()
    batches = data.draw(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), min_size=1, max_size=6))

    for number, batch in enumerate(batches):
        keys = [f"{number}{name}".encode() for name in batch]
        acked = False
        while not acked:
            flight = store.begin(peer, *keys)
            assert flight is not None
            what = data.draw(st.sampled_from(["ok", "ok", "fails", "ack lost", "crash"]))
            store.land(flight, done=what != "fails")
            acked = what == "ok"
            if what == "crash":
                times, store = store.times, Store()
                store.times = times
            if not acked:
                store.close(peer)
                peer = Peer()

    sent = {f"{n}{name}".encode(): batch.count(name) for n, batch in enumerate(batches) for name in batch}
    assert store.times == sent
