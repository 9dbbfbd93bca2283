"""A request of the OpenAI API as the model's child reads it, and the answer in that API's form."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from logllm.explain.model.writing import Piece, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logllm.explain.model.writing import Writer

__all__ = ["MAX_TOKENS", "Out", "answer", "grammar_of", "messages_of", "wanted_of"]

# For a request that names no limit. A small model repeats itself long before.
MAX_TOKENS = 1024
_MOST_LOGPROBS = 20
_MOST_THREADS = 256


class Out(Protocol):
    """Where an answer goes."""

    def whole(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Send a JSON object."""

    def begin(self, headers: dict[str, str]) -> None:
        """Begin a stream of events."""

    def event(self, data: str) -> None:
        """Send one event."""


def messages_of(message: Any) -> dict[str, str]:
    """A chat message with its text parts joined.

    >>> messages_of({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    {'role': 'user', 'content': 'ab'}

    Raises:
        ValueError: another kind of part.
    """
    content = message.get("content") or ""
    if not isinstance(content, str):
        if any(part["type"] != "text" for part in content):
            raise ValueError("only parts of type text are understood")
        content = "".join(str(part["text"]) for part in content)
    return {"role": str(message["role"]), "content": content}


def wanted_of(body: dict[str, Any]) -> Wanted:
    """Sampling as asked for; what is absent has our defaults, what is out of range is brought into it."""

    def number(name: str, default: float, least: float, most: float) -> float:
        value = body.get(name)
        # A NaN compares false with everything.
        found = default if value is None else float(value)
        return min(most, max(least, found)) if found == found else default

    stop = body.get("stop") or []
    top = body.get("top_logprobs") or 0
    defaults = Wanted()
    return Wanted(
        max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or MAX_TOKENS),
        temperature=number("temperature", defaults.temperature, 0.0, 2.0),
        top_p=number("top_p", defaults.top_p, 0.0, 1.0),
        top_k=int(number("top_k", defaults.top_k, 0, 1000)),
        min_p=number("min_p", defaults.min_p, 0.0, 1.0),
        presence_penalty=number("presence_penalty", defaults.presence_penalty, -2.0, 2.0),
        frequency_penalty=number("frequency_penalty", defaults.frequency_penalty, -2.0, 2.0),
        repeat_penalty=number("repeat_penalty", defaults.repeat_penalty, 0.1, 4.0),
        seed=int(number("seed", defaults.seed, 0, 2**32 - 1)),
        stop=(stop,) if isinstance(stop, str) else tuple(str(one) for one in stop),
        top_logprobs=min(_MOST_LOGPROBS, int(top)) if body.get("logprobs") else None,
        cache_prompt=body.get("cache_prompt") is not False,
    )


def grammar_of(body: dict[str, Any], writer: Writer) -> Any:
    """The compiled grammar a request asks for, or None.

    Raises:
        ValueError: it is none that llama.cpp can read.
    """
    if body.get("grammar"):
        return writer.grammar("grammar", str(body["grammar"]))
    asked = body.get("response_format") or {"type": "text"}
    if asked["type"] == "json_schema":
        return writer.grammar("json_schema", json.dumps(asked["json_schema"]["schema"]))
    if asked["type"] == "json_object":
        # llama-cpp-python's form of a schema.
        if "schema" in asked:
            return writer.grammar("json_schema", json.dumps(asked["schema"]))
        return writer.grammar("json_object", "")
    return None


def answer(
    body: dict[str, Any],
    kind: str,
    name: str,
    writer: Writer,
    tokens: list[int],
    dropped: int,
    out: Out,
    gone: Callable[[], bool],
) -> None:
    """Write the answer to `out` as `kind` ("chat.completion" or "text_completion"), streamed where asked for.

    Raises:
        ContextError, ValueError: before anything was sent.
        Gone: nobody is there any more.
    """
    wanted = wanted_of(body)
    grammar = grammar_of(body, writer)
    threads = body.get("threads")
    if isinstance(threads, int) and 0 < threads <= _MOST_THREADS:
        writer.use_threads(threads)
    headers = {"X-Dropped-Messages": str(dropped)} if dropped else {}
    pieces = writer.write(tokens, wanted, grammar, gone)
    made = {"id": f"{kind}-{time.time_ns():x}", "object": kind, "created": int(time.time()), "model": name}
    form = _Form(kind == "chat.completion", wanted.top_logprobs is not None)
    if not body.get("stream"):
        every = list(pieces)
        whole = Piece(
            "".join(piece.text for piece in every),
            every[-1].tokens,
            every[-1].reason,
            tuple(itertools.chain.from_iterable(piece.logprobs for piece in every)),
        )
        usage = _usage(tokens, whole.tokens)
        out.whole({**made, "choices": [form.whole(whole)], "usage": usage}, headers)
        return
    # A prompt that does not fit is refused here, while the status can still say so.
    first = next(pieces)
    out.begin(headers)
    if form.chat:
        made["object"] = "chat.completion.chunk"
        role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        out.event(json.dumps({**made, "choices": [role]}))
    count = 0
    try:
        for piece in itertools.chain([first], pieces):
            count = piece.tokens
            for choice in form.parts(piece):
                out.event(json.dumps({**made, "choices": [choice]}))
    except (ValueError, RuntimeError) as error:
        out.event(json.dumps({"error": {"message": str(error), "type": "server_error", "code": None}}))
        return
    if (body.get("stream_options") or {}).get("include_usage"):
        out.event(json.dumps({**made, "choices": [], "usage": _usage(tokens, count)}))
    out.event("[DONE]")


def _usage(tokens: list[int], count: int) -> dict[str, int]:
    return {"prompt_tokens": len(tokens), "completion_tokens": count, "total_tokens": len(tokens) + count}


class _Form:
    """One choice, as the chat API or the older one has it."""

    def __init__(self, chat: bool, logprobs: bool) -> None:
        self.chat = chat
        self._logprobs = logprobs

    def whole(self, piece: Piece) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": piece.text}} if self.chat else {"text": piece.text}
        return {"index": 0, **said, "logprobs": self._likelihoods(piece), "finish_reason": piece.reason}

    def parts(self, piece: Piece) -> Iterator[dict[str, Any]]:
        if piece.text or piece.logprobs:
            said: dict[str, Any] = {"delta": {"content": piece.text}} if self.chat else {"text": piece.text}
            yield {"index": 0, **said, "logprobs": self._likelihoods(piece), "finish_reason": None}
        if piece.reason:
            said = {"delta": {}} if self.chat else {"text": ""}
            yield {"index": 0, **said, "logprobs": None, "finish_reason": piece.reason}

    def _likelihoods(self, piece: Piece) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        if not self.chat:
            return {
                "tokens": [token for token, _, _ in piece.logprobs],
                "token_logprobs": [logprob for _, logprob, _ in piece.logprobs],
                "top_logprobs": [dict(top) for _, _, top in piece.logprobs],
            }
        content = [
            {
                "token": token,
                "logprob": logprob,
                "bytes": list(token.encode()),
                "top_logprobs": [{"token": one, "logprob": other, "bytes": list(one.encode())} for one, other in top],
            }
            for token, logprob, top in piece.logprobs
        ]
        return {"content": content, "refusal": None}
