"""Each frame of the table to a real server on a socket; and everything that Fluent Bit was recorded sending."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.sources.forward.gate import Gate, Greeting
from logllm.sources.forward.protocol import Received, Skipped, ack_bytes
from logllm.sources.forward.server import ForwardConfig, ForwardServer
from tests.sources.forward.matrix import CASES, Answer, Case

PATIENCE_S = 30
GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
SHARED = Path(__file__).parents[4] / "shared" / "wire"
LOCAL = ForwardConfig(listen="127.0.0.1:0")
PROBE = bytes(msgpack.packb(["probe", [], {"chunk": "probe"}]))
PROBED = ack_bytes(b"probe")


class Taken:
    """What a server gives away."""

    def __init__(self) -> None:
        self.records = self.refused = 0
        self.tags: set[str] = set()

    async def deliver(self, received: Received, *rest: object) -> None:
        self.records += received.chunk.count
        self.tags.add(received.chunk.tag)

    async def skip(self, skipped: Sequence[Skipped], *rest: object) -> None:
        self.refused += len(skipped)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(bounded())


def acks_of(reply: bytes) -> tuple[bytes, ...]:
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(reply)
    return tuple(answer[b"ack"] for answer in unpacker)


async def answer_to(server: ForwardServer, taken: Taken, data: bytes, *, is_open: bool, ends: bool = False) -> Answer:
    """Send it, and then what shows whether the connection goes on."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(data)
    if ends:
        writer.write_eof()
    reply = b""
    if is_open:
        writer.write(PROBE)
        while not reply.endswith(PROBED) and (more := await reader.read(4096)):
            reply += more
    else:
        try:
            reply = await reader.read()
        except ConnectionResetError:
            reply = b""
    still_open = reply.endswith(PROBED)
    writer.close()
    return Answer(taken.records, acks_of(reply.removesuffix(PROBED)), still_open, taken.refused)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_frame_of_the_table_is_answered_as_it_says(case: Case) -> None:
    async def test() -> None:
        taken = Taken()
        async with LOCAL.build(taken.deliver, taken.skip) as server:
            found = await answer_to(server, taken, case.frame, is_open=case.ours.is_open, ends=case.ends)

        assert found == case.ours

    run(test)


def test_every_difference_has_its_reason() -> None:
    unexplained = [case.name for case in CASES if case.theirs != case.ours and not case.why]

    assert unexplained == []
    assert len({case.name for case in CASES}) == len(CASES)


_USERS = {b"alice": b"pw"}
# Recordings hold three records each, but for these.
_RECORDS = {"unix_socket_shared_key": 0, "shared_key_bad_pong.conn0": 0, "shared_key_bad_pong.conn1": 0}


def recorded() -> list[Path]:
    found = {path.name: path for folder in (GOLDEN, SHARED) for path in folder.glob("*.c2s.bin")}
    # Where there is a file for each connection, the one without a number is all of them in a row.
    several = {name.partition(".conn")[0] for name in found if ".conn" in name}
    return sorted(path for name, path in found.items() if name.removesuffix(".c2s.bin") not in several)


def gate_of(name: str) -> Gate | None:
    """The server's side of the handshake as it was when this was recorded."""
    if "shared_key" not in name or name.startswith("unix_socket"):
        return None
    numbers = iter((bytes(range(16)), b"0123456789abcdef"))
    key = b"" if name.startswith("empty") else b"s3cr3t"
    return Gate(key, _USERS if "userauth" in name else {}, "server.local", random=lambda size: next(numbers))


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name.removesuffix(".c2s.bin"))
def test_what_fluent_bit_was_recorded_sending_is_taken_and_acknowledged(path: Path) -> None:
    name, data = path.name.removesuffix(".c2s.bin"), path.read_bytes()

    async def test() -> None:
        taken = Taken()
        async with LOCAL.build(taken.deliver, taken.skip) as server:
            server.gate = gate_of(name)
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(data + PROBE)
            writer.write_eof()
            reply = await reader.read()
            writer.close()

        expected = 0 if name.startswith("metrics") else _RECORDS.get(name, 3)
        assert (taken.records, taken.refused) == (expected, 0)
        assert taken.tags <= {"app.web", "dyn.checkout", "fixed.tag"}
        options = [frame[-1] for frame in unpacked(data) if isinstance(frame[-1], dict)]
        asked = [option[b"chunk"] for option in options if b"chunk" in option]
        answers = [answer for answer in unpacked(reply) if isinstance(answer, dict)]
        assert [answer[b"ack"] for answer in answers] == [*asked, b"probe"]

    run(test)


@pytest.mark.skipif(not SHARED.is_dir(), reason="reads the recordings beside the checkout")
def test_the_recordings_beside_the_checkout_are_all_here() -> None:
    names = {path.name for path in recorded()}

    assert {path.name for path in GOLDEN.glob("*.c2s.bin")} <= names
    assert len(names) >= 30


def test_the_handshake_ends_as_in_the_recording() -> None:
    data = (GOLDEN / "shared_key_userauth_ack.c2s.bin").read_bytes()
    gate = gate_of("shared_key_userauth_ack")
    assert gate is not None
    greeting = Greeting(gate)
    greeting.feed(data)

    answer = greeting.answer()

    assert answer is not None
    assert (answer.fault, answer.rest) == ("", data[len(data) - len(answer.rest) :])
    digest = hashlib.sha512(unpacked(data)[0][2] + b"server.local" + bytes(range(16)) + b"s3cr3t").hexdigest()
    assert unpacked(answer.pong) == [[b"PONG", True, b"", b"server.local", digest.encode()]]


def unpacked(data: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 24)
    unpacker.feed(data)
    return list(unpacker)


def test_the_page_of_the_protocol_is_what_its_tool_writes() -> None:
    root = Path(__file__).parents[3]

    done = subprocess.run(
        [sys.executable, str(root / "tools" / "forward_matrix.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )

    assert (done.returncode, done.stdout) == (0, "docs/forward.md: up to date\n"), done.stderr
