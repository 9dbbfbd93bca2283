"""Entries that are no records: kept in a file, with why, before the rest of their frame is acknowledged."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import DeliveryError
from logllm.service.outgoing import Outgoing
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.parcel import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.config import Config
    from logllm.sources.forward.protocol import Skipped

__all__ = ["Rejects", "dead_letter_path"]

KEPT = 4
_LOUD_S = 60.0

_log = logging.getLogger("logllm.service")


def dead_letter_path(config: Config) -> Path | None:
    """In the data folder; else beside the first file that is written, hidden; else nowhere."""
    if config.data_dir is not None:
        return Path(config.data_dir) / "dead-letters.ndjson"
    for sink in config.sinks:
        if isinstance(sink, FileSinkConfig):
            path = Path(sink.path)
            return path.with_name(f".{path.name}.dead-letters")
    return None


class Rejects:
    """The dead-letter file: NDJSON, a line for each run of unreadable entries, their bytes in base64.

    Without a place for it they are counted and logged, no more.
    """

    def __init__(self, config: Config, on_end: Callable[[DeliveryError], None]) -> None:
        self.count = 0
        self.path = dead_letter_path(config)
        self._quiet_until_s = 0.0
        self._config = config
        self._on_end = on_end
        self._sink: Outgoing | None = None

    async def keep(self, skipped: Sequence[Skipped], peer: str) -> None:
        """Write them; returns when they are safe. Raises DeliveryError where the service ends before."""
        self.count += sum(item.fault.count for item in skipped)
        self._say(skipped[0], peer)
        sink = self._file()
        if sink is not None and not all(await asyncio.gather(*[sink.send(_parcel(item, peer)) for item in skipped])):
            raise DeliveryError("the service is ending and the dead letters are not written", kind="closed")

    def _file(self) -> Outgoing | None:
        """The file, opened when the first entry comes that belongs in it."""
        if self._sink is None and self.path is not None:
            config = self._config
            rotate_bytes = config.delivery.dead_letter_bytes
            file = FileSinkConfig(str(self.path), name="dead letters", rotate_bytes=rotate_bytes, keep=KEPT)
            folder = None if config.data_dir is None else Path(config.data_dir)
            self._sink = Outgoing(file, config.delivery, folder, self._on_end)
        return self._sink

    def _say(self, first: Skipped, peer: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until_s:
            self._quiet_until_s = now + _LOUD_S
            where = f"kept in {self.path}" if self.path is not None else "dropped: there is no data folder"
            _log.warning(
                "%s: %d entries of tag %r are no records (%s), %s; %d so far",
                peer, first.fault.count, first.tag, first.fault.reason, where, self.count,
            )  # fmt: skip

    @property
    def failing(self) -> str | None:
        """What is wrong with the file, in words."""
        return None if self._sink is None else self._sink.worker.stats.failing

    async def close(self, grace_s: float = 5.0) -> None:
        """Write what waits, for at most so long."""
        if self._sink is not None:
            await asyncio.to_thread(self._sink.close, grace_s)


def _parcel(item: Skipped, peer: str) -> Parcel:
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    stamp = msgspec.msgpack.Ext(0, seconds.to_bytes(4, "big") + rest.to_bytes(4, "big"))
    record = {"reason": item.fault.reason, "count": item.fault.count, "peer": peer, "entry": item.fault.entry}
    return Parcel(item.tag, msgspec.msgpack.encode([stamp, record]), 1)
