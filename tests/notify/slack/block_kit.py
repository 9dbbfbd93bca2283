"""Block Kit's rules for the blocks we use, after Slack's reference pages: what breaks them, in words."""

from __future__ import annotations

import re
from typing import Any

from tests.notify.slack.mrkdwn import suspicious

__all__ = ["problems", "texts"]

_KEYS = {
    "header": {"type", "text"},
    "section": {"type", "text", "fields"},
    "context": {"type", "elements"},
    "actions": {"type", "elements"},
}
_MESSAGE = {
    "text", "blocks", "unfurl_links", "unfurl_media", "channel", "ts", "thread_ts", "reply_broadcast", "metadata",
    "parse", "link_names",
}  # fmt: skip


def problems(payload: dict[str, Any], mention: str = "") -> list[str]:
    """What Slack would refuse, and what of a hostile text would be live."""
    allowed = tuple(word.strip("<>") for word in mention.split())
    wrong = [f"unknown key {key}" for key in payload if key not in _MESSAGE]
    wrong += _length("text", payload["text"], 4_000) + suspicious(payload["text"], allowed)
    for key in ("unfurl_links", "unfurl_media"):
        if "ts" not in payload and payload.get(key) is not False:
            wrong.append(f"{key} is not off")
    blocks = payload.get("blocks", [])
    if len(blocks) > 50:
        wrong.append(f"{len(blocks)} blocks")
    for number, block in enumerate(blocks):
        wrong += [f"block {number} ({block['type']}): {one}" for one in _block(block, allowed)]
    # Slack's own bound on a message is 40,000; msg_blocks_too_long comes earlier, at a size it does not tell.
    if sum(_width(text) for _, text in texts(payload)) > 12_000:
        wrong.append("a text of more than 12,000 in all")
    return wrong


def texts(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """All that is shown, with the kind of its text object; the message's own is `text`."""
    found = [("text", payload["text"])]
    for block in payload.get("blocks", []):
        objects = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        for one in objects:
            if one is not None:
                one = one["text"] if one["type"] == "button" else one
                found.append((one["type"], one["text"]))
    return found


def _block(block: dict[str, Any], allowed: tuple[str, ...]) -> list[str]:
    wrong = [f"unknown key {key}" for key in block if key not in _KEYS[block["type"]]]
    match block["type"]:
        case "header":
            wrong += _plain(block["text"], 150)
        case "section":
            if ("text" in block) == ("fields" in block):
                wrong.append("expected text or fields")
            if "text" in block:
                wrong += _mrkdwn(block["text"], 3_000, allowed)
            if not 0 < len(block.get("fields", [0])) <= 10:
                wrong.append("fields: 1 to 10")
            for one in block.get("fields", []):
                wrong += _mrkdwn(one, 2_000, allowed)
        case "context":
            if not 0 < len(block["elements"]) <= 10:
                wrong.append("elements: 1 to 10")
            for one in block["elements"]:
                wrong += _mrkdwn(one, 2_000, allowed)
        case "actions":
            if not 0 < len(block["elements"]) <= 25:
                wrong.append("elements: 1 to 25")
            if len({one["action_id"] for one in block["elements"]}) != len(block["elements"]):
                wrong.append("an action_id twice")
            for one in block["elements"]:
                wrong += _button(one)
    return wrong


def _button(button: dict[str, Any]) -> list[str]:
    known = {"type", "text", "action_id", "value", "url", "style", "confirm"}
    wrong = [f"unknown key {key}" for key in button if key not in known]
    for part, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
        if "confirm" in button:
            wrong += _plain(button["confirm"][part], limit)
    wrong += _plain(button["text"], 75) + _length("action_id", button["action_id"], 255)
    if ("value" in button) == ("url" in button):
        wrong.append("expected value or url")
    wrong += _length("value", button.get("value", "x"), 2_000) + _length("url", button.get("url", "x"), 3_000)
    if button.get("style", "primary") not in ("primary", "danger"):
        wrong.append("style: primary or danger")
    return wrong


def _plain(text: dict[str, Any], limit: int) -> list[str]:
    wrong = [] if text["type"] == "plain_text" else ["expected plain_text"]
    wrong += _length("text", text["text"], limit) + suspicious(re.sub("[*_~`]", "", text["text"]))
    return wrong + [f"may be an escape: {char}" for char in "&<>\n" if char in text["text"]]


def _mrkdwn(text: dict[str, Any], limit: int, allowed: tuple[str, ...]) -> list[str]:
    wrong = [] if text["type"] == "mrkdwn" else ["expected mrkdwn"]
    if text.get("verbatim") is not True:
        wrong.append("not verbatim")
    return wrong + _length("text", text["text"], limit) + suspicious(text["text"], allowed)


def _length(what: str, text: str, limit: int) -> list[str]:
    return [] if 0 < _width(text) <= limit else [f"{what}: {_width(text)} long, 1 to {limit}"]


def _width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
