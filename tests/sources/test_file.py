"""Reading files: what is in them, in any wrapping, and everything that can be wrong with them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import sys
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError, SourceError
from logllm.events import Chunk, Columns, rfc3339
from logllm.sources.file import ReadStats, read_file, service_of
from logllm.sources.file_lines import INVALID_UTF8, LINE_CUT, NUL, LineSplitter
from logllm.sources.file_records import RecordReader
from logllm.sources.file_select import only_service, parse_since, since
from logllm.sources.formats.line_format import Reading

NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
LINES = [
    f"2026-11-{1 + row // 400:02d} 10:00:{row % 60:02d},{row % 1000:03d} INFO [main] a.B: text {row}"
    for row in range(900)
]


def messages(chunks: list[Chunk]) -> list[str]:
    return [message for chunk in chunks if chunk.columns is not None for message in chunk.columns.messages]


def positions(chunks: list[Chunk]) -> list[int]:
    return [
        int(line)
        for chunk in chunks
        if chunk.columns is not None and chunk.columns.position is not None
        for line in chunk.columns.position
    ]


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_chunks_say_where_they_come_from_and_how_large_they_are(tmp_path: Path) -> None:
    text = "\n".join(LINES) + "\n"
    log = write(tmp_path / "app.log", text)
    stats = ReadStats()

    chunks = list(read_file(log, chunk_bytes=10_000, stats=stats))

    assert {chunk.tag for chunk in chunks} == {"app.log"}
    assert {chunk.origin.peer for chunk in chunks} == {str(log)}
    assert sum(chunk.size_bytes for chunk in chunks) == len(text) == stats.bytes
    assert sum(chunk.count for chunk in chunks) == 900 == stats.records == stats.lines
    assert messages(chunks) == [f"text {row}" for row in range(900)]
    assert positions(chunks) == list(range(1, 901))
    assert len(chunks) > 3


@pytest.mark.parametrize(
    ("name", "pack"),
    [("app.log", bytes), ("app.log.gz", gzip.compress), ("app.log.bz2", bz2.compress), ("app.log.xz", lzma.compress),
     ("app.log.zst", zstandard.compress), ("named.wrong", gzip.compress)],
)  # fmt: skip
def test_a_compressed_file_reads_as_its_text(tmp_path: Path, name: str, pack: type[bytes]) -> None:
    log = write(tmp_path / name, pack(("\n".join(LINES) + "\n").encode()))

    assert messages(list(read_file(log, chunk_bytes=5_000))) == [f"text {row}" for row in range(900)]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
@pytest.mark.parametrize("chunk_bytes", [4_096, 65_536])
def test_nothing_is_left_in_a_decompressor(tmp_path: Path, pack: type[bytes], chunk_bytes: int) -> None:
    log = write(tmp_path / "app.log", pack(b"again\n" * 500_000))
    stats = ReadStats()

    count = sum(chunk.count for chunk in read_file(log, chunk_bytes=chunk_bytes, stats=stats, format="text"))

    assert (count, stats.bytes, dict(stats.skipped)) == (500_000, 3_000_000, {})


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_several_compressed_members_follow_each_other(tmp_path: Path, pack: type[bytes]) -> None:
    log = write(tmp_path / "app.log.gz", pack(b"one\n") + pack(b"two\n"))

    assert messages(list(read_file(log))) == ["one", "two"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_of_a_compressed_file_that_ends_early_what_is_there_is_read(tmp_path: Path, pack: type[bytes]) -> None:
    noise = random.Random(7)
    text = "".join(f"{noise.getrandbits(400):x}\n" for _ in range(30_000)).encode()
    packed = pack(text)
    log = write(tmp_path / "app.log.gz", packed[: len(packed) * 3 // 4])
    stats = ReadStats()

    found = messages(list(read_file(log, stats=stats, format="text")))

    assert len(found) > 5_000
    assert found[:-1] == text.decode().split("\n")[: len(found) - 1]
    assert stats.skipped["compressed data damaged"] == 1
    assert "ends early" in stats.notices[0]


def test_of_a_damaged_compressed_file_what_was_before_is_read(tmp_path: Path) -> None:
    noise = random.Random(7)
    text = "".join(f"{noise.getrandbits(400):x}\n" for _ in range(3_000))
    packed = bytearray(gzip.compress(text.encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = b"\xff" * 200
    stats = ReadStats()

    found = messages(list(read_file(write(tmp_path / "app.log.gz", bytes(packed)), stats=stats)))

    # What follows the damage within the same piece may come out garbled: the check sum stands at the end.
    assert found[:800] == text.split("\n")[:800]
    assert stats.skipped["compressed data damaged"] == 1
    assert "damaged gzip data" in stats.notices[0]


def test_a_compression_bomb_stays_flat_in_memory(tmp_path: Path) -> None:
    log = write(tmp_path / "app.log.gz", gzip.compress(b"x" * 200_000_000, 1))
    stats = ReadStats()

    tracemalloc.start()
    found = messages(list(read_file(log, stats=stats)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [len(message) for message in found] == [65_536]
    assert stats.skipped == {LINE_CUT: 1}
    assert peak < 30_000_000


def test_missing_directory_unreadable_and_binary_are_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "app.bin", b"text and then\0more")

    with pytest.raises(SourceError, match=r"^none\.log: no such file$"):
        read_file(tmp_path / "none.log")
    with pytest.raises(SourceError, match=r"^folder: is a directory, expected a file$"):
        read_file(tmp_path / "folder")
    with pytest.raises(SourceError, match=r"^app\.bin: binary file \(NUL byte at offset 13\), expected text$"):
        list(read_file(tmp_path / "app.bin"))
    with pytest.raises(SourceError, match="cannot be opened: embedded null byte"):
        read_file("app\0.log")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", "text\n")
    log.chmod(0)

    with pytest.raises(SourceError, match=r"^app\.log: permission denied$"):
        read_file(log)


def test_a_wrong_format_or_zone_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", "text\n")

    with pytest.raises(ConfigError, match="no format 'yaml'"):
        read_file(log, format="yaml")
    with pytest.raises(ConfigError, match="no time zone 'Mars'"):
        read_file(log, tz="Mars")


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n  \n", b"\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_gives_nothing(tmp_path: Path, data: bytes) -> None:
    stats = ReadStats()

    assert list(read_file(write(tmp_path / "app.log", data), stats=stats)) == []
    assert stats.records == 0


def test_a_line_of_ten_megabytes_is_cut_and_counted_and_nothing_else_is_lost(tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", b"first\n" + b"y" * 10_000_000 + b"\nlast\n")
    stats = ReadStats()

    found = messages(list(read_file(log, stats=stats)))

    assert [len(message) for message in found] == [5, 65_536, 4]
    assert stats.skipped == {LINE_CUT: 1}


def test_a_line_without_end_never_fills_the_memory() -> None:
    counts: Counter[str] = Counter()
    splitter = LineSplitter(counts, max_line_bytes=1_000)
    block = b"z" * 100_000

    lines = [line for _ in range(100) for line in splitter.feed(block)] + splitter.feed(b"\nnext\n") + splitter.finish()

    assert [len(line) for line in lines] == [1_000, 4]
    assert splitter.waiting == 0
    assert counts == {LINE_CUT: 1}


def test_lines_with_windows_ends_and_the_last_without_end(tmp_path: Path) -> None:
    log = write(tmp_path / "app.log", b"one\r\ntwo\r\nthree")

    assert messages(list(read_file(log))) == ["one", "two", "three"]


def test_broken_utf8_is_replaced_line_by_line_and_counted(tmp_path: Path) -> None:
    stats = ReadStats()
    log = write(tmp_path / "app.log", "grün\n".encode() + b"gr\xfcn\n" + "grün\n".encode())

    found = messages(list(read_file(log, stats=stats)))

    assert found == ["grün", "gr\ufffdn", "grün"]
    assert stats.skipped == {INVALID_UTF8: 1}


def test_nul_bytes_far_into_a_file_vanish_and_are_counted(tmp_path: Path) -> None:
    stats = ReadStats()
    log = write(tmp_path / "app.log", b"fill\n" * 2_000 + b"\0\0\0after a crash\n")

    found = messages(list(read_file(log, stats=stats)))

    assert found[-1] == "after a crash"
    assert stats.skipped == {NUL: 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_byte_order_marks_are_understood(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    log = write(tmp_path / "app.log", mark + "eins\r\nzwei ü\r\n".encode(encoding))

    assert messages(list(read_file(log, chunk_bytes=7))) == ["eins", "zwei ü"]


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))

    chunks = list(read_file("-", reference_ns=NOW_NS))

    assert messages(chunks) == ["one", "two"]
    assert {chunk.tag for chunk in chunks} == {"stdin"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                LINES[0], LINES[1], "  indented", "\tat a.b(C.java:1)", "flush left", "", "grün",
                "Traceback (most recent call last):", "2026-11-09 10:00:00 WARN other shape",
            ]
        ),
        max_size=40,
    ),
    st.integers(20, 20_000),
    st.sampled_from(["plain", "text", "json"]),
)  # fmt: skip
def test_blocks_of_any_size_give_the_same_records(
    tmp_path: Path, lines: list[str], chunk_bytes: int, name: str
) -> None:
    # The header is learned from these, whatever comes after.
    log = write(tmp_path / "app.log", "\n".join([*LINES[:200], *lines]))

    whole = list(read_file(log, format=name))
    parts = list(read_file(log, format=name, chunk_bytes=chunk_bytes))

    assert messages(parts) == messages(whole)
    assert positions(parts) == positions(whole)
    assert sum(chunk.size_bytes for chunk in parts) == sum(chunk.size_bytes for chunk in whole)


def test_a_trace_across_two_blocks_is_one_record(tmp_path: Path) -> None:
    trace = f"{LINES[0]}\njava.lang.X: y\n" + "".join(f"\tat a.B.c{row}(B.java:{row})\n" for row in range(50))
    log = write(tmp_path / "app.log", trace * 20)

    found = messages(list(read_file(log, chunk_bytes=1_000)))

    assert [len(message.split("\n")) for message in found] == [52] * 20


def test_a_format_that_only_shows_after_a_banner_is_found(tmp_path: Path) -> None:
    banner = [f"banner line {row}" for row in range(300)]
    records = [
        json.dumps({"time": "2026-11-09T10:00:00Z", "level": "error", "msg": f"m{row}"}) for row in range(60_000)
    ]
    log = write(tmp_path / "app.log", "\n".join([*banner, *records]))

    chunks = list(read_file(log))

    assert messages(chunks)[-1] == "m59999"
    assert chunks[-1].columns is not None
    assert int(chunks[-1].columns.severity[-1]) == 17


def test_a_file_that_changes_its_format_is_read_on_in_the_new_one(tmp_path: Path) -> None:
    old = "\n".join(LINES * 3)
    new = "\n".join(
        json.dumps({"time": "2026-11-09T10:00:00Z", "level": "warn", "msg": f"m{row}"}) for row in range(30_000)
    )
    log = write(tmp_path / "app.log", f"{old}\n{new}\n")
    stats = ReadStats()

    chunks = list(read_file(log, stats=stats, chunk_bytes=100_000))

    assert messages(chunks)[-20_000:] == [f"m{row}" for row in range(10_000, 30_000)]
    assert stats.records > 30_000


def test_few_lines_at_first_do_not_fix_the_format() -> None:
    stats = ReadStats()
    reader = RecordReader("app.log", "app.log", Reading(NOW_NS, "app"), stats)

    chunks = reader.feed(["starting up"], 12)
    for line in LINES[:20]:
        chunks += reader.feed([line], len(line))
    chunks += reader.flush()

    assert messages(chunks)[:2] == ["starting up", "text 0"]
    assert reader.format_name == "log4j"


def syslog(when: datetime) -> str:
    return f"{when:%b} {when.day:2d} {when:%H:%M:%S} web app[1]: at {when:%Y-%m-%d}\n"


@pytest.mark.parametrize("months", [1, 5, 14, 40])
def test_years_are_counted_back_from_the_end_of_the_file(tmp_path: Path, months: int) -> None:
    days = [datetime.fromtimestamp(NOW.timestamp() - 86_400 * back, UTC) for back in range(months * 30, 0, -1)]
    log = write(tmp_path / "app.log", "".join(syslog(day) * 20 for day in days))
    os.utime(log, ns=(NOW_NS, NOW_NS))

    chunks = list(read_file(log))

    assert all(
        rfc3339(int(time))[:10] == message[3:]
        for chunk in chunks
        if chunk.columns is not None
        for time, message in zip(chunk.columns.time_ns, chunk.columns.messages, strict=True)
    )


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/var/log/nginx/access.log.2.gz", "access"), ("app-20240102.log", "app"), ("app.log.2024-01-02", "app"),
        ("nova-api.log.1.2017-05-16_13:53:08", "nova-api"), ("syslog", "syslog"), ("-", ""), (".log", ".log"),
        (f"/var/log/containers/shop-7d_prod_cart-{'a' * 64}.log", "cart"),
        ("/var/log/pods/prod_shop-7d_1f/cart/0.log", "cart"), ("web-1.log", "web"),
    ],
)  # fmt: skip
def test_the_service_is_in_the_file_name(path: str, service: str) -> None:
    assert service_of(path) == service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-22T21:00:00.000Z"), ("15m", "2026-11-22T20:45:00.000Z"), ("-3h", "2026-11-22T18:00:00.000Z"),
        ("1h30m", "2026-11-22T19:30:00.000Z"), ("2 days ago", "2026-11-20T21:00:00.000Z"),
        ("1.5h", "2026-11-22T19:30:00.000Z"), ("today", "2026-11-22T00:00:00.000Z"),
        ("Yesterday", "2026-11-21T00:00:00.000Z"), ("2w", "2026-11-08T21:00:00.000Z"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000Z"), ("2026-11-22 10:00", "2026-11-22T10:00:00.000Z"),
        ("2026-11-20", "2026-11-20T00:00:00.000Z"), ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00.000Z"),
        ("1700000000", "2023-11-14T22:13:20.000Z"), ("Nov 20 10:00:00", "2026-11-20T10:00:00.000Z"),
        ("09:30:00", "2026-11-22T09:30:00.000Z"),
    ],
)  # fmt: skip
def test_since_is_read_as_a_person_writes_it(text: str, expected: str) -> None:
    assert rfc3339(parse_since(text, NOW_NS)) == expected


@pytest.mark.parametrize("text", ["", "soon", "3 parsecs", "-", "h", "2026-13-40", "12", "99999999999999999999h" * 5])
def test_nonsense_for_since_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ConfigError, match=r"since: cannot read .* expected a span such as `3h`"):
        parse_since(text, NOW_NS)


def columns() -> Columns:
    return Columns(
        np.array([10, 20, 30, 40], np.int64),
        ["a", "b", "c", "d"],
        np.array([9, 17, 9, 0], np.uint8),
        np.array([0, 1, 2, 1], np.int32),
        ["web", "db", "cache"],
        np.array([1, 2, 3, 4], np.int64),
    )


def test_records_before_a_moment_are_left_out() -> None:
    kept = since(columns(), 30)

    assert kept.messages == ["c", "d"]
    assert [kept.service_names[code] for code in kept.service_codes] == ["cache", "db"]
    assert kept.position is not None
    assert kept.position.tolist() == [3, 4]


def test_only_the_services_asked_for_are_kept() -> None:
    kept = only_service(columns(), {"db", "none"})

    assert (kept.messages, kept.service_names, kept.severity.tolist()) == (["b", "d"], ["db"], [17, 0])
    assert len(only_service(columns(), set())) == 0
    assert only_service(columns(), {"web", "db", "cache"}).messages == ["a", "b", "c", "d"]
