"""What sinks read out of odd records is what sources read."""

from __future__ import annotations

import pytest

from logllm.sinks.entries import opened
from logllm.sinks.said import Said
from logllm.sources.decode_slowly import read_slowly
from tests.sinks.odd_blocks import OddBlocks


@pytest.mark.parametrize("seed", range(40))
def test_odd_records_say_the_same_to_both(seed: int) -> None:
    said = Said()
    for entry in OddBlocks(seed).entries():
        ((_, record),) = opened(entry, 1)
        plain = read_slowly(entry)

        if not plain.written and not plain.message:
            continue
        assert said.severity(record) == plain.severity
        assert said.service(record, "x.tag") == (plain.service or "tag")
