"""All filters of a pipeline, in their order: the one door through which blocks reach plugins.

What a hostile tenant costs the others: a plugin is bypassed when it fails, but one that always takes nearly all the
time it may is not failing, and each of its chunks keeps a thread busy for up to `Limits.chunk_ms`. Where chunks of
different lanes are filtered by different threads, that thread is its own lane's; the guest holds no lock of Python's
while it runs. In one thread for all, others wait: give such a plugin a smaller `chunk_ms`, for that tenant or for all.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logllm.errors import PluginError
from logllm.filters import loader
from logllm.filters.life.isolate import Passed
from logllm.filters.life.plugin import Plugin, tenant_of
from logllm.filters.life.reload import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.filters.config import PluginConfig
    from logllm.filters.life.status import PluginStatus
    from logllm.filters.loader import Loaded

__all__ = ["Filters", "Passed", "Stage", "matches"]

Stage = Literal["ingest", "egress"]

_MOST_TAGS = 4096
_LONGEST_TAG = 1024


def matches(pattern: str, tag: str) -> bool:
    """Whether a tag matches as in Fluent Bit: `*` stands for any characters, none included, and all else for itself.

    Takes time linear in the tag for each star, whatever the pattern.

    >>> matches("kube.*", "kube.web.1"), matches("*.web.*", "kube.web.1"), matches("kube", "kube.web"), matches("*", "")
    (True, True, False, True)
    """
    first, *middle = pattern.split("*")
    if not middle:
        return tag == pattern
    last = middle.pop()
    if len(tag) < len(first) + len(last) or not tag.startswith(first) or not tag.endswith(last):
        return False
    at, end = len(first), len(tag) - len(last)
    for part in middle:
        found = tag.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Filters:
    """The filters of a pipeline. `apply` may be called by many threads, one for each lane.

    Args:
        configs: In the order they are to run.
        check: Called with every block that a plugin changed, and how many entries it is to hold: whatever the pipeline
            wants to know of it, or None where it does not hold that many well-formed entries, which is a failure of
            the plugin. Called by whoever calls `apply` and `flush`, by several threads at once where they are.
        state_dir: Where plugins' state is kept; None keeps none.
        ask: Takes a question to the model: plugin, tenant, ticket, text; says whether it will be answered. It must
            return at once; it is called out of a plugin. The answer comes through `answer`.
        load, spawn, clock_s, clock_ns: For tests.

    Raises:
        PluginLoadError: One of them cannot be used as it is configured.
    """

    def __init__(
        self,
        configs: Sequence[PluginConfig],
        *,
        check: Callable[[bytes, int], object | None],
        state_dir: Path | None = None,
        ask: Callable[[str, str, int, str], bool] | None = None,
        load: Callable[[PluginConfig], Loaded] = loader.load,
        spawn: Callable[[Callable[[], None]], None] = in_thread,
        clock_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._plugins: list[Plugin] = []
        self._chains: dict[tuple[Stage, str], list[Plugin]] = {}
        self._lock = threading.Lock()
        try:
            for config, name in zip(configs, _names(configs), strict=True):
                self._plugins.append(
                    Plugin(
                        config,
                        name,
                        check=check,
                        state_dir=state_dir,
                        ask=ask,
                        load=load,
                        spawn=spawn,
                        clock_s=clock_s,
                        clock_ns=clock_ns,
                    )
                )
        except PluginError:
            self.close()
            raise

    def active(self, stage: Stage) -> bool:
        """Whether any filter is in a stage."""
        return any(plugin.config.stage == stage for plugin in self._plugins)

    def _chain(self, stage: Stage, tag: str) -> list[Plugin]:
        found = self._chains.get((stage, tag))
        if found is None:
            found = [one for one in self._plugins if one.config.stage == stage and matches(one.config.match, tag)]
            if len(tag) <= _LONGEST_TAG:
                with self._lock:
                    if len(self._chains) >= _MOST_TAGS:
                        self._chains.clear()
                    self._chains[stage, tag] = found
        return found

    def apply(self, stage: Stage, tag: str, peer: str, block: bytes, count: int, scan: object = None) -> Passed:
        """Filter a block of `count` entries through the filters of a stage that its tag matches.

        Raises:
            PluginStopped: One failed and its `on_error` is `stop`.
        """
        return self._through(self._chain(stage, tag), tag, peer, Passed(block, count, scan))

    @staticmethod
    def _through(plugins: Sequence[Plugin], tag: str, peer: str, passed: Passed) -> Passed:
        for plugin in plugins:
            if not passed.count:
                break
            made = plugin.process(tag, peer, passed.block, passed.count, passed.scan)
            if made.signals or made.dropped or passed.signals or passed.dropped:
                made = replace(made, signals=passed.signals + made.signals, dropped=passed.dropped + made.dropped)
            passed = made
        return passed

    def lane(self, tag: str, peer: str) -> str:
        """Chunks of one lane are to be filtered in their order, by one thread at a time; lanes never wait for each
        other but for a plugin that has one instance for all. "" where no plugin is per tenant."""
        plugins = (*self._chain("ingest", tag), *self._chain("egress", tag))
        rules = dict.fromkeys(one.config.tenant for one in plugins if one.config.tenant)
        return "\0".join(f"{rule}={tenant_of(rule, tag, peer)}" for rule in rules)

    def flush(self, stage: Stage, now_ms: int, *, wait: bool = False) -> list[tuple[str, Passed]]:
        """Records that plugins of a stage held back and now give, with their tags, filtered by those behind; and what
        was raised meanwhile. Call it about once a second, and at the end, when no other thread is in `apply`, with
        `wait`: without it, an instance that is at work is left for the next time.

        Raises:
            PluginStopped: As `apply` does.
        """
        given = []
        plugins = [one for one in self._plugins if one.config.stage == stage]
        for at, plugin in enumerate(plugins):
            for held in plugin.flush(now_ms, wait=wait):
                behind = [one for one in plugins[at + 1 :] if matches(one.config.match, held.tag)]
                passed = self._through(behind, held.tag, held.peer, held.passed)
                given.append((held.tag, passed))
        return given

    def answer(self, plugin: str, tenant: str, ticket: int, text: str) -> bool:
        """Deliver an answer, from any thread, without waiting; it reaches the plugin before its next block. False
        where nobody waits for it."""
        return any(one.answer(tenant, ticket, text) for one in self._plugins if one.name == plugin)

    def status(self) -> list[PluginStatus]:
        """What each filter did; waits for none of them."""
        return [plugin.status() for plugin in self._plugins]

    def save(self) -> None:
        """Write the state of all plugins down; waits for those at work."""
        for plugin in self._plugins:
            plugin.save()

    def close(self) -> None:
        """Save, and give everything back. What plugins hold back is lost: `flush` before."""
        for plugin in self._plugins:
            plugin.close()


def _names(configs: Sequence[PluginConfig]) -> list[str]:
    """What each is called: as configured, else by its file; a second one of a name is `NAME#2`."""
    names: list[str] = []
    for config in configs:
        name = first = config.name or Path(config.path).stem
        number = 1
        while name in names:
            number += 1
            name = f"{first}#{number}"
        names.append(name)
    return names
