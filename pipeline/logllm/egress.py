"""What leaves this process: hosts must be named before anything goes there, what goes is told to whoever keeps it, and
no text may show more of an address than its host."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from logllm.errors import ConfigError

__all__ = ["EgressConfig", "Recorder", "Sent", "about", "about_now", "host_of", "is_loopback", "masked"]

Sent = Callable[[str, bytes], None]
"""Told of a request's body, and of where it goes as `host:port`, before its first byte leaves. Where it raises, nothing
leaves."""

_ABOUT: ContextVar[str] = ContextVar("about", default="")


class Recorder(Protocol):
    """Gives each sender the `Sent` that it calls."""

    def __call__(self, kind: str, name: str, secrets: Sequence[str] = ()) -> Sent:
        """For one destination.

        Args:
            kind: `slack`, `webhook`, `model`...
            name: As the configuration calls it.
            secrets: Of ours, which its bodies hold: they are sent, and kept nowhere.
        """


@contextmanager
def about(what: str) -> Iterator[None]:
    """Meanwhile this thread sends something about `what`: the ids of incidents and of a message."""
    token = _ABOUT.set(what)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def about_now() -> str:
    """What this thread sends something about; empty where nobody said so.

    >>> with about("inc-1"):
    ...     about_now()
    'inc-1'
    """
    return _ABOUT.get()


class EgressConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[egress]`: the hosts to which models' questions, alerts and actions may go, and what is kept of what went.

    This machine needs no entry. Sinks of the file need none either: they are named where records are to go.

    Args:
        allow: Host names or addresses, without a port; `*.example.com` stands for every name below.
        ledger: Whether what leaves is written down first. `required`: what cannot be written down does not leave;
            `best_effort`: it leaves all the same, and the gap is written down when that is possible again; `off`.
        keep_bytes: So much of what left is kept, compressed; of what is older only digests.
        keep_rows: So many entries are kept.
    """

    allow: list[str] = []
    ledger: Literal["required", "best_effort", "off"] = "best_effort"
    keep_bytes: Annotated[int, msgspec.Meta(ge=0)] = 67_108_864
    keep_rows: Annotated[int, msgspec.Meta(ge=100)] = 200_000

    def check(self, url: str, named_by: str) -> None:
        """Raises ConfigError for a host that is neither this machine nor allowed; its message shows no secret.

        >>> EgressConfig().check("http://127.0.0.1:9/x", "--webhook")
        >>> EgressConfig().check("https://hooks.example.com/s3cret", "--webhook")
        Traceback (most recent call last):
        ...
        logllm.errors.ConfigError: --webhook: hooks.example.com is not this machine, expected it in the configuration: \
[egress] allow = ["hooks.example.com"]
        """
        host = host_of(url, named_by)
        if not is_loopback(host) and not any(_matches(pattern, host) for pattern in self.allow):
            line = ", ".join(f'"{one}"' for one in (*self.allow, host))
            raise ConfigError(
                f"{named_by}: {host} is not this machine, expected it in the configuration: [egress] allow = [{line}]"
            )


def _matches(pattern: str, host: str) -> bool:
    pattern = pattern.lower().rstrip(".")
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def host_of(url: str, named_by: str) -> str:
    """The host of a URL, or of `host:port`, in lower case.

    Raises:
        ConfigError: There is none, or programs disagree about which it is: spaces, backslashes and what is not ASCII
            are refused; a name in other letters is written as `xn--...`.
    """
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"{named_by}: no host in it, expected scheme://host:port/path")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ConfigError(f"{named_by}: expected scheme://host:port/path in ASCII, a name in other letters as xn--...")
    return host.lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain: a loopback address or `localhost`, nothing a resolver says.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("localhost.evil.org")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Python's own answer for these has changed between versions.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def masked(url: str) -> str:
    """A URL as messages, metrics and logs may show it: scheme, host and port; what else it has may be a secret.

    >>> masked("https://me:pw@hooks.slack.com:444/services/T0/B0/s3cret?x=y")
    'https://hooks.slack.com:444/...'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "..."
    if not host:
        return "..."
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}/..."
