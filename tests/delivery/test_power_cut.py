"""The power goes at any moment between any two changes to the disk: what was acknowledged is there, once."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from logllm.sinks.ledger import Position
from tests.delivery.child import ROOT
from tests.delivery.faults import Faults, compiled
from tests.delivery.power import Disk, Note, notes
from tests.delivery.powered import MARKS, RECORDS, key_of, opened, parcel_of
from tests.delivery.rigs import Output

GROUPS = 420
CUTS = 250
# Calls that fail on the way, so that what a failure leaves behind is cut off from the power as well.
FAILURES = (
    "sync =out.ndjson 60 1 errno 5",
    "write =out.ndjson 90 1 short 100",
    "write =out.ndjson 91 1 errno 28",
    "sync ledger-wal 150 2 errno 5",
    "write ledger-wal 700 1 errno 5",
    "rename =out.ndjson 3 1 errno 5",
    "sync ledger-wal 333 1 errno 5",
)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was done to a folder named `disk` while parcels were written."""
    place = tmp_path_factory.mktemp("power")
    folder, trace = place / "disk", place / "trace"
    folder.mkdir()
    faults = Faults(compiled(place), folder, place / "control", trace)
    faults.order(*FAILURES)
    environment = {**os.environ, **faults.environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}"}
    script = Path(__file__).with_name("powered.py")
    command = [sys.executable, str(script), str(folder), str(GROUPS)]
    subprocess.run(command, check=True, timeout=120, env=environment)
    return trace


def cuts(trace: Path) -> list[int]:
    """Places to cut at: by chance, and around everything that is rare."""
    calls = [note.call if "-shm" not in note.path.name else "" for note in notes(trace)]
    chance = random.Random(1)
    found = set(chance.sample(range(len(calls)), CUTS))
    for place, call in enumerate(calls):
        if call in ("rename", "create", "truncate", "lost") and chance.random() < 0.3:
            found.update(range(max(place - 1, 0), min(place + 5, len(calls))))
    return sorted(found)


def adopt(folder: Path, under: Path, made: dict[int, Path]) -> None:
    """Tell the ledger that its file has another number in this folder, and that the folder has another name."""
    with contextlib.closing(sqlite3.connect(folder / "ledger", isolation_level=None)) as db:
        try:
            row = db.execute("SELECT body FROM position").fetchone()
        except sqlite3.OperationalError:
            return  # there is no table yet
        if row is None:
            return
        at = msgspec.json.decode(row[0], type=Position)
        inode = made[at.inode].stat().st_ino if at.inode in made else 0
        renaming_to = at.renaming_to.replace(str(under), str(folder))
        at = msgspec.structs.replace(at, device=folder.stat().st_dev, inode=inode, renaming_to=renaming_to)
        db.execute("UPDATE position SET body = ?", (msgspec.json.encode(at),))


def goes_on(folder: Path, safe: int) -> str:
    """Open the sink, send again what it does not know, read its files; what is wrong, if anything."""
    sink, ledger = opened(folder)
    numbers = range(safe + 8)
    known = ledger.times([key_of(number) for number in numbers])
    lost = [number for number in range(safe) if key_of(number) not in known]
    for number in numbers:
        if key_of(number) not in known:
            sink.write([parcel_of(number)])
    sink.close()
    ledger.close()
    found = Counter(record.number for record in Output(folder / "out.ndjson").records())
    wrong = found - Counter(range(len(numbers) * RECORDS))
    absent = Counter(range(len(numbers) * RECORDS)) - found
    told = [
        f"{what} {sorted(which)[:9]}"
        for what, which in (("twice", wrong), ("absent", absent), ("forgotten", lost))
        if which
    ]
    return ", ".join(told)


def moments(trace: Path) -> Iterator[tuple[int, Note, Disk, int]]:
    """Each moment to cut at, with the change before it, the disk and how many parcels were acknowledged by then."""
    disk, safe, wanted = Disk(), 0, set(cuts(trace))
    for place, note in enumerate(notes(trace)):
        if note.path.name == MARKS:
            safe = int(note.data or safe)
        else:
            disk.feed(note)
        if place in wanted:
            yield place, note, disk, safe


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: what is forced down there costs nothing."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("likely", [0.0, 0.5, 1.0], ids=["only what was forced down", "some more", "all of it"])
def test_whatever_was_acknowledged_before_the_power_went_is_there_once(trace: Path, place: Path, likely: float) -> None:
    under, folder = trace.with_name("disk"), place / "disk"
    chance = random.Random(2)
    failures = []
    for number, note, disk, safe in moments(trace):
        folder.mkdir()
        adopt(folder, under, disk.restore(under, folder, chance, likely))
        if wrong := goes_on(folder, safe):
            failures.append(f"cut at {number}, behind {note.call} of {note.path.name}, {safe} safe: {wrong}")
        shutil.rmtree(folder)

    assert not failures, f"{len(failures)} failures:\n" + "\n".join(failures[:10])
