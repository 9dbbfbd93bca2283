"""What servers of the OpenAI chat API send back, read without trust: a JSON object or a stream of events."""

from __future__ import annotations

import json
from typing import Any

from logllm.errors import ExplainError, ExplainLater

__all__ = ["EventReader", "count_of", "loaded", "refusal", "whole_answer"]


def loaded(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`.

    Raises:
        ExplainError: it is none.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise ExplainError(f"the server sent no JSON: {raw[:80]!r}") from None
    if not isinstance(found, dict):
        raise ExplainError(f"the server sent no JSON object: {raw[:80]!r}")
    return found


def count_of(usage: Any, name: str) -> int:
    """A token count of a `usage` object; 0 where it says nothing of use.

    >>> count_of({"prompt_tokens": 12}, "prompt_tokens"), count_of(None, "prompt_tokens")
    (12, 0)
    """
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def whole_answer(raw: bytes) -> tuple[str, bool, Any]:
    """Text, whether it came to an end by itself, and `usage` of an answer that was not streamed.

    Raises:
        ExplainError: it is not the chat API's.
    """
    found = loaded(raw)
    try:
        text = found["choices"][0]["message"]["content"]
        ended = found["choices"][0].get("finish_reason") != "length"
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ExplainError(f"Expected the chat API's `choices`, got {raw[:80]!r}") from None
    return text if isinstance(text, str) else "", ended, found.get("usage")


class EventReader:
    """Reads a streamed answer as its bytes come. `usage` and `ended` hold after `finish`."""

    def __init__(self) -> None:
        self.usage: Any = None
        self.ended = False
        self.done = False
        self._rest = b""
        self._reason: Any = None

    def feed(self, data: bytes) -> str:
        """The text in the events that `data` completes.

        Raises:
            ExplainError: an event is no JSON, or says that the server failed.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        return "".join(self._line(line) for line in lines)

    def finish(self) -> None:
        """The stream is at its end.

        Raises:
            ExplainError: the answer is not.
        """
        self._line(self._rest)
        if not self.ended:
            raise ExplainLater("the connection broke before the answer was whole")
        self.ended = self._reason != "length"

    def _line(self, line: bytes) -> str:
        if self.done or not line.startswith(b"data:"):
            return ""
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = self.ended = True
            return ""
        found = loaded(data)
        if "error" in found:
            raise ExplainLater(f"the server failed in mid-answer: {str(found['error'])[:200]}")
        self.usage = found.get("usage") or self.usage
        choices = found.get("choices")
        if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
            return ""
        self._reason = choices[0].get("finish_reason") or self._reason
        self.ended = self.ended or self._reason is not None
        delta = choices[0].get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""


def refusal(status: int, data: bytes) -> str:
    """What an HTTP error means, in words, with what the server said of it."""
    try:
        said = json.loads(data)["error"]
        detail = str(said["message"] if isinstance(said, dict) else said)
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = data[:200].decode(errors="replace")
    meaning = {
        400: "it refused the request",
        401: "wrong or missing key",
        403: "wrong or missing key",
        404: "no such model or no chat API there",
        429: "too many requests",
    }.get(status, "the server failed" if status >= 500 else "unexpected status")
    return f"{meaning} ({status}{': ' + detail[:200] if detail else ''})"
