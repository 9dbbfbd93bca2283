"""A file's records on their way through filters: what is left alone stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import Columns
from logllm.sources.decode import Decoder
from logllm.sources.file import read_file
from logllm.sources.file_block import FileBlock

SAMPLES = Path(__file__).parents[2] / "samples"
SYSLOG = """\
2026-03-10T07:00:01.5+00:00 depot sshd[123]: Failed password for root from 192.0.2.7 port 22
2026-03-10T07:00:02.5+00:00 depot sshd[123]: Connection closed
2026-03-10T07:00:03.5+00:00 depot kernel: Out of memory
""" + "".join(f"2026-03-10T07:00:{second:02}.5+00:00 depot cron[9]: job {second} done\n" for second in range(4, 30))
STACK = """\
2026-03-10 07:00:01,500 ERROR app.Main: request failed
java.lang.IllegalStateException: no pool
\tat app.Main.run(Main.java:7)
2026-03-10 07:00:02,500 INFO app.Main: next
2026-03-10 07:00:03,500 INFO app.Main: next
2026-03-10 07:00:04,500 WARN app.Main: slow
"""
JSON = "".join(
    f'{{"time": "2026-03-10T07:00:{second:02}Z", "level": "info", "service": "cart", '
    f'"msg": "item {second}", "n": {second}}}\n'
    for second in range(20)
)
LOGFMT = "".join(
    f'time=2026-03-10T07:00:{second:02}Z level=info service=cart msg="card 4111 added by user {second}"\n'
    for second in range(20)
)


def columns_of(tmp_path: Path, text: str) -> Columns:
    path = tmp_path / "app.log"
    # The last record waits for what may belong to it and comes in a chunk of its own.
    path.write_text(text + text.splitlines()[-1] + "\n", encoding="utf-8")
    chunk = next(read_file(path, keep_raw=True))
    assert chunk.columns is not None
    return chunk.columns


def records_of(block: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(block)
    return list(unpacker)


def filtered(before: FileBlock, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Columns:
    out = []
    for (time, metadata), record in records_of(before.block):
        changed = change(dict(record))
        if changed is not None:
            out.append(msgpack.packb([[time, metadata], changed]))
    return before.columns(b"".join(out), len(out), Decoder())


def same(one: Columns, other: Columns) -> bool:
    services = [[each.service_names[code] for code in each.service_codes.tolist()] for each in (one, other)]
    assert one.position is not None
    assert other.position is not None
    return (
        list(one.messages) == list(other.messages)
        and services[0] == services[1]
        and bool((one.time_ns == other.time_ns).all() and (one.severity == other.severity).all())
        and bool((one.position == other.position).all())
    )


@pytest.mark.parametrize("text", [SYSLOG, STACK, JSON, LOGFMT], ids=["syslog", "stack", "json", "logfmt"])
def test_a_filter_that_changes_nothing_gives_the_very_same_columns(tmp_path: Path, text: str) -> None:
    columns = columns_of(tmp_path, text)
    before = FileBlock(columns)

    assert before.columns(before.block, before.count, Decoder()) is columns
    assert same(before.columns(bytes(bytearray(before.block)), before.count, Decoder()), columns)


@pytest.mark.parametrize("text", [SYSLOG, STACK, JSON, LOGFMT], ids=["syslog", "stack", "json", "logfmt"])
def test_a_field_more_changes_no_message_level_service_time_or_line(tmp_path: Path, text: str) -> None:
    columns = columns_of(tmp_path, text)

    after = filtered(FileBlock(columns), lambda record: {**record, "seen": True})

    assert same(after, columns)


def test_a_plain_line_is_a_record_as_fluent_bits_tail_makes_it_with_its_line_number(tmp_path: Path) -> None:
    before = FileBlock(columns_of(tmp_path, SYSLOG))

    (time, metadata), record = records_of(before.block)[1]

    assert record == {"log": SYSLOG.splitlines()[1]}
    assert metadata == {"line": 2}
    assert time.code == 0
    assert int.from_bytes(time.data[:4], "big") == 1_773_126_002


def test_a_json_line_is_its_object_and_lines_that_belong_together_are_one_text(tmp_path: Path) -> None:
    json_records = [record for _, record in records_of(FileBlock(columns_of(tmp_path, JSON)).block)]
    stack_records = [record for _, record in records_of(FileBlock(columns_of(tmp_path, STACK)).block)]

    assert json_records[3] == {
        "time": "2026-03-10T07:00:03Z",
        "level": "info",
        "service": "cart",
        "msg": "item 3",
        "n": 3,
    }
    assert stack_records[0] == {"log": "\n".join(STACK.splitlines()[:3])}
    assert len(stack_records) == 4


def test_dropped_records_are_gone_and_the_rest_keep_their_lines(tmp_path: Path) -> None:
    after = filtered(FileBlock(columns_of(tmp_path, SYSLOG)), lambda r: None if "cron" in r["log"] else r)

    assert list(after.messages) == [
        "Failed password for root from 192.0.2.7 port 22",
        "Connection closed",
        "Out of memory",
    ]
    assert after.position is not None
    assert after.position.tolist() == [1, 2, 3]


def test_a_redacted_text_still_loses_its_header(tmp_path: Path) -> None:
    after = filtered(FileBlock(columns_of(tmp_path, SYSLOG)), lambda r: {"log": r["log"].replace("192.0.2.7", "[ip]")})

    assert after.messages[0] == "Failed password for root from [ip] port 22"
    assert after.service_names[int(after.service_codes[0])] == "sshd"


def test_a_text_changed_within_its_format_is_read_in_that_format(tmp_path: Path) -> None:
    after = filtered(FileBlock(columns_of(tmp_path, LOGFMT)), lambda r: {"log": r["log"].replace("4111", "[card]")})

    assert after.messages[3] == "card [card] added by user 3"


def test_what_a_filter_says_of_level_and_service_wins(tmp_path: Path) -> None:
    after = filtered(
        FileBlock(columns_of(tmp_path, STACK)),
        lambda r: {**r, "level": "fatal", "service": "billing"} if "next" in r["log"] else r,
    )

    assert after.severity.tolist() == [17, 21, 21, 13]
    assert [after.service_names[code] for code in after.service_codes.tolist()][1:3] == ["billing", "billing"]


def test_records_that_a_filter_makes_up_are_taken_with_line_zero(tmp_path: Path) -> None:
    before = FileBlock(columns_of(tmp_path, SYSLOG))
    extra = msgpack.packb([1_773_126_040, {"message": "summary: 26 jobs", "level": "warn"}])

    after = before.columns(before.block + extra, before.count + 1, Decoder())

    assert after.messages[-1] == "summary: 26 jobs"
    assert after.severity[-1] == 13
    assert after.position is not None
    assert after.position[-1] == 0
    assert after.time_ns[-1] == 1_773_126_040_000_000_000


def test_records_may_come_back_in_another_order_and_twice(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, SYSLOG)
    before = FileBlock(columns)
    entries = [msgpack.packb(entry) for entry in records_of(before.block)]

    after = before.columns(b"".join([entries[2], entries[0], entries[2]]), 3, Decoder())

    assert list(after.messages) == [columns.messages[2], columns.messages[0], columns.messages[2]]


def test_columns_without_their_lines_are_refused() -> None:
    bare = Columns(np.zeros(1, np.int64), ["a"], np.zeros(1, np.uint8), np.zeros(1, np.int32), [""])

    with pytest.raises(ValueError, match="keep_raw"):
        FileBlock(bare)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=40), min_size=1, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_any_text_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("block") / "any.log"
    path.write_text("\n".join(["x", *lines]) + "\n", encoding="utf-8")
    for chunk in read_file(path, keep_raw=True):
        assert chunk.columns is not None
        before = FileBlock(chunk.columns)

        after = filtered(before, lambda record: record)

        assert same(after, chunk.columns)


def test_the_samples_are_the_same_records_after_a_filter_that_adds_a_field() -> None:
    for path in sorted(SAMPLES.glob("*.log")):
        chunk = next(read_file(path, keep_raw=True))
        assert chunk.columns is not None

        after = filtered(FileBlock(chunk.columns), lambda record: {**record, "seen": 1})

        assert same(after, chunk.columns), path.name
