"""A connection until it may send: TLS where it is on, then HELO, PING and PONG where there is a key."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from logllm.errors import ProtocolError
from logllm.sources.forward.gate import Greeting

if TYPE_CHECKING:
    from logllm.sources.forward.connection import Connection
    from logllm.sources.forward.server import ForwardServer

__all__ = ["Entrance"]

_TLS_SHUTDOWN_S = 1.0


class Entrance:
    """What stands between a new connection and the receiver.

    It ends with `connection.enter`, or with the end of the connection. No byte gets by it before the PING is right.

    Args:
        server: Whose gate and counts these are.
        connection: Whose bytes come through `feed`.
        raw: Its TCP or unix transport.
        tls: What it is to be secured with, if at all.
    """

    __slots__ = ("_connection", "_early", "_greeting", "_raw", "_server", "_timer", "_transport", "task")

    def __init__(
        self, server: ForwardServer, connection: Connection, raw: asyncio.Transport, tls: ssl.SSLContext | None
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        self._server, self._connection, self._raw = server, connection, raw
        self._greeting = None if server.gate is None else Greeting(server.gate)
        self._early = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        if tls is None:
            self._welcome(raw)
        else:
            raw.pause_reading()
            self.task = asyncio.get_running_loop().create_task(self._secure(tls))

    def feed(self, data: memoryview) -> None:
        """Take bytes from the peer."""
        if self._greeting is None:
            # The first bytes behind a TLS handshake come before asyncio says that there was one.
            self._early += data
            return
        self._greeting.feed(data)
        if self._transport is not None:
            self._judge(self._greeting, self._transport)

    def ended(self) -> None:
        """The socket is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._greeting is not None and self._greeting.begun:
            self._server.turn_away(self._connection.peer, "no PING", "connection ended inside its PING")

    async def _secure(self, tls: ssl.SSLContext) -> None:
        peer, timeout_s = self._connection.peer, self._server.config.handshake_timeout_s
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self._raw,
                self._connection,
                tls,
                server_side=True,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
            )
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).lower().replace("_", " ")
            self._server.turn_away(peer, "TLS", f"no TLS connection: {reason}")
        except ConnectionAbortedError:
            self._server.turn_away(peer, "TLS", f"no TLS connection within {timeout_s:g} s")
        except OSError:
            pass  # It opened a connection and left, as heartbeats do.
        else:
            if secured is not None and peer.is_open:
                secured.set_write_buffer_limits(high=1)
                _share(secured, self._server.space)
                self._welcome(secured)
                return
        self._connection.evict()
        # asyncio says nothing more of a connection that ended before it was one.
        self._connection.connection_lost(None)

    def _welcome(self, transport: asyncio.Transport) -> None:
        if self._greeting is None:
            self._connection.enter(transport, bytes(self._early))
            return
        self._transport = transport
        timeout_s = self._server.config.handshake_timeout_s
        self._timer = asyncio.get_running_loop().call_later(
            timeout_s, self._turn_away, "timeout", f"no whole PING within {timeout_s:g} s"
        )
        transport.write(self._greeting.helo)
        if self._greeting.begun:
            self._judge(self._greeting, transport)

    def _judge(self, greeting: Greeting, transport: asyncio.Transport) -> None:
        """Answer the PING, if it is here."""
        try:
            answer = greeting.answer()
        except ProtocolError as error:
            self._turn_away("no PING", str(error))
            return
        if answer is None:
            return
        transport.write(answer.pong)
        if answer.fault:
            self._turn_away(answer.fault, answer.fault)
            return
        self._greeting = None
        if self._timer is not None:
            self._timer.cancel()
        self._connection.enter(transport, answer.rest)

    def _turn_away(self, reason: str, detail: str) -> None:
        self._greeting = None
        self._server.turn_away(self._connection.peer, reason, detail)
        self._connection.close(self._transport or self._raw)


def _share(secured: asyncio.Transport, space: memoryview) -> None:
    """Have a TLS connection read into the space that all share; asyncio gives each 256 KiB of its own, touched.

    What is read goes on before anything else runs, as with plain connections. Where asyncio has changed, nothing is
    done, and a connection costs what it did.
    """
    protocol = getattr(secured, "_ssl_protocol", None)
    if protocol is not None and isinstance(getattr(protocol, "_ssl_buffer_view", None), memoryview):
        protocol._ssl_buffer = protocol._ssl_buffer_view = space
