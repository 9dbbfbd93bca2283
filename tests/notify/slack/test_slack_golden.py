from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from logllm.notify.notification import Kind
from tests.notify.slack.block_kit import problems
from tests.notify.slack.destinations import REF, bot, sent, slack, webhook
from tests.notify.slack.render import page
from tests.notify.slack.samples import EVERY_KIND, MENTION, notification

GOLDEN = Path(__file__).with_name("golden")
UPDATE = "LOGLLM_UPDATE_GOLDEN"


def check(name: str, requests: list[dict[str, Any]]) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(requests, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get(UPDATE):
        path.write_text(text, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == text, f"set {UPDATE}=1 to write it anew, and look at what changed"
    for request in requests:
        assert problems(request["body"], MENTION) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_webhook_sends_what_the_golden_file_says(kind: Kind) -> None:
    with slack() as fake:
        webhook(fake).send(notification(kind), "")

    check(f"webhook-{kind}", sent(fake))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_bot_sends_what_the_golden_file_says(kind: Kind, tmp_path: Path) -> None:
    first = kind in ("open", "digest", "test")
    with slack() as fake:
        ref = bot(fake, tmp_path).send(notification(kind), "" if first else REF)

    assert ref == (REF if first or kind != "test" else ref)
    check(f"bot-{kind}", sent(fake))


def test_every_golden_message_can_be_drawn() -> None:
    for path in GOLDEN.glob("*.json"):
        drawn = page(json.loads(path.read_text(encoding="utf-8")))

        assert drawn.count('class="message"') >= 1
        assert "<h1>" in drawn
