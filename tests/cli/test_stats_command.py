"""`logllm stats`, and `logllm serve` with a reducer: the real program, read while it runs and afterwards."""

from __future__ import annotations

import json
import re
import struct
import time
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from logllm.cli.stats import stats
from logllm.errors import SourceError, StateError
from logllm.explain.allowance import FILE, Allowance
from logllm.explain.config import ExplainConfig
from logllm.service.reduction import ACCOUNT_FILE
from logllm.sinks.reduce.meter import Account, Flow, Named, Row, save_account
from tests.cli.test_serve_command import served

CONFIG = """
[reduce]
enabled = true
burst = 2
per_hour = 0
sample = 50
price_per_gb = 0.5
currency = "EUR"
[[sinks]]
type = "file"
path = "{path}"
"""


def called(*arguments: str) -> Result:
    return CliRunner().invoke(stats, list(arguments))


def account() -> Account:
    rows = [
        Row(Named("shop", "a1", "GET <path>"), Flow(900, 90_000, 9, 900)),
        Row(Named("db\x1b[2J", "b2", "vacuum \u202e<num>"), Flow(100, 10_000, 100, 10_000, 3)),
    ]
    total = Flow(1_000, 100_000, 109, 10_900, 3)
    tags = {f"kube.{number}": Flow(10, 1_000, 1, 109) for number in range(30)}
    kept = {"sampled": 9, "severe": 97}
    return Account(1, 1_770_000_000.0, 1_770_086_400.0, 43_200.0, total, tags, rows, kept, 1_000_000.0, "EUR")


def test_a_person_reads_totals_money_a_day_tags_and_templates(tmp_path: Path) -> None:
    save_account(tmp_path / ACCOUNT_FILE, account())

    result = called("--data-dir", str(tmp_path), "-n", "5")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("since 2026-02-02T02:40Z, 12 h")
    assert "1,000 records in" in lines[1]
    assert "10.9 % of the bytes" in lines[1]
    assert "89.10 EUR, 178.20 a day" in lines[1]
    assert "kept: 97 severe, 9 sampled" in result.stdout
    assert "shop: GET <path>" in result.stdout
    assert "and 25 more" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_a_program_reads_all_of_it(tmp_path: Path) -> None:
    save_account(tmp_path / ACCOUNT_FILE, account())

    said = json.loads(called("--data-dir", str(tmp_path), "--json").stdout)

    assert said["type"] == "stats"
    assert said["total"]["records_out"] == 109
    assert said["saved_bytes"] == 89_100
    assert said["saved_per_day"] == pytest.approx(178.2)
    assert len(said["tags"]) == 30
    assert said["templates"][0]["name"]["text"] == "GET <path>"


def test_where_nothing_was_reduced_or_the_file_is_damaged_is_one_line(tmp_path: Path) -> None:
    nothing = called("--data-dir", str(tmp_path))
    (tmp_path / ACCOUNT_FILE).write_bytes(b"{}}")
    damaged = called("--data-dir", str(tmp_path))

    assert isinstance(nothing.exception, SourceError)
    assert "nothing is written down here yet" in str(nothing.exception)
    assert isinstance(damaged.exception, StateError)
    assert "\n" not in str(damaged.exception)


def entry(at_s: int, number: int, text: str, level: str = "info") -> bytes:
    record = {"log": f"{text} {number}", "level": level, "service": "shop", "n": number}
    return b"\x92\x92\xd7\0" + struct.pack(">II", at_s, number % 10**9) + b"\x80" + bytes(msgpack.packb(record))


def frame(entries: list[bytes], chunk_id: str) -> bytes:
    option = bytes(msgpack.packb({"chunk": chunk_id, "size": len(entries)}))
    return b"\x93\xa3app\xdd" + len(entries).to_bytes(4, "big") + b"".join(entries) + option


def test_serve_sends_on_a_part_counts_the_rest_and_brings_what_an_incident_needs(tmp_path: Path) -> None:
    out, data = tmp_path / "out.ndjson", tmp_path / "data"
    (tmp_path / "logllm.toml").write_text(CONFIG.format(path=out), encoding="utf-8")
    begin_s = int(time.time()) - 3 * 3600
    begin_s -= begin_s % 60
    frames, number = [], 0
    for minute in range(100):
        entries = []
        for _ in range(30):
            entries.append(entry(begin_s + 60 * minute + number % 60, number, "order stored as"))
            number += 1
        # Nothing sounds odd about it, so that at first it is culled like anything else.
        for _ in range(400 if minute in (90, 91) else 2):
            entries.append(entry(begin_s + 60 * minute + number % 60, number, "basket was emptied by"))
            number += 1
        frames.append(frame(entries, f"chunk-{minute}"))

    with served("--no-llm", "--json", "-c", str(tmp_path / "logllm.toml"), "--data-dir", str(data)) as running:
        acks = running.send(frames, len(frames))
        _, metrics = running.get("/metrics")
        code = running.end()

    assert code == 0, running.errors
    assert len(acks) == len(frames)
    records = [json.loads(line)["record"] for line in out.read_bytes().splitlines()]
    assert sum(record.get("logllm_count", 1) for record in records) == number
    assert len({record["n"] for record in records}) == len(records) < 0.85 * number
    opened = [event for event in running.events if event.get("event") == "open"]
    assert [(event["service"], event["kinds"]) for event in opened] == [("shop", ["rate"])]
    written = {f"{record['log']}" for record in records}
    assert {item["text"] for event in running.events for item in event.get("evidence", [])} <= written
    summary = running.events[-1]
    assert summary["reduced"]["records_in"] == number
    assert summary["reduced"]["records_out"] == len(records)
    assert summary["reduced"]["currency"] == "EUR"
    assert value(metrics, 'logllm_reduce_received_events_total{tag="app"}') == number
    assert value(metrics, 'logllm_component_discarded_events_total{component="reduce",intentional="true"}') > 0
    said: dict[str, Any] = json.loads(called("--data-dir", str(data), "--json").stdout)
    assert said["total"]["records_in"] == number
    assert said["total"]["records_out"] == len(records)
    assert {row["name"]["text"] for row in said["templates"]} == {
        "order stored as <num>",
        "basket was emptied by <num>",
    }


def value(metrics: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_person_reads_what_the_model_cost_and_what_the_cache_saved(tmp_path: Path) -> None:
    allowance = Allowance(ExplainConfig(), tmp_path / FILE)
    allowance.spend(1200, 80)
    allowance.spare(1280)
    allowance.spare(1280)
    allowance.close()

    read = called("--data-dir", str(tmp_path))
    as_json = called("--data-dir", str(tmp_path), "--json")

    assert re.fullmatch(
        r"model, since \S+Z: 1,280 tokens for 1 answer, 1,280 of them in the last hour; "
        r"2 explanations from the cache, 2,560 tokens saved\n",
        read.stdout,
    )
    assert json.loads(as_json.stdout)["model"]["saved"] == 2560
