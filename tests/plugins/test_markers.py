"""No time gets a record past a plugin that ships: only what Fluent Bit marks groups with goes by."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.filtering import well_formed
from logllm.filters.chain import Filters
from logllm.filters.config import PluginConfig

TIMES = {
    "the integer -1": b"\xff",
    "the integer -2": b"\xfe",
    "2**32 - 1": b"\xce\xff\xff\xff\xff",
    "2**64 - 1": b"\xcf" + b"\xff" * 8,
    "the float -1.0": msgpack.packb(-1.0),
    "the last second, with nanoseconds": b"\xd7\0" + b"\xff" * 4 + b"\0\0\0\1",
    "an extension of another type": b"\xd7\1" + b"\xff" * 4 + bytes(4),
}


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_a_time_like_a_group_markers_does_not_get_a_record_past_redact(time: bytes) -> None:
    filters = Filters([PluginConfig(path="redact")], check=well_formed)
    block = b"\x92\x92" + time + b"\x80" + msgpack.packb({"log": "card 4111 1111 1111 1111"})

    passed = filters.apply("ingest", "app", "", block, 1)

    filters.close()
    assert b"4111" not in passed.block
    assert b"[card]" in passed.block
    assert filters.status()[0].failures == {}
