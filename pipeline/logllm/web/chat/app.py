"""The chat page's ASGI application: three files, two views as JSON, and answers that stream.

Everything wants the key (see `guard`). Nothing here changes an incident. Texts of logs and models are JSON strings,
and the page puts them in as text alone.
"""

from __future__ import annotations

import asyncio
import collections
import re
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import LogllmError
from logllm.explain.chat.chat import Conversation
from logllm.explain.chat.events import Note
from logllm.web.chat.views import State, detail_of, event_of, row_of
from logllm.web.listen import Receive, Scope, Send, read_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.explain.chat.chat import Chat
    from logllm.explain.chat.events import AnswerEvent
    from logllm.web.chat.guard import Guard

__all__ = ["ChatApp", "Question"]

_FILES = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/chat.css": ("chat.css", b"text/css; charset=utf-8"),
    "/chat.js": ("chat.js", b"text/javascript; charset=utf-8"),
}
_JSON = b"application/json"
_MOST_BODY_BYTES = 8_192
_MOST_CONVERSATIONS = 64
_MOST_ANSWERS = 4
_MOST_INCIDENTS = 200
_INCIDENT = re.compile(r"/api/incidents/([\w.:-]{1,100})")
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page posts. `conversation` is a random name that the page gives itself."""

    conversation: str
    incident: str
    question: str


class ChatApp:
    """The application. At most four answers at once, 64 conversations; a question's body at most 8 KiB in 10 s.

    Args:
        chat: Answers.
        guard: Who may ask.
        incident: The one that the page opens with, "" for the first.
        put_back: Puts values back into what is shown, for a viewer who may see them.
        learning, missing: What is still being learned, and why there is no model, where that is so.
    """

    def __init__(
        self,
        chat: Chat,
        guard: Guard,
        *,
        incident: str = "",
        put_back: Callable[[str], str] = str,
        learning: str = "",
        missing: str = "",
    ) -> None:
        self._chat = chat
        self._guard = guard
        self._incident = incident
        self._put_back = put_back
        self._learning = learning
        self._missing = missing
        self._conversations: collections.OrderedDict[tuple[str, str], Conversation] = collections.OrderedDict()
        self._answering = 0
        folder = resources.files("logllm.web.chat") / "static"
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        method, path = scope["method"], scope["path"]
        refused = self._guard.refusal(method, path, scope.get("query_string", b""), scope["headers"])
        if refused is not None:
            await _whole(send, refused.status, b"text/plain; charset=utf-8", f"{refused.reason}\n".encode())
        elif path == "/api/ask":
            await self._ask(scope, receive, send)
        elif method not in ("GET", "HEAD"):
            await _error(send, 405, "only GET and HEAD")
        else:
            await self._view(path, send, head=method == "HEAD")

    async def _view(self, path: str, send: Send, *, head: bool) -> None:
        if path in self._files:
            body, kind = self._files[path]
            cookie = [(b"set-cookie", self._guard.cookie.encode())] if path == "/" else []
            await _whole(send, 200, kind, b"" if head else body, cookie)
            return
        try:
            if path == "/api/state":
                await _whole(send, 200, _JSON, msgspec.json.encode(await asyncio.to_thread(self._state)))
                return
            asked = _INCIDENT.fullmatch(path)
            case = await asyncio.to_thread(self._chat.case, asked[1]) if asked else None
        except LogllmError as error:
            await _error(send, 503, str(error))
            return
        if case is None:
            await _error(send, 404, "not found")
        else:
            await _whole(send, 200, _JSON, msgspec.json.encode(detail_of(case, self._put_back)))

    def _state(self) -> State:
        kept = self._chat.latest(_MOST_INCIDENTS)
        model = self._chat.model
        return State(
            [row_of(event, self._put_back) for event, _ in kept],
            self._incident,
            "" if model is None else model.name,
            self._missing,
            self._learning,
        )

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _error(send, 405, "only POST")
            return
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        if kinds not in ([_JSON], [b"application/json; charset=utf-8"], [b"application/json;charset=UTF-8"]):
            await _error(send, 415, "expected application/json")
            return
        body = await read_body(receive, _MOST_BODY_BYTES)
        if isinstance(body, int):
            await _error(send, body, "too large" if body == 413 else "it did not come whole")
            return
        try:
            asked = msgspec.json.decode(body, type=Question)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            await _error(send, 400, "expected {conversation, incident, question}")
            return
        if not asked.question.strip() or len(asked.conversation) > 64 or len(asked.incident) > 100:
            await _error(send, 400, "expected a question")
            return
        if self._answering >= _MOST_ANSWERS:
            await _error(send, 429, "too many questions at once")
            return
        self._answering += 1
        try:
            await self._stream(asked, receive, send)
        finally:
            self._answering -= 1

    def _conversation(self, asked: Question) -> Conversation:
        key = (asked.conversation, asked.incident)
        found = self._conversations.setdefault(key, Conversation(asked.incident))
        self._conversations.move_to_end(key)
        while len(self._conversations) > _MOST_CONVERSATIONS:
            self._conversations.popitem(last=False)
        return found

    async def _stream(self, asked: Question, receive: Receive, send: Send) -> None:
        conversation = self._conversation(asked)
        events = self._chat.ask(conversation, asked.question)
        headers = [*_HEADERS, (b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.create_task(_gone(receive, conversation))
        try:
            while (event := await asyncio.to_thread(_next, events)) is not None and not gone.done():
                line = event_of(event, self._put_back)
                await send({"type": "http.response.body", "body": line, "more_body": True})
        finally:
            conversation.stop()
            gone.cancel()
            close = getattr(events, "close", None)
            if close is not None:
                await asyncio.to_thread(close)
        await send({"type": "http.response.body", "body": b""})


def _next(events: Iterator[AnswerEvent]) -> AnswerEvent | None:
    try:
        return next(events, None)
    except LogllmError as error:
        return Note(f"It cannot be answered: {error}")


async def _gone(receive: Receive, conversation: Conversation) -> None:
    """Wait for the page to go, then end the answer: nobody reads it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    conversation.stop()


async def _error(send: Send, status: int, reason: str) -> None:
    await _whole(send, status, _JSON, msgspec.json.encode({"error": reason[:500]}))


async def _whole(
    send: Send, status: int, kind: bytes, body: bytes, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [*_HEADERS, *(more or []), (b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
