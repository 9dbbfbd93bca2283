"""Who may ask: whoever has a key, by a name that is this service's, and no page of another site."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from logllm.web.llm.asked import Refusal

__all__ = ["Caller", "Door"]


class Caller(NamedTuple):
    """Who asks, as far as turns go: which key, or from where; and whether a key was given at all."""

    name: str
    known: bool


class Door:
    """Checks each request's headers.

    A name that somebody points at this machine (DNS rebinding) is refused: the `Host` must be an address, `localhost`
    or one of `hosts`. A browser's page of another site is refused by its `Origin`; there is no CORS.

    Args:
        keys: Any one of them; none: whoever reaches it may ask.
    """

    def __init__(self, keys: Sequence[str], hosts: Sequence[str] = ()) -> None:
        self._keys = [key.encode() for key in keys]
        self._hosts = {host.lower() for host in hosts}

    def enter(self, headers: Iterable[tuple[bytes, bytes]], peer: str, *, needs_key: bool = True) -> Caller:
        """Raises Refusal. Header names are lower case, as ASGI gives them."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        hosts = [value.decode("latin-1").lower() for value in found.get(b"host", [])]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Refusal(421, "not a name of this service; see `hosts` in the configuration", code="wrong_host")
        for origin in found.get(b"origin", []):
            if origin.decode("latin-1").lower() not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
                raise Refusal(403, "pages of other sites may not ask", code="wrong_origin")
        given = found.get(b"authorization", [])
        place = self._place_of(given[0]) if len(given) == 1 else None
        if not self._keys:
            return Caller(peer, True)
        if place is None:
            if needs_key:
                what = "Incorrect API key provided" if given else "You didn't provide an API key"
                raise Refusal(
                    401, what, code="invalid_api_key", headers=(("WWW-Authenticate", 'Bearer realm="logllm"'),)
                )
            return Caller(peer, False)
        return Caller(f"key {place}", True)

    def _place_of(self, header: bytes) -> int | None:
        scheme, _, key = header.partition(b" ")
        # Each is compared, so that the time tells nothing of which one was near.
        right = [hmac.compare_digest(key.strip(), one) for one in self._keys]
        return right.index(True) if scheme.lower() == b"bearer" and any(right) else None

    def _is_ours(self, host: str) -> bool:
        name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name == "localhost" or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
