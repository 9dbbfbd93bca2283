"""What `logllm plugin run` does: records through a plugin, line by line."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from logllm.cli.plugin_lines import LINE_BYTES, batches, written_time
from logllm.cli.plugin_trial import Failure, Stopped, Trial
from logllm.cli.render_text import neutral
from logllm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.config import Grant, PluginConfig

__all__ = ["DEFAULT_TAG", "configured", "filtered", "run"]

DEFAULT_TAG = "app.log"


def configured(
    path: str,
    *,
    function: str | None = None,
    event_format: str | None = None,
    config: str | None = None,
    grants: tuple[str, ...] = (),
    fs: tuple[str, ...] = (),
    on_error: str = "keep",
    memory_mb: int | None = None,
    time_ms: int | None = None,
) -> PluginConfig:
    """The plugin's configuration as the options say it. Raises ConfigError."""
    import msgspec
    from msgspec.structs import replace

    from logllm.filters.config import Limits, PluginConfig

    limits = Limits()
    if memory_mb is not None:
        limits = replace(limits, memory_bytes=memory_mb << 20)
    if time_ms is not None:
        # One batch may take its limit for every record in it: a slow plugin is to be seen, not cut off.
        limits = replace(limits, time_ms=time_ms)
    try:
        return msgspec.convert(
            {
                "path": path,
                "function": function or "",
                "event_format": event_format or "json",
                "config": _object(config),
                "grants": _grants(grants),
                "fs": list(fs),
                "on_error": on_error,
                "limits": msgspec.to_builtins(limits),
                "reload": False,
            },
            PluginConfig,
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--config: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--config: expected a JSON object, got {neutral(text, 40)}")
    return found


def _grants(named: tuple[str, ...]) -> list[Grant]:
    """`log`, and those that are named, one by one or with commas."""
    from logllm.filters.config import GRANTS

    wanted = {"log", *(part.strip() for name in named for part in name.split(",") if part.strip())}
    unknown = sorted(wanted - set(GRANTS))
    if unknown:
        raise ConfigError(f"--grant {unknown[0]}: expected one of {', '.join(GRANTS)}")
    return [grant for grant in GRANTS if grant in wanted]


def filtered(trial: Trial, lines: list[tuple[int, bytes]], tag: str, when: tuple[int, int]) -> list[bytes]:
    """Records through a plugin, held-back ones and all; what it fails at is in `trial.failures`.

    Args:
        lines: JSON objects.
        when: The time of each, seconds and nanoseconds.

    Raises:
        ConfigError: A line is no JSON object.
        Stopped: The plugin failed and is to stop.
    """
    from logllm.filters.records import entry, from_json

    entries = []
    for number, line in lines:
        try:
            entries.append(entry(*when, from_json(line)))
        except ValueError as error:
            raise ConfigError(f"line {number}: {error}; expected a JSON object") from error
    out = trial.process(tag, entries)
    out += trial.flush((when[0] * 1_000) + when[1] // 1_000_000)
    return shown(out)


def shown(entries: list[bytes]) -> list[bytes]:
    """The records of entries as JSON."""
    from logllm.filters.records import split_entry, to_json

    return [to_json(split_entry(entry)[1]) for entry in entries]


def log_lines(name: str) -> Callable[[int, str], None]:
    """What shows a plugin's log lines on standard error."""

    def tell(level: int, text: str) -> None:
        click.echo(f"{name}: {logging.getLevelName(level).lower()}: {neutral(text)}", err=True)

    return tell


def run(config: PluginConfig, tag: str, written: str | None, source: BinaryIO, out: BinaryIO) -> int:
    """Filter NDJSON from `source` to `out`. The exit code: 1 where a line was no record or the plugin failed.

    Raises:
        PluginLoadError: The plugin cannot be used.
        ConfigError: `written` is no time.
    """
    from pathlib import Path

    fixed = None if written is None else written_time(written)
    stem = config.name or Path(config.path).stem
    with Trial(config, tell=log_lines(stem)) as trial:
        work = _Run(trial, tag, fixed, out)
        try:
            return work.all(source)
        except BrokenPipeError:
            # Who read our output has enough, as `head` does. What Python still holds for it must go nowhere.
            _close(out)
            return 1 if work.wrong else 0
        except KeyboardInterrupt:
            return 130


class _Run:
    def __init__(self, trial: Trial, tag: str, when: tuple[int, int] | None, out: BinaryIO) -> None:
        self._trial = trial
        self._tag = tag
        self._when = when
        self._out = out
        self.wrong = False

    def all(self, source: BinaryIO) -> int:
        try:
            for lines in batches(source):
                self._batch(lines)
            self._write(self._trial.flush(self._now_ms()))
            self._tell([])
        except Stopped:
            return 1
        return 1 if self.wrong else 0

    def _now_ms(self) -> int:
        seconds, nanoseconds = self._when or written_time(None)
        return seconds * 1_000 + nanoseconds // 1_000_000

    def _batch(self, lines: list[tuple[int, bytes | None]]) -> None:
        from logllm.filters.records import entry, from_json

        when = self._when or written_time(None)
        numbers, entries = [], []
        for number, line in lines:
            try:
                if line is None:
                    raise ValueError(f"expected at most {LINE_BYTES >> 20} MiB a line")
                entries.append(entry(*when, from_json(line)))
                numbers.append(number)
            except ValueError as error:
                self._say(f"stdin line {number}: {_refused(error)}; left out")
        try:
            self._write(self._trial.process(self._tag, entries))
            self._tell(numbers)
            if not lines:
                self._write(self._trial.flush(self._now_ms()))
                self._tell([])
        except Stopped as stopped:
            self._write(stopped.out)
            self._tell(numbers)
            raise

    def _write(self, entries: list[bytes]) -> None:
        if entries:
            self._out.write(b"\n".join(shown(entries)) + b"\n")
            self._out.flush()

    def _tell(self, numbers: list[int]) -> None:
        """Name the failures and anomalies since the last call."""
        for failure in self._trial.failures:
            self._say(_told(failure, numbers, self._trial.config.on_error))
        self._trial.failures.clear()
        for signal in self._trial.signals():
            words = f"{signal.rule}: {signal.text}" + (f" ({signal.service})" if signal.service else "")
            click.echo(f"{self._trial.name}: anomaly {signal.score:g}: {neutral(words)}", err=True)

    def _say(self, text: str) -> None:
        self.wrong = True
        click.echo(f"logllm: {neutral(text)}", err=True)


def _refused(error: ValueError) -> str:
    text = str(error)
    return text if text.startswith("expected") else f"no JSON: {text}; expected a JSON object"


_THEN = {"keep": "the record comes out as it was", "drop": "the record is dropped", "stop": "stopped"}


def _told(failure: Failure, numbers: list[int], on_error: str) -> str:
    if failure.index < 0:
        return f"records held back: {failure.reason}: {failure.text}; they are lost"
    return f"stdin line {numbers[failure.index]}: {failure.reason}: {failure.text}; {_THEN[on_error]}"


def _close(out: BinaryIO) -> None:
    try:
        handle = out.fileno()
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, handle)
    os.close(nowhere)
