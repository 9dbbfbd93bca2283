"""Who may use the page: whoever has its key, from the page itself, by the name of this machine.

The key is in the address that is printed, once; from then on in a cookie that no other site's request carries. The
`Host` is checked, so that a name that somebody points at this machine is refused (DNS rebinding), and so is the
`Origin` of all that asks for work.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs

__all__ = ["Guard", "Refusal"]

_LOCAL = ("127.0.0.1", "localhost")
_KEY = re.compile(r"[A-Za-z0-9_-]{20,200}")
_MOST_COOKIES_BYTES = 8_192


class Refusal(NamedTuple):
    """An HTTP status and why, in plain words; it says nothing of what is behind it."""

    status: int
    reason: str


class Guard:
    """Checks each request. Keys are compared in constant time.

    Args:
        key: What the address and the cookie must hold, at least 20 characters that a URL takes as they are.
        port: The port that the page is served on.
    """

    def __init__(self, key: str, port: int) -> None:
        if not _KEY.fullmatch(key):
            raise ValueError("Expected a key of 20 to 200 characters of base64url")
        self._key = key
        self._hosts = [f"{name}:{port}" for name in _LOCAL]
        self._name = f"logllm_chat_{port}"  # cookies know no ports: two pages at once need two names

    @property
    def cookie(self) -> str:
        """The header that gives the key to the browser: no script reads it, no other site's request carries it."""
        return f"{self._name}={self._key}; Path=/; HttpOnly; SameSite=Strict"

    def refusal(self, method: str, path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
        """Why a request is refused, or None. Header names are lower case, as ASGI gives them."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        hosts = [value.decode("latin-1").lower() for value in found.get(b"host", [])]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return Refusal(421, "not the name of this page")
        entering = path == "/" and method in ("GET", "HEAD")
        # What a browser says of where a request comes from; absent in clients that are none.
        sites = found.get(b"sec-fetch-site", [])
        if not entering and any(site not in (b"same-origin", b"none") for site in sites):
            return Refusal(403, "from another site")
        origins = [value.decode("latin-1").lower() for value in found.get(b"origin", [])]
        if origins and origins != [f"http://{hosts[0]}"]:
            return Refusal(403, "from another site")
        if method not in ("GET", "HEAD") and not origins:
            return Refusal(403, "from nowhere: expected an Origin")
        given = self._from_cookies(found.get(b"cookie", []))
        if entering:
            given = [*given, *self._from_query(query)]
        if not any(hmac.compare_digest(one.encode(), self._key.encode()) for one in given):
            return Refusal(403, "open the page by the address that `logllm chat` printed: it holds the key")
        return None

    def _from_cookies(self, values: list[bytes]) -> list[str]:
        pairs = b"; ".join(values)[:_MOST_COOKIES_BYTES].decode("latin-1").split(";")
        return [value for name, _, value in (pair.strip().partition("=") for pair in pairs) if name == self._name]

    def _from_query(self, query: bytes) -> list[str]:
        try:
            return parse_qs(query.decode("latin-1"), max_num_fields=8).get("key", [])[:2]
        except ValueError:
            return []
