"""With codes or without, the miner gives out and keeps the same."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import TextCodes
from logllm.templates.miner import Miner

_WORDS = st.sampled_from(
    ["disk", "error", "http2", "E1", "E2", "user", "root", "()", "x=1", "to", "…", "a\nb", "2", "37"]
)
_IDS = st.uuids().map(str) | st.sampled_from(["10.1.2.3:80", "/var/log/x1", "deadbeefdeadbeef", "deadbeefdeadbee5f"])
_TOKENS = _WORDS | _IDS | st.text(max_size=3) | st.sampled_from("abcdefghijklmnopqrst")
_MESSAGES = st.lists(_TOKENS, max_size=5).map(" ".join)
_STREAMS = st.lists(_MESSAGES, max_size=80)


class Source:
    """Gives codes as a scan does: by the text without its digits, none for what is no single line.

    Now and then it forgets them all, and some texts never get one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._codes: dict[str, int] = {}
        self._scope = object()

    def codes(self, messages: list[str]) -> TextCodes:
        if len(self._codes) > self._most:
            self._codes, self._scope = {}, object()
        return TextCodes(np.array([self._code(message) for message in messages], np.int32), self._scope)

    def _code(self, message: str) -> int:
        if "\n" in message or "\0" in message or message.endswith("q"):
            return 0
        return self._codes.setdefault(message.translate(dict.fromkeys(range(48, 58))), len(self._codes) + 1)


def _small() -> Miner:
    return Miner(max_templates=12, max_keys=9, max_new=40)


@given(_STREAMS, st.lists(st.integers(1, 20), min_size=1, max_size=8), st.sampled_from([3, 30, 1000]))
@settings(max_examples=150, deadline=None)
def test_ids_changes_and_state_are_those_of_a_miner_without_codes(
    messages: list[str], cuts: list[int], most: int
) -> None:
    messages = messages * 3
    plain, quick, source = _small(), _small(), Source(most)

    given_out, in_parts = [], []
    at = turn = 0
    while at < len(messages):
        part = messages[at : at + cuts[turn % len(cuts)]]
        given_out.append(plain.ids(part).tolist())
        in_parts.append(quick.ids(part, source.codes(part)).tolist())
        assert quick.drain_changes() == plain.drain_changes()
        at, turn = at + len(part), turn + 1

    assert in_parts == given_out
    assert msgspec.msgpack.encode(quick.state()) == msgspec.msgpack.encode(plain.state())


def test_what_is_known_is_not_looked_at_again() -> None:
    class Unread(list[str]):
        def __getitem__(self, index: object) -> str:  # type: ignore[override]
            raise AssertionError("asked for a message")

        __iter__ = __getitem__  # type: ignore[assignment]

    miner, source = Miner(), Source(1000)
    texts = ["took 5 ms", "disk full", "took 17 ms"] * 10
    first = miner.ids(texts, source.codes(texts)).tolist()

    second = miner.ids(Unread(texts), source.codes(texts)).tolist()

    assert second == first
    assert miner.template(first[0]).count == 40


def test_codes_of_several_sources_do_not_mix() -> None:
    miner = Miner()
    sources = [Source(1000) for _ in range(9)]
    texts = ["took 5 ms", "disk full", "no route to host", "user root logged in", "bye"]

    for turn in range(3):
        for shift, source in enumerate(sources):
            part = texts[shift % 5 :] + texts[: shift % 5]
            got = miner.ids(part, source.codes(part)).tolist()

            assert [miner.template(index).untyped for index in got] == [
                miner.template(index).untyped for index in Miner.ids(miner, part).tolist()
            ], turn
