"""The transcoder against the Python it stands in for: whatever comes, nobody can tell which of them wrote it."""

from __future__ import annotations

import json
import random
import struct
import threading
from collections.abc import Iterator
from functools import partial

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.sinks import transcode
from logllm.sinks.ndjson import in_python, line_at, line_head, ndjson
from logllm.sinks.transcode.host import Transcoder
from tests.sinks.odd_blocks import OddBlocks

pytest.importorskip("wasmtime", reason="the transcoder runs in wasmtime")

EVENT_TIME = b"\xd7\0\x65\x53\xf1\0\0\0\0\7"
HEAD = b"\x92\x92" + EVENT_TIME + b"\x80"
LINE_HEAD = line_head("app.web")
_SEEDS = st.integers(0, 2**63)


@pytest.fixture(autouse=True)
def transcoded_afterwards() -> Iterator[None]:
    yield
    transcode.use(True)


def transcoded(block: bytes, count: int) -> bytes:
    found = transcode.transcoder()
    assert found is not None
    return found.lines(LINE_HEAD, block, count, partial(line_at, LINE_HEAD))


def in_the_sandbox_alone(block: bytes, count: int) -> bytes:
    """The same, where nothing may be left to Python."""

    def never(_block: bytes, at: int) -> tuple[bytes, int]:
        raise AssertionError(f"left to Python: the entry at {at}")

    found = transcode.transcoder()
    assert found is not None
    return found.lines(LINE_HEAD, block, count, never)


def good_part(block: bytes) -> tuple[list[bytes], int]:
    """Lines up to what is no entry, and where that is."""
    lines, at = [], 0
    while at < len(block):
        try:
            line, at = line_at(LINE_HEAD, block, at)
        except ValueError:
            break
        lines.append(line)
    return lines, at


def entries_of(texts: list[bytes]) -> bytes:
    return b"".join(HEAD + b"\x81\xa3log\xdb" + struct.pack(">I", len(text)) + text for text in texts)


def test_the_transcoder_can_be_had_here() -> None:
    assert transcode.available()


@given(_SEEDS)
@settings(max_examples=300, deadline=None)
def test_any_block_gives_the_same_lines(seed: int) -> None:
    entries = OddBlocks(seed).entries()
    block = b"".join(entries)

    quickly = transcoded(block, len(entries))

    assert quickly == in_python(LINE_HEAD, block, len(entries))
    for line in quickly.splitlines():
        assert isinstance(json.loads(line), dict)


@given(_SEEDS)
@settings(max_examples=300, deadline=None)
def test_damaged_blocks_give_the_same_lines_up_to_the_damage(seed: int) -> None:
    odd = OddBlocks(seed)
    block = odd.damaged(b"".join(odd.entries()))
    lines, end = good_part(block)

    quickly = transcoded(block[:end], len(lines))

    assert quickly == b"".join(lines) == in_python(LINE_HEAD, block[:end], len(lines))
    if end < len(block):
        for write in (transcoded, partial(in_python, LINE_HEAD)):
            for count in (len(lines), len(lines) + 1):
                with pytest.raises(ValueError, match="block"):
                    write(block, count)


@given(st.binary(max_size=200), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_any_bytes_at_all_are_lines_or_an_error_for_both(block: bytes, count: int) -> None:
    found: list[bytes | None] = []

    for write in (transcoded, partial(in_python, LINE_HEAD)):
        try:
            found.append(write(block, count))
        except ValueError:
            found.append(None)

    assert found[0] == found[1]


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_not_utf8_are_replaced_as_python_does(text: bytes) -> None:
    (line,) = in_the_sandbox_alone(entries_of([text]), 1).splitlines()

    assert json.loads(line)["record"]["log"] == text.decode("utf-8", "replace")


def test_every_pair_and_many_fours_of_bytes_are_replaced_as_python_does() -> None:
    rng = random.Random(5)
    odd = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5)
    texts = [bytes((first, second)) for first in range(256) for second in range(256)]
    texts += [bytes(rng.choices(odd, k=4)) for _ in range(100_000)]

    lines = in_the_sandbox_alone(entries_of(texts), len(texts)).split(b"\n")

    assert [json.loads(line)["record"]["log"] for line in lines[:-1]] == [
        text.decode("utf-8", "replace") for text in texts
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e6, 1e6), max_size=50))
@settings(max_examples=200, deadline=None)
def test_floats_are_written_as_python_writes_them(values: list[float]) -> None:
    block = HEAD + b"\x81\xa1v" + bytes(msgpack.packb(values))

    assert transcoded(block, 1).endswith(f'{{"v":[{",".join(map(repr, values))}]}}}}\n'.encode())


def test_entries_with_floats_are_not_left_to_python() -> None:
    rng = random.Random(6)
    values = [0.25, 17.0, -3.125, 1_700_000_000.123457, 1e15, 0.001, 1 / 3, float("nan"), float("inf"), 1e-7, -5e300]
    values += [rng.random() * 10.0 ** rng.randint(-9, 20) for _ in range(20_000)]
    values += [struct.unpack(">f", struct.pack(">f", rng.uniform(0.01, 1e6)))[0] for _ in range(10_000)]
    block = b"".join(HEAD + b"\x81\xa1v" + bytes(msgpack.packb(value)) for value in values)

    assert in_the_sandbox_alone(block, len(values)) == in_python(LINE_HEAD, block, len(values))


@pytest.mark.parametrize("count", [4095, 4096, 4097])
def test_more_floats_to_put_in_than_there_is_room_for_keep_their_places(count: int) -> None:
    block = entries_of([b"x"]) + HEAD + b"\x81\xa1v" + bytes(msgpack.packb([1e-9] * count)) + entries_of([b"y"])

    assert transcoded(block, 3) == in_python(LINE_HEAD, block, 3)


def test_entries_and_lines_longer_than_the_windows_keep_their_order() -> None:
    rng = random.Random(8)
    sizes = [rng.choice((3, 100, 30_000, 100_000, 262_100, 300_000)) for _ in range(60)]
    texts = [rng.choice((b"x", b"\1", b"\xff", b'"', "é".encode())) * size for size in sizes]
    block = entries_of(texts)

    lines = transcoded(block, len(texts))

    assert lines == in_python(LINE_HEAD, block, len(texts))


@pytest.mark.parametrize("size", range(262_100, 262_160, 3))
def test_an_entry_that_ends_where_the_window_does_is_whole(size: int) -> None:
    block = entries_of([b"x" * size, b"y"])

    assert transcoded(block, 2) == in_python(LINE_HEAD, block, 2)


@pytest.mark.parametrize("length", [3000, 4080, 5000])
def test_lines_of_long_tags_fill_the_output_again_and_again(length: int) -> None:
    block = b"\x92\5\x80" * 2000

    lines = ndjson("t" * length, block, 2000)

    assert lines == (line_head("t" * length) + b'5.000000000","record":{}}\n') * 2000


def test_a_wrong_number_of_entries_is_told() -> None:
    block = entries_of([b"x" * 50] * 20)

    for count in (0, 19, 21):
        with pytest.raises(ValueError, match="block"):
            ndjson("t", block, count)


def test_without_it_the_lines_are_the_same() -> None:
    block = entries_of([b"x" * 50] * 20)

    quickly = ndjson("t", block, 20)
    transcode.use(False)

    assert transcode.transcoder() is None
    assert ndjson("t", block, 20) == quickly


def test_each_thread_has_its_own() -> None:
    found: list[Transcoder | None] = []

    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(transcode.transcoder()))
        thread.start()
        thread.join(60)

    assert None not in found
    assert len({id(one) for one in (*found, transcode.transcoder())}) == 3
