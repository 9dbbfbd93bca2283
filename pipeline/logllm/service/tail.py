"""One run over files or standard input: read, learn, look back, and then follow."""

from __future__ import annotations

import glob
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logllm.errors import LogllmError, PluginStopped, SourceError
from logllm.service.run import Run
from logllm.service.summary import summary_of
from logllm.sources.file import ReadStats, read_file
from logllm.sources.file_merge import merged
from logllm.sources.file_select import only_service, since
from logllm.sources.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.config import Config
    from logllm.events import Chunk, Summary
    from logllm.service.outlet import Outlet

__all__ = ["TailOptions", "tail"]

STATUS_INTERVAL_S = 0.2
SAVE_INTERVAL_S = 300.0
POLL_INTERVAL_S = 0.25
QUIET_POLLS = 4
"""Standard input that has said nothing for a second has been read up to now."""
EXPLAIN_WAIT_S = 180.0
MOST_TOP = 8


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What to read and how.

    Args:
        paths: Files, globs, or "-" for standard input.
        once: Stop at the end instead of following.
        since_ns: Leave out records before this time.
        services: Only these services; all where empty.
        max_incidents: Of the look back, at most this many, oddest first.
        reveal: See `Run`.
    """

    paths: tuple[str, ...]
    once: bool = False
    format: str = "auto"
    tz: str = "UTC"
    since_ns: int | None = None
    services: frozenset[str] = field(default_factory=frozenset)
    max_incidents: int = 10
    reveal: bool = False


def tail(options: TailOptions, config: Config, outlet: Outlet, stop: threading.Event) -> tuple[Summary, int]:
    """Run until the end of the input or until `stop` is set. Returns the summary and how many sources failed."""
    run = Run(config, outlet, look_back=True, reveal=options.reveal)
    run.announce()
    try:
        return _Tail(options, run, stop).run()
    finally:
        run.close()


class _Tail:
    def __init__(self, options: TailOptions, run: Run, stop: threading.Event) -> None:
        self._options = options
        self._run = run
        self._stop = stop
        self._stats = ReadStats()
        self._started = time.monotonic()
        self._shown = 0.0
        self._saved = self._started
        self._failed = 0
        self._left_out = 0

    def run(self) -> tuple[Summary, int]:
        if self._options.paths == ("-",):
            reading_s = self._pipe()
        else:
            reading_s = self._read() if self._options.once else self._follow()
        if self._options.once and not self._stop.is_set():
            self._await_explanations()
        summary = self._summary(reading_s)
        self._run.summarise(summary)
        return summary, self._failed

    def _read(self) -> float:
        for chunk in self._chunks():
            self._feed(chunk)
            if self._stop.is_set():
                break
        self._run.tell(self._run.pipeline.finish())
        reading_s = time.monotonic() - self._started
        self._run.tell(self._run.pipeline.report(self._options.max_incidents))
        return reading_s

    def _pipe(self) -> float:
        """Standard input, which may stay open and silent for hours: a thread of its own waits for it."""
        incoming: queue.Queue[Chunk | None] = queue.Queue(maxsize=8)

        def read() -> None:
            for chunk in self._file("-"):
                incoming.put(chunk)
            incoming.put(None)

        threading.Thread(target=read, name="stdin", daemon=True).start()
        quiet, reading_s = 0, 0.0
        while not self._stop.is_set():
            try:
                chunk = incoming.get(timeout=POLL_INTERVAL_S)
            except queue.Empty:
                quiet += 1
                if quiet == QUIET_POLLS and not self._options.once and self._run.pipeline.looks_back:
                    reading_s = time.monotonic() - self._started
                    self._run.tell(self._run.pipeline.report(self._options.max_incidents))
                self._pass_time()
                self._show(force=True)
                continue
            if chunk is None:
                break
            quiet = 0
            self._feed(chunk)
        self._run.tell(self._run.pipeline.finish())
        reading_s = reading_s or time.monotonic() - self._started
        self._run.tell(self._run.pipeline.report(self._options.max_incidents))
        return reading_s

    def _pass_time(self) -> None:
        """What the clock brings once the past has been reported."""
        self._run.look_again()
        if not self._run.pipeline.looks_back:
            self._run.tell(self._run.pipeline.tick(time.time_ns()))
            self._save_sometimes()

    def _chunks(self) -> Iterator[Chunk]:
        sources = [self._file(path) for path in self._paths()]
        return sources[0] if len(sources) == 1 else merged(sources)

    def _paths(self) -> list[str]:
        """The files named, globs in quotes spelled out; a name that matches nothing stays, to be complained of."""
        found: dict[str, None] = {}
        for path in self._options.paths:
            magic = glob.has_magic(path) and not Path(path).exists()
            matches = sorted(glob.glob(path, recursive=True)) if magic else []  # noqa: PTH207 - the shell's patterns
            found.update(dict.fromkeys(matches or [path]))
        return list(found)

    def _file(self, path: str) -> Iterator[Chunk]:
        try:
            yield from read_file(
                path,
                format=self._options.format,
                tz=self._options.tz,
                reference_ns=time.time_ns() if path == "-" else None,
                stats=self._stats,
                keep_raw=self._run.filtering.ingests,
                wanted=self._run.config.detect.wanted,
            )
        except SourceError as error:
            self._failed += 1
            self._run.notice(str(error))

    def _follow(self) -> float:
        follower = Follower(
            self._options.paths,
            format=self._options.format,
            tz=self._options.tz,
            stats=self._stats,
            clock=time.time_ns,
            keep_raw=self._run.filtering.ingests,
            wanted=self._run.config.detect.wanted,
        )
        live = False
        reading_s = 0.0
        try:
            while not self._stop.is_set():
                chunks = follower.poll()
                for chunk in chunks:
                    self._feed(chunk)
                self._pass_on(follower)
                if follower.exhausted:
                    break
                if follower.caught_up and not live:
                    live = True
                    reading_s = time.monotonic() - self._started
                    self._run.tell(self._run.pipeline.report(self._options.max_incidents))
                self._pass_time()
                if not chunks:
                    self._show(force=True)
                    self._stop.wait(POLL_INTERVAL_S)
            for chunk in follower.finish():
                self._feed(chunk)
            self._pass_on(follower)
        finally:
            follower.close()
        self._run.tell(self._run.pipeline.report(self._options.max_incidents))
        return reading_s or time.monotonic() - self._started

    def _pass_on(self, follower: Follower) -> None:
        for error in follower.drain_errors():
            self._failed += 1
            self._run.notice(error)

    def _feed(self, chunk: Chunk) -> None:
        columns = chunk.columns
        if columns is not None and (self._options.since_ns is not None or self._options.services):
            before = len(columns)
            if self._options.since_ns is not None:
                columns = since(columns, self._options.since_ns)
            if self._options.services:
                columns = only_service(columns, self._options.services)
            self._left_out += before - len(columns)
            chunk.columns, chunk.count = columns, len(columns)
        self._run.look_again()
        try:
            self._run.tell(self._run.pipeline.feed(chunk))
        except PluginStopped:
            raise
        except LogllmError as error:
            self._failed += 1
            self._run.notice(f"{chunk.tag}: {error}")
        self._show()

    def _show(self, *, force: bool = False) -> None:
        while self._stats.notices:
            self._run.notice(self._stats.notices.pop(0))
        now = time.monotonic()
        if force or now - self._shown >= STATUS_INTERVAL_S:
            self._shown = now
            self._run.status(self._stats.lines, self._stats.lines / max(now - self._started, 1e-3))

    def _save_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._saved >= SAVE_INTERVAL_S:
            self._saved = now
            self._run.save()

    def _await_explanations(self) -> None:
        until = time.monotonic() + EXPLAIN_WAIT_S
        while time.monotonic() < until and not self._stop.is_set():
            if self._run.wait_explained(0.5):
                return
            self._show(force=True)
        if not self._stop.is_set():
            self._run.notice(f"explanations: not all done after {EXPLAIN_WAIT_S:.0f} s, the rest is left out")

    def _summary(self, reading_s: float) -> Summary:
        pipeline = self._run.pipeline
        skipped = dict(self._stats.skipped)
        if self._left_out:
            skipped["left out by --since or --service"] = self._left_out
        return summary_of(
            self._run,
            lines=self._stats.lines,
            records=pipeline.records,
            size_bytes=self._stats.bytes,
            seconds=reading_s,
            skipped=skipped,
            top=_top(self._run),
        )


def _top(run: Run) -> list[dict[str, str | int | float]]:
    """The templates that make up most of the log, with how they changed over it."""
    pipeline = run.pipeline
    keys = pipeline.keys
    total = keys.total[: keys.count]
    whole = max(int(total.sum()), 1)
    rows: list[dict[str, str | int | float]] = []
    for key in np.argsort(-total, kind="stable").tolist():
        if not total[key] or len(rows) == MOST_TOP:
            break
        if pipeline.miner.is_named(int(keys.template[key])):
            continue  # what plugins raised is no record
        rows.append(
            {
                "template": pipeline.redactor.mask(pipeline.template_text(key)),
                "service": keys.services[int(keys.service[key])],
                "count": int(total[key]),
                "share": round(float(total[key]) / whole, 4),
                "change": pipeline.change_of(key),
            }
        )
    return rows
