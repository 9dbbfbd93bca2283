"""What leaves this machine: addresses that must be named before anything goes there, and that no text may show."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

from logllm.errors import ConfigError

__all__ = ["EgressConfig", "host_of", "is_loopback", "masked"]


class EgressConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[egress]`: the hosts that options and environment variables may name as destinations.

    What the configuration file itself names in full needs no entry here, nor does this machine.

    Args:
        allow: Host names or addresses, without a port; `*.example.com` stands for every name below.
    """

    allow: list[str] = []

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
            raise ConfigError(
                f'{named_by}: {host} is not this machine, expected it in the configuration: [egress] allow = ["{host}"]'
            )


def _matches(pattern: str, host: str) -> bool:
    pattern = pattern.lower().rstrip(".")
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def host_of(url: str, named_by: str) -> str:
    """The host of a URL, or of `host:port`, in lower case. Raises ConfigError."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"{named_by}: no host in it, expected scheme://host:port/path")
    return host.lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain: a loopback address or `localhost`, nothing a resolver says.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("localhost.evil.org")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
