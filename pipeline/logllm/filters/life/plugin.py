"""One configured plugin: its tenants, each with an instance of its own, its file, and what is told of it."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError
from logllm.filters import loader
from logllm.filters.host import Host
from logllm.filters.life import Common, Held
from logllm.filters.life.isolate import Passed
from logllm.filters.life.reload import Candidate, Given, Reload, in_thread
from logllm.filters.life.saved import Saved
from logllm.filters.life.status import Errors, PluginStatus, Tally, total
from logllm.filters.life.tenants import Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logllm.filters.config import PluginConfig
    from logllm.filters.loader import Loaded

__all__ = ["Plugin", "tenant_of"]

# Of the last block the begin is enough for a trial; a very large one is not worth holding on to.
_MOST_KEPT_BYTES = 8 << 20
# Many tenants may fail for one reason.
_BYPASS_LINES = 20
_PORT = re.compile(r":[0-9]{1,5}\Z")


def tenant_of(rule: str, tag: str, peer: str) -> str:
    """Whose instance takes a chunk.

    >>> tenant_of("", "shop.web", "10.0.0.1:5000"), tenant_of("tag:2", "shop.web", ""), tenant_of("tag:3", "a.b", "")
    ('', 'web', '')
    >>> tenant_of("peer", "shop.web", "10.0.0.1:5000")
    '10.0.0.1'
    """
    if not rule:
        return ""
    if rule == "peer":
        # A sender has another port with each connection.
        return _PORT.sub("", peer)
    parts = tag.split(".")
    number = int(rule.removeprefix("tag:"))
    return parts[number - 1] if number <= len(parts) else ""


class Plugin:
    """A plugin as it is configured. For many threads: tenants do not wait for each other.

    Args:
        name: What it is called in messages and metrics.
        check: See `chain.Filters`.
        state_dir: Where state is kept; None keeps none.
        ask: See `chain.Filters`.
        load, spawn, clock_s, clock_ns: For tests.

    Raises:
        PluginLoadError: The file cannot be used, or does not start with this configuration.
    """

    def __init__(
        self,
        config: PluginConfig,
        name: str,
        *,
        check: Callable[[bytes, int], object | None],
        state_dir: Path | None = None,
        ask: Callable[[str, str, int, str], bool] | None = None,
        load: Callable[[PluginConfig], Loaded] = loader.load,
        spawn: Callable[[Callable[[], None]], None] = in_thread,
        clock_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.config = config
        loaded = load(config)
        self._common = Common(
            name=name,
            config=config,
            loaded=loaded,
            check=check,
            ask=ask,
            saved=Saved(state_dir, name),
            errors=Errors(clock_s, clock_ns),
            bypasses=Errors(clock_s, clock_ns, burst=_BYPASS_LINES),
            clock_s=clock_s,
            clock_ns=clock_ns,
        )
        self._lock = threading.Lock()
        self._tenants: OrderedDict[str, Tenant] = OrderedDict()
        self._gone = Tally()
        self._last: Given | None = None
        self._reload = Reload(name, config, loaded, last=lambda: self._last, load=load, clock_s=clock_s, spawn=spawn)
        self._prove_start()

    def _prove_start(self) -> None:
        """Better to refuse now than at the first record."""
        config, common = self.config, self._common
        try:
            if not config.tenant:
                with self._borrowed("") as tenant:
                    tenant.life.start()
            else:
                host = Host(self.name, config.limits.kv_bytes, tell=lambda _level, _text: None)
                common.loaded.program.instance(config, config.limits, host).close()
        except PluginLoadError as error:
            raise PluginLoadError(f"{common.loaded.path}: {error}") from error

    @contextmanager
    def _borrowed(self, name: str) -> Iterator[Tenant]:
        """A tenant, with its lock held."""
        with self._lock:
            tenant = self._tenants.get(name)
            if tenant is None:
                tenant = self._tenants[name] = Tenant(name, self._common)
            self._tenants.move_to_end(name)
            tenant.users += 1
            over = self._idlest() if len(self._tenants) > self.config.most_tenants else None
        try:
            if over is not None:
                self._retire(over)
            with tenant.lock:
                yield tenant
        finally:
            with self._lock:
                tenant.users -= 1

    def _idlest(self) -> Tenant | None:
        """The tenant used longest ago that nobody uses now, taken into use."""
        for tenant in self._tenants.values():
            if not tenant.users:
                tenant.users += 1
                return tenant
        return None

    def _retire(self, tenant: Tenant) -> None:
        # It stays in the table until its state is written: who comes for it now waits, and finds it.
        try:
            with tenant.lock:
                tenant.retire(self._common.clock_ns() // 1_000_000)
        finally:
            with self._lock:
                tenant.users -= 1
                if not tenant.users and tenant.life.instance is None:
                    self._tenants.pop(tenant.name, None)
                    self._gone.add(tenant.tally)

    def process(self, tag: str, peer: str, block: bytes, count: int, scan: object = None) -> Passed:
        """Filter a block of `count` entries.

        Raises:
            PluginStopped: It failed and its `on_error` is `stop`.
        """
        if self.config.reload:
            self._look_for_a_new_file()
            if len(block) <= _MOST_KEPT_BYTES:
                self._last = Given(tag, block, count)
        with self._borrowed(tenant_of(self.config.tenant, tag, peer)) as tenant:
            return tenant.process(tag, peer, block, count, scan)

    def _look_for_a_new_file(self) -> None:
        candidate = self._reload.poll()
        if candidate is not None:
            self._take(candidate)

    def _take(self, candidate: Candidate) -> None:
        made = candidate.made
        if made is not None and made.count and self._common.check(made.block, made.count) is None:
            self._reload.refuse("what it made of the last block does not hold the entries it says")
            return
        self._reload.took(candidate.loaded)
        with self._lock:
            self._common.loaded = candidate.loaded
            self._common.generation += 1

    def flush(self, now_ms: int, *, wait: bool = False) -> list[Held]:
        """What its instances hold back and now give. One that is at work is left for the next time, unless `wait`.

        Raises:
            PluginStopped: As `process` does.
        """
        if self.config.reload and not wait:
            self._look_for_a_new_file()
        with self._lock:
            tenants = [tenant for tenant in self._tenants.values() if tenant.life.instance is not None]
            for tenant in tenants:
                tenant.users += 1
        try:
            for tenant in tenants:
                if tenant.lock.acquire(blocking=wait):
                    try:
                        tenant.flush(now_ms)
                    finally:
                        tenant.lock.release()
        finally:
            with self._lock:
                for tenant in tenants:
                    tenant.users -= 1
        held = self._common.held
        return [held.popleft() for _ in range(len(held))]

    def answer(self, tenant: str, ticket: int, text: str) -> bool:
        """Take an answer for a question, from any thread; never waits. False where nobody waits for it."""
        with self._lock:
            found = self._tenants.get(tenant)
        return found is not None and found.queue(ticket, text)

    def save(self) -> None:
        """Write the state of every tenant down."""
        for tenant in self._all():
            with tenant.lock:
                tenant.save()

    def close(self) -> None:
        """Save, and give everything back. What is held back is lost: `flush` before."""
        self._reload.close()
        for tenant in self._all():
            with tenant.lock:
                tenant.save()
                tenant.life.close()

    def _all(self) -> list[Tenant]:
        with self._lock:
            return list(self._tenants.values())

    def status(self) -> PluginStatus:
        """What it did; enters no instance and waits for none."""
        common, about = self._common, self._common.loaded.about
        with self._lock:
            tenants = list(self._tenants.values())
            sums = total([self._gone, *(tenant.tally for tenant in tenants)])
        bypassed = sum(tenant.breaker.open for tenant in tenants)
        return PluginStatus(
            name=self.name,
            path=str(common.loaded.path),
            abi=about.abi,
            sha256=about.sha256,
            stage=self.config.stage,
            match=self.config.match,
            version=about.version,
            instances=sum(tenant.life.instance is not None for tenant in tenants),
            memory_bytes=sum(tenant.life.memory_bytes for tenant in tenants),
            calls=sums.calls,
            records_in=sums.records_in,
            records_out=sums.records_out,
            dropped=sums.dropped,
            failures=sums.failures,
            failed_records=sums.failed_records,
            bypassed_records=sums.bypassed_records,
            restarts=sums.restarts,
            seconds=sums.seconds,
            bypassed=bypassed > 0,
            bypassed_tenants=bypassed,
            reloads=self._reload.taken,
            reload_error=self._reload.error,
            last_error=common.errors.last,
            last_error_time=common.errors.last_time,
            lost={name: getattr(sums.lost, name) for name in sums.lost.__slots__},
            metrics=sums.metrics,
        )
