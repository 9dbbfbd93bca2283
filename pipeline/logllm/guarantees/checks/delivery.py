"""What an ack means: killed, cut off, sent again, ended in order."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from logllm.guarantees.verdict import Broken
from logllm.guarantees.wait import until
from logllm.guarantees.wire import numbered, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from logllm.guarantees.child import Child
    from logllm.guarantees.place import Place
    from logllm.guarantees.wire import Sender

__all__ = ["acked_is_durable", "drains", "lookalikes_are_kept", "lost_ack", "same_records"]

_KILLS = 3
_WRITES_WITHIN_S = 1.0
_SENDERS = 4
_CHUNKS = 40
_RECORDS = 25


def same_records(file: Path, expected: Iterable[int]) -> None:
    """Raises Broken where a file does not have just these records, each as often as it stands there."""
    found, wanted = sorted(stored(file)), sorted(expected)
    if found == wanted:
        return
    lost = sorted(set(wanted) - set(found))
    if lost:
        raise Broken(f"{len(lost)} of {len(wanted)} records are not stored, the first is number {lost[0]}")
    raise Broken(f"{len(found)} records are stored, expected {len(wanted)}")


def acked_is_durable(place: Place) -> str:
    """Kill the service again and again, at the moment it writes; resend what had no ack."""
    file = place.folder / "records.ndjson"
    arguments = ("--sink", f"file:{file}", "--data-dir", str(place.folder / "data"))
    chunks = {
        f"chunk-{number}": range(number * _RECORDS, (number + 1) * _RECORDS)
        for number in range(_SENDERS * _CHUNKS * _KILLS // 2)
    }
    waiting = list(chunks)
    under_way = 0
    child = place.serve(*arguments)
    for _ in range(_KILLS):
        acked = _until_killed(place, child, chunks, waiting, file)
        safe = set(stored(file))
        if lost := [chunk for chunk in acked if not safe.issuperset(chunks[chunk])]:
            raise Broken(f"{lost[0]} was acknowledged and is not in the file after kill -9")
        under_way += min(len(waiting), _SENDERS * _CHUNKS) - len(acked)
        waiting = [chunk for chunk in waiting if chunk not in acked]
        child = place.serve(*arguments, again=True)
    sender = place.connect(child)
    for chunk in waiting:
        sender.deliver(numbered(chunks[chunk], chunk), [chunk])
    child.end()
    same_records(file, (number for numbers in chunks.values() for number in numbers))
    return f"{_KILLS} kills with {under_way} chunks under way, {len(chunks) * _RECORDS} records, each there once"


def _until_killed(place: Place, child: Child, chunks: dict[str, range], waiting: Sequence[str], file: Path) -> set[str]:
    """Send chunks on several connections at once, kill in the middle; those whose acks had left by then."""
    senders = [place.connect(child) for _ in range(_SENDERS)]
    acked: set[str] = set()
    for number, sender in enumerate(senders):
        mine = waiting[: _SENDERS * _CHUNKS][number::_SENDERS]
        sender.send(b"".join(numbered(chunks[chunk], chunk) for chunk in mine))
    acked.update(senders[0].acks(random.randint(1, _CHUNKS // 3)))
    # What has just been written is on its way to the disk, and not yet committed: the worst moment there is.
    size, end = _size(file), time.monotonic() + _WRITES_WITHIN_S
    while _size(file) == size and time.monotonic() < end:
        pass
    child.end(signal.SIGKILL)
    for sender in senders:
        acked.update(sender.rest())
        sender.close()
    return acked


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def lost_ack(place: Place) -> str:
    """Cut a connection off once its chunk is stored; send the chunk on another, restart, send it once more."""
    file = place.folder / "records.ndjson"
    arguments = ("--sink", f"file:{file}", "--data-dir", str(place.folder / "data"))
    chunk, numbers = "the-same-chunk", range(20)
    data = numbered(numbers, chunk)
    child = place.serve(*arguments)

    first = place.connect(child)
    first.send(data)
    if not until(lambda: len(stored(file)) == len(numbers), place.patience_s):
        raise Broken(f"a chunk was not stored within {place.patience_s:g} s")
    first.reset()
    place.connect(child).deliver(data, [chunk])
    same_records(file, numbers)
    child.end()
    again = place.serve(*arguments, again=True)
    place.connect(again).deliver(data, [chunk])
    again.end()

    same_records(file, numbers)
    return "sent three times on three connections, with a restart between: acknowledged again, stored once"


def lookalikes_are_kept(place: Place) -> str:
    """Send the same bytes, the same id among them, on one connection: at once and after the acks."""
    file = place.folder / "records.ndjson"
    child = place.serve("--sink", f"file:{file}")
    chunk, numbers = "a-hash-of-equal-records", range(5)
    data = numbered(numbers, chunk)

    sender = place.connect(child)
    sender.deliver(data + data, [chunk, chunk])
    sender.deliver(data, [chunk])
    child.end()

    same_records(file, [*numbers] * 3)
    return "three equal chunks on one connection: all three stored"


def drains(place: Place) -> str:
    """End the service in order while much is under way."""
    file = place.folder / "records.ndjson"
    child = place.serve("--sink", f"file:{file}")
    senders: list[tuple[Sender, list[str]]] = []
    per_chunk = 200
    for number in range(_SENDERS):
        sender = place.connect(child)
        mine = {f"chunk-{at}": range(at * per_chunk, (at + 1) * per_chunk) for at in range(number, 120, _SENDERS)}
        senders.append((sender, list(mine)))
        sender.send(b"".join(numbered(numbers, chunk) for chunk, numbers in mine.items()))
    begun = [sender.ack() for sender, _ in senders]

    child.kill(signal.SIGTERM)
    late = 0
    for (sender, chunks), first in zip(senders, begun, strict=True):
        rest = sender.rest()
        late += len(rest)
        if missing := set(chunks) - {first, *rest}:
            raise Broken(f"{len(missing)} of {len(chunks)} chunks sent before SIGTERM were not acknowledged")
    code = child.end()

    if code:
        raise Broken(f"it ended with {code} on SIGTERM, expected 0")
    same_records(file, range(120 * per_chunk))
    judged = next((event.get("records") for event in child.events if event.get("type") == "summary"), None)
    if judged != 120 * per_chunk:
        raise Broken(f"{judged} records were judged, expected {120 * per_chunk}")
    return f"{late} of 120 chunks got their ack after SIGTERM, {judged} records judged and stored, exit code 0"
