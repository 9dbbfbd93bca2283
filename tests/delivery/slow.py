"""A server at full input whose only sink hardly moves: how much memory it takes, and whether all of it arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import msgspec

from tests.delivery.child import Server, until
from tests.delivery.sender import Sender, Way, chunk_of

__all__ = ["Flood", "SlowReceiver", "flood"]

_PAD = "x" * 950
_RECORDS = 2_000  # of a kilobyte each: the 2 MB that a chunk of Fluent Bit has
_MOST_RECORDS = 50_000_000
_DRAIN_S = 600.0


class SlowReceiver:
    """Takes the frames of a forward sink and lets each wait for its ack.

    Args:
        pace_s: Seconds between acks.

    Attributes:
        records: How many have come, by chunk id so that what is sent again counts once.
        hurry: Once set, acks go out at once.
    """

    def __init__(self, pace_s: float) -> None:
        self.frames = 0
        self.hurry = threading.Event()
        self._pace_s = pace_s
        self._by_id: dict[bytes, int] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def records(self) -> int:
        return sum(self._by_id.values())

    def _run(self) -> None:
        with self._listener:
            while not self._stopped.is_set():
                with contextlib.suppress(TimeoutError, ConnectionError):
                    sock, _ = self._listener.accept()
                    with sock:
                        sock.settimeout(0.1)
                        self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        unpacker = msgpack.Unpacker(raw=True, max_buffer_size=0)
        while not self._stopped.is_set():
            for _, entries, option in unpacker:
                self.frames += 1
                if not self.hurry.is_set():
                    self.hurry.wait(self._pace_s)
                self._by_id[option[b"chunk"]] = len(entries)
                sock.sendall(msgpack.packb({b"ack": option[b"chunk"]}, use_bin_type=False))
            with contextlib.suppress(TimeoutError):
                data = sock.recv(1 << 20)
                if not data:
                    return
                unpacker.feed(data)

    def close(self) -> None:
        self._stopped.set()
        self.hurry.set()
        self._thread.join(30.0)


class Flood(msgspec.Struct):
    """What a flood came to.

    Args:
        sent, arrived: Records.
        closed: Connections of senders that ended, or failed, before they were to.
        idle_bytes, most_bytes: Memory of the server before, and at most.
        most_in_flight_bytes: What it said itself was under way, at most.
    """

    sent: int = 0
    arrived: int = 0
    closed: int = 0
    slow_s: float = 0.0
    acked_slowly: int = 0
    drained_s: float = 0.0
    idle_bytes: int = 0
    most_bytes: int = 0
    most_in_flight_bytes: int = 0

    def told(self) -> str:
        """For people."""
        return (
            f"slow for {self.slow_s:.0f} s: {self.acked_slowly} chunks acknowledged meanwhile; "
            f"{self.sent:,} records sent, {self.arrived:,} arrived, the rest within {self.drained_s:.0f} s; "
            f"{self.closed} connections closed; memory {self.idle_bytes >> 20} MiB idle, {self.most_bytes >> 20} MiB "
            f"at most, of which in flight {self.most_in_flight_bytes >> 20} MiB"
        )


class _Stream:
    """A connection that sends and sends, and wants no acks."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.failed = False
        self._stopped = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                # Each of its own records, as the sink knows chunks without an id by what is in them.
                data = chunk_of("flood", _MOST_RECORDS + self.sent, _RECORDS, pad=_PAD).frames[0][1]
                end = data.rindex(b"\x83\xa5chunk")
                view = memoryview(data[:end] + b"\x80")
                while view:
                    with contextlib.suppress(TimeoutError):
                        view = view[self._socket.send(view) :]
                self.sent += _RECORDS
        except OSError:
            self.failed = True

    def stop(self) -> None:
        """End behind a whole frame."""
        self._stopped.set()

    def join(self) -> None:
        self._thread.join(_DRAIN_S)
        assert not self._thread.is_alive()
        self._socket.close()


def flood(folder: Path, slow_s: float, *, connections: int = 80, pace_s: float = 1.0) -> Flood:
    """Send at full speed to a server whose receiver acknowledges a chunk in `pace_s`, for so long; then let it go."""
    found = Flood()
    receiver = SlowReceiver(pace_s)
    with Server("--sink", f"forward://127.0.0.1:{receiver.port}", log=folder / "log") as server:
        server.start()
        found.idle_bytes = server.resident_bytes
        sender = Sender(server.port, _MOST_RECORDS, ways=(Way(),) * connections, sizes=(_RECORDS, _RECORDS), pad=_PAD)
        stream = _Stream(server.port)
        watching = threading.Event()
        watcher = threading.Thread(target=_watch, args=(server, found, watching), daemon=True)
        watcher.start()
        begun = time.monotonic()
        sender.start()
        time.sleep(slow_s)
        found.acked_slowly, found.slow_s = receiver.frames, time.monotonic() - begun
        sender.allow(sender.totals.records)
        stream.stop()
        receiver.hurry.set()
        stream.join()
        assert sender.wait(_DRAIN_S, sender.totals.records)
        found.sent = sender.totals.records + stream.sent
        until(lambda: receiver.records >= found.sent, "everything has arrived", _DRAIN_S)
        found.drained_s = time.monotonic() - begun - found.slow_s
        found.arrived = receiver.records
        found.closed = sum(sender.totals.failures.values()) + stream.failed
        sender.stop()
        watching.set()
        watcher.join()
        server.end()
    receiver.close()
    return found


def _watch(server: Server, found: Flood, stop: threading.Event) -> None:
    while not stop.wait(0.1):
        found.most_bytes = max(found.most_bytes, server.resident_bytes)
        found.most_in_flight_bytes = max(found.most_in_flight_bytes, int(server.metric("logllm_buffer_size_bytes")))
