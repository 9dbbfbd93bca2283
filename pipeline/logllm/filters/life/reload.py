"""A plugin's file that changes while logllm runs: looked at, loaded and tried beside the old one, then exchanged.

The new file is read, compiled and tried in a thread of its own, on the last block that the old one was given. Only what
went well there is offered; a file that is gone, half written, or fails leaves the old one running.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.host import Host
from logllm.filters.instance import Filtered, entries_of
from logllm.filters.loader import Loaded, read
from logllm.wasm.compile import abandon

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.config import PluginConfig

__all__ = ["TRIAL_BYTES", "Candidate", "Given", "Reload", "in_thread"]

TRIAL_BYTES = 256 << 10
LOOK_EVERY_S = 1.0

# Who writes a file in place writes piece by piece, and half a module can be a valid one that lacks its data.
_SETTLED_NS = 1_000_000_000

_log = logging.getLogger("logllm.plugin")


@dataclass(frozen=True, slots=True)
class Given:
    """A block that a plugin was given."""

    tag: str
    block: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A changed file that was loaded and tried.

    Args:
        made: What it made of the last block where it changed that; None where it did not, or there was none.
    """

    loaded: Loaded
    made: Filtered | None


def in_thread(work: Callable[[], None]) -> None:
    """Do it beside what is going on. The interpreter waits for it at its end: a guest must not be in it then."""
    threading.Thread(target=work, name="plugin-reload").start()


class Reload:
    """Watches the file of one plugin.

    Args:
        name: The plugin's, for messages.
        loaded: What runs now.
        last: The block it was given last; None where there was none.
        load: Reads and compiles what a configuration names.
        spawn: Runs work in the background.
        clock_s: A monotonic clock; the file is looked at once a second.
    """

    def __init__(
        self,
        name: str,
        config: PluginConfig,
        loaded: Loaded,
        *,
        last: Callable[[], Given | None],
        load: Callable[[PluginConfig], Loaded],
        clock_s: Callable[[], float],
        spawn: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self.error = ""
        self.taken = 0
        self._name = name
        self._config = config
        self._running = loaded
        self._last = last
        self._load = load
        self._spawn = spawn
        self._clock_s = clock_s
        self._next_s = clock_s() + LOOK_EVERY_S
        self._seen = self._signature()
        self._candidate: Candidate | None = None
        self._looking = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            found = self._running.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def poll(self) -> Candidate | None:
        """A new file that may be taken; None nearly always. Costs one comparison of times, once a second one `stat`."""
        if self._candidate is None and self._clock_s() < self._next_s:
            return None
        if not self._looking.acquire(blocking=False):
            return None
        try:
            self._look()
            candidate = self._candidate
            # Not in one step with the look at it: what comes in between would be lost.
            if candidate is not None:
                self._candidate = None
            return candidate
        finally:
            self._looking.release()

    def _look(self) -> None:
        if self._clock_s() < self._next_s or not self._idle.is_set():
            return
        self._next_s = self._clock_s() + LOOK_EVERY_S
        found = self._signature()
        if found is None or found == self._seen or 0 <= time.time_ns() - found[0] < _SETTLED_NS:
            return
        self._seen = found
        self._idle.clear()
        self._spawn(self._work)

    def _work(self) -> None:
        try:
            code = read(self._running.path, self._config.module_bytes)
            if hashlib.sha256(code).hexdigest() == self._running.about.sha256:
                self.error = ""
                return
            loaded = self._load(self._config)
            candidate = Candidate(loaded, self._tried(loaded))
            # Else it was written to meanwhile, and is looked at again.
            if self._signature() == self._seen:
                self._candidate = candidate
        except PluginLoadError as error:
            self.refuse(str(error))
        finally:
            self._idle.set()

    def _tried(self, loaded: Loaded) -> Filtered | None:
        """Start it and give it the last block. Nothing of this reaches the world. Raises PluginLoadError."""
        config = self._config
        host = Host(self._name, config.limits.kv_bytes, tell=lambda _level, _text: None)
        instance = loaded.program.instance(config, config.limits, host)
        try:
            last = self._last()
            if last is None:
                return None
            block, count = _begin_of(last)
            made = instance.process(last.tag, block, count, config.limits.chunk_ms)
            return made if made.block is not block or made.count != count else None
        except PluginTrap as trap:
            raise PluginLoadError(f"{loaded.path}: it failed at the last block: {trap.reason}: {trap}") from trap
        finally:
            instance.close()

    def refuse(self, why: str) -> None:
        """The file that is there now will not do; it is not looked at again until it changes."""
        self.error = why
        _log.warning("%s: the changed file is not taken, the old one goes on: %s", self._name, why)

    def took(self, loaded: Loaded) -> None:
        """The candidate runs now."""
        self._running = loaded
        self.error = ""
        self.taken += 1
        version = f" version {loaded.about.version}" if loaded.about.version else ""
        _log.info("%s: took the changed file:%s sha256 %s", self._name, version, loaded.about.sha256[:12])

    def close(self) -> None:
        """Break off what is going on in the background, or wait for it where that cannot be."""
        if not self._idle.is_set():
            abandon()
        self._idle.wait()


def _begin_of(given: Given) -> tuple[bytes, int]:
    """The first entries of a block, TRIAL_BYTES of them."""
    if len(given.block) <= TRIAL_BYTES:
        return given.block, given.count
    kept: list[bytes] = []
    size = 0
    for entry in entries_of(given.block, given.count):
        size += len(entry)
        if kept and size > TRIAL_BYTES:
            break
        kept.append(entry)
    return b"".join(kept), len(kept)
