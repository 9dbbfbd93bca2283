"""Laws of the whole pipeline with all detectors on: latencies, distinct words, sessions by field and in text."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.detectors.sessions.config import SessionsConfig
from logllm.events import Chunk, IncidentEvent, Origin, rfc3339
from logllm.explain.redact.redactor import Redactor
from logllm.pipeline import Pipeline
from tests.incidents.stream import START_NS, catalogue, json_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATHS = (Path(__file__).parents[1], Path(__file__).parents[1] / "pipeline")
HOURS = 4.0
ODD_FROM_S = 3.4 * 3600
CONFIG = Config(detect=DetectConfig(alerts_per_day=300.0, sessions=SessionsConfig(idle_s=60)))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as a sender packs it, and what it is of."""

    second: float
    tag: str
    packed: bytes


def _entry(second: float, tag: str, **fields: object) -> Entry:
    time_ns = START_NS + int(second * 1e9)
    stamp = b"\x92\x92\xd7\0" + struct.pack(">II", time_ns // 1_000_000_000, time_ns % 1_000_000_000) + b"\x80"
    return Entry(second, tag, stamp + bytes(msgpack.packb(fields)))


def _requests(source: random.Random) -> list[Entry]:
    """Two records a request, named by a field; late on slower, of one client, and some fail on the way."""
    found = []
    at = 0.0
    while (at := at + source.expovariate(1 / 4.0)) < HOURS * 3600:
        odd = at > ODD_FROM_S
        trace, client = f"{source.getrandbits(64):016x}", f"10.0.0.{source.randrange(6)}"
        took = source.lognormvariate(3.0, 0.4) * (6.0 if odd else 1.0)
        more = {"service": "shop", "trace_id": trace, "client": f"c{source.getrandbits(40)}" if odd else client}
        found.append(_entry(at, "app", log=f"begin of order {source.randrange(9999)}", level="info", **more))
        if odd and source.random() < 0.05:
            found.append(_entry(at + 0.5, "app", log="rolled back, no stock", level="info", **more))
        else:
            found.append(
                _entry(at + 0.5, "app", log="order is placed", level="info", duration_ms=round(took, 1), **more)
            )
    return found


def _blocks(source: random.Random) -> list[Entry]:
    """Three records a block, whose id is in the text alone; late on some are deleted before they are stored."""
    found = []
    at = 0.0
    while (at := at + source.expovariate(1 / 4.5)) < HOURS * 3600:
        block, lost = f"blk_{source.randrange(10**8, 10**9)}", at > ODD_FROM_S and source.random() < 0.04
        end = f"giving up block {block}" if lost else f"stored {block} in {source.randrange(20, 60)} ms"
        for after, text in ((0.0, f"receiving block {block}"), (0.3, f"size of {block} is known"), (0.9, end)):
            found.append(_entry(at + after, "store", log=text, service="store"))
    return found


@cache
def entries(seed: int = 4) -> tuple[Entry, ...]:
    """Some 18,000 records of two tags, out of order by up to three seconds."""
    source = random.Random(seed)
    found = _requests(source) + _blocks(source)
    found += [_entry(second, "app", log=f"beat {second}", service="pulse") for second in range(0, 12_000, 30)]
    words = [f"{a}{b}{c}" for a in "bdg" for b in ("ari", "elo", "umi") for c in ("na", "to")]
    for second in range(0, int(HOURS * 3600), 40):
        who = source.choice(words[: 1 + second // 900])
        found.append(_entry(second, "app", log=f"{who} has paid bill {second}", service="bank", user=who))
    return tuple(sorted(found, key=lambda entry: entry.second + 3.0 * source.random()))


COUNT = len(entries())


def chunks(rows: Iterable[Entry], cuts: Iterable[int] = ()) -> Iterable[Chunk]:
    """The records as blocks that begin at `cuts` and wherever the tag changes."""
    each = list(rows)
    turns = {at for at in range(1, len(each)) if each[at].tag != each[at - 1].tag}
    for start, end in pairwise(sorted({0, len(each), *turns, *(cut for cut in cuts if 0 < cut < len(each))})):
        block = b"".join(row.packed for row in each[start:end])
        yield Chunk(each[start].tag, end - start, len(block), Origin("10.0.0.1:5170"), block=block)


def made(*, look_back: bool = False) -> Pipeline:
    """A pipeline with all detectors on, that shares the runbooks with others."""
    pipeline = Pipeline(CONFIG, look_back=look_back)
    pipeline.advice.use(catalogue())
    return pipeline


def fed(pipeline: Pipeline, rows: Iterable[Entry], cuts: Iterable[int] = ()) -> list[IncidentEvent]:
    """What is told of some records."""
    return [event for chunk in chunks(rows, cuts) for event in pipeline.feed(chunk)]


def run(pipeline: Pipeline, rows: Iterable[Entry], cuts: Iterable[int] = ()) -> list[IncidentEvent]:
    """What is told of some records, to the end."""
    return fed(pipeline, rows, cuts) + pipeline.finish()


def restarted(pipeline: Pipeline) -> Pipeline:
    """A pipeline that goes on from what another has saved."""
    after = made()
    after.restore(msgpack.unpackb(msgpack.packb(pipeline.state())))
    return after


@cache
def rows() -> tuple[Entry, ...]:
    """The records in the order that most tests use: twenty seconds of one tag, then of another."""
    return tuple(sorted(entries(), key=lambda row: (int(row.second // 20), row.tag)))


@cache
def expected() -> tuple[tuple[IncidentEvent, ...], dict[str, int]]:
    """What is told, and the anomalies by kind."""
    pipeline = made()
    return tuple(run(pipeline, rows())), dict(pipeline.anomalies)


def fingerprint() -> str:
    """Of everything told and of the state in the end, where the secret that pseudonyms are made with is the same."""
    pipeline = made()
    pipeline.redactor = Redactor(key=bytes(16))
    told = b"".join(json_of(run(pipeline, rows())))
    return hashlib.sha256(told + bytes(msgpack.packb(pipeline.state()))).hexdigest()


def _without_evidence(events: Iterable[IncidentEvent]) -> list[tuple[Any, ...]]:
    """What must not differ when earlier lines are gone."""
    return [(e.event, e.id, e.time, e.service, e.kinds, e.title, e.expected, e.seen, e.count, e.ended) for e in events]


def test_all_that_was_put_into_the_log_is_told_by_kind() -> None:
    told, anomalies = expected()

    assert {"value", "distinct", "session", "silence"} <= anomalies.keys()
    odd = rfc3339(START_NS + int(ODD_FROM_S * 1e9))
    opened = [event for event in told if event.event == "open" and event.started >= odd]
    assert {"value", "distinct", "session"} <= {kind for event in opened for kind in event.kinds}
    assert len(opened) <= 3


@given(st.lists(st.integers(1, COUNT), max_size=200))
@settings(max_examples=2, deadline=None)
def test_what_is_told_does_not_depend_on_how_blocks_are_cut(cuts: list[int]) -> None:
    told, anomalies = expected()
    pipeline = made()

    again = run(pipeline, rows(), cuts)

    assert json_of(again) == json_of(told)
    assert pipeline.anomalies == anomalies


def test_restarts_within_blocks_windows_and_sessions_change_nothing() -> None:
    told, anomalies = expected()
    source = random.Random(8)
    late = next(at for at, row in enumerate(rows()) if row.second > ODD_FROM_S + 60 and b"receiving" in row.packed)
    edges = sorted({0, COUNT, 3, 4_999, 5_001, late + 1, *(source.randrange(COUNT) for _ in range(8))})
    pipeline = made()
    again: list[IncidentEvent] = []

    for start, end in pairwise(edges):
        again += fed(pipeline, rows()[start:end])
        pipeline = restarted(pipeline)
    again += pipeline.finish()

    assert _without_evidence(again) == _without_evidence(told)
    assert pipeline.anomalies == anomalies


def test_the_order_of_a_records_keys_does_not_matter() -> None:
    told, _ = expected()
    turned = []
    for row in rows():
        head, record = row.packed[:13], msgpack.unpackb(row.packed[13:])
        turned.append(replace(row, packed=head + bytes(msgpack.packb(dict(reversed(record.items()))))))

    again = run(made(), turned)

    assert _without_evidence(again) == _without_evidence(told)


def test_two_processes_agree_to_the_last_byte_of_events_and_state() -> None:
    code = "from tests.test_pipeline_detectors import fingerprint; print(fingerprint())"

    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(map(str, _PATHS))},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(found) == 1
    assert len(found.pop().strip()) == 64


def test_windows_that_close_by_the_block_open_the_same_incidents() -> None:
    told, _ = expected()
    pipeline = made()
    pipeline.windows.whole_blocks = True

    by_block = run(pipeline, rows())

    assert {e.id for e in by_block if e.event == "open"} == {e.id for e in told if e.event == "open"}


def test_templates_that_merge_and_go_take_all_that_was_known_of_them_along() -> None:
    letters = "bcdfghjklmnpqrstvwxz"
    found = []
    for minute in range(240):
        for n in range(12):
            log = f"{letters[minute % 20] * 3}{letters[n] * 4} unit {letters[-n - 1] * 5} took {n + 20} ms"
            fields = {"trace_id": f"t{minute}-{n % 5}", "client": letters[n], "duration_ms": n + minute % 7}
            found.append(_entry(minute * 60 + n, "app", log=log, **fields))
    steady, cut = _with_little_room(made()), _with_little_room(made())

    told = run(steady, found)
    again = fed(cut, found[:1_111], range(0, 1_111, 7))
    cut = _with_little_room(restarted(cut))
    again += run(cut, found[1_111:])

    assert steady.miner.size > len(steady.miner)
    assert steady.keys.count <= 61
    assert _without_evidence(again) == _without_evidence(told)
    assert cut.anomalies == steady.anomalies
    assert restarted(cut).state() == cut.state()


def _with_little_room(pipeline: Pipeline) -> Pipeline:
    pipeline.miner._mining.max_templates = 40
    pipeline.keys._max_keys = 60
    return pipeline
