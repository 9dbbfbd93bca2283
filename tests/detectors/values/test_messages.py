"""The sample of messages: which keys are read, and that it does not depend on how records are cut."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logllm.detectors.contract import Seen
from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.values.messages import MOST_KEYS, SAMPLE, Messages
from logllm.events import Columns


def seen(keys: list[int], windows: list[int], first: int = 0) -> Seen:
    n = len(keys)
    window = np.array(windows, np.int64)
    texts = [f"took {at} ms" for at in range(first, first + n)]
    columns = Columns(window * 60_000_000_000, texts, np.zeros(n, np.uint8), np.zeros(n, np.int32), ["a"])
    return Seen(columns, np.array(keys, np.int32), window)


def slice_at(window: int, rows: int = 1) -> Slice:
    counts = np.zeros((rows, 1))
    return Slice(window, counts, counts, 0, (window + rows) % BLOCK == 0)


def values_of(key: int, text: str) -> list[str]:
    return text.split()[1:2]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=300),
    st.integers(1, 300),
    st.booleans(),
)
def test_the_sample_does_not_depend_on_cuts_and_restarts(
    records: list[tuple[int, int]], cut: int, restarts: bool
) -> None:
    def messages() -> Messages:
        return Messages(values_of, lambda key: "took <num> ms" if key else "plain")

    whole, parts = messages(), messages()
    keys, windows = [key for key, _ in records], [window for _, window in records]
    whole.see(seen(keys, windows))
    for at in range(0, len(records), cut):
        parts.see(seen(keys[at : at + cut], windows[at : at + cut], at))
        if restarts:
            state, parts = parts.state(), messages()
            parts.restore(msgpack.unpackb(msgpack.packb(state), strict_map_key=False))

    assert sorted(whole.state()["texts"]) == sorted(parts.state()["texts"])
    assert whole.read(slice_at(0, 3)) == parts.read(slice_at(0, 3))


def test_a_window_with_many_records_keeps_the_first_of_each_key_and_counts_what_found_no_room() -> None:
    keys = list(reversed(range(MOST_KEYS + 10))) * (SAMPLE + 1)
    messages, parts = (Messages(values_of, lambda key: "took <num> ms") for _ in range(2))

    messages.see(seen(keys, [0] * len(keys)))
    for at in range(0, len(keys), 300):
        for begin, end in ((at, at + 200), (at + 200, at + 300)):
            parts.see(seen(keys[begin:end], [0] * len(keys[begin:end]), begin))

    assert messages.state() == parts.state()
    assert messages.refused == 10 * (SAMPLE + 1)
    assert {len(kept) for _, kept in messages.state()["texts"][0][1]} == {SAMPLE}


def test_of_very_many_keys_with_nothing_to_read_one_is_looked_at_again_in_time() -> None:
    templates = dict.fromkeys(range(6 * MOST_KEYS), "plain")
    messages = Messages(values_of, templates.__getitem__)
    for window in range(6):
        keys = list(range(window * MOST_KEYS, (window + 1) * MOST_KEYS))
        messages.see(seen(keys, [window] * MOST_KEYS))
        messages.learn(slice_at(window))
    assert len(messages.state()["dull"]) == len(templates)

    templates[1000] = "took <num> ms"
    for block in range(1, 8):
        messages.learn(slice_at(block * BLOCK - 1))
    messages.see(seen([1000, 1001], [200, 200]))

    assert 1000 not in messages.state()["dull"]
    assert [numbers[:2] for numbers in messages.read(slice_at(200)).numbers] == [(1000, "took_ms")]
