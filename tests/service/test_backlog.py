"""What happened to incidents waits in memory while the dispatcher cannot take it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from logllm.errors import StateError
from logllm.events import Explanation, IncidentEvent
from logllm.notify.notification import Answer
from logllm.service.backlog import Backlog
from tests.notify.dispatch.dispatching import explanation, incident

ANSWER = Answer("inc-1", "acknowledge", "somebody", "2026-11-30T12:00:00Z")


class Taking:
    """A dispatcher that fails at what it is told to fail at."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.full = False
        self.poison = ""

    def accept(self, events: Sequence[IncidentEvent], now_s: float) -> None:
        self._take([event.id for event in events])

    def explained(self, explanation: Explanation, now_s: float) -> None:
        self._take([f"explained {explanation.incident}"])

    def answer(self, answer: Answer, now_s: float) -> bool:
        self._take([f"answer {answer.incident}"])
        return True

    def _take(self, what: list[str]) -> None:
        if self.full:
            raise StateError("the disk is full")
        if self.poison in what:
            raise ValueError("a bug")
        self.calls.append(what)


@pytest.fixture
def taking() -> Taking:
    return Taking()


@pytest.fixture
def backlog(taking: Taking) -> Backlog:
    return Backlog(taking, lambda: 0.0)  # type: ignore[arg-type]


def test_events_in_a_row_go_together_and_all_goes_in_order(backlog: Backlog, taking: Taking) -> None:
    backlog.put([incident(1), incident(2)])
    backlog.put([explanation(1)])
    backlog.put([ANSWER, incident(3)])

    backlog.hand_over()

    assert taking.calls == [["inc-1", "inc-2"], ["explained inc-1"], ["answer inc-1"], ["inc-3"]]
    assert len(backlog) == 0


def test_what_a_full_disk_did_not_take_is_handed_over_later_in_order(backlog: Backlog, taking: Taking) -> None:
    taking.full = True
    backlog.put([incident(1)])
    with pytest.raises(StateError):
        backlog.hand_over()
    backlog.put([incident(2)])
    taking.full = False

    backlog.hand_over()

    assert taking.calls == [["inc-1", "inc-2"]]
    assert backlog.lost == 0


def test_one_that_a_bug_fails_at_costs_itself_and_no_other(
    backlog: Backlog, taking: Taking, caplog: pytest.LogCaptureFixture
) -> None:
    taking.poison = "inc-2"
    backlog.put([incident(number) for number in range(5)])

    backlog.hand_over()

    assert [each for call in taking.calls for each in call] == ["inc-0", "inc-1", "inc-3", "inc-4"]
    assert (len(backlog), backlog.lost) == (0, 1)
    assert "a bug in the dispatcher" in caplog.text


def test_what_is_over_the_bound_is_counted_and_said(backlog: Backlog, caplog: pytest.LogCaptureFixture) -> None:
    one = incident(1)

    backlog.put([one] * 99_999)
    backlog.put([one] * 3)

    assert (len(backlog), backlog.lost) == (100_000, 2)
    assert "2 alerts are lost" in caplog.text
