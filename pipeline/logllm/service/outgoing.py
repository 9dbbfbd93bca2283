"""A sink with its ledger, its thread, and its place in the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import ConfigError, DeliveryError
from logllm.service.sink_worker import Backoff, SinkWorker
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.sinks.config import DeliveryConfig, SinkConfig
    from logllm.sinks.parcel import Parcel, Sink

__all__ = ["Outgoing", "ledger_file"]

# A disk that has room again is noticed within a second; a receiver that is down is not asked that often.
_LOCAL = Backoff(0.05, 1.0)
_REMOTE = Backoff(0.1, 10.0)
_LOOK_S = 0.02


def ledger_file(config: SinkConfig, data_dir: Path | None) -> Path | None:
    """Where a sink's ledger is: in the data folder, else beside its file, else nowhere but in memory."""
    if data_dir is None:
        return config.ledger_path()
    digest = hashlib.blake2b(config.label.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    kind = type(config).__struct_config__.tag
    return data_dir / "delivery" / f"{kind}-{digest}.ledger"


class Outgoing:
    """One sink of a running service. Its methods are called in the event loop.

    Args:
        on_end: Told of an error that ends the service, from the sink's thread.
    """

    def __init__(
        self,
        config: SinkConfig,
        delivery: DeliveryConfig,
        data_dir: Path | None,
        on_end: Callable[[DeliveryError], None],
    ) -> None:
        self.config = config
        self.label = config.label
        self.required = config.required
        self._delivery = delivery
        self._ledger_file = ledger_file(config, data_dir)
        self._ledger: Ledger | None = None
        self._is_closing = False
        self.worker = SinkWorker(
            config.label,
            self._build,
            backoff=_LOCAL if isinstance(config, FileSinkConfig) else _REMOTE,
            most_bytes=self._most_bytes,
            on_end=on_end,
        )

    @property
    def _most_bytes(self) -> int | None:
        return None if self.required else self._delivery.optional_bytes

    def _build(self) -> Sink:
        delivery, path = self._delivery, self._ledger_file
        try:
            if self._ledger is None:
                if path is not None:
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._ledger = Ledger(path, window_s=delivery.dedup_s, most=delivery.dedup_chunks)
            return self.config.build(self._ledger)
        except OSError as error:
            raise DeliveryError(f"{path}: cannot make its folder: {error.strerror or error}") from error
        except ConfigError as error:
            # It was right when it was checked: a file that it names has gone since, and may come back.
            raise DeliveryError(str(error), kind="config") from error

    @property
    def is_open(self) -> bool:
        """Whether its ledger can be asked."""
        return self._ledger is not None

    async def opened(self) -> None:
        """Wait until it can be asked: its disk may be full just now. Or until it never will be, since it is closed."""
        while self._ledger is None and not self._is_closing:
            await asyncio.sleep(_LOOK_S)

    def times(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """How often the sink has had each key. Raises DeliveryError."""
        if self._ledger is None:
            raise DeliveryError(f"{self.label}: not open yet")
        return self._ledger.times(keys)

    def send(self, parcel: Parcel) -> asyncio.Future[bool]:
        """Hand a parcel over. The future is True when it is safe, False where it was given up or dropped."""
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[bool] = loop.create_future()

        def done(safe: bool) -> None:
            loop.call_soon_threadsafe(partial(_settle, landed, safe))

        if not self.worker.put(parcel, done):
            landed.set_result(False)
        return landed

    def reconfigure(self, config: SinkConfig) -> None:
        """Go on under another configuration of the same sink, when the write under way is done."""
        self.config, self.required = config, config.required
        self.worker.rebuild(self._build, self._most_bytes)

    def close(self, grace_s: float) -> None:
        """Write what waits, for at most so long. Blocks."""
        self._is_closing = True
        self.worker.close(grace_s)
        if self._ledger is not None:
            self._ledger.close()


def _settle(landed: asyncio.Future[bool], safe: bool) -> None:
    if not landed.done():
        landed.set_result(safe)
