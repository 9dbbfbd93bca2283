"""A new configuration for a running service: all of it is built first, then it takes the place of the old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from logllm.errors import LogllmError
from logllm.filtering import Filtering
from logllm.service.outgoing import Outgoing
from logllm.sinks.config import check_sinks
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.http_config import HttpSinkConfig
from logllm.sources.forward.config import needs_restart as forward_needs_restart

if TYPE_CHECKING:
    from logllm.config import Config
    from logllm.service.serve import Serve
    from logllm.service.systemd import Notifier

__all__ = ["Reloader", "needs_restart", "reload_into"]

_NOT_FOR_NOTHING = ("heartbeat", "session", "value", "distinct", "change", "odd")
"""Kinds whose detectors are made at the start, where they have a share."""

_log = logging.getLogger("logllm.service")


class Reloader:
    """Reloads when asked, one after the other; asked again meanwhile, once more afterwards.

    Args:
        read: The configuration as it is now, file and options together. May raise ConfigError.
    """

    def __init__(self, service: Serve, read: Callable[[], Config], notifier: Notifier) -> None:
        self._service = service
        self._read = read
        self._notifier = notifier
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """For a signal handler."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            self._notifier.reloading()
            try:
                restart = await self._service.reload(self._read())
            except LogllmError as error:
                self._service.reloads["refused"] += 1
                _log.error("configuration not reloaded, the old one stays: %s", error)
            else:
                self._service.reloads["done"] += 1
                _log.info("configuration reloaded")
                if restart:
                    _log.warning("not changed, this takes a restart: %s", ", ".join(restart))
            self._notifier.ready()

    async def close(self) -> None:
        """Wait for what was asked for."""
        if self._task is not None:
            await self._task


def needs_restart(old: Config, new: Config) -> list[str]:
    """What differs and cannot be changed while running, as keys of the file."""
    differs = [f"forward.{key}" for key in forward_needs_restart(old.forward, new.forward)]
    for key in ("data_dir", "http", "explain", "delivery", "actions", "reduce"):
        if getattr(old, key) != getattr(new, key):
            differs.append(key)
    for key in ("ledger", "keep_bytes", "keep_rows"):
        if getattr(old.egress, key) != getattr(new.egress, key):
            differs.append(f"egress.{key}")
    for key in ("learned", "values", "sessions"):
        if getattr(old.detect, key) != getattr(new.detect, key):
            differs.append(f"detect.{key}")
    # A kind whose share was 0 has no detector. One that there is goes on when its share becomes 0, and is told no more.
    for kind in _NOT_FOR_NOTHING:
        if getattr(new.detect.shares, kind) and not getattr(old.detect.shares, kind):
            differs.append(f"detect.shares.{kind}")
    return differs


async def reload_into(service: Serve, new: Config) -> None:
    """Put a configuration in the place of the present one. Nobody may be filtering or judging meanwhile.

    Plugins are made anew only where they differ, and a sink only where it is another one or differs; one that sends
    to a receiver connects anew. A sink that is no longer there writes what it has and then goes. The forward server's
    limits, keys, users and certificates hold for connections from now on.

    Raises:
        ConfigError, PluginLoadError: It cannot be used; nothing has changed.
    """
    old, run, delivery = service.config, service.run, service.delivery
    check_sinks(new.sinks)
    filtering: Filtering | None = None
    if new.plugins != old.plugins:
        filtering = await asyncio.to_thread(Filtering.of, new, run.ask)
    try:
        put_in_place = await asyncio.to_thread(service.alerts.change, new)
        service.forward.reconfigure(new.forward)
    except LogllmError:
        if filtering is not None:
            await asyncio.to_thread(filtering.close)
        raise
    # From here on nothing fails.
    if filtering is not None:
        await asyncio.to_thread(run.change_filtering, filtering)
    await asyncio.to_thread(put_in_place)
    run.pipeline.budget.change(new.detect)
    here = {sink.label: sink for sink in delivery.sinks}
    sinks: list[Outgoing] = []
    for config in new.sinks:
        present = here.get(config.label)
        if present is None or type(present.config) is not type(config):
            sinks.append(delivery.make(config))
            continue
        del here[config.label]
        # Keys and certificates of a receiver may have changed under the same names.
        if present.config != config or isinstance(config, ForwardSinkConfig | HttpSinkConfig):
            present.reconfigure(config)
        sinks.append(present)
    delivery.sinks = sinks
    for gone in here.values():
        delivery.retire(gone)
