"""An instance of a plugin and what outlives it: keys and values, saved state, open questions, raised anomalies."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.host import MOST_ANOMALIES, Host, Signal, visible
from logllm.filters.instance import Instance, RecordFailed
from logllm.filters.life.saved import Kept, Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.config import Limits, PluginConfig
    from logllm.filters.life.isolate import Passed
    from logllm.filters.life.status import Errors, Tally
    from logllm.filters.loader import Loaded

__all__ = ["Common", "Held", "Life"]

_log = logging.getLogger("logllm.plugin")
_T = TypeVar("_T")
_MOST_SHOWN = 100


@dataclass(slots=True)
class Held:
    """Records that a plugin held back, and what it was last given: their tag and sender."""

    tag: str
    peer: str
    passed: Passed


@dataclass
class Common:
    """What the tenants of a plugin share. `loaded` is exchanged when its file has changed; `generation` counts that."""

    name: str
    config: PluginConfig
    loaded: Loaded
    check: Callable[[bytes, int], object | None]
    ask: Callable[[str, str, int, str], bool] | None
    saved: Saved
    errors: Errors
    bypasses: Errors
    clock_s: Callable[[], float]
    clock_ns: Callable[[], int]
    generation: int = 0
    tickets: int = 0
    held: deque[Held] = field(default_factory=deque)


class Life:
    """A tenant's instance, made when it is first needed and anew after each failure. For one thread at a time.

    A new instance begins with the state that was saved last, and with the keys and values as they are.
    """

    def __init__(self, tenant: str, common: Common, limits: Limits, tally: Tally) -> None:
        self.instance: Instance | None = None
        self.memory_bytes = 0
        self.loaded = common.loaded
        self._tenant = tenant
        self._common = common
        self._limits = limits
        self._tally = tally
        self._failed_before = False
        self._host: Host | None = None
        self._kept = Kept(common.name, tenant)
        self._state: bytes | None = None
        self._signals: list[Signal] = []

    def start(self) -> Instance:
        """The instance, made where there is none. Raises PluginLoadError: it cannot be."""
        if self.instance is None:
            self.instance = self._made(self.loaded)
            self._tally.restarts += self._failed_before
            self._failed_before = False
            self._settle(self.instance)
        return self.instance

    def enter(self, what: Callable[[Instance], _T]) -> _T:
        """Do something with the instance; where that fails, whatever the reason, the instance is thrown away.

        Raises:
            PluginTrap: Its own, or, of reason `load`, an instance cannot be made.
            RecordFailed: Where it is not `broken`, the instance stays.
        """
        try:
            instance = self.start()
        except PluginLoadError as error:
            raise PluginTrap("load", f"it cannot be started: {error}") from error
        try:
            found = what(instance)
        except RecordFailed as failed:
            self._settle(instance)
            if failed.broken:
                self.discard()
            raise
        except BaseException:
            # What it raised in a call that is made again would be raised twice.
            if self._host is not None:
                self._host.signals.clear()
            self.discard()
            raise
        self._settle(instance)
        return found

    def _settle(self, instance: Instance) -> None:
        self.memory_bytes = instance.memory_bytes
        if self._host is not None and self._host.signals:
            room = MOST_ANOMALIES - len(self._signals)
            self._signals += self._host.signals[:room]
            self._tally.lost.anomalies += max(0, len(self._host.signals) - room)
            self._host.signals.clear()

    def take_signals(self) -> tuple[Signal, ...]:
        """What it raised since the last time; at most MOST_ANOMALIES."""
        taken, self._signals = tuple(self._signals), []
        return taken

    def answer(self, ticket: int, text: str) -> None:
        """Hand over an answer; nothing happens where the instance that asked is gone. Raises PluginTrap."""
        if self.instance is not None and self._host is not None and self._host.answered(ticket):
            self.enter(lambda instance: instance.answer(ticket, text))

    def save(self) -> None:
        """Write its state and its keys and values down, where there is a folder for that. Raises PluginTrap."""
        if self.instance is not None:
            state = self.enter(lambda instance: instance.save())
            self._state = self._state if state is None else state
        if self._host is not None:
            kept = Kept(self._common.name, self._tenant, self._state, dict(self._host.kv))
            if self._common.saved.save(kept, self._kept):
                self._kept = kept

    def exchange(self) -> None:
        """Go over to the file that is there now. Raises PluginLoadError: it does not start; the old one goes on."""
        loaded, old = self._common.loaded, self.instance
        if old is not None:
            self.instance = self._made(loaded)
            self._settle(self.instance)
            old.close()
        self.loaded = loaded

    def discard(self) -> None:
        """Throw the instance away, for it has failed."""
        self._failed_before = True
        self.close()

    def close(self) -> None:
        """Give the instance back. State that was not saved is gone."""
        instance, self.instance = self.instance, None
        self.memory_bytes = 0
        if self._host is not None:
            self._host.restarted()
            self._common.tickets = max(self._common.tickets, self._host.tickets)
        if instance is not None:
            instance.close()

    def _made(self, loaded: Loaded) -> Instance:
        config, host = self._common.config, self._its_host()
        instance = loaded.program.instance(config, self._limits, host)
        if self._state is None:
            return instance
        try:
            instance.load(self._state)
        except PluginTrap as trap:
            instance.close()
            self._state = None
            _log.warning("%s: begins without its saved state: %s", self.whose, trap)
            return loaded.program.instance(config, self._limits, host)
        return instance

    def _its_host(self) -> Host:
        common = self._common
        if self._host is None:
            self._kept = common.saved.load(self._tenant, self._limits)
            self._state = self._kept.state
            self._host = Host(
                plugin=common.name,
                kv_bytes=self._limits.kv_bytes,
                ask=self._asker(),
                clock_ns=common.clock_ns,
                monotonic_s=common.clock_s,
                metrics=self._tally.metrics,
                kv=dict(self._kept.kv),
                lost=self._tally.lost,
                tickets=common.tickets,
            )
        return self._host

    def _asker(self) -> Callable[[int, str], bool] | None:
        ask, plugin, tenant = self._common.ask, self._common.name, self._tenant
        return None if ask is None else lambda ticket, text: ask(plugin, tenant, ticket, text)

    @property
    def whose(self) -> str:
        """The plugin, and the tenant where there are some, fit for a log: senders choose their tags."""
        shown = visible(self._tenant[:_MOST_SHOWN])
        return f"{self._common.name} ({shown})" if shown else self._common.name
