"""Servers killed at any moment: nothing that was acknowledged is lost or there twice. `make oracle` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.delivery.faults import compiled
from tests.delivery.oracle import check, run, told
from tests.delivery.rigs import Output
from tests.delivery.sender import Chunk, text_of, time_of

RECORDS = 40_000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize(
    ("rig", "records", "kills"),
    [("file", RECORDS, 10), ("rotated", RECORDS, 9), ("two", RECORDS, 8), ("chain-tls", RECORDS, 5)],
)
def test_every_acknowledged_record_is_there_once_however_often_servers_are_killed(
    tmp_path: Path, library: Path, rig: str, records: int, kills: int
) -> None:
    outcome = run(rig, tmp_path, library, records=records, kills=kills, seed=1)

    assert not outcome.violations, told(outcome)
    assert outcome.records == records
    assert outcome.kills >= kills


def line(number: int, tag: str = "app.1", text: str | None = None) -> bytes:
    said = text_of(number) if text is None else text
    return f'{{"tag":"{tag}","time":"{time_of(number)}","record":{{"n":{number},"log":"{said}"}}}}\n'.encode()


ACKED, UNACKED = Chunk("app.1", 0, 2, "forward", ()), Chunk("app.1", 2, 2, "forward", ())


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([line(0), line(1)], ""),
        ([line(0), line(1), line(2)], ""),
        ([line(0)], "were acknowledged and are not there"),
        ([line(0), line(1), line(1)], "are there up to 2 times"),
        ([line(0), line(1), line(2), line(2)], "are there up to 2 times"),
        ([line(0), line(1), line(9)], "was never sent"),
        ([line(0), line(1, text="something else")], "something else"),
        ([line(0), line(1, tag="app.2")], "expected app.1"),
        ([line(0), line(1), line(2)[:-9]], "ends in a part of a line"),
    ],
)
def test_the_check_finds_what_is_wrong_in_a_file(tmp_path: Path, lines: list[bytes], wrong: str) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(b"".join(lines))

    found = check(Output(path), [ACKED, UNACKED], [ACKED], 10)

    assert bool(found) == bool(wrong)
    assert wrong in "".join(found)
