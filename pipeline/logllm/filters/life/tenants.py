"""One tenant of a plugin: blocks through its instance, whatever that does, within the time and failures it may take."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace

from logllm.errors import PluginLoadError, PluginStopped, PluginTrap
from logllm.filters.host import MOST_OPEN_ASKS
from logllm.filters.instance import Filtered, RecordFailed
from logllm.filters.life import Common, Held, Life
from logllm.filters.life.breaker import Breaker
from logllm.filters.life.isolate import PIECE_BYTES, Passed, isolated
from logllm.filters.life.status import Tally

__all__ = ["Tenant"]

ANSWER_BYTES = 64 << 10

_LEAST_PIECE_BYTES = 16 << 10
_LARGER_AFTER_S = 60.0
# A component is called with some hundred records anyhow; Fluent Bit's ABI with one, and needs no smaller blocks.
_PIECE_BYTES: dict[str, int] = {"native": PIECE_BYTES, "component": PIECE_BYTES >> 5}

_log = logging.getLogger("logllm.plugin")


class Tenant:
    """One tenant. Whoever calls anything but `queue` holds `lock`, so that one thread at a time is in an instance.

    Args:
        name: "" where the plugin has one instance for all.
        common: What the plugin's tenants share.
    """

    def __init__(self, name: str, common: Common) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.users = 0
        self.tally = Tally()
        self.limits = common.config.tenants.get(name, common.config.limits)
        self.life = Life(name, common, self.limits, self.tally)
        self.breaker = self._new_breaker(common)
        self._common = common
        self._generation = common.generation
        self._keep = common.config.on_error != "drop"
        self._tag: str | None = None
        self._peer = ""
        self._answers: deque[tuple[int, str]] = deque()
        self._deadline_s = 0.0
        self._hopeless = False
        self._blamed = True
        self._all_well = True
        self._too_slow = False
        self._gave_up = False
        self._piece_bytes = PIECE_BYTES
        self._sized_s = 0.0

    @staticmethod
    def _new_breaker(common: Common) -> Breaker:
        return Breaker(common.config.breaker_failures, common.config.breaker_s, common.clock_s)

    def process(self, tag: str, peer: str, block: bytes, count: int, scan: object) -> Passed:
        """Filter a block. Raises PluginStopped where it failed and that is what `on_error` says."""
        tally, clock_s = self.tally, self._common.clock_s
        began_s = clock_s()
        self._deadline_s = began_s + self.limits.chunk_ms / 1000
        self._hopeless, self._all_well = False, True
        self._too_slow = self._gave_up = False
        tally.records_in += count
        if self._generation != self._common.generation:
            self._exchange()
        self._tag, self._peer = tag, peer
        if self.breaker.lets_through():
            passed = self._filtered(Passed(block, count, scan))
        else:
            tally.bypassed_records += count
            passed = Passed(block, count, scan) if self._keep else Passed(b"", 0, dropped=count)
        tally.records_out += passed.count
        tally.dropped += passed.dropped
        tally.seconds += clock_s() - began_s
        return passed

    def _filtered(self, given: Passed) -> Passed:
        self._deliver()
        piece_bytes = min(_PIECE_BYTES.get(self.life.loaded.about.abi, len(given.block)), self._piece_bytes)
        passed = isolated(given, self, self._common.check, keep=self._keep, piece_bytes=piece_bytes)
        self._size_pieces(min(piece_bytes, len(given.block)))
        if self._all_well and self.breaker.went_well():
            line = self._common.bypasses.note("works again and is no longer bypassed")
            if line is not None:
                _log.warning("%s: %s", self.life.whose, line)
        signals = self.life.take_signals()
        return replace(passed, signals=signals) if signals else passed

    def _size_pieces(self, piece_bytes: int) -> None:
        now_s = self._common.clock_s()
        if self._too_slow and not self._gave_up:
            # All of it went through in smaller pieces: it is no poison, the plugin only takes its time.
            self._piece_bytes = max(_LEAST_PIECE_BYTES, piece_bytes // 4)
            self._sized_s = now_s
        elif self._piece_bytes < PIECE_BYTES and now_s - self._sized_s > _LARGER_AFTER_S:
            self._piece_bytes *= 2
            self._sized_s = now_s

    def call(self, block: bytes, count: int, share: float) -> Filtered:
        """See `isolate.Attempt`."""
        left_ms = (self._deadline_s - self._common.clock_s()) * 1000
        budget_ms = max(1.0, left_ms if share >= 1 else min(left_ms, self.limits.time_ms * share))
        self.tally.calls += 1
        return self.life.enter(lambda instance: instance.process(self._tag or "", block, count, budget_ms))

    def failed(self, trap: PluginTrap) -> None:
        """See `isolate.Attempt`."""
        self._note(trap.reason, str(trap))
        if self.life.instance is not None and (trap.broken if isinstance(trap, RecordFailed) else True):
            self.life.discard()
        self._too_slow = self._too_slow or trap.reason == "timeout"
        self._hopeless = trap.reason == "load"
        # A record that cannot even be shown to it is its sender's doing: no number of those switches it off.
        self._blamed = trap.reason != "bad_record"
        if self._blamed and (self._hopeless or self.breaker.trying):
            self._count_failure()
        self._perhaps_stop(str(trap))

    def gave_up(self, records: int) -> None:
        """See `isolate.Attempt`."""
        self._gave_up = True
        self.tally.failed_records += records
        if not self._hopeless and self._blamed:
            self._count_failure()

    def stopped(self, records: int) -> bool:
        """See `isolate.Attempt`."""
        if self._hopeless or (self.breaker.open and not self.breaker.trying):
            self.tally.failed_records += records
            return True
        if self._common.clock_s() < self._deadline_s:
            return False
        words = f"the {self.limits.chunk_ms} ms it has for a chunk are over, {records} of its records not filtered"
        self._note("timeout", words)
        self._blamed = True
        self.gave_up(records)
        self._perhaps_stop(words)
        return True

    def flush(self, now_ms: int) -> None:
        """Have it give what it holds back; that is put to `Common.held`. Raises PluginStopped."""
        if self.life.instance is None or self._tag is None or self.breaker.open:
            return
        self._deliver()
        passed = Passed(b"", 0)
        try:
            made = self.life.enter(lambda instance: instance.flush(now_ms))
            if made is not None and made.count:
                passed = self._checked(made)
        except PluginTrap as trap:
            self.failed(trap)
            self._count_failure()
        signals = self.life.take_signals()
        if passed.count or signals:
            self.tally.records_out += passed.count
            self._common.held.append(Held(self._tag, self._peer, replace(passed, signals=signals)))

    def _checked(self, made: Filtered) -> Passed:
        scan = self._common.check(made.block, made.count)
        if scan is None:
            raise PluginTrap("bad_result", "what it gave back does not hold the entries it says")
        return Passed(made.block, made.count, scan)

    def queue(self, ticket: int, text: str) -> bool:
        """An answer, for delivery before the next block; from any thread. False where too many wait."""
        if len(self._answers) >= 2 * MOST_OPEN_ASKS:
            return False
        self._answers.append((ticket, text[:ANSWER_BYTES]))
        return True

    def _deliver(self) -> None:
        while self._answers:
            try:
                self.life.answer(*self._answers.popleft())
            except PluginTrap as trap:
                self.failed(trap)
                self._count_failure()

    def save(self) -> None:
        """Write its state and its keys and values down, where there is a folder for that."""
        try:
            self.life.save()
        except PluginTrap as trap:
            self._note(trap.reason, f"its state is not saved: {trap}")

    def retire(self, now_ms: int) -> None:
        """End the instance to make room: what it holds back is given out, its state saved. Raises PluginStopped."""
        self.flush(now_ms)
        self.save()
        self.life.close()

    def _exchange(self) -> None:
        """Go over to the file that is there now; where it does not start here, the old instance goes on."""
        self._generation = self._common.generation
        self.flush(self._common.clock_ns() // 1_000_000)
        self.save()
        try:
            self.life.exchange()
        except PluginLoadError as error:
            self._note("load", f"the new file does not start and the old one goes on: {error}")
        else:
            self.breaker = self._new_breaker(self._common)

    def _note(self, reason: str, text: str) -> None:
        self._all_well = False
        self.tally.failed(reason)
        line = self._common.errors.note(f"{reason}: {text}")
        if line is not None:
            _log.warning("%s: %s", self.life.whose, line)

    def _perhaps_stop(self, text: str) -> None:
        if self._common.config.on_error == "stop":
            raise PluginStopped(f"{self.life.whose}: {text}; its on_error is `stop`")

    def _count_failure(self) -> None:
        if self.breaker.failed():
            config = self._common.config
            fate = "kept as they are" if self._keep else "dropped"
            line = self._common.bypasses.note(
                f"failed {config.breaker_failures} times within a minute: bypassed for {config.breaker_s} s, "
                f"its records are {fate}"
            )
            if line is not None:
                _log.error("%s: %s", self.life.whose, line)
