"""The scan against the Python it stands in for: whatever comes, nobody can tell which of them read it."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ProtocolError
from logllm.events import Chunk, Columns
from logllm.sources import scan
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import LineFormatFor, detected
from logllm.sources.decode_texts import Texts
from logllm.sources.forward.entries import entries_of_stream
from logllm.sources.forward.protocol import Limits, Received, Receiver
from logllm.sources.scan.host import Part
from tests.sources.odd_entries import EVENT_TIME, FILL, FILLED, PLAIN, Odd

pytest.importorskip("wasmtime", reason="the scan runs in wasmtime")

WIRE = Path(__file__).parents[1] / "golden" / "wire"
NOW = 1_800_000_000_000_000_000
_SEEDS = st.integers(0, 2**32)


@pytest.fixture(autouse=True)
def scanned_afterwards() -> Iterator[None]:
    yield
    scan.use(True)


def both(read: Callable[[], Any]) -> tuple[Any, Any]:
    """What is read by Python alone, and with the scan."""
    scan.use(False)
    slowly = read()
    scan.use(True)
    return slowly, read()


def seen(columns: Columns) -> tuple[Any, ...]:
    """All of them that others may see, in plain values."""
    return (
        columns.time_ns.tolist(),
        list(columns.messages),
        columns.severity.tolist(),
        columns.service_codes.tolist(),
        columns.service_names,
        [str(column.dtype) for column in (columns.time_ns, columns.severity, columns.service_codes)],
    )


def part_of(block: bytes) -> Part:
    found = scan.scan_block(block)
    assert found is not None
    return found


def test_the_scan_can_be_had_here() -> None:
    assert scan.available()


@given(_SEEDS, st.sampled_from([None, detected]))
@settings(max_examples=120, deadline=None)
def test_any_block_gives_the_same_columns(seed: int, line_format: LineFormatFor | None) -> None:
    entries = Odd(seed).entries()
    entries = [entry for entry in entries if b"\xff\xff\xff\xff\0\0\0\0" not in entry]
    block, count = FILL + b"".join(entries), FILLED + len(entries)

    slowly, quickly = both(lambda: seen(Decoder(line_format).decode(Chunk("app.web", count, 0, block=block), NOW)))

    assert quickly == slowly


@given(_SEEDS)
@settings(max_examples=120, deadline=None)
def test_any_damage_is_found_and_named_the_same(seed: int) -> None:
    odd = Odd(seed)
    stream = odd.damaged(b"".join(odd.entries()) + FILL)

    slowly, quickly = both(lambda: entries_of_stream(stream, 0))

    assert (quickly.block, quickly.count) == (slowly.block, slowly.count)
    assert (quickly.faults, quickly.markers) == (slowly.faults, slowly.markers)


@given(
    _SEEDS,
    st.lists(st.integers(1, 5000), min_size=1, max_size=9),
    st.sampled_from([b"", b"\xc0", b"\x81\xa5chunk\xa3abc", b"\x81\xa4size\x05", b"\x05", b"\xc1"]),
    st.sampled_from([Limits(), Limits(frame_bytes=5000)]),
)
@settings(max_examples=80, deadline=None)
def test_frames_cut_anywhere_give_the_same_items(seed: int, cuts: list[int], option: bytes, limits: Limits) -> None:
    entries = Odd(seed).entries()
    count = FILLED + len(entries)
    body = b"\xa3app\xdd" + struct.pack(">I", count) + FILL + b"".join(entries)
    frame = bytes([0x93 if option else 0x92]) + body + option
    stream = frame + b"\x93\xa3app\xce\x65\x53\xf1\0\x81\xa3log\xa2hi" + frame

    def read() -> list[object]:
        found: list[object] = []
        receiver = Receiver("peer", limits)
        at, turn = 0, 0
        try:
            while at < len(stream):
                receiver.feed(stream[at : at + cuts[turn % len(cuts)]])
                at, turn = at + cuts[turn % len(cuts)], turn + 1
                for item in receiver.items():
                    if isinstance(item, Received):
                        chunk = item.chunk
                        assert chunk.block is not None
                        found.append((chunk.tag, chunk.count, chunk.size_bytes, chunk.origin, chunk.block, item.acks))
                    else:
                        found.append(item)
        except ProtocolError as error:
            found.append(str(error))
        return [*found, receiver.pending_bytes]

    slowly, quickly = both(read)

    assert quickly == slowly


@pytest.mark.parametrize("path", sorted(WIRE.glob("*.c2s.bin")), ids=lambda path: path.name)
def test_what_fluent_bit_sent_is_read_the_same(path: Path) -> None:
    def read() -> list[object]:
        found: list[object] = []
        receiver = Receiver()
        receiver.feed(path.read_bytes())
        try:
            for item in receiver.items():
                if isinstance(item, Received):
                    block = FILL + (item.chunk.block or b"")
                    chunk = Chunk(item.chunk.tag, FILLED + item.chunk.count, 0, block=block)
                    found.append(seen(Decoder(detected).decode(chunk, NOW)))
        except ProtocolError as error:
            found.append(str(error))
        return found

    slowly, quickly = both(read)

    assert quickly == slowly


def test_a_frame_that_comes_in_pieces_is_scanned_once_and_its_columns_go_with_it() -> None:
    frame = b"\x92\xa3app\xdd" + struct.pack(">I", 40_000) + PLAIN * 40_000
    receiver = Receiver()
    found: list[Received] = []

    for at in range(0, len(frame), 300_001):
        receiver.feed(frame[at : at + 300_001])
        found += [item for item in receiver.items() if isinstance(item, Received)]

    (received,) = found
    assert isinstance(received.chunk.scan, Part)
    assert len(received.chunk.scan) == received.chunk.count == 40_000
    assert received.chunk.scan.text_code.min() == received.chunk.scan.text_code.max() > 0
    assert list(Decoder().decode(received.chunk, NOW).messages) == ["took 12 ms"] * 40_000


def test_a_walk_goes_on_where_its_codes_were_forgotten_meanwhile() -> None:
    frame = b"\x92\xa3app\xdd" + struct.pack(">I", 2 * FILLED) + FILL + FILL
    receiver = Receiver()
    receiver.feed(frame[: len(FILL)])
    assert list(receiver.items()) == []

    many = b"".join(
        b"\x92" + EVENT_TIME + msgpack.packb({"log": "".join(chr(97 + int(digit)) for digit in str(number))})
        for number in range(60_000)
    )
    before = part_of(many)
    after = part_of(FILL)
    receiver.feed(frame[len(FILL) :])
    (item,) = receiver.items()

    assert isinstance(item, Received)
    assert isinstance(item.chunk.scan, Part)
    assert before.codes is not after.codes
    assert item.chunk.scan.codes is after.codes
    assert item.chunk.scan.text_code.min() == item.chunk.scan.text_code.max() == after.text_code[0]


def test_texts_have_one_code_exactly_if_they_differ_in_digits_only() -> None:
    rng = random.Random(4)
    texts = ["".join(rng.choice("ab1 2é") for _ in range(rng.randint(0, 40))) for _ in range(4000)]
    block = b"".join(b"\x92" + EVENT_TIME + msgpack.packb({"log": text}) for text in texts)

    codes = part_of(block).text_code.tolist()

    without = [text.translate(dict.fromkeys(range(48, 58))) for text in texts]
    assert len(set(codes)) == len(set(without)) == len(set(zip(codes, without, strict=True)))
    assert 0 not in codes


def test_more_distinct_texts_than_there_are_codes_leave_the_rest_without() -> None:
    def entry(number: int) -> bytes:
        text = "".join(chr(97 + int(digit)) for digit in str(number))
        return b"\x92" + EVENT_TIME + bytes(msgpack.packb({"log": text}))

    codes = part_of(b"".join(map(entry, range(100_000)))).text_code

    assert 60_000 < len(set(codes.tolist())) <= 65_536
    assert (codes == 0).sum() > 30_000


def test_every_value_of_a_field_that_never_repeats_is_read_right() -> None:
    block = b"".join(
        b"\x92" + EVENT_TIME + msgpack.packb({"log": "x", "service": f"s{number}", "level": f"{number % 50}"})
        for number in range(10_000)
    )

    slowly, quickly = both(lambda: seen(Decoder().decode(Chunk("t", 10_000, 0, block=block), NOW)))

    assert quickly == slowly


def test_each_thread_has_its_own() -> None:
    found: list[object] = []

    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(scan.scanner()))
        thread.start()
        thread.join(60)

    assert None not in found
    assert len({id(one) for one in (*found, scan.scanner())}) == 3


def test_an_entry_longer_than_the_window_is_left_to_python() -> None:
    long = b"\x92" + EVENT_TIME + msgpack.packb({"log": "x" * (1 << 20)})

    assert scan.scan_block(PLAIN + long) is None
    assert entries_of_stream(PLAIN + long, 2).count == 2


def test_messages_made_when_asked_for_are_equal_to_the_list_of_them() -> None:
    entries = [
        b"\x92" + EVENT_TIME + msgpack.packb({"log": b"b" if number % 7 == 0 else f"é {number}"})
        for number in range(900)
    ]
    expected = ["b" if number % 7 == 0 else f"é {number}" for number in range(900)]

    texts = Decoder().decode(Chunk("t", 900, 0, block=b"".join(entries)), NOW).messages

    assert isinstance(texts, Texts)
    assert texts == expected
    assert list(texts[14:30][7:]) == expected[21:30]
    assert texts[7:][0] == texts[7] == texts[7 - 900] == "b"
    assert texts[::-1] == expected[::-1]
    assert len(texts[880:]) == 20
    with pytest.raises(IndexError):
        texts[900]
    with pytest.raises(IndexError):
        texts[14:21][7]
