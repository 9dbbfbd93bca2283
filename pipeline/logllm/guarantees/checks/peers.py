"""What one sender can do to the others, and who is a sender at all."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.guarantees.checks.delivery import same_records
from logllm.guarantees.verdict import Broken
from logllm.guarantees.wire import frame, numbered

if TYPE_CHECKING:
    from pathlib import Path

    from logllm.guarantees.place import Place

__all__ = ["garbage", "poison", "shared_key"]

_POISON = "this entry is no record"


def poison(place: Place) -> str:
    """Send entries that are no records among such that are; then the same again, as a sender without an ack would."""
    file, data = place.folder / "records.ndjson", place.folder / "data"
    child = place.serve("--sink", f"file:{file}", "--data-dir", str(data))
    sender = place.connect(child)
    bad = frame([{"n": 0}, _POISON, {"n": 1}, 7, {"n": 2}], "poisoned")

    sender.deliver(bad, ["poisoned"])
    same_records(file, range(3))
    sender.deliver(numbered([3], "after"), ["after"])
    sender.close()
    place.connect(child).deliver(bad, ["poisoned"])
    child.end()

    same_records(file, range(4))
    kept = _dead_letters(data / "dead-letters.ndjson")
    if not any(_POISON.encode() in entry for entry in kept):
        raise Broken("the entry that is no record is not in the dead-letter file")
    return "of five entries three records are stored, the others kept as dead letters, the chunk acknowledged, and once"


def _dead_letters(file: Path) -> list[bytes]:
    """The entries that were kept."""
    try:
        lines = file.read_bytes().splitlines()
        return [base64.b64decode(msgspec.json.decode(line)["record"]["entry"]) for line in lines]
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, binascii.Error) as error:
        raise Broken(f"no dead letters can be read: {error!r:.120}") from error


def _kinds_of_garbage() -> list[bytes]:
    return [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff" * 100,
        bytes(msgpack.packb([])),
        bytes(msgpack.packb([1, [], {}])),
        bytes(msgpack.packb(["app", [[1, {}]], 7])),
        b"\x93\xa3app\xdd\xff\xff\xff\xff",
        b"\x91" * 5_000,
        bytes(msgpack.packb(["app", b"\x1f\x8bnot gzip", {"compressed": "gzip"}])),
        numbered(range(1000, 1100), "cut")[:-40],
    ]


def garbage(place: Place) -> str:
    """Send ten kinds of garbage beside a sender that does nothing wrong."""
    file = place.folder / "records.ndjson"
    child = place.serve("--sink", f"file:{file}")
    bystander = place.connect(child)
    bystander.deliver(numbered([0], "before"), ["before"])
    kinds = _kinds_of_garbage()

    for number, data in enumerate(kinds, 1):
        hostile = place.connect(child)
        hostile.send(data)
        hostile.shut()
        if hostile.until_closed() is None:
            raise Broken(f"a connection stays open that has sent {data[:12]!r} and ended")
        bystander.deliver(numbered([number], f"chunk-{number}"), [f"chunk-{number}"])
    child.end()

    if any("Traceback" in line for line in child.errors):
        raise Broken("it met a bug of its own: there is a traceback in its log")
    same_records(file, range(len(kinds) + 1))
    return f"{len(kinds)} kinds of garbage, each connection closed, the one beside them served between them"


def shared_key(place: Place) -> str:
    """Try to get in without a PING, with a wrong key, and with the right one."""
    file, key_file, key = place.folder / "records.ndjson", place.folder / "key", secrets.token_hex(24)
    key_file.write_text(key + "\n", encoding="ascii")
    key_file.chmod(0o600)
    child = place.serve("--sink", f"file:{file}", "--shared-key-file", str(key_file))

    stranger = place.connect(child)
    stranger.send(numbered([1], "without a PING"))
    answer = stranger.until_closed()
    if answer is None or b"ack" in answer:
        raise Broken("a sender without a PING was not sent away")
    liar = place.connect(child)
    if not liar.enter(b"not" + key.encode()):
        raise Broken("a sender with another key was let in")
    liar.until_closed()
    friend = place.connect(child)
    if refusal := friend.enter(key.encode()):
        raise Broken(f"a sender with the right key was refused: {refusal}")
    friend.deliver(numbered([0], "with the key"), ["with the key"])
    _, metrics = child.get("/metrics")
    child.end()

    same_records(file, [0])
    if key in metrics or any(key in line for line in child.errors) or key in str(child.events):
        raise Broken("the key stands in what the service says")
    return "no PING and a wrong key were refused, nothing of them stored, the right key served, the key in no output"
