"""What a sink that is down, full or slow costs: time."""

from __future__ import annotations

import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

from logllm.guarantees.checks.delivery import same_records
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wire import numbered

if TYPE_CHECKING:
    from logllm.guarantees.place import Place

__all__ = ["bounded_memory", "disk_full", "sink_down"]

_WATCHED_S = 1.0
_RESUMES_S = 2.0

_IN_FLIGHT_BYTES = 2 << 20
_SENDERS = 4
_FRAME_RECORDS, _PAD_BYTES = 64, 16_000
_OFFERED_FRAMES = 48
_QUIET_S = 0.25
_BUFFER_BYTES = 65_536
# Above what may be in flight: what is being decoded, judged and encoded of it, and the frames under way.
_GROWTH_BYTES = 64 << 20


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def sink_down(place: Place) -> str:
    """Forward to an address where nobody listens, then start a receiver there."""
    port, file = _free_port(), place.folder / "received.ndjson"
    child = place.serve("--sink", f"forward://127.0.0.1:{port}", "--data-dir", str(place.folder / "data"))
    sender = place.connect(child)
    chunks = {f"chunk-{number}": range(number * 10, number * 10 + 10) for number in range(20)}

    sender.send(b"".join(numbered(numbers, chunk) for chunk, numbers in chunks.items()))
    sender.quiet(_WATCHED_S)
    receiver = place.serve("--sink", f"file:{file}", listen=f"127.0.0.1:{port}")
    begun = time.monotonic()
    acks = sender.acks(len(chunks))
    resumed_s = time.monotonic() - begun
    receiver.end()

    if sorted(acks) != sorted(chunks):
        raise Broken(f"acks of {acks[:5]} came, expected those of the chunks that were sent")
    same_records(file, range(200))
    return (
        f"no ack while nobody listened, all {len(chunks)} within {resumed_s:.1f} s of the start of a receiver, "
        "on the same connection"
    )


def disk_full(place: Place) -> str:
    """Forbid the process to make any file larger, as a full disk does; then allow it again."""
    file = place.folder / "records.ndjson"
    child = place.serve("--sink", f"file:{file}", "--data-dir", str(place.folder / "data"))
    sender = place.connect(child)
    sender.deliver(numbered(range(10), "before"), ["before"])
    same_records(file, range(10))
    chunks = [f"chunk-{number}" for number in range(1, 9)]

    with_room = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
    try:
        full = file.stat().st_size + 100
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (full, with_room[1]))
    except OSError as error:
        raise Unchecked(f"the size of a process's files cannot be limited here: {error}") from error
    sender.send(b"".join(numbered(range(at * 10, at * 10 + 10), chunk) for at, chunk in enumerate(chunks, 1)))
    sender.quiet(_WATCHED_S)
    health, _ = child.get("/healthz")
    ready, _ = child.get("/readyz")
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, with_room)
    begun = time.monotonic()
    sender.acks(len(chunks))
    resumed_s = time.monotonic() - begun
    child.end()

    same_records(file, range(10 + 10 * len(chunks)))
    if (health, ready) != (200, 503):
        raise Broken(f"while nothing could be written /healthz was {health} and /readyz {ready}, expected 200 and 503")
    if resumed_s > _RESUMES_S:
        raise Broken(f"it took {resumed_s:.1f} s to go on once there was room, expected {_RESUMES_S:g} s")
    return f"no ack for {_WATCHED_S:g} s, not ready but alive, all acks {resumed_s:.2f} s after there was room again"


def bounded_memory(place: Place) -> str:
    """Offer much more than may be in flight to a service whose receiver stands still; then let that go on."""
    file, config = place.folder / "received.ndjson", place.folder / "logllm.toml"
    receiver = place.serve("--sink", f"file:{file}")
    config.write_text(
        f"[delivery]\nmax_in_flight_bytes = {_IN_FLIGHT_BYTES}\n"
        f'[[sinks]]\ntype = "forward"\naddress = "127.0.0.1:{receiver.port}"\n',
        encoding="utf-8",
    )
    child = place.serve("-c", str(config))
    senders = [place.connect(child, _BUFFER_BYTES) for _ in range(_SENDERS)]
    before = child.resident_bytes
    receiver.kill(signal.SIGSTOP)

    offers = [_Offer(number, len(senders)) for number in range(len(senders))]
    taken = [sender.push(offer.data, _QUIET_S) for sender, offer in zip(senders, offers, strict=True)]
    grown = child.resident_bytes - before
    in_flight = child.metric("logllm_buffer_size_bytes")
    offered = sum(len(offer.data) for offer in offers)
    if sum(taken) == offered:
        raise Broken(f"all {offered >> 20} MiB were taken in while the sink took nothing")
    if not 0 < in_flight <= _IN_FLIGHT_BYTES + offers[0].frame_bytes:
        raise Broken(f"{in_flight:.0f} bytes are in flight, expected at most {_IN_FLIGHT_BYTES} and one chunk")
    if grown > _GROWTH_BYTES:
        raise Broken(f"memory grew by {grown >> 20} MiB while the sink took nothing")
    for sender in senders:
        sender.quiet(0.05)
    receiver.kill(signal.SIGCONT)
    numbers: list[int] = []
    for sender, offer, done in zip(senders, offers, taken, strict=True):
        begun = -(-done // offer.frame_bytes)
        sender.send(bytes(offer.data[done : begun * offer.frame_bytes]))
        sender.acks(begun)
        numbers += offer.numbers(begun)
    same_records(file, numbers)
    return (
        f"{_SENDERS} senders were stopped at {sum(taken) >> 20} of {offered >> 20} MiB, kernel buffers and all; "
        f"{in_flight / 2**20:.0f} MiB in flight, memory grew by {max(0, grown) >> 20} MiB; all was stored in the end"
    )


class _Offer:
    """What one sender has to give: frames of one length."""

    def __init__(self, first: int, step: int) -> None:
        self._ids = range(first, _OFFERED_FRAMES, step)
        frames = [numbered(self._of(at), f"{at:06}", pad=_PAD_BYTES) for at in self._ids]
        self.frame_bytes = len(frames[0])
        self.data = memoryview(b"".join(frames))

    @staticmethod
    def _of(at: int) -> range:
        # Numbers of one length, in MessagePack and in the text.
        return range(100_000 + at * _FRAME_RECORDS, 100_000 + (at + 1) * _FRAME_RECORDS)

    def numbers(self, frames: int) -> list[int]:
        """The records of its first frames."""
        return [number for at in self._ids[:frames] for number in self._of(at)]
