"""What goes on to the sinks when only time has passed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from logllm.events import Chunk
from logllm.filtering import Filtering
from logllm.pipeline import Pipeline
from logllm.service.judging import Judging

if TYPE_CHECKING:
    from logllm.filters.host import Signal
    from logllm.service.run import Run

ENTRY = b"\x92\xce\x65\x53\xf1\x00\x81\xa3log\xa4held"


class Holding(Filtering):
    """Gives one record each time it is asked for what it holds back."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = 0

    def flush(self, now_ns: int, *, at_end: bool = False) -> list[tuple[Chunk, list[Signal]]]:
        self.asked += 1
        return [(Chunk("app", 1, len(ENTRY), block=ENTRY), [])]


def test_each_record_that_a_plugin_lets_go_reaches_the_sinks() -> None:
    filtering = Holding()
    pipeline = Pipeline(filtering=filtering)
    run = cast("Run", SimpleNamespace(pipeline=pipeline, filtering=filtering, tell=list, look_again=lambda: None))

    given = [Judging(run, None, lambda: True).pass_time() for _ in range(3)]

    assert [sum(chunk.count for chunk in chunks) for chunks in given] == [1, 1, 1]
    assert filtering.asked == pipeline.records == 3
