"""One plugin with one instance, tried on records from the command line; what it fails at is named record by record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError, PluginTrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from logllm.filters.config import PluginConfig
    from logllm.filters.host import Signal
    from logllm.filters.instance import Filtered, Instance

__all__ = ["Failure", "Stopped", "Trial"]

_LEAST_SHARE = 1 / 16


@dataclass(frozen=True)
class Failure:
    """A record that the plugin failed at.

    Args:
        index: Which of those given, from 0; -1 for the records it held back.
        reason: One word, as in PluginTrap.
        text: What went wrong.
    """

    index: int
    reason: str
    text: str


class Stopped(Exception):  # noqa: N818 - what `on_error = "stop"` asks for
    """The plugin failed and is to stop: `out` are the entries that came before."""

    def __init__(self, out: list[bytes], failure: Failure) -> None:
        super().__init__(failure.text)
        self.out = out
        self.failure = failure


class Trial:
    """A plugin as `logllm plugin run`, `test`, `diff` and `bench` run it: no breaker, no tenants, no reload.

    Args:
        config: As in a configuration file; `path` may be the name of a plugin that ships.
        tell: Gets the plugin's log lines, as a logging level and text.
        clock_ns: What the plugin is told the time is, where it may ask.

    Raises:
        PluginLoadError: The plugin cannot be used.
    """

    def __init__(
        self,
        config: PluginConfig,
        tell: Callable[[int, str], None] | None = None,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        from logllm.filters.host import Host
        from logllm.filters.loader import load

        loaded = load(config)
        self.config = config
        self.abi = loaded.program.abi
        self.failures: list[Failure] = []
        self._program = loaded.program
        self._host = Host(config.name or loaded.path.stem, config.limits.kv_bytes, tell=tell)
        if clock_ns is not None:
            self._host.clock_ns = clock_ns
        self._path = loaded.path
        self._signals: list[Signal] = []
        self._instance: Instance = self._made()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What the plugin is called."""
        return self._host.plugin

    @property
    def memory_bytes(self) -> int:
        """The linear memory its instance has now."""
        return self._instance.memory_bytes

    def signals(self) -> list[Signal]:
        """The anomalies raised since this was asked last."""
        found, self._signals = self._signals, []
        return found

    def process(self, tag: str, entries: list[bytes]) -> list[bytes]:
        """Filter entries; the failures are added to `failures`.

        Where a call for many records fails, halves are tried until the record is found that it fails at.

        Raises:
            Stopped: It failed, and `on_error` is `stop`.
        """
        from logllm.filters.instance import RecordFailed

        out: list[bytes] = []
        limits = self.config.limits
        to_do = [(0, entries, 1.0)] if entries else []
        while to_do:
            first, part, share = to_do.pop()
            # A slow plugin is to be seen, not cut off: only each call's time is limited here, not all of them together.
            budget_ms = limits.time_ms * (share if share < 1 else len(part))
            try:
                out += _entries(self._instance.process(tag, b"".join(part), len(part), budget_ms))
                self._heard()
            except RecordFailed as failed:
                out += _entries(failed.done)
                self._heard()
                if failed.broken:
                    self._renew()
                at = failed.index
                self._failed(first + at, failed, part[at], out)
                if part[at + 1 :]:
                    to_do.append((first + at + 1, part[at + 1 :], share))
            except PluginTrap as trap:
                self._renew()
                if len(part) == 1:
                    self._failed(first, trap, part[0], out)
                    continue
                # Half the records need half the time; only a single one is given all of it again.
                share = max(share / 2, _LEAST_SHARE) if trap.reason == "timeout" else share
                half = len(part) // 2
                for at, some in ((half, part[half:]), (0, part[:half])):
                    to_do.append((first + at, some, share if len(some) > 1 else 1.0))
        return out

    def flush(self, now_ms: int) -> list[bytes]:
        """The entries that were held back and are given now. Raises Stopped as `process` does."""
        try:
            done = self._instance.flush(now_ms)
            self._heard()
            return [] if done is None else _entries(done)
        except PluginTrap as trap:
            self._renew()
            self._failed(-1, trap, b"", [])
            return []

    def raw(self, tag: str, block: bytes, count: int) -> Filtered:
        """One call for a whole block, as the pipeline makes it. Raises PluginTrap."""
        return self._instance.process(tag, block, count, self.config.limits.chunk_ms)

    def close(self) -> None:
        """End the instance."""
        self._instance.close()

    def _failed(self, index: int, trap: PluginTrap, entry: bytes, out: list[bytes]) -> None:
        failure = Failure(index, trap.reason, str(trap))
        self.failures.append(failure)
        if self.config.on_error == "stop":
            raise Stopped(out, failure)
        if self.config.on_error == "keep" and entry:
            out.append(entry)

    def _heard(self) -> None:
        """Take what was raised in a call that went well; what a failed one raised may be raised again."""
        self._signals += self._host.signals
        self._host.signals.clear()

    def _made(self) -> Instance:
        try:
            return self._program.instance(self.config, self.config.limits, self._host)
        except PluginLoadError as error:
            raise PluginLoadError(f"{self._path}: {error}") from error

    def _renew(self) -> None:
        self._instance.close()
        self._host.restarted()
        self._instance = self._made()


def _entries(done: Filtered) -> list[bytes]:
    from logllm.filters.instance import entries_of
    from logllm.filters.records import split_entry

    try:
        found = entries_of(done.block, done.count)
        for entry in found:
            split_entry(entry)
    except ValueError as error:
        raise PluginTrap("bad_result", f"its answer is no {done.count} entries: {error}") from error
    return found
