"""One client for every model server that speaks the OpenAI chat API, with a deadline that holds.

On `http.client`: its socket is at hand, so that one timer bounds a request whatever the server does, header drip
included. Proxies are not used: the normal server is on this machine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from logllm.errors import ExplainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Answer", "ChatClient"]

_MAX_ANSWER_BYTES = 262_144
_CONNECT_S = 10.0
# No tokenizer in use takes more than this many characters of log text into one token on average.
_CHARS_PER_TOKEN = 8


class Answer(NamedTuple):
    """The text a model gave, and what it cost. `ended`: it came to an end by itself, not by the token limit."""

    text: str
    ended: bool
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class ChatClient:
    """Asks one server. Holds no connection between requests; safe to use from several threads.

    Args:
        base_url: Up to and with `/v1`.
        key: Sent as a bearer token; empty for none.
        model: The server's name for the model.
        deadline_s: Seconds for a whole request, connecting included.
        max_bytes: Longest answer read.
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        model: str = "default",
        *,
        deadline_s: float = 60.0,
        max_bytes: int = _MAX_ANSWER_BYTES,
        stream: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ExplainError(f"{base_url}: Expected an http or https URL")
        self._parts = parts
        self._key = key
        self._model = model
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._stream = stream
        self._clock = clock

    def chat(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        *,
        max_tokens: int = 200,
        stop: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> Answer:
        """One answer that the server was asked to keep to `schema`; whether it did is for the caller to check.

        Raises:
            ExplainError: with the reason: no connection, an HTTP error, no end before the deadline, an answer that is
                too long or not the API's JSON, nothing said, or a prompt that the server cut.
        """
        began = self._clock()
        body = {
            "model": self._model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 1,
            "stream": self._stream,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        if stop:
            body["stop"] = list(stop)
        if self._stream:
            body["stream_options"] = {"include_usage": True}
        raw, kind = self._request("POST", f"{self._parts.path.rstrip('/')}/chat/completions", body, deadline_s)
        text, ended, usage = _from_events(raw) if "event-stream" in kind else _from_object(raw)
        if not text.strip():
            raise ExplainError(f"{self._where}: the model said nothing")
        prompt_tokens = _count(usage, "prompt_tokens")
        sent = sum(len(message["content"]) for message in messages)
        # Some servers (Ollama) cut a long prompt from the front, instructions first, and answer 200.
        if prompt_tokens and prompt_tokens * _CHARS_PER_TOKEN < sent:
            raise ExplainError(
                f"{self._where}: the server cut the prompt: it read {prompt_tokens} tokens of {sent} characters"
            )
        return Answer(text, ended, prompt_tokens, _count(usage, "completion_tokens"), self._clock() - began)

    def count_tokens(self, text: str, *, deadline_s: float = 5.0) -> int:
        """How many tokens `text` is for the server's model (llama-cpp-python's and our child's call).

        Raises:
            ExplainError: the server does not offer it, or as for `chat`.
        """
        path = f"{self._root}/extras/tokenize/count"
        raw, _ = self._request("POST", path, {"model": self._model, "input": text}, deadline_s)
        count = _loaded(raw).get("count")
        if not isinstance(count, int):
            raise ExplainError(f"{self._where}: Expected a token count, got {raw[:80]!r}")
        return count

    def score(
        self, prefixes: Sequence[str], text: str, *, max_tokens: int = 64, deadline_s: float = 30.0
    ) -> list[float]:
        """The mean log-probability of a token of `text` after each prefix. Only our child offers it.

        Raises:
            ExplainError: as for `chat`.
        """
        body = {"prefixes": list(prefixes), "text": text, "max_tokens": max_tokens}
        raw, _ = self._request("POST", f"{self._root}/extras/score", body, deadline_s)
        try:
            scores = [float(score["logprob"]) / max(1, int(score["tokens"])) for score in _loaded(raw)["scores"]]
        except (KeyError, TypeError, ValueError):
            raise ExplainError(f"{self._where}: Expected scores, got {raw[:80]!r}") from None
        if len(scores) != len(prefixes):
            raise ExplainError(f"{self._where}: Expected {len(prefixes)} scores, got {len(scores)}")
        return scores

    @property
    def _where(self) -> str:
        return f"{self._parts.hostname}:{self._parts.port or ''}".rstrip(":")

    @property
    def _root(self) -> str:
        return self._parts.path.rstrip("/").removesuffix("/v1")

    def _request(self, method: str, path: str, body: dict[str, Any], deadline_s: float | None) -> tuple[bytes, str]:
        limit = self._deadline_s if deadline_s is None else deadline_s
        https = self._parts.scheme == "https"
        maker = http.client.HTTPSConnection if https else http.client.HTTPConnection
        connection = maker(self._parts.hostname or "", self._parts.port, timeout=min(_CONNECT_S, limit))
        late = threading.Event()
        # Kept here: the connection lets go of its socket as soon as an answer says `Connection: close`.
        sockets: list[socket.socket] = []

        def give_up() -> None:
            late.set()
            for sock in sockets:
                # Closing would leave a reader in another thread waiting; shutting down wakes it.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(limit, give_up)
        timer.daemon = True
        timer.start()
        try:
            connection.connect()
            sockets.append(connection.sock)
            if late.is_set():
                raise TimeoutError
            connection.sock.settimeout(limit)
            answer = self._talk(connection, method, path, body)
            if late.is_set():
                raise TimeoutError
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise ExplainError(f"{self._where}: no answer in {limit:g} s") from None
            raise ExplainError(f"{self._where}: {_plain(error)}") from None
        finally:
            timer.cancel()
            connection.close()
            timer.join()
        return answer

    def _talk(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any]
    ) -> tuple[bytes, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection.request(method, path or "/", json.dumps(body).encode(), headers)
        with connection.getresponse() as answer:
            pieces = []
            size = 0
            while piece := answer.read1(65_536):
                pieces.append(piece)
                size += len(piece)
                if size > self._max_bytes:
                    raise ExplainError(f"{self._where}: the answer is longer than {self._max_bytes} bytes")
            data = b"".join(pieces)
            if answer.status != 200:
                raise ExplainError(f"{self._where}: {_refusal(answer.status, data)}")
            if answer.length:
                raise http.client.IncompleteRead(data, answer.length)
            return data, answer.headers.get("Content-Type", "")


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke before the answer was whole"
    return str(error) or type(error).__name__


def _refusal(status: int, data: bytes) -> str:
    try:
        said = json.loads(data)["error"]
        detail = str(said["message"] if isinstance(said, dict) else said)
    except (ValueError, KeyError, TypeError):
        detail = data[:200].decode(errors="replace")
    meaning = {
        400: "it refused the request",
        401: "wrong or missing key",
        403: "wrong or missing key",
        404: "no such model or no chat API there",
        429: "too many requests",
    }.get(status, "the server failed" if status >= 500 else "unexpected status")
    return f"{meaning} ({status}{': ' + detail[:200] if detail else ''})"


def _loaded(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise ExplainError(f"the server sent no JSON: {raw[:80]!r}") from None
    if not isinstance(found, dict):
        raise ExplainError(f"the server sent no JSON object: {raw[:80]!r}")
    return found


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _from_object(raw: bytes) -> tuple[str, bool, Any]:
    found = _loaded(raw)
    try:
        text = found["choices"][0]["message"]["content"]
        ended = found["choices"][0].get("finish_reason") != "length"
    except (KeyError, IndexError, TypeError):
        raise ExplainError(f"Expected the chat API's `choices`, got {raw[:80]!r}") from None
    return text if isinstance(text, str) else "", ended, found.get("usage")


def _from_events(raw: bytes) -> tuple[str, bool, Any]:
    pieces: list[str] = []
    usage: Any = None
    ended = False
    reason: Any = None
    for data in _events(raw):
        if data == b"[DONE]":
            ended = True
            break
        found = _loaded(data)
        if "error" in found:
            raise ExplainError(f"the server failed in mid-answer: {str(found['error'])[:200]}")
        usage = found.get("usage") or usage
        choices = found.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            delta = choices[0].get("delta")
            content = delta.get("content") if isinstance(delta, dict) else None
            pieces.append(content if isinstance(content, str) else "")
            reason = choices[0].get("finish_reason") or reason
            ended = ended or reason is not None
    if not ended:
        raise ExplainError("the connection broke before the answer was whole")
    return "".join(pieces), reason != "length", usage


def _events(raw: bytes) -> Iterator[bytes]:
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            yield line[5:].strip()
