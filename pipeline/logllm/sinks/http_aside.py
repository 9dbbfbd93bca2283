"""Records that a receiver refuses for good: a copy of each stays on this machine."""

from __future__ import annotations

from pathlib import Path

from logllm.sinks.file import FileSink, FileSinkConfig
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel

__all__ = ["Aside"]

_ROTATE_BYTES = 16 << 20
_KEPT = 4


class Aside:
    """A file of lines of JSON as the `file` sink writes them; begun when there is something to keep.

    Args:
        path: None where there is no place for it: then nothing is kept.
        label: Of the sink it belongs to.
    """

    def __init__(self, path: Path | None, label: str) -> None:
        self._path, self._label = path, label
        self._ledger: Ledger | None = None
        self._sink: FileSink | None = None

    @property
    def where(self) -> str:
        """What becomes of them, in words."""
        return f"kept in {self._path}" if self._path is not None else "dropped, as there is no data folder"

    def keep(self, tag: str, block: bytes, count: int) -> None:
        """Write entries; durable when it returns. Raises DeliveryError."""
        if self._path is None:
            return
        if self._sink is None:
            config = FileSinkConfig(
                str(self._path), name=f"{self._label}, set aside", rotate_bytes=_ROTATE_BYTES, keep=_KEPT
            )
            if self._ledger is None:
                self._ledger = Ledger(config.ledger_path())
            self._sink = config.build(self._ledger)
        self._sink.write([Parcel(tag, block, count)])

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
