"""Full input, and a sink that hardly moves: senders wait, memory stays, everything arrives."""

from __future__ import annotations

from pathlib import Path

from tests.delivery.slow import flood

# 128 MiB may be in flight; beside it 80 connections hold a frame each that has no room yet, 160 MB in all.
MOST_BYTES = 450 << 20


def test_a_sink_that_hardly_moves_makes_senders_wait_and_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    found = flood(tmp_path, 10.0, connections=80, pace_s=0.5)

    assert found.most_in_flight_bytes > 100 << 20, found.told()
    assert found.most_bytes < MOST_BYTES, found.told()
    assert found.closed == 0, found.told()
    assert found.arrived == found.sent, found.told()
