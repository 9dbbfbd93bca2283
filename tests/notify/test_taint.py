from __future__ import annotations

import msgspec
import pytest

from logllm.events import Explanation
from logllm.notify.slack.parts import cause
from logllm.notify.taint import tainted


def explanation(*ids: str, status: str = "ok") -> Explanation:
    given = "A disk is full." if status == "ok" else ""
    return Explanation("i", status, given, None, [], [], 0.3, "m", tainted=list(ids))  # type: ignore[arg-type]


def shown_by_slack(one: Explanation) -> str:
    return msgspec.json.encode(cause(one)).decode()


def test_nothing_is_said_where_no_line_speaks_to_a_model() -> None:
    assert tainted(explanation()) == ""
    assert "instruction" not in shown_by_slack(explanation())


@pytest.mark.parametrize("status", ["ok", "insufficient", "failed"])
def test_slack_names_the_lines_that_were_kept_from_the_model_whatever_came_of_it(status: str) -> None:
    shown = shown_by_slack(explanation("E2", "E4", status=status))

    assert "E2, E4 read like instructions to a language model; they were not shown to one" in shown
