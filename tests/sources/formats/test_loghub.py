"""The labelled logs of loghub, where they lie beside the checkout: messages and times as their tables say."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from logllm.sources.file import ReadStats, read_file

LOGHUB = Path(__file__).parents[3] / ".." / "shared" / "data" / "loghub"
REFERENCE = datetime(2017, 12, 31, tzinfo=UTC)

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not LOGHUB.is_dir(), reason=f"the logs of loghub are not at {LOGHUB}"),
]


def _apache(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["Time"], "%a %b %d %H:%M:%S %Y")


def _bgl(row: dict[str, str]) -> datetime:
    return datetime.fromtimestamp(int(row["Timestamp"]), UTC)


def _hdfs(row: dict[str, str]) -> datetime:
    # The table holds numbers: leading zeros are gone.
    return datetime.strptime(f"{int(row['Date']):06d} {int(row['Time']):06d}", "%y%m%d %H%M%S")


def _iso(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(f"{row['Date']} {row['Time'].replace(',', '.')}")


def _linux(row: dict[str, str]) -> datetime:
    return datetime.strptime(f"2017 {row['Month']} {row['Date']} {row['Time']}", "%Y %b %d %H:%M:%S")


def _ssh(row: dict[str, str]) -> datetime:
    return datetime.strptime(f"2017 {row['Date']} {row['Day']} {row['Time']}", "%Y %b %d %H:%M:%S")


TIMES = {
    "Apache": _apache,
    "BGL": _bgl,
    "HDFS": _hdfs,
    "Hadoop": _iso,
    "Linux": _linux,
    "OpenSSH": _ssh,
    "OpenStack": _iso,
    "Zookeeper": _iso,
}
# Words of the table's Level column that name no severity there: hosts.
LEVELED = {"Apache", "BGL", "HDFS", "Hadoop", "OpenStack", "Zookeeper"}


@pytest.mark.parametrize("family", TIMES)
def test_messages_times_and_levels_are_those_of_the_table(family: str) -> None:
    log = LOGHUB / family / f"{family}_2k.log"
    with (LOGHUB / family / f"{family}_2k.log_structured.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    stats = ReadStats()
    reference_ns = int(REFERENCE.timestamp()) * 1_000_000_000

    columns = [chunk.columns for chunk in read_file(log, reference_ns=reference_ns, stats=stats) if chunk.columns]
    messages = [message for part in columns for message in part.messages]
    times = [int(time) for part in columns for time in part.time_ns]
    severities = [int(severity) for part in columns for severity in part.severity]

    assert len(messages) == len(rows) == stats.records
    wrong = [
        (message, row["Content"])
        for message, row in zip(messages, rows, strict=True)
        if message.strip() != row["Content"].strip()
    ]
    assert len(wrong) <= 0.005 * len(rows), wrong[:5]
    expected = [TIMES[family](row).replace(tzinfo=UTC) for row in rows]
    late = [
        (found, wanted)
        for found, wanted in zip(times, expected, strict=True)
        if datetime.fromtimestamp(0, UTC) + timedelta(microseconds=found // 1000) != wanted
    ]
    assert late == []
    assert all(severities) == (family in LEVELED)
    assert not stats.skipped
