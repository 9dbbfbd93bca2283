"""Slack's messages about a notification with any text in any field."""

from __future__ import annotations

import msgspec

from tests.fuzz.told import MAX_BYTES, seeds, told
from tests.notify.slack.test_slack_hostile import messages, wrong

__all__ = ["MAX_BYTES", "check", "seeds"]

_MOST_BYTES = 60_000


def check(data: bytes) -> None:
    """Each way to show it is within Block Kit's limits, is JSON of ordinary size, and nothing in it is live."""
    for message in messages(told(data)):
        assert wrong(message) == []
        assert len(msgspec.json.encode(message)) < _MOST_BYTES
