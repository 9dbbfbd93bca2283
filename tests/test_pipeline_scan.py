"""The whole pipeline over forward frames: the same events and the same state with the scan and without."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.events import IncidentEvent
from logllm.explain.redact.redactor import Redactor
from logllm.pipeline import Pipeline
from logllm.sources import scan
from logllm.sources.forward.protocol import Received, Receiver

pytest.importorskip("wasmtime", reason="the scan runs in wasmtime")

START_S = 1_767_225_600
MINUTES = 150


def frames() -> list[bytes]:
    """Two and a half hours of two services, one of which fails in the end: a frame a minute, each of its own tag."""
    rng = random.Random(8)
    found = []
    for minute in range(MINUTES):
        entries = []
        for second in range(60):
            for number in range(3):
                bad = minute > 130 and rng.random() < 0.5
                record: dict[str, object] = {"log": f"GET /cart/{rng.randint(1, 999)} took {rng.randint(1, 90)} ms\n"}
                if bad:
                    record = {"message": f"upstream db-{number} refused connection E{number}", "level": "error"}
                elif rng.random() < 0.05:
                    record = {
                        "msg": rng.choice(["worker started", "cache é warmed", "a\nb\nc", b"raw \xff", 5]),
                        "n": 1,
                    }
                elif rng.random() < 0.05:
                    record = {
                        "log": f"session {rng.getrandbits(128):032x} closed",
                        "level": rng.choice(["info", "warn"]),
                    }
                record["service"] = "web" if number else "api"
                stamp = b"\xd7\0" + struct.pack(">II", START_S + 60 * minute + second, number)
                entries.append(b"\x92\x92" + stamp + b"\x80" + bytes(msgpack.packb(record)))
        option = bytes(msgpack.packb({"chunk": f"c{minute}", "size": len(entries)}))
        found.append(b"\x93\xa3app\xdd" + struct.pack(">I", len(entries)) + b"".join(entries) + option)
    return found


def run(parts: list[bytes], *, wanted: bool) -> tuple[list[IncidentEvent], bytes, int]:
    scan.use(wanted)
    pipeline, receiver, events, scanned = Pipeline(), Receiver("peer"), list[IncidentEvent](), 0
    # It draws its own key otherwise.
    pipeline.redactor = Redactor(key=bytes(16))
    for part in parts:
        receiver.feed(part)
        for item in receiver.items():
            assert isinstance(item, Received)
            scanned += item.chunk.scan is not None
            events += pipeline.feed(item.chunk)
    events += pipeline.finish()
    return events, msgpack.packb(pipeline.state()), scanned


@pytest.fixture(autouse=True)
def scanned_afterwards() -> Iterator[None]:
    yield
    scan.use(True)


def test_events_and_state_do_not_depend_on_how_the_frames_were_read() -> None:
    parts = frames()
    joined = b"".join(parts)
    pieces = [joined[at : at + 65_536] for at in range(0, len(joined), 65_536)]

    slowly = run(parts, wanted=False)
    quickly = run(parts, wanted=True)
    in_pieces = run(pieces, wanted=True)

    assert (slowly[2], quickly[2]) == (0, MINUTES)
    assert in_pieces[2] > 0
    assert any(event.event == "open" for event in slowly[0])
    assert quickly[:2] == slowly[:2]
    assert in_pieces[:2] == slowly[:2]


def test_reading_a_file_does_not_load_the_sandbox() -> None:
    root = Path(__file__).parents[1]
    code = (
        "import sys; from logllm import Pipeline, read_file; pipeline = Pipeline()\n"
        f"for chunk in read_file({str(root / 'samples' / 'disk.log')!r}): pipeline.feed(chunk)\n"
        "print(pipeline.records > 0, 'wasmtime' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root / "pipeline")},
        check=False,
        timeout=60,
    )

    assert done.stdout.split() == ["True", "False"], done.stderr
