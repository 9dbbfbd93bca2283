"""Records through real servers that are killed again and again; then every one is looked for."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.delivery.rigs import RIGS, Output, Stage
from tests.delivery.sender import Chunk, Sender, text_of, time_of

__all__ = ["Outcome", "check", "run", "table"]

_MOST_TOLD = 10
_END_S = 60.0
_SLOWEST = 2000.0  # records a second, on a machine that does other things too
_LIFE_S = 1.5


class Outcome(msgspec.Struct):
    """What a run came to."""

    rig: str
    seed: int
    records: int = 0
    chunks: int = 0
    kills: int = 0
    in_sync: int = 0
    in_write: int = 0
    at_start: int = 0
    in_order: int = 0
    reloads: int = 0
    resends: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    violations: list[str] = []


class _Pace:
    """Has records left to send until the last kill.

    Attributes:
        broken: Set when a server does what none should: there is no point in going on.
    """

    def __init__(self, sender: Sender, kills: int) -> None:
        self._sender, self._wanted = sender, kills
        self._done = 0
        self._lock = threading.Lock()
        self.broken = threading.Event()
        sender.allow(sender.records // kills)

    def killed(self) -> None:
        with self._lock:
            self._done += 1
            self._sender.allow(self._sender.records * (self._done + 1) // self._wanted)


class _Killer:
    """Lets one server live, die and live again."""

    def __init__(self, stage: Stage, sender: Sender, pace: _Pace, kills: int, seed: int) -> None:
        self.stage, self.sender, self.pace = stage, sender, pace
        self.kills = 0
        self.by_call: Counter[str] = Counter()
        self.ends = self.reloads = 0
        self.duplicates = 0.0
        self.failure: BaseException | None = None
        self._wanted = kills
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._quits = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "a server is not killed often enough"

    def quit(self) -> None:
        self._quits.set()

    def _run(self) -> None:
        try:
            while self.kills < self._wanted and not self._quits.is_set() and not self.pace.broken.is_set():
                self._live()
            self.stage.faults.order()
            assert self.stage.server.start()
        except BaseException as error:  # noqa: BLE001 - told as a violation
            self.failure = error
            self.pace.broken.set()

    def _live(self) -> None:
        """One life, to its violent end."""
        rng, server, faults = self._random, self.stage.server, self.stage.faults
        call = self._plan()
        server.begin()
        if rng.random() < 0.1:
            time.sleep(rng.random() * 0.8)
            call = "start"
        elif server.wait_ready():
            self._let_work(rng.uniform(0.05, _LIFE_S), patient=call is not None)
            if server.alive and rng.random() < 0.3:
                self._reload()
                self._let_work(rng.uniform(0.0, 0.3), patient=True)
            if server.alive and rng.random() < 0.15:
                self._end_in_order()
                return
        died = not server.alive
        if not died:
            self.duplicates += server.metric("logllm_forward_duplicate_chunks") if rng.random() < 0.2 else 0
            assert server.child is not None
            server.child.kill()
        code = server.wait()
        assert code == -signal.SIGKILL, f"ended by itself with {code}: {''.join(server.lines[-5:])}"
        self.kills += 1
        self.pace.killed()
        if died and call is not None:
            self.by_call[call] += 1
        elif call == "start":
            self.by_call["start"] += 1
        faults.order()

    def _reload(self) -> None:
        self.reloads += 1
        self.stage.configure(self.reloads % 10)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.stage.server.pid, signal.SIGHUP)

    def _end_in_order(self) -> None:
        """What is under way is finished; it may still be killed by what was planned for this life."""
        code = self.stage.server.end()
        assert code in (0, -signal.SIGKILL), f"ended in order with {code}: {''.join(self.stage.server.lines[-5:])}"
        self.ends += code == 0
        if code:
            self.kills += 1
            self.pace.killed()
        self.stage.faults.order()

    def _let_work(self, life_s: float, patient: bool) -> None:
        totals = self.sender.totals
        begun, acked = time.monotonic(), totals.acked_chunks
        enough = self._random.randrange(2, 12)
        while self.stage.server.alive and time.monotonic() - begun < life_s:
            if not patient and totals.acked_chunks - acked >= enough:
                return
            if self.sender.idle:
                return
            time.sleep(0.005)

    def _plan(self) -> str | None:
        """Orders for a life: what it dies in, if not of us."""
        rng = self._random
        rules = []
        call = None
        if rng.random() < 0.3:
            rules.append(f"sync * 1 0 slow {rng.choice((5, 30, 120))}")
        if rng.random() < 0.2:
            rules.append(f"write out 1 0 short {rng.choice((1000, 70_000))}")
        if rng.random() < 0.3:
            where = rng.choice(("sync out", "write out", "sync ledger", "write ledger"))
            rules.append(f"{where} {rng.randrange(1, 16)} {rng.randrange(1, 4)} errno {rng.choice((5, 28))}")
        if rng.random() < 0.55:
            nth = rng.randrange(1, 9)
            call, where, action = rng.choice(
                (
                    ("sync", "out.", "before"),
                    ("sync", "out.", "after"),
                    ("sync", "ledger-wal", "before"),
                    ("sync", "ledger-wal", "after"),
                    ("write", "out.", "torn"),
                    ("write", "out.", "after"),
                    ("write", "ledger-wal", "torn"),
                    ("write", "ledger-wal", "after"),
                    ("rename", "out", rng.choice(("before", "after"))),
                )
            )
            rules.append(f"{call} {where} {nth if call != 'rename' else 1} 1 {action}")
        self.stage.faults.order(*rules)
        return call


def run(
    name: str, folder: Path, library: Path, *, records: int, kills: int, seed: int, timeout_s: float = 3600.0
) -> Outcome:
    """Send records through a rig, killing each of its servers `kills` times, and check what is in its files.

    Args:
        name: Of `RIGS`.
        folder: Empty; what is in it afterwards tells what went wrong.
    """
    begun = time.monotonic()
    rig = RIGS[name](folder, library)
    outcome = Outcome(name, seed)
    sender = Sender(
        rig.stages[0].server.port,
        records,
        modes=rig.modes,
        ways=rig.ways,
        seed=seed,
        login=rig.login,
        io_timeout_s=10.0,
    )
    pace = _Pace(sender, kills * len(rig.stages))
    killers = [_Killer(stage, sender, pace, kills, seed + place) for place, stage in enumerate(rig.stages, 1)]
    try:
        for killer in killers:
            killer.start()
        sender.start()
        for killer in killers:
            killer.join(timeout_s)
            if killer.failure is not None:
                outcome.violations.append(f"{type(killer.failure).__name__}: {killer.failure}")
        sender.allow(records)
        if not pace.broken.is_set() and not sender.wait(_END_S + records / _SLOWEST):
            outcome.violations.append(
                f"{records - sender.totals.acked_records} records are not acknowledged at the end"
            )
        for killer in killers:
            killer.duplicates += killer.stage.server.metric("logllm_forward_duplicate_chunks")
    finally:
        for killer in killers:
            killer.quit()
        sender.stop()
        for killer in killers:
            killer.join(60.0)
            with killer.stage.server:
                if killer.stage.server.alive and (code := killer.stage.server.end()) != 0:
                    outcome.violations.append(f"a server ended in order with {code}, expected 0")
    outcome.seconds = time.monotonic() - begun
    _count(outcome, sender, killers)
    for output in rig.outputs:
        outcome.violations += check(output, sender.issued, sender.acked, sender.records)
    return outcome


def _count(outcome: Outcome, sender: Sender, killers: list[_Killer]) -> None:
    totals = sender.totals
    outcome.records, outcome.chunks = totals.acked_records, totals.acked_chunks
    # A closed port has seen nothing of what is sent again.
    outcome.resends = totals.resends - totals.failures["ConnectionRefusedError"]
    outcome.kills = sum(killer.kills for killer in killers)
    outcome.in_sync = sum(killer.by_call["sync"] for killer in killers)
    outcome.in_write = sum(killer.by_call["write"] + killer.by_call["rename"] for killer in killers)
    outcome.at_start = sum(killer.by_call["start"] for killer in killers)
    outcome.in_order = sum(killer.ends for killer in killers)
    outcome.reloads = sum(killer.reloads for killer in killers)
    outcome.duplicates = int(sum(killer.duplicates for killer in killers))
    outcome.violations += sender.violations


def check(output: Output, issued: Iterable[Chunk], acked: Iterable[Chunk], records: int) -> list[str]:
    """What is wrong in a sink's files: what was acknowledged is there once, the rest at most once, as it was sent."""
    tags: list[str | None] = [None] * records
    for chunk in issued:
        tags[chunk.first : chunk.first + chunk.size] = [chunk.tag] * chunk.size
    times = bytearray(records)
    wrong: list[str] = []
    name = output.path.name
    try:
        for record in output.records():
            number = record.number
            if number >= records or tags[number] is None:
                wrong.append(f"{name}: {record} was never sent")
                continue
            times[number] += times[number] < 255
            if record != (tags[number], time_of(number), number, text_of(number)):
                wrong.append(f"{name}: {record}, expected {tags[number]} {time_of(number)} {text_of(number)!r}")
    except ValueError as error:
        wrong.append(str(error))
    for chunk in acked:
        here = times[chunk.first : chunk.first + chunk.size]
        if lost := here.count(0):
            wrong.append(f"{name}: {lost} of {chunk} were acknowledged and are not there")
    for chunk in issued:
        here = times[chunk.first : chunk.first + chunk.size]
        if (more := sum(count > 1 for count in here)) > 0:
            wrong.append(f"{name}: {more} of {chunk} are there up to {max(here)} times")
    return wrong


def table(outcomes: Iterable[Outcome]) -> str:
    """Rows for people."""
    heads = (
        "rig", "records", "chunks", "kills", "in fsync", "in write", "at start", "ended", "reloads", "resends",
        "dups seen", "s", "wrong",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [heads]
    for each in outcomes:
        counts = (
            each.records, each.chunks, each.kills, each.in_sync, each.in_write, each.at_start, each.in_order,
            each.reloads, each.resends, each.duplicates, round(each.seconds), len(each.violations),
        )  # fmt: skip
        rows.append((each.rig, *(f"{count:,}" for count in counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(lines)


def told(outcome: Outcome) -> str:
    """A run's violations, the first ones, with how to see them again."""
    wrong = outcome.violations
    shown = "\n".join(f"  {each}" for each in wrong[:_MOST_TOLD])
    return f"{outcome.rig}, seed {outcome.seed}: {len(wrong)} violations\n{shown}"
