"""A file of records through pipeline and reducer as they would have gone, as fast as they can be read."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError, SourceError
from logllm.filtering import Filtering
from logllm.pipeline_detectors import decoder_for
from logllm.service.proof import Prover
from logllm.service.reduction import Reduction, begins_of
from logllm.service.run import Run
from logllm.service.stored import kind_of, stored_chunks
from logllm.service.summary import summary_of
from logllm.sinks.config import sink_named
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel
from logllm.sources.file_stats import ReadStats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.config import Config
    from logllm.events import Chunk, IncidentEvent, Summary
    from logllm.filters.host import Signal
    from logllm.service.outlet import Outlet
    from logllm.service.proof import IncidentProof

__all__ = ["ReplayOptions", "Replayed", "replay"]

WRITTEN_AT_ONCE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay and how.

    Args:
        path: A plain log, or what a file sink wrote, as NDJSON or msgpack; compressed or not.
        reduce: Cull what the configuration says; else every record goes on.
        proof: Look afterwards whether the output holds what incidents cite.
        out: Where what goes on is written, in the format its name says; None: nowhere that stays.
        format, tz: Of a plain log's lines.
        reveal: See `Run`.
    """

    path: str
    reduce: bool = False
    proof: bool = False
    out: str | None = None
    format: str = "auto"
    tz: str = "UTC"
    reveal: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it. `proofs` is None where none was asked for."""

    summary: Summary
    proofs: list[IncidentProof] | None


def replay(options: ReplayOptions, config: Config, outlet: Outlet) -> Replayed:
    """Run a file through. No data folder is touched and no model is asked.

    Raises:
        ConfigError: A setting or an option cannot be what it is.
        SourceError: The file cannot be read.
        DeliveryError: The output cannot be written.
    """
    if options.path == "-":
        raise ConfigError("replay: expected a file, for it may be read twice; standard input cannot be")
    config = msgspec.structs.replace(
        config,
        data_dir=None,
        sinks=[],
        explain=msgspec.structs.replace(config.explain, enabled=False),
        reduce=msgspec.structs.replace(config.reduce, enabled=options.reduce or options.proof),
    )
    stats = ReadStats()
    kind = kind_of(options.path, stats)
    run = Run(config, outlet, reveal=options.reveal)
    run.announce()
    try:
        with _written(options.out) as output:
            return _Replay(options, config, run, kind, stats).run(output)
    finally:
        run.close()


@contextlib.contextmanager
def _written(path: str | None) -> Iterator[FileSinkConfig]:
    """Where the output goes to: a new file, or one that is gone afterwards."""
    if path is not None:
        sink = sink_named(f"file:{path}")
        assert isinstance(sink, FileSinkConfig)  # noqa: S101 - as the name says
        if Path(path).exists():
            raise ConfigError(f"--out {path}: is there already, expected the name of a new file")
        sink.check()
        yield msgspec.structs.replace(sink, fsync=False)
        return
    with tempfile.TemporaryDirectory(prefix="logllm-replay-") as folder:
        yield FileSinkConfig(str(Path(folder) / "out.msgpack"), format="msgpack", fsync=False)


class _Output:
    """Chunks on their way into a file."""

    def __init__(self, config: FileSinkConfig) -> None:
        self._ledger = Ledger(None)
        self._sink = config.build(self._ledger)
        self._waiting: list[Parcel] = []
        self._bytes = 0

    def put(self, chunk: Chunk) -> None:
        if chunk.block and chunk.count:
            self._waiting.append(Parcel(chunk.tag, chunk.block, chunk.count))
            self._bytes += len(chunk.block)
        if self._bytes >= WRITTEN_AT_ONCE_BYTES:
            self.flush()

    def flush(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[self._sink.write(self._waiting) :]
        self._bytes = 0

    def close(self) -> None:
        self._sink.close()
        self._ledger.close()


class _Replay:
    def __init__(self, options: ReplayOptions, config: Config, run: Run, kind: str, stats: ReadStats) -> None:
        self._options = options
        self._config = config
        self._run = run
        self._kind = kind
        self._stats = stats
        self._events: list[IncidentEvent] = []
        self._reduction = Reduction.of(config, run.pipeline)
        self._begun_s = time.monotonic()

    def run(self, sink: FileSinkConfig) -> Replayed:
        output = _Output(sink)
        try:
            for chunk, signals in self._judged(self._run.filtering, self._stats):
                self._feed(chunk, signals, output)
            self._tell(self._run.pipeline.finish())
            if self._reduction is not None:
                for chunk in (*self._reduction.late(), *self._reduction.finish()):
                    output.put(chunk)
            output.flush()
        finally:
            output.close()
        summary = self._summary()
        self._run.summarise(summary)
        return Replayed(summary, self._proofs(sink.path) if self._options.proof else None)

    def _judged(self, filtering: Filtering, stats: ReadStats) -> Iterator[tuple[Chunk, list[Signal]]]:
        """The file's records as the pipeline is given them, each time the same."""
        options, decoder = self._options, decoder_for(self._config.detect)
        for chunk in stored_chunks(options.path, self._kind, stats, format_name=options.format, tz=options.tz):
            signals: list[Signal] = []
            if filtering.ingests:
                chunk, signals = filtering.ingest(replace(chunk, columns=None))
            if chunk.columns is None and chunk.count:
                chunk = replace(chunk, columns=decoder.decode(chunk, 0))
            yield chunk, signals

    def _feed(self, chunk: Chunk, signals: list[Signal], output: _Output) -> None:
        if self._reduction is None:
            self._tell(self._run.pipeline.take(chunk, signals))
            output.put(chunk)
            return
        events, out = self._reduction.take(chunk, signals, None)
        self._tell(events)
        for each in (*self._reduction.late(), out):
            output.put(each)

    def _tell(self, events: list[IncidentEvent]) -> None:
        if self._options.proof:
            self._events += events
        self._run.tell(events)

    def _summary(self) -> Summary:
        pipeline, stats = self._run.pipeline, self._stats
        while stats.notices:
            self._run.notice(stats.notices.pop(0))
        return summary_of(
            self._run,
            lines=stats.lines,
            records=pipeline.records,
            size_bytes=stats.bytes,
            seconds=time.monotonic() - self._begun_s,
            skipped=dict(stats.skipped),
            reduction=self._reduction,
        )

    def _proofs(self, output: str) -> list[IncidentProof]:
        config = self._config.reduce
        prover = Prover(self._events, self._run.pipeline.redactor.mask, config.context_s, config.count_field)
        filtering = Filtering.of(self._config)
        try:
            for chunk, _ in self._judged(filtering, ReadStats()):
                if chunk.columns is None or not chunk.block:
                    continue
                begins = begins_of(chunk)
                if begins is None:
                    raise SourceError(f"{self._options.path}: a chunk whose entries cannot be told apart")
                block, edges = chunk.block, [*begins.tolist(), len(chunk.block)]
                prover.look_up(chunk.tag, chunk.columns, lambda row, b=block, e=edges: b[e[row] : e[row + 1]])  # type: ignore[misc]
        finally:
            filtering.close()
        return prover.proofs(output)
