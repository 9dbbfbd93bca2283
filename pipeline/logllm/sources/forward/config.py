"""What can be set of the forward server, and which of it a running one takes over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from logllm.errors import ConfigError

if TYPE_CHECKING:
    from logllm.sources.forward.server import Deliver, ForwardServer, OnClosed, OnSkipped, Room

__all__ = ["ForwardConfig", "host_and_port", "needs_restart", "socket_mode"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

# What a listening socket is made with.
_FIXED = ("listen", "unix_path", "unix_mode", "udp_heartbeat")


class ForwardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen, who may send, and what a peer may ask for.

    Secrets stand in files of their own and are read when the server starts and at each `reconfigure`.

    Args:
        listen: `host:port`; port 0 picks a free one.
        unix_path: A unix stream socket beside it, without TLS; a file left behind by a dead server is replaced.
        unix_mode: Permissions of that socket, octal.
        udp_heartbeat: Answer Fluentd's `heartbeat_type udp` on the same port: one zero byte for one zero byte.
        shared_key_file: The `shared_key` of every sender; one newline at its end is not part of it.
        users_file: Lines `name password`; blank ones and such that begin with # are passed over. Without
            `shared_key_file` the shared key is empty (Fluent Bit: `empty_shared_key on`).
        self_hostname: What the server calls itself in the handshake. Fluentd and npm's client refuse a server that
            has their own host name.
        handshake_timeout_s: Seconds for TLS, and again for the handshake with the shared key.
        tls_cert: The server's certificate and those above it, PEM; TCP is TLS then, of version 1.2 at least.
        tls_key: Its private key, PEM, without a passphrase.
        tls_client_ca: Certificates, PEM, one of which must have signed that of each client (mutual TLS).
        max_frame_bytes: A longer frame closes its connection.
        max_inflated_bytes: A payload that inflates to more closes its connection.
        max_connections: For one more, the oldest that has never sent a byte, or is stuck in its first frame for
            `stall_s`, is closed; where there is none, it is closed itself.
        max_buffered_bytes: Bytes of unfinished frames in all connections together; past it they are read one after
            the other, so that a crowd of half-sent frames cannot take the memory.
        stall_s: While that is so, a peer that may send and does not is closed after this many seconds.
    """

    listen: str = "127.0.0.1:24224"
    unix_path: str | None = None
    unix_mode: str = "0600"
    udp_heartbeat: bool = False
    shared_key_file: str | None = None
    users_file: str | None = None
    self_hostname: str = "logllm"
    handshake_timeout_s: Seconds = 10.0
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    max_frame_bytes: Count = 32 << 20
    max_inflated_bytes: Count = 64 << 20
    max_connections: Count = 1000
    max_buffered_bytes: Count = 256 << 20
    stall_s: Seconds = 10.0

    def build(
        self,
        deliver: Deliver,
        on_skipped: OnSkipped | None = None,
        on_closed: OnClosed | None = None,
        room: Room | None = None,
    ) -> ForwardServer:
        """The server, not yet listening."""
        from logllm.sources.forward.server import ForwardServer

        return ForwardServer(self, deliver, on_skipped, on_closed, room)


def needs_restart(old: ForwardConfig, new: ForwardConfig) -> list[str]:
    """The keys whose new values `ForwardServer.reconfigure` cannot put into effect.

    >>> needs_restart(ForwardConfig(), ForwardConfig(listen="127.0.0.1:24225", max_connections=5))
    ['listen']
    """
    changed = [key for key in _FIXED if getattr(old, key) != getattr(new, key)]
    # Senders would have to change with it.
    return changed + ["tls_cert"] * ((old.tls_cert is None) != (new.tls_cert is None))


def host_and_port(listen: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` in its parts.

    >>> host_and_port("127.0.0.1:24224"), host_and_port("[::1]:0")
    (('127.0.0.1', 24224), ('::1', 0))

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen!r}: expected `host:port` with a port from 0 to 65535")
    return host, int(port)


def socket_mode(text: str) -> int:
    """Permissions from their octal digits.

    >>> socket_mode("0660") == 0o660
    True

    Raises:
        ConfigError: they are none.
    """
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ConfigError(f"unix_mode {text!r}: expected three octal digits such as `0660`")
    return int(text, 8)
