"""Lines whose shape is known say the same as lines that are read: against the way without the scan, on real formats."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import Chunk, Columns
from logllm.sources import scan
from logllm.sources.decode import Decoder
from logllm.sources.decode_headers import HEAD_BYTES
from logllm.sources.decode_lines import detected

pytest.importorskip("wasmtime", reason="the scan runs in wasmtime")

NOW = 1_800_000_000_000_000_000
LOGHUB = Path(__file__).parents[3] / "shared" / "data" / "loghub"

FAMILIES = {
    "syslog": [
        "Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for root from 173.234.31.186 port 38926 ssh2",
        "Dec 10 06:55:48 LabSZ sshd[24200]: Connection closed by 173.234.31.186 [preauth]",
        "Dec 10 07:02:47 LabSZ cron: job 7 done",
        "Dec  1 07:02:47 host-3 worker12[9]: served 5 of 12",
    ],
    "syslog with priorities": [
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "<13>Oct 11 22:14:16 mymachine su: session 5 opened",
        "<165>Oct 11 22:14:17 mymachine app[7]: started in 88 ms",
    ],
    "hdfs": [
        "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-16089996879192 src: /10.250.19.102:5",
        "081109 203519 29 WARN dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: 10.250.10.6:50010 is added",
    ],
    "python": [
        "2024-05-01 10:00:00,123 ERROR shop.cart: cannot reserve item 17",
        "2024-05-01 10:00:01,124 INFO shop.cart: reserved 18 for 4 minutes",
    ],
    "access log": [
        '10.0.0.7 - - [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326',
        '10.0.0.7 - bob [10/Oct/2000:13:55:37 -0700] "POST /cart HTTP/1.1" 503 17',
    ],
}


def vary(line: str, rng: random.Random) -> str:
    """The line with other digits, seldom in its time, sometimes with more or fewer of them behind its first half."""
    kept = 0 if rng.random() < 0.05 else 24
    other = re.sub(r"\d", lambda digit: str(rng.randint(1, 9)) if rng.random() < 0.3 else digit[0], line[kept:])
    line = line[:kept] + other
    if rng.random() < 0.3:
        half = len(line) // 2
        line = line[:half] + re.sub(r"\d+", lambda _: str(rng.randrange(10 ** rng.randint(1, 6))), line[half:])
    return line


def chunks(lines: list[str], size: int, tag: str = "app.log") -> Iterator[Chunk]:
    for at in range(0, len(lines), size):
        some = lines[at : at + size]
        block = b"".join(bytes(msgpack.packb([1_700_000_000, {"log": line}])) for line in some)
        yield Chunk(tag, len(some), len(block), block=block)


def seen(columns: Columns) -> list[tuple[str, int, str]]:
    services = [columns.service_names[code] for code in columns.service_codes.tolist()]
    return list(zip(list(columns.messages), columns.severity.tolist(), services, strict=True))


def both(lines: list[str], size: int) -> tuple[list[tuple[str, int, str]], list[tuple[str, int, str]], int]:
    """What is read with shapes and without, and how many messages had a code at the end."""
    found = []
    coded = 0
    for wanted in (True, False):
        scan.use(wanted)
        try:
            decoder = Decoder(detected)
            rows: list[tuple[str, int, str]] = []
            for chunk in chunks(lines, size):
                columns = decoder.decode(chunk, NOW)
                rows += seen(columns)
                if columns.text_codes is not None:
                    coded = int((columns.text_codes.codes > 0).sum())
            found.append(rows)
        finally:
            scan.use(True)
    return found[0], found[1], coded


@pytest.mark.parametrize("family", FAMILIES)
def test_lines_of_known_shapes_say_what_reading_them_says(family: str) -> None:
    rng = random.Random(3)
    lines = [vary(rng.choice(FAMILIES[family]), rng) for _ in range(4000)]

    quick, plain, _ = both(lines, 250)

    assert quick == plain


def test_known_shapes_are_really_used() -> None:
    rng = random.Random(4)
    lines = [vary(rng.choice(FAMILIES["hdfs"]), rng) for _ in range(4000)]

    quick, plain, coded = both(lines, 500)

    assert quick == plain
    assert coded > 300
    assert {severity for _, severity, _ in quick} == {9, 13}


def test_levels_that_are_numbers_and_services_with_numbers_are_read_each_time() -> None:
    lines = [f"<{pri}>Oct 11 22:14:15 mymachine app[7]: up" for pri in (11, 14)] * 200
    lines += [f"Oct 11 22:14:15 mymachine worker-{number}: up" for number in (1, 2)] * 200

    quick, plain, _ = both(lines, 100)

    assert quick == plain
    assert {severity for _, severity, _ in quick[-500:]} >= {9, 17}
    assert {service for _, _, service in quick} >= {"worker-1", "worker-2"}


def test_several_lines_records_short_ones_and_such_of_other_kinds_stand_between() -> None:
    rng = random.Random(5)
    odd = [
        "",
        "x",
        "no header here 5",
        "Dec 10 06:55:46 LabSZ sshd[1]: a\n  at b\n  at c",
        "é" * 70,
        "1" * 300,
        "ünder 7",
    ]
    lines = [vary(rng.choice(FAMILIES["syslog"]), rng) if rng.random() < 0.8 else rng.choice(odd) for _ in range(3000)]

    quick, plain, _ = both(lines, 200)

    assert quick == plain


def test_a_file_that_changes_its_format_is_judged_again() -> None:
    rng = random.Random(6)
    lines = [vary(rng.choice(FAMILIES["hdfs"]), rng) for _ in range(1000)]
    lines += [vary(rng.choice(FAMILIES["python"]), rng) for _ in range(1000)]

    quick, plain, _ = both(lines, 100)

    assert quick == plain
    assert quick[-1][0].startswith(("cannot", "reserved"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.text(max_size=12)), min_size=40, max_size=120))
def test_whatever_stands_in_a_line_shapes_change_nothing(rows: list[tuple[int, int, str]]) -> None:
    lines = [
        f"{FAMILIES['python'][number % 2]} {number} {text}".replace("17", str(number)) if kind else text
        for kind, number, text in rows
    ]

    quick, plain, _ = both(lines + lines, 20)

    assert quick == plain


def test_headers_at_the_bound_of_what_is_looked_at_are_right_too() -> None:
    lines = []
    for length in range(HEAD_BYTES - 45, HEAD_BYTES + 10):
        lines += [f"2024-05-01 10:00:0{n % 10},123 ERROR {'a' * length}: item {n}" for n in range(12)]

    quick, plain, _ = both(lines, 60)

    assert quick == plain


@pytest.mark.shared
@pytest.mark.skipif(not LOGHUB.is_dir(), reason="the labelled logs are not beside the checkout (shared/data/loghub)")
@pytest.mark.parametrize("system", ["Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "OpenStack", "Zookeeper"])
def test_real_logs_are_read_the_same_with_shapes_and_without(system: str) -> None:
    rng = random.Random(7)
    text = (LOGHUB / system / f"{system}_2k.log").read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    lines += [vary(line, rng) for line in lines]

    quick, plain, _ = both(lines, 300)

    assert quick == plain
