"""Where people answer: the page behind a signed link, and the address that Slack's buttons call.

A link only shows a page with one button: what merely looks at links (previews, scanners) answers nothing. Nothing from
a log is on it.
"""

from __future__ import annotations

import asyncio
import html
import logging
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from logllm.errors import LogllmError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logllm.web.app import Page, Request

__all__ = ["Answering", "answer_pages"]

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_SAID = {
    "acknowledge": "acknowledge it: no escalation, no reminders",
    "expected": "say that it was expected",
    "noise": "say that it is noise",
    "real": "say that it is real",
    "approve": "approve this action: it is run once",
    "reject": "reject this action",
}

_log = logging.getLogger("logllm.http")


class Answering(Protocol):
    """Takes what people say. Its calls may wait for a disk, so they are made in a thread."""

    def opened(self, token: str) -> tuple[str, str]:
        """What a signed link is about: an incident or a request, and a verb. Raises ProtocolError."""

    def answered(self, subject: str, verb: str, who: str) -> str:
        """Take an answer; returns what came of it, in a sentence. Raises LogllmError."""

    def slack(self, headers: Mapping[str, str], body: bytes) -> str:
        """Take what Slack's buttons send; returns what to say. Raises ProtocolError."""


def answer_pages(answering: Answering) -> dict[str, Page]:
    """`/answer` and `/slack/actions`."""

    async def answer(request: Request) -> tuple[int, str, bytes]:
        given = request.query if request.method == "GET" else request.body[:8192].decode("latin-1")
        token = _field(given, "token")
        try:
            subject, verb = await asyncio.to_thread(answering.opened, token)
            if request.method == "GET":
                return 200, _HTML, _form(subject, verb, token)
            # Whoever has the link may answer; who that is, it does not say.
            said = await asyncio.to_thread(answering.answered, subject, verb, "somebody by a link")
        except ProtocolError as error:
            return 403, _HTML, _page(str(error))
        except LogllmError as error:
            return 409, _HTML, _page(str(error))
        return 200, _HTML, _page(said)

    refused = 0

    async def slack(request: Request) -> tuple[int, str, bytes]:
        nonlocal refused
        if request.method != "POST":
            return 405, _TEXT, b"only POST"
        try:
            said = await asyncio.to_thread(answering.slack, request.headers, request.body)
        except ProtocolError as error:
            refused += 1
            # Whoever reaches the port may try for ever: a line for the first and then for each that doubles them.
            if refused & (refused - 1) == 0:
                _log.warning("/slack/actions: refused, for the %d. time: %s", refused, error)
            return 403, _TEXT, b"refused"
        except LogllmError as error:
            return 200, _TEXT, str(error).encode()
        return 200, _TEXT, said.encode()

    return {"/answer": answer, "/slack/actions": slack}


def _field(encoded: str, name: str) -> str:
    try:
        return parse_qs(encoded, max_num_fields=8).get(name, [""])[0]
    except ValueError:
        return ""


def _form(subject: str, verb: str, token: str) -> bytes:
    what = html.escape(f"{subject}: {_SAID.get(verb, verb)}")
    return _page(
        "",
        f'<p>{what}</p><form method="post" action="answer"><input type="hidden" name="token" '
        f'value="{html.escape(token)}"><button>Yes</button></form>',
    )


def _page(text: str, body: str = "") -> bytes:
    shown = f"<p>{html.escape(text)}</p>" if text else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>logllm</title><style>body{font:1.1em sans-serif;margin:3em auto;max-width:36em;padding:0 1em}"
        "button{font:inherit;padding:.5em 2em}</style>"
        f"<h1>logllm</h1>{shown}{body}</html>"
    ).encode()
