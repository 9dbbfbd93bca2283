"""Pipeline and reducer together: what is cited can be had, nothing depends on chunks, and the account is kept."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.events import Chunk, IncidentEvent
from logllm.pipeline import Pipeline
from logllm.service.reduction import ACCOUNT_FILE, METRIC_TAGS, METRIC_TEMPLATES, Reduction
from logllm.sinks.reduce.config import ReduceConfig
from logllm.sinks.reduce.meter import load_account
from tests.incidents.stream import START_NS, Record, blocks, catalogue, eventful, json_of
from tests.sinks.reduce.drive import cut

SETTINGS: dict[str, Any] = {"enabled": True, "burst": 3, "per_hour": 4, "sample": 20}


def made(data_dir: Path | None = None, **settings: Any) -> tuple[Pipeline, Reduction]:
    pipeline = Pipeline(Config(detect=DetectConfig(alerts_per_day=100.0)))
    pipeline.advice.use(catalogue())
    return pipeline, Reduction(ReduceConfig(**{**SETTINGS, **settings}), pipeline, data_dir, lambda: 1_000.0)


def through(
    pipeline: Pipeline, reduction: Reduction, chunks: Iterable[Chunk]
) -> tuple[list[IncidentEvent], list[bytes]]:
    """Feed it all; the incidents, and each entry that went on."""
    events: list[IncidentEvent] = []
    went: list[bytes] = []

    def take(outs: Iterable[Chunk]) -> None:
        for out in outs:
            entries = list(cut(out.block or b""))
            assert len(entries) == out.count
            went.extend(entries)

    for chunk in chunks:
        told, out = reduction.take(chunk, [], None)
        events += told
        take([*reduction.late(), out])
    events += pipeline.finish()
    take(reduction.finish())
    return events, went


def plain(entry: bytes) -> tuple[bytes, int]:
    """An entry's time and record without the count, and the count."""
    record = msgpack.unpackb(entry[13:])
    count = record.pop("logllm_count", 1)
    return entry[:13] + msgpack.packb(record), count


def test_fewer_records_go_on_and_their_counts_add_up_to_all_of_them() -> None:
    pipeline, reduction = made()

    _, went = through(pipeline, reduction, blocks(eventful(), range(0, 3000, 40)))

    came = {plain(entry)[0] for block in blocks(eventful()) for entry in cut(block.block or b"")}
    assert len(went) < len(eventful()) * 0.8
    assert {plain(entry)[0] for entry in went} <= came
    assert len({plain(entry)[0] for entry in went}) == len(went)
    assert sum(plain(entry)[1] for entry in went) == len(eventful())
    assert reduction.reducer.pending == 0


def test_incidents_are_the_same_with_a_reducer_and_without() -> None:
    pipeline, reduction = made()
    alone, _ = made()
    alone.reducer = None

    events, _ = through(pipeline, reduction, blocks(eventful(), range(0, 3000, 40)))

    told = [event for block in blocks(eventful(), range(0, 3000, 40)) for event in alone.feed(block)] + alone.finish()
    assert json_of(events) == json_of(told) != []


def test_what_goes_on_does_not_depend_on_how_records_are_cut_into_chunks() -> None:
    results = []
    for cuts in ([], range(0, 3000, 7), [1, 2, 700, 1500]):
        pipeline, reduction = made()
        _, went = through(pipeline, reduction, blocks(eventful(), cuts))
        results.append(sorted(plain(entry) for entry in went))

    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("seed", range(3))
def test_all_that_evidence_may_cite_has_gone_on_or_is_in_the_ring_whatever_the_sizes(seed: int) -> None:
    source = random.Random(seed)
    pipeline, reduction = made(ring_bytes=0, sample=1000, per_hour=0)
    reduction.reducer.ring.slab_bytes = 10_000
    pipeline.recent._max_bytes, pipeline.recent._max_records = 300_000, 700
    went: set[int] = set()
    number = 0
    evicted = 0

    for step in range(400):
        count, size = source.choice([(1, 10), (1, 90_000), (60, 200), (300, 20), (8, 20_000), (2, 400_000)])
        entries = []
        for _ in range(count):
            stamp = struct.pack(">II", (START_NS // 10**9) + step * 30, number % 10**9)
            record = {"log": f"part {number} of {'abc'[number % 3]} stored", "n": number, "pad": "x" * size}
            entries.append(b"\x92\x92\xd7\0" + stamp + b"\x80" + msgpack.packb(record))
            number += 1
        block = b"".join(entries)
        _, out = reduction.take(Chunk("app", count, len(block), block=block), [], None)
        for each in (*reduction.late(), out):
            went |= {msgpack.unpackb(entry[13:])["n"] for entry in cut(each.block or b"")}
        held = {int(row) for slab in reduction.reducer.ring.slabs() for row in slab.rows["number"]}
        assert set(range(number - pipeline.recent.records, number)) <= went | held
        evicted = number - len(went | held)

    assert evicted > 0


def test_what_an_incident_cites_and_what_was_said_around_it_goes_on() -> None:
    pipeline, reduction = made(sample=10_000, per_hour=0, burst=1)

    events, went = through(pipeline, reduction, blocks(eventful(), range(0, 3000, 25)))

    texts = {msgpack.unpackb(entry[13:])["log"] for entry in went}
    masked = {pipeline.redactor.mask(text) for text in texts}
    cited = [item.text for event in events for item in event.evidence]
    assert len(cited) > 10
    assert set(cited) <= masked
    opened = next(event for event in events if event.event == "open" and event.service == "db")
    near = [
        record
        for record in eventful()
        if record.service == "db" and abs(record.second - 1.55 * 3600) < 55 and opened.started
    ]
    assert len(near) > 8
    assert {record.message for record in near} <= texts


def test_a_chunk_without_records_goes_by_and_is_not_counted() -> None:
    _, reduction = made()
    chunk = Chunk("app", 0, 0, block=b"")

    events, out = reduction.take(chunk, [], None)

    assert (events, out) == ([], chunk)
    assert reduction.meter.total.records_in == 0


def test_the_account_goes_on_over_restarts(tmp_path: Path) -> None:
    for _ in range(2):
        pipeline, reduction = made(tmp_path, price_per_gb=0.5)
        through(pipeline, reduction, blocks(eventful(), range(0, 3000, 40)))
        reduction.save()

    account = load_account(tmp_path / ACCOUNT_FILE)

    assert account is not None
    assert account.total.records_in == 2 * len(eventful())
    assert account.tags["app"] == account.total
    assert sum(row.flow.records_in for row in account.templates) == account.total.records_in
    assert sum(row.flow.records_out for row in account.templates) == account.total.records_out
    assert sum(account.kept.values()) + account.total.records_late == account.total.records_out
    assert account.saved == pytest.approx(account.saved_bytes / 1e9 * 0.5)
    assert {row.name.service for row in account.templates} == {"shop", "db", "pulse"}
    assert (tmp_path / ACCOUNT_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("body", [b"", b"{", b'{"version": 9}', b'{"total": 5}', b"\xff\x00"])
def test_a_damaged_account_is_put_aside_and_begun_anew(tmp_path: Path, body: bytes) -> None:
    (tmp_path / ACCOUNT_FILE).write_bytes(body)

    _, reduction = made(tmp_path)
    reduction.save()

    assert (tmp_path / f"{ACCOUNT_FILE}.damaged").read_bytes() == body
    account = load_account(tmp_path / ACCOUNT_FILE)
    assert account is not None
    assert account.total.records_in == 0


def test_metrics_tell_of_few_tags_and_templates_however_many_there_are() -> None:
    pipeline, reduction = made()
    words = [f"{a}{b}{c}ing" for a in "bcdfgklmn" for b in "aeiou" for c in "lmnrst"]
    chunk = next(blocks([Record(n, "shop", f"{words[n % 270]} the {words[n * 7 % 270]}", 9) for n in range(600)]))
    for number in range(3 * METRIC_TAGS):
        reduction.take(replace(chunk, tag=f"tag.{number}"), [], None)
    reduction.save()

    values = reduction.values()

    tags, templates = values["logllm_reduce_received_events"], values["logllm_reduce_template_saved_bytes"]
    assert isinstance(tags, dict)
    assert isinstance(templates, dict)
    assert len(tags) == METRIC_TAGS + 1
    assert sum(tags.values()) == 600 * 3 * METRIC_TAGS
    assert 0 < len(templates) <= METRIC_TEMPLATES
    assert pipeline.records == 600 * 3 * METRIC_TAGS


def test_many_tags_and_templates_end_as_one_row(tmp_path: Path) -> None:
    _, reduction = made(tmp_path)
    chunk = next(blocks([Record(0, "shop", "hello", 9)]))
    for number in range(1_200):
        reduction.take(replace(chunk, tag=f"tag.{number}"), [], None)

    account = reduction.meter.account(reduction.reducer.config, most=2)

    assert len(account.tags) == 1_001
    assert account.tags["(others)"].records_in == 200
    assert account.total.records_in == 1_200
