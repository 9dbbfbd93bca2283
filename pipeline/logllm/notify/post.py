"""A notification as one JSON request, and what the answer's status means for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError, DeliveryError, NotifyError
from logllm.wire.http import HttpClient, retry_after_s
from logllm.wire.secret import repeats

if TYPE_CHECKING:
    from logllm.egress import Sent

__all__ = ["client_for", "fitted", "post"]

_JSON = {"Content-Type": "application/json"}
_LATER = frozenset((408, 425, 429))
_GONE = frozenset((404, 410))
_NOT_LET_IN = frozenset((401, 403, 407))

# Characters of a text and entries of a list, narrower and narrower. By the last step 20 incidents whose every character
# takes six bytes are below 100 kB.
_STEPS = ((4_000, 200), (2_000, 100), (1_000, 50), (300, 20), (100, 8), (64, 3))


def client_for(where: str, url: str, *, deadline_s: float, ca: str, proxy: str, sent: Sent | None = None) -> HttpClient:
    """A client of a destination's address. Raises ConfigError that says whose it is, and shows no secret."""
    try:
        return HttpClient(url, deadline_s=deadline_s, ca=ca, proxy=proxy, sent=sent)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def post(
    client: HttpClient, body: bytes, headers: Mapping[str, str], now_s: float, *, name: str, secrets: Iterable[str]
) -> bytes:
    """Post JSON; returns the answer's body when the receiver has taken it.

    Args:
        now_s: Unix time, for a Retry-After that is a date.
        name: The destination's, for errors.
        secrets: What the receiver's words are not shown with.

    Raises:
        NotifyError: Not taken. 408, 425, 429, 5xx and no whole answer are tried again; all else is final.
    """
    shown = f"{name} ({client.shown})"
    try:
        answer = client.request(body, {**_JSON, **headers})
    except DeliveryError as error:
        unsendable = error.kind == "config"
        kind = "invalid" if unsendable else error.kind
        raise NotifyError(f"{name}: {error}", kind=kind, final=unsendable) from None
    status = answer.status
    if 200 <= status < 300:
        return answer.body
    words = "" if not answer.said or repeats(answer.body, secrets) else f": {answer.said}"
    message = f"{shown}: answered {status}{words}"
    if status in _LATER or status >= 500 or status < 200:
        kind = "rate_limited" if status == 429 else "server"
        raise NotifyError(message, kind=kind, retry_after_s=retry_after_s(answer.headers, now_s))
    if 300 <= status < 400:
        # Whoever redirects may lead what we send to anybody.
        raise NotifyError(f"{message}; redirects are not followed", kind="refused", final=True)
    kind = "gone" if status in _GONE else "refused" if status in _NOT_LET_IN else "invalid"
    raise NotifyError(message, kind=kind, final=True)


def fitted(value: msgspec.Struct, most_bytes: int) -> tuple[bytes, bool]:
    """A struct as JSON of at most so many bytes, and whether anything was cut from it.

    Long texts and lists are shortened to one measure for all, the first of some that fits; cut texts end in `…`.
    With `cut: true` in a struct that has such a field.
    """
    plain = msgspec.to_builtins(value)
    body = b""
    for chars, items in _STEPS:
        cut = _Cut(chars, items)
        shorter = cut.of(plain)
        if cut.done and isinstance(shorter, dict) and "cut" in shorter:
            shorter["cut"] = True
        body = msgspec.json.encode(shorter)
        if len(body) <= most_bytes:
            return body, cut.done
    return body, True


class _Cut:
    def __init__(self, chars: int, items: int) -> None:
        self._chars = chars
        self._items = items
        self.done = False

    def of(self, value: object) -> object:
        if isinstance(value, str):
            if len(value) > self._chars:
                self.done = True
                value = value[: self._chars] + "…"
            # Half a surrogate pair is no text in UTF-8.
            return value.encode(errors="replace").decode()
        if isinstance(value, list):
            self.done |= len(value) > self._items
            return [self.of(one) for one in value[: self._items]]
        if isinstance(value, dict):
            return {str(key): self.of(one) for key, one in value.items()}
        return value
