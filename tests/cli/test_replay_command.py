"""`logllm replay`: a file through pipeline and reducer, and the proof read back from what was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import zstandard
from click.testing import CliRunner, Result

from logllm.cli.replay import replay
from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.errors import ConfigError, SourceError
from logllm.events import IncidentEvent
from logllm.service.proof import Prover
from logllm.service.replay import Replayed, ReplayOptions
from logllm.service.replay import replay as run_replay
from logllm.service.stored import frames, kind_of, stored_chunks
from logllm.sinks.ndjson import ndjson
from logllm.sinks.reduce.config import ReduceConfig
from logllm.sinks.reduce.protect import Protection
from logllm.sinks.reduce.reducer import Reducer
from logllm.sources.decode import Decoder
from logllm.sources.file_stats import ReadStats
from logllm.sources.forward.entries import cut_entries
from logllm.wire.frame import frame_head
from tests.cli.test_serve_command import event_time
from tests.incidents.stream import START_NS, blocks, eventful
from tests.sinks.reduce.day import Day, made
from tests.sinks.reduce.silent import Silent

CONFIG = Config(detect=DetectConfig(alerts_per_day=100.0))


def ran(path: Path, **options: Any) -> tuple[Replayed, Silent]:
    outlet = Silent()
    return run_replay(ReplayOptions(str(path), **options), CONFIG, outlet), outlet


def called(*arguments: str) -> Result:
    return CliRunner().invoke(replay, [*arguments, "--alerts-per-day", "100"])


def stored(folder: Path, name: str) -> Path:
    """The made-up hours of tests/incidents as a file sink would have written them, or as a plain log."""
    path = folder / name
    chunks = [(block.tag, block.block or b"", block.count) for block in blocks(eventful(), range(0, 3000, 30))]
    if "msgpack" in name:
        data = b"".join(frame_head(tag, count) + block for tag, block, count in chunks)
    elif "ndjson" in name:
        data = b"".join(ndjson(tag, block, count) for tag, block, count in chunks)
    else:
        levels = {0: "INFO", 9: "INFO", 13: "WARN", 17: "ERROR", 21: "FATAL"}
        rows = [(START_NS // 10**9 + row.second, row) for row in eventful()]
        data = "".join(f"{_stamp(at)} {levels[row.severity]} {row.message}\n" for at, row in rows).encode()
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if name.endswith(".zst") else data)
    return path


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


@pytest.mark.parametrize("name", ["in.msgpack", "in.ndjson", "in.msgpack.zst", "in.ndjson.zst", "app.log"])
@pytest.mark.parametrize("out", ["out.ndjson", "out.msgpack.zst"])
def test_what_incidents_cite_is_found_in_the_output_whatever_both_files_are(
    tmp_path: Path, name: str, out: str
) -> None:
    path, output = stored(tmp_path, name), tmp_path / out

    replayed, outlet = ran(path, reduce=True, proof=True, out=str(output))

    proofs, summary = replayed.proofs, replayed.summary
    assert proofs is not None
    assert summary.reduced is not None
    assert {one.id for one in proofs} == {event.id for event in outlet.events}
    assert len(proofs) == summary.incidents >= 1
    assert all(one.cited == one.cited_found > 0 for one in proofs)
    assert all((one.before_found, one.after_found) == (one.before, one.after) for one in proofs)
    assert [one.unknown for one in proofs] == [0] * len(proofs)
    assert summary.records == summary.reduced.records_in == len(eventful())
    assert summary.reduced.records_out < 0.9 * len(eventful())
    stats = ReadStats()
    written = sum(chunk.count for chunk in stored_chunks(str(output), kind_of(str(output), stats), stats))
    assert written == summary.reduced.records_out


def test_without_reduce_every_record_goes_on(tmp_path: Path) -> None:
    path, output = stored(tmp_path, "in.msgpack"), tmp_path / "out.msgpack"

    replayed, _ = ran(path, out=str(output))

    assert output.read_bytes() == path.read_bytes()
    assert replayed.summary.reduced is None
    assert replayed.proofs is None


def test_a_person_is_shown_a_line_for_each_incident_and_the_sums(tmp_path: Path) -> None:
    path = stored(tmp_path, "in.msgpack")

    result = called(str(path), "--proof")

    assert result.exit_code == 0
    proof = result.stdout[result.stdout.index("Proof:") :].splitlines()
    assert proof[1].startswith("  inc-")
    assert "cited 5/5" in proof[1]
    assert proof[-2].endswith("incidents cite are in the output")


def test_a_record_that_is_missing_in_the_output_is_missed_by_the_proof(tmp_path: Path) -> None:
    path, output = stored(tmp_path, "in.msgpack"), tmp_path / "out.ndjson"
    _, outlet = ran(path, reduce=True, out=str(output))
    events = outlet.events
    whole = output.read_bytes().splitlines()
    cited = next(item.text for event in events for item in event.evidence if "<" not in item.text)

    def proofs() -> list[bool]:
        prover = Prover(events, lambda text: text, 60.0, "logllm_count")
        for chunk in frames(str(path), ReadStats()):
            prover.look_up(chunk.tag, *decoded(chunk))
        return [one.is_whole for one in prover.proofs(str(output))]

    before = proofs()
    output.write_bytes(b"".join(line + b"\n" for line in whole if json.dumps(cited).encode() not in line))
    after = proofs()

    assert all(before)
    assert not all(after)


def decoded(chunk: Any) -> Any:
    entries = cut_entries(chunk.block)
    return Decoder().decode(chunk, 0), entries.__getitem__


def test_the_command_ends_with_one_where_something_cited_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path, "in.msgpack")
    monkeypatch.setattr(Reducer, "cite", lambda *_: None)
    monkeypatch.setattr(Protection, "of_incidents", lambda _self, rows, *_: rows[:0])
    (tmp_path / "logllm.toml").write_text('[reduce]\nburst = 1\nper_hour = 0\nsample = 1000\nseverity = "fatal"\n')

    result = called(str(path), "--proof", "--json", "-c", str(tmp_path / "logllm.toml"))

    assert result.exit_code == 1
    proofs = [json.loads(line) for line in result.stdout.splitlines() if '"type":"proof"' in line]
    assert 0 < sum(one["cited_found"] for one in proofs) < sum(one["cited"] for one in proofs)


@pytest.fixture(scope="module")
def day() -> Day:
    return made(31_000)


def test_of_a_day_with_fifty_incidents_all_that_they_cite_and_its_context_is_in_the_output(
    tmp_path: Path, day: Day
) -> None:
    path = tmp_path / "day.msgpack"
    size = day.write(path)
    outlet = Silent()

    # Of so few records twelve an hour of each template are most: the day of a million is in tests/bench/reduce.py.
    config = Config(detect=DetectConfig(alerts_per_day=200.0), reduce=ReduceConfig(per_hour=1))
    replayed = run_replay(ReplayOptions(str(path), proof=True), config, outlet)

    reduced, proofs = replayed.summary.reduced, replayed.proofs
    assert reduced is not None
    assert proofs is not None
    assert reduced.records_in == len(day) > 95_000
    assert reduced.bytes_in == size
    assert reduced.bytes_out < 0.2 * size
    assert len(proofs) >= 35
    assert sum(one.cited for one in proofs) == sum(one.cited_found for one in proofs) > 100
    assert sum(one.before + one.after for one in proofs) > 3_000
    assert [(one.before, one.after) for one in proofs] == [(one.before_found, one.after_found) for one in proofs]
    assert _matched(day, outlet.events) >= 35


def _matched(day: Day, events: list[IncidentEvent]) -> int:
    """How many of what was put in were told of, in their service and at about their time."""
    opened = [(event.service, datetime.fromisoformat(event.time).timestamp()) for event in events]
    return sum(
        any(service == one.service and one.start_s <= at <= one.end_s + 600 for service, at in opened)
        for one in day.injected
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"tag":"a","time":"1","record":{}}\nnonsense\n', "line 2 is not what a file sink writes"),
        (b'{"tag":"a","time":"x.y","record":{}}\n', "line 1 is not what a file sink writes"),
        (b'{"tag":"a","time":"1","record":{}}\n{"tag":"a","time":"1.1234567890","record":{}}\n', "line 2 is not what"),
        (b'{"tag":"a","time":"' + b"9" * 320 + b'","record":{}}\n', "line 1 .* expected one that a float can hold"),
        (b"\x92\xa1a\x93\x01\x02\xc1", "not frames of the forward protocol"),
    ],
)
def test_a_file_that_is_damaged_is_named_with_the_place(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=expected):
        ran(path, reduce=True)


def test_frames_that_are_cut_off_give_what_is_whole_and_say_so(tmp_path: Path) -> None:
    path = stored(tmp_path, "in.msgpack")
    path.write_bytes(path.read_bytes()[:-10])

    replayed, outlet = ran(path)

    assert [notice for notice in outlet.notices if "ends within a frame" in notice]
    assert 0 < replayed.summary.records < len(eventful())


def test_what_cannot_be_done_is_said_before_anything_is_read(tmp_path: Path) -> None:
    path = stored(tmp_path, "in.msgpack")

    there = called(str(path), "--out", str(path))
    stdin = called("-")
    missing = called(str(tmp_path / "none.log"))

    assert isinstance(there.exception, ConfigError)
    assert "is there already" in str(there.exception)
    assert isinstance(stdin.exception, ConfigError)
    assert isinstance(missing.exception, SourceError)


def test_lines_of_a_sink_become_the_entries_they_were(tmp_path: Path) -> None:
    entry = b"\x92\x92\xd7\0\x65\x53\xf1\0\0\0\0\7\x81\xa1m\xc3" + bytes(
        msgpack.packb({"log": "héllo\n", "n": 120, "x": 1.5, "list": [1, None], "deep": {"a": {}}})
    )
    path = tmp_path / "in.ndjson"
    path.write_bytes(ndjson("app.web", entry, 1))

    chunks = list(stored_chunks(str(path), "ndjson", ReadStats()))

    assert [(chunk.tag, chunk.count, chunk.block) for chunk in chunks] == [("app.web", 1, entry)]


TIMES = [0, 1, -1, 1 << 31, 1 << 32, (1 << 64) - 1, -(1 << 63), 0.5, -0.5, 1e300, -1e300, event_time(1_700_000_000_5)]


@pytest.mark.parametrize("time", TIMES)
def test_whatever_time_a_sink_has_written_it_is_read_back(tmp_path: Path, time: Any) -> None:
    line = ndjson("app", bytes(msgpack.packb([time, {"log": "x"}])), 1)
    path = tmp_path / "in.ndjson"
    path.write_bytes(line)

    (chunk,) = stored_chunks(str(path), kind_of(str(path), ReadStats()), ReadStats())

    assert ndjson(chunk.tag, chunk.block or b"", 1) == line


def test_a_last_line_that_is_still_being_written_is_left_out_and_said(tmp_path: Path) -> None:
    path = stored(tmp_path, "in.ndjson")
    path.write_bytes(path.read_bytes()[:-10])

    replayed, outlet = ran(path)

    assert [notice for notice in outlet.notices if "ends within a line" in notice]
    assert replayed.summary.records == len(eventful()) - 1


def test_what_a_sink_wrote_is_known_by_its_first_line_however_long_that_is(tmp_path: Path) -> None:
    path = tmp_path / "in.ndjson"
    entry = bytes(msgpack.packb([1, {"log": "x" * 3_000_000}]))
    path.write_bytes(ndjson("app", entry, 1))

    kind = kind_of(str(path), ReadStats())
    (chunk,) = stored_chunks(str(path), kind, ReadStats())

    assert (kind, chunk.tag, len(chunk.block or b"") > 3_000_000) == ("ndjson", "app", True)
