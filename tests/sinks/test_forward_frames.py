"""Parcels as frames: their bytes, their ids, where they are cut."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.sinks.forward_frames import Frame, Packing, content_id
from logllm.sinks.parcel import Parcel
from tests.sinks.fake_receiver import entries_of, inflated
from tests.sinks.forward_parts import entry, parcel

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"


def message(frame: Frame) -> list[object]:
    """A frame as [tag, entries, option], whatever its mode."""
    data = b"".join(frame.pieces)
    assert len(data) == frame.size_bytes
    tag, entries, option = msgpack.unpackb(data, raw=True)
    if isinstance(entries, bytes):
        entries = entries_of(inflated(entries, option.get(b"compressed")))
    assert len(entries) == option[b"size"]
    assert option[b"chunk"] == frame.chunk_id
    return [tag, entries, option]


def messages(packing: Packing, sent: Parcel) -> list[list[object]]:
    return [message(frame) for frame in packing.frames(sent)]


def test_a_frame_is_byte_for_byte_what_fluent_bit_sends() -> None:
    recorded = (GOLDEN / "ack.c2s.bin").read_bytes()
    tag, entries, option = msgpack.unpackb(recorded, raw=True)
    start, end = recorded.index(b"\x93\x92\x92") + 1, recorded.index(b"\xdf\0\0\0\3\xa5chunk")

    frames = list(Packing().frames(Parcel(tag.decode(), recorded[start:end], len(entries))))

    # Fluent Bit writes the option's header in its longest form.
    assert b"".join(frames[0].pieces) == recorded.replace(b"\xdf\0\0\0\3", b"\x83")
    assert (len(frames), frames[0].chunk_id) == (1, option[b"chunk"])


def test_the_bytes_of_a_packed_frame() -> None:
    sent = Parcel("t", b"\x92\x01\x80", 1, chunk_ids=(b"c",))

    (frame,) = Packing(packed=True).frames(sent)

    assert frame.pieces == (b"\x93\xa1t\xc4\x03\x92\x01\x80\x83\xa5chunk\xa1c\xa4size\x01\xadfluent_signal\x00",)


@pytest.mark.parametrize("compress", ["", "gzip", "zstd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [1, 15, 16, 300, 70_000])
def test_every_mode_says_the_same(packed: bool, compress: str, count: int) -> None:
    sent = Parcel("app.web", b"\x92\x01\x80" * count, count, chunk_ids=(b"c",))
    packing = Packing(packed=packed, compress=compress)  # type: ignore[arg-type]

    ((tag, entries, option),) = messages(packing, sent)

    assert (tag, entries) == (b"app.web", [[1, {}]] * count)
    expected = {b"chunk": b"c", b"size": count, b"fluent_signal": 0}
    assert option == expected | ({b"compressed": compress.encode()} if compress else {})


def test_a_compressed_frame_is_the_same_on_a_retry() -> None:
    sent = parcel(*map(str, range(100)))

    for compress in ("gzip", "zstd"):
        packing = Packing(compress=compress)
        assert list(packing.frames(sent)) == list(packing.frames(sent))


@pytest.mark.parametrize("head", ["92", "dc0002", "dd00000002"])
@pytest.mark.parametrize("when", ["d7006553f10000000005", "c708006553f10000000005", "ce6553f100", "cb41d954fc40000000"])
@pytest.mark.parametrize("metadata", ["80", "81a16bc402ff00"])
def test_legacy_entries_have_a_time_and_no_metadata(head: str, when: str, metadata: str) -> None:
    record = bytes.fromhex("81a16bc402ff00")
    newer = bytes.fromhex("92" + head + when + metadata) + record
    older = bytes.fromhex(head + when) + record
    sent = Parcel("t", newer + older, 2, chunk_ids=(b"c",))

    (frame,) = Packing(legacy_entries=True).frames(sent)

    expected = (b"\x92" + bytes.fromhex(when) + record) * 2
    assert expected in frame.pieces[0]
    assert message(frame)[1] == entries_of(expected)


def test_the_id_of_legacy_entries_is_that_of_what_is_sent() -> None:
    sent = parcel("a", "b")
    older = b"".join(b"\x92" + whole[2:12] + whole[13:] for whole in map(entry, "ab"))

    (frame,) = Packing(legacy_entries=True).frames(sent)

    assert frame.chunk_id == content_id(older)


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    most=st.integers(1024, 5000),
    name=st.sampled_from([(), (b"c",)]),
)
def test_a_block_is_cut_between_entries_and_no_two_frames_have_one_id(
    sizes: list[int], most: int, name: tuple[bytes, ...]
) -> None:
    blocks = [entry("x" * size) for size in sizes]
    sent = Parcel("t", b"".join(blocks), len(blocks), chunk_ids=name)

    frames = list(Packing(max_frame_bytes=most).frames(sent))

    parts: list[list[object]] = [message(frame)[1] for frame in frames]  # type: ignore[misc]
    assert [item for part in parts for item in part] == entries_of(sent.block)
    assert frames == list(Packing(max_frame_bytes=most).frames(sent))
    assert len({frame.chunk_id for frame in frames}) == len(frames)
    for start, end in pairwise(accumulate(map(len, parts), initial=0)):
        assert sum(map(len, blocks[start:end])) <= most or end == start + 1
    if len(sent.block) <= most:
        assert frames[0].chunk_id == (name[0] if name else content_id(sent.block))


def test_equal_parts_of_one_block_have_ids_of_their_own() -> None:
    sent = Parcel("t", entry("x" * 600) * 8, 8)

    ids = [frame.chunk_id for frame in Packing(max_frame_bytes=1300).frames(sent)]

    assert len(ids) == len(set(ids)) == 4


def test_as_few_frames_are_cut_as_will_do() -> None:
    sizes = [len(entry("x" * 600)) for _ in range(9)]
    sent = Parcel("t", entry("x" * 600) * 9, 9)

    counts = [message(frame)[2][b"size"] for frame in Packing(max_frame_bytes=4 * sizes[0]).frames(sent)]  # type: ignore[index]

    assert counts == [4, 4, 1]


def test_entries_nested_too_deep_to_be_walked_go_in_one_frame_as_they_are() -> None:
    deep = b"\x92\x01\x81\xa1k" + b"\x91" * 2000 + b"\xc0"
    sent = Parcel("t", deep * 3, 3, chunk_ids=(b"a", b"b", b"c"))

    frames = [list(Packing(legacy_entries=older, max_frame_bytes=1024).frames(sent)) for older in (False, True)]

    assert frames[0] == frames[1]
    assert [frame.chunk_id for frame in frames[0]] == [content_id(sent.block)]
    assert sent.block in b"".join(frames[0][0].pieces)


def test_long_frames_are_sent_without_copying_their_entries() -> None:
    sent = Parcel("t", entry("x" * 100_000), 1)

    (frame,) = Packing().frames(sent)

    assert len(frame.pieces) == 3
    assert frame.pieces[1] is sent.block


def test_tags_and_ids_that_are_no_text_go_as_they_are() -> None:
    sent = Parcel("\udcff", entry("a"), 1, chunk_ids=(b"\xff\n" * 200,))

    ((tag, _, option),) = messages(Packing(), sent)

    assert tag == "\udcff".encode("utf-8", "surrogatepass")
    assert option[b"chunk"] == b"\xff\n" * 200  # type: ignore[index]


def test_an_odd_time_that_would_look_like_a_group_marker_stays_as_it_came_in_legacy_entries() -> None:
    odd = b"\x92\x91\xd7\0\xff\xff\xff\xfe\0\0\0\0\x81\xa1k\x01"

    (frame,) = Packing(legacy_entries=True).frames(Parcel("app", odd, 1))

    assert odd in b"".join(frame.pieces)
