"""Which chunks have come before: told apart from records that merely look the same.

A sender that has no ack sends a chunk again, with the same id. But an id may be a hash of the records (Fluent Bit's
is), so two chunks of equal bytes have one id too. The rule: a repeated chunk is a retry only where the ack of an
earlier one may not have arrived. So what was delivered and acknowledged on a connection that is open and healthy does
not count against a repeat; what was delivered on a connection that has ended, or before a restart, does, once each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

__all__ = ["Dedup", "Flight", "Sender"]

# A connection may live for months; its oldest chunks are then taken for those of one that has ended.
KEYS_OF_A_PEER = 4096
# And of all together, at 0.9 KB each: with many connections each has its share, but never fewer than this.
KEYS_OF_ALL = 131_072
_LEAST_KEYS = 64


class Sender(Protocol):
    """What is asked of a peer."""

    @property
    def is_open(self) -> bool:
        """False once its connection has ended."""

    @property
    def has_left(self) -> bool:
        """Whether it has sent its end, also where that has not been read yet."""

    def ack_arrived(self) -> bool:
        """Whether it is there, and all that was written to it has reached it."""

    def __hash__(self) -> int: ...


class Flight:
    """A chunk on its way to the sinks."""

    __slots__ = ("keys", "overtaken", "peer")

    def __init__(self, peer: Hashable, keys: Sequence[bytes]) -> None:
        self.peer = peer
        self.keys = keys
        # What came again elsewhere before it was acknowledged: its sender has given up waiting.
        self.overtaken: set[bytes] = set()


class _Tally:
    """One key on one open connection: deliveries done, such that were overtaken, repeats taken for retries."""

    __slots__ = ("done", "overtaken", "retries")

    def __init__(self) -> None:
        self.done = self.overtaken = self.retries = 0


class _Known:
    __slots__ = ("flights", "peers", "times")

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.flights: list[Flight] = []
        self.peers: dict[Sender, _Tally] = {}


class Dedup:
    """What is known of the keys that are under way or belong to open connections; the rest is in the ledgers.

    Use it from one thread. For a chunk: `missing` says what to look up, `learn` takes it, `in_flight` says what to
    wait for; then `judge` decides, `take_off` begins what is lacking, and `landed` and `end` tell how it went.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}
        self._of_peer: dict[Sender, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def missing(self, keys: Iterable[bytes], sink: str) -> list[bytes]:
        """The keys whose times in a sink are not known yet."""
        known = self._known
        return [key for key in dict.fromkeys(keys) if (one := known.get(key)) is None or sink not in one.times]

    def learn(self, sink: str, keys: Iterable[bytes], times: Mapping[bytes, int]) -> None:
        """What the sink's ledger says of keys; those it does not name it does not have."""
        for key in keys:
            one = self._known.get(key)
            if one is None:
                one = self._known[key] = _Known()
            one.times[sink] = times.get(key, 0)

    def in_flight(self, peer: Sender, keys: Iterable[bytes], sinks: Sequence[str]) -> list[Flight]:
        """Deliveries of others that must end before these keys can be judged: they may be what this is a retry of."""
        found: dict[Flight, None] = {}
        for key in keys:
            one = self._known[key]
            others = [flight for flight in one.flights if flight.peer is not peer]
            if others and self._lacks(one, peer, sinks):
                found.update(dict.fromkeys(others))
                for flight in others:
                    flight.overtaken.add(key)
        return list(found)

    def judge(self, peer: Sender, keys: Sequence[bytes], sinks: Sequence[str]) -> list[frozenset[str]]:
        """Which sinks lack each of these chunks; empty for a retry of what all of them have."""
        wants = []
        for key in keys:
            one = self._known[key]
            lacking = self._lacks(one, peer, sinks)
            tally = self._tally(one, peer, key)
            tally.retries += not lacking
            wants.append(lacking)
        return wants

    def take_off(self, peer: Sender, keys: Sequence[bytes]) -> Flight:
        """Deliveries begin."""
        flight = Flight(peer, keys)
        for key in keys:
            self._known[key].flights.append(flight)
        return flight

    def landed(self, keys: Iterable[bytes], sink: str) -> None:
        """A sink has committed keys."""
        for key in keys:
            one = self._known.get(key)
            if one is not None:
                one.times[sink] = one.times.get(sink, 0) + 1

    def end(self, flight: Flight, *, done: bool) -> None:
        """A delivery has ended; `done` if all sinks have it."""
        for key in flight.keys:
            one = self._known.get(key)
            if one is None:
                continue
            one.flights.remove(flight)
            tally = one.peers.get(flight.peer)  # type: ignore[call-overload]
            if tally is not None:
                tally.done += done
                tally.overtaken += done and key in flight.overtaken
            self._tidy(key, one)
        self._bound(flight.peer)

    def release(self, keys: Iterable[bytes]) -> None:
        """Keys that were looked at and are not on their way."""
        for key in keys:
            if (one := self._known.get(key)) is not None:
                self._tidy(key, one)

    def forget(self, peer: Sender) -> None:
        """A connection has ended: what was delivered on it may come again."""
        for key in self._of_peer.pop(peer, {}):
            one = self._known.get(key)
            if one is not None:
                one.peers.pop(peer, None)
                self._tidy(key, one)

    def _lacks(self, one: _Known, peer: Sender, sinks: Sequence[str]) -> frozenset[str]:
        sure = retries = 0
        for other, tally in one.peers.items():
            if other is peer:
                sure += tally.done
                retries = tally.retries
            # What a peer sent before it left may have been sent again, and stored, while it waited here.
            elif tally.done > tally.overtaken and not peer.has_left and other.ack_arrived():
                sure += tally.done - tally.overtaken
        return frozenset(sink for sink in sinks if retries >= one.times.get(sink, 0) - sure)

    def _tally(self, one: _Known, peer: Sender, key: bytes) -> _Tally:
        tally = one.peers.get(peer)
        if tally is not None:
            return tally
        if not peer.is_open:
            # Nobody will tell of its end again.
            return _Tally()
        tally = one.peers[peer] = _Tally()
        self._of_peer.setdefault(peer, {})[key] = None
        return tally

    def _bound(self, peer: Hashable) -> None:
        # Not while its chunk is on its way: that may have more keys than are remembered.
        keys = self._of_peer.get(peer, {})  # type: ignore[call-overload]
        share = max(_LEAST_KEYS, min(KEYS_OF_A_PEER, KEYS_OF_ALL // max(1, len(self._of_peer))))
        for oldest in list(islice(keys, max(0, len(keys) - share))):
            del keys[oldest]
            if (old := self._known.get(oldest)) is not None:
                old.peers.pop(peer, None)  # type: ignore[call-overload]
                self._tidy(oldest, old)

    def _tidy(self, key: bytes, one: _Known) -> None:
        if not one.flights and not one.peers:
            self._known.pop(key, None)
