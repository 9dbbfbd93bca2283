"""What systemd is told: ready, reloading, stopping, alive. `sd_notify(3)`; nothing where nobody listens."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["Notifier"]

_log = logging.getLogger("logllm.service")


class Notifier:
    """Sends states to a datagram socket.

    Args:
        address: The socket's path, "@..." for an abstract one; empty: say nothing.
        watchdog_s: A sign of life is wanted at least this often; 0: none.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As systemd has started us."""
        usec = environment.get("WATCHDOG_USEC", "0")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(usec) / 1e6 if usec.isdecimal() and mine else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self) -> None:
        """Started, or done with a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload has begun."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    async def watch(self) -> None:
        """Give signs of life from the event loop until cancelled; a loop that hangs gives none."""
        while self._address and self._watchdog_s > 0:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.connect(self._address)
                sock.send(state.encode())
        except OSError as error:
            _log.warning("systemd cannot be told %s: %s", state.partition("=")[0], error)
