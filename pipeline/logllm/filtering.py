"""Where chunks meet the filters: blocks of the forward protocol as they are, a file's records as blocks for a while."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.events import Chunk
from logllm.sources.decode import Decoder
from logllm.sources.file_block import FileBlock
from logllm.sources.forward.entries import entries_of_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.config import Config
    from logllm.fields import Wanted
    from logllm.filters.chain import Filters, Passed, Stage
    from logllm.filters.config import PluginConfig
    from logllm.filters.host import Signal
    from logllm.filters.life.status import PluginStatus

__all__ = ["Filtering", "well_formed"]


def well_formed(block: bytes, count: int) -> object | None:
    """Whether a block holds `count` records and nothing else: what was found out on the way, or None where not.

    >>> well_formed(b"\\x92\\x01\\x81\\xa1k\\x02", 1) is None, well_formed(b"\\x92\\x01\\x80\\xc1", 2) is None
    (False, True)
    """
    if not block:
        return () if not count else None
    found = entries_of_stream(block, count)
    if found.count != count or found.faults or found.markers:
        return None
    return found.scan if found.scan is not None else ()


class Filtering:
    """The filters of a configuration, for chunks. Threads may filter chunks of different lanes at once.

    Args:
        configs: In the order they run.
        state_dir: Where plugins' states and values are kept over restarts; None for nowhere.
        ask: Takes plugins' questions to the model, see `Filters`.
        wanted: The fields that are read of a file's records after the plugins; by default those everyone knows.

    Raises:
        PluginLoadError: One cannot be used as it is configured; it names which, and why.
    """

    def __init__(
        self,
        configs: Sequence[PluginConfig],
        *,
        state_dir: Path | None = None,
        ask: Callable[[str, str, int, str], bool] | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.filters: Filters | None = None
        self._wanted = wanted
        if configs:
            from logllm.filters.chain import Filters

            self.filters = Filters(configs, check=well_formed, state_dir=state_dir, ask=ask)
        self.ingests = self.filters is not None and self.filters.active("ingest")

    @classmethod
    def of(cls, config: Config, ask: Callable[[str, str, int, str], bool] | None = None) -> Filtering:
        """The plugins that a configuration names."""
        folder = None if config.data_dir is None else Path(config.data_dir) / "plugins"
        return cls(config.plugins, state_dir=folder, ask=ask, wanted=config.detect.wanted)

    def ingest(self, chunk: Chunk) -> tuple[Chunk, list[Signal]]:
        """A chunk after the ingest filters, and the anomalies they raised.

        Raises:
            PluginStopped: One failed whose `on_error` is `stop`.
        """
        if not self.ingests or not chunk.count:
            return chunk, []
        if chunk.block is not None:
            passed = self._apply("ingest", chunk, chunk.block, chunk.count)
            return _with(chunk, passed), list(passed.signals)
        if chunk.columns is None or chunk.columns.raw is None:
            return chunk, []
        before = FileBlock(chunk.columns)
        passed = self._apply("ingest", chunk, before.block, before.count)
        # A decoder of its own for each chunk: it remembers tags, and threads come and go.
        columns = before.columns(passed.block, passed.count, Decoder(wanted=self._wanted))
        return replace(chunk, columns=columns, count=passed.count), list(passed.signals)

    def egress(self, chunk: Chunk) -> tuple[Chunk, list[Signal]]:
        """A chunk of a block after the egress filters, on its way to the sinks."""
        if self.filters is None or not chunk.count or chunk.block is None or not self.filters.active("egress"):
            return chunk, []
        passed = self._apply("egress", chunk, chunk.block, chunk.count)
        return _with(chunk, passed), list(passed.signals)

    def lane(self, chunk: Chunk) -> str:
        """Chunks of one lane are filtered one after the other; "" where no plugin has an instance for each tenant."""
        return "" if self.filters is None else self.filters.lane(chunk.tag, chunk.origin.peer)

    def flush(self, now_ns: int, *, at_end: bool = False) -> list[tuple[Chunk, list[Signal]]]:
        """What ingest filters have held back until now, ready to be taken in.

        Args:
            at_end: Wait for plugins that are at work in another thread; else they are left for the next time.

        Raises:
            PluginStopped: One failed whose `on_error` is `stop`.
        """
        if self.filters is None:
            return []
        return [
            (_with(Chunk(tag, 0, len(passed.block), block=b""), passed), list(passed.signals))
            for tag, passed in self.filters.flush("ingest", now_ns // 1_000_000, wait=at_end)
        ]

    def answer(self, plugin: str, tenant: str, ticket: int, text: str) -> None:
        """The model's answer to a plugin's question; it is handed over before the plugin's next block."""
        if self.filters is not None:
            self.filters.answer(plugin, tenant, ticket, text)

    def status(self) -> list[PluginStatus]:
        """How each plugin does."""
        return [] if self.filters is None else self.filters.status()

    def save(self) -> None:
        """Write the plugins' states and values, if there is a place for them."""
        if self.filters is not None:
            self.filters.save()

    def close(self) -> None:
        """End all instances, saving what they want kept. A second call does nothing."""
        if self.filters is not None:
            self.filters.close()

    def _apply(self, stage: Stage, chunk: Chunk, block: bytes, count: int) -> Passed:
        assert self.filters is not None  # noqa: S101 - callers have looked
        return self.filters.apply(stage, chunk.tag, chunk.origin.peer, block, count, chunk.scan)


def _with(chunk: Chunk, passed: Passed) -> Chunk:
    if passed.block is chunk.block:
        return chunk
    scan = passed.scan if passed.scan != () else None
    return replace(chunk, block=passed.block, count=passed.count, scan=scan)
