"""How well odd sessions are found on the labelled blocks beside the checkout, and what following sessions costs.

    python tests/bench/sessions.py [quality|terms|told|speed]

Reads ../shared/data/hdfs; says so where it is absent.

* `quality`: label-free and oracle F1 on all blocks, on random halves (each block in one of them) and on halves of time,
  under other warm-ups, and judged when idle as the service does it.
* `terms`: the same with what is rare or what is missing left out, and at other levels.
* `told`: what the detector itself tells of them within a budget.
* `speed`: records a second through `SessionNovelty`, ids in a field and in the text, and what a window costs.
"""

from __future__ import annotations

import csv
import gzip
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.contract import Seen
from logllm.detectors.keys import Keys
from logllm.detectors.sessions import SessionNovelty, SessionsConfig
from logllm.detectors.sessions.rarity import Rarity, Strangeness
from logllm.detectors.slices import BLOCK, Slice
from logllm.detectors.windows import Windows
from logllm.evaluation.session_files import read_labels
from logllm.evaluation.sessions import SessionsResult, evaluate_sessions
from logllm.events import WINDOW_NS, Anomaly, Columns, Fields
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from logllm.detectors.sessions.opened import Courses

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "hdfs"


def blocks() -> tuple[Path, Path] | None:
    """The events and the labels; None where they are not beside the checkout."""
    events, labels = DATA / "events.csv.gz", DATA / "labels.csv"
    return (events, labels) if events.exists() and labels.exists() else None


def part_of(events: Path, folder: Path, name: str, chosen: Callable[[str], bool]) -> Path:
    """The events of some blocks as a file of its own."""
    path = folder / f"{name}.csv"
    with gzip.open(events, "rt", newline="") as file, path.open("w", newline="") as out:
        reader, writer = csv.reader(file), csv.writer(out)
        head = next(reader)
        writer.writerow(head)
        at = head.index("block")
        writer.writerows(row for row in reader if chosen(row[at]))
    return path


def _outside(names: set[str]) -> Callable[[str], bool]:
    return lambda name: name not in names


def parts(events: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """All blocks, random halves, and halves by when a block began."""
    yield "all blocks", events
    with gzip.open(events, "rt", newline="") as file:
        names = list(dict.fromkeys(row["block"] for row in csv.DictReader(file)))
    for seed in range(3):
        half = set(random.Random(seed).sample(names, len(names) // 2))
        yield f"random half {seed}a", part_of(events, folder, f"{seed}a", half.__contains__)
        yield f"random half {seed}b", part_of(events, folder, f"{seed}b", _outside(half))
    first = set(names[: len(names) // 2])
    yield "begun in the first half", part_of(events, folder, "first", first.__contains__)
    yield "begun in the second half", part_of(events, folder, "second", _outside(first))


def _row(name: str, found: SessionsResult) -> None:
    print(
        f"{name:28} F1 {found.f1:.3f}  P {found.precision:.3f}  R {found.recall:.3f}  oracle {found.oracle.f1:.3f}  "
        f"flagged {found.flagged:3} of {found.sessions}, anomalous {found.anomalous:3}; "
        f"with warm-up F1 {found.with_warm_up.f1:.3f}"
    )


def quality(events: Path, labels: Path) -> None:
    """Print the figures of all parts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in parts(events, Path(folder)):
            _row(name, evaluate_sessions(path, labels, session="block"))
    for warm_up in (100, 250, 1_000, 2_000):
        _row(f"warm-up {warm_up}", evaluate_sessions(events, labels, session="block", warm_up=warm_up))
    for idle_s in (900, 1_800, 7_200):
        _row(f"idle for {idle_s} s", evaluate_sessions(events, labels, session="block", idle_s=idle_s))


class _OnlyRare(Rarity):
    """Misses nothing."""

    def _expected(self, services: NDArray[np.int32]) -> tuple[list[int], list[float]]:
        return [], []


class _OnlyMissing(Rarity):
    """Takes no event for rare."""

    def judge(self, courses: Courses) -> Strangeness:
        found = super().judge(courses)
        tail = np.where(found.missing, found.tail, 1.0)
        return Strangeness(tail, found.lead, found.missing, tail < self.level)


class _WhenEnded(Rarity):
    """Counts an event when the session ends instead of when it first shows it."""

    def show(
        self, begun: int, keys: NDArray[np.int64], records: int, came: NDArray[np.int64], service: NDArray[np.int32]
    ) -> None:
        super().show(0, np.zeros(0, np.int64), records, came, service)
        more = max(0, int(keys.max(initial=-1)) + 1 - len(self.has))
        self.has, self.service = np.pad(self.has, (0, more)), np.pad(self.service, (0, more))

    def judge(self, courses: Courses) -> Strangeness:
        one = np.zeros(len(self.has), np.int32)
        super().show(len(courses), courses.keys, 0, np.zeros(len(courses), np.int64), one)
        return super().judge(courses)


class _NoCrowd(Rarity):
    """However many are odd."""

    @property
    def level(self) -> float:
        return self.rare


def terms(events: Path, labels: Path) -> None:
    """Print the figures with a part left out, and at other levels."""
    variants: list[tuple[str, type[Rarity]]] = [
        ("all of it", Rarity),
        ("only what is rare", _OnlyRare),
        ("only what is missing", _OnlyMissing),
        ("counted at the end", _WhenEnded),
        ("no bound on odd ones", _NoCrowd),
    ]
    for rare in (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1):
        variants.append((f"level {rare}", type("_AtLevel", (Rarity,), {"rare": rare})))
    for name, scoring in variants:
        _row(name, evaluate_sessions(events, labels, session="block", scoring=scoring))


def told(events: Path, labels: Path, per_day: float = 5.0) -> None:
    """Print what the detector tells of the blocks, ids found in the text, at a level for so many alerts a day."""
    with gzip.open(events, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    odd = read_labels(labels, session="block")
    miner, keys = Miner(), Keys()
    detector = SessionNovelty(SessionsConfig(), keys, lambda key: 9)
    windows = Windows()
    found: list[Anomaly] = []
    for at in range(0, len(rows), 5_000):
        part = rows[at : at + 5_000]
        times = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp() for row in part]
        time_ns = (np.array(times) * 1e9).astype(np.int64)
        messages = [row["message"] for row in part]
        zeros = np.zeros(len(part), np.int32)
        columns = Columns(time_ns, messages, zeros.astype(np.uint8), zeros, ["hdfs"])
        templates = miner.ids(messages)
        numbers, _ = keys.number(zeros, ["hdfs"], templates)
        keys.tally(numbers, time_ns, columns.severity)
        start = 0
        while start < len(part):
            end = start + windows.stretch(time_ns[start:])
            window = np.maximum(time_ns[start:end], windows.watermark_ns) // WINDOW_NS
            detector.see(Seen(columns.part(start, end), numbers[start:end], window))
            none = np.zeros(end - start, np.bool_)
            for each in windows.add(time_ns[start:end], numbers[start:end], none, keys.count):
                found += detector.judge(each, 0.3 * per_day / 1_440)
                detector.learn(each, np.zeros(keys.count, np.bool_))
            start = end
    days = (int(time_ns[-1]) - _first_ns(rows)) / 86_400e9
    right = sum(odd.get(one.about, False) for one in found)
    print(f"ids {detector.pattern}; {len(found)} told in {days:.1f} days, {right} of them anomalous; {detector.counts}")
    for one in found:
        print(f"  {one.about}: {[miner.template(int(keys.template[key])).text[:60] for key in one.keys[:3]]}")


def _first_ns(rows: list[dict[str, str]]) -> int:
    return int(datetime.fromisoformat(rows[0]["time"]).replace(tzinfo=UTC).timestamp() * 1e9)


def _columns(sessions: int, records: int, *, in_text: bool) -> tuple[Columns, NDArray[np.int32]]:
    source = np.random.default_rng(1)
    of = np.sort(source.integers(0, sessions, records) + np.arange(records) * 2 * sessions // records)
    names = [f"blk_{number * 7919:019d}" for number in range(int(of.max()) + 1)]
    keys = source.integers(0, 20, records).astype(np.int32)
    columns = Columns(
        time_ns=np.arange(records, dtype=np.int64) * (3_600_000_000_000 // records) + 1_700_000_000_000_000_000,
        messages=[f"Receiving block {names[number]} src: /10.250.17.225:38889" if in_text else "" for number in of],
        severity=np.zeros(records, np.uint8),
        service_codes=np.zeros(records, np.int32),
        service_names=["hdfs"],
        fields=None if in_text else Fields({}, {"block_id": (of.astype(np.int32), names)}),
    )
    return columns, keys


def _run(config: SessionsConfig, columns: Columns, keys: NDArray[np.int32]) -> tuple[float, float, int]:
    """Seconds for seeing all and for judging the windows, and the sessions still remembered."""
    all_keys = Keys()
    all_keys.number(np.zeros(20, np.int32), ["hdfs"], np.arange(20, dtype=np.int32))
    detector = SessionNovelty(config, all_keys, lambda key: 9)
    window = columns.time_ns // WINDOW_NS
    seeing = judging = 0.0
    for at in np.unique(window).tolist():
        start, end = (int(place) for place in np.searchsorted(window, [at, at + 1]))
        begun = time.perf_counter()
        for cut in range(start, end, 5_000):
            stop = min(cut + 5_000, end)
            detector.see(Seen(columns.part(cut, stop), keys[cut:stop], window[cut:stop]))
        seeing += time.perf_counter() - begun
        closed = Slice(at, np.zeros((1, 20)), np.zeros((1, 20)), 0, (at + 1) % BLOCK == 0)
        begun = time.perf_counter()
        detector.judge(closed, 1e-3)
        detector.learn(closed, np.zeros(20, np.bool_))
        judging += time.perf_counter() - begun
    return seeing, judging, detector.counts["open"]


def speed(records: int = 1_000_000) -> None:
    """Print what following sessions costs."""
    for what, key, in_text in (("in a field", "auto", False), ("in the text", r"re:blk_-?\d+", True)):
        for sessions in (20_000, 200_000):
            columns, keys = _columns(sessions, records, in_text=in_text)
            seeing, judging, opened = _run(SessionsConfig(key=key), columns, keys)
            print(
                f"ids {what:12} {records / seeing:12,.0f} records/s seen; {judging / 60 * 1e3:6.1f} ms a window of "
                f"{records // 60:,} records, {opened:,} sessions remembered"
            )


def main(what: str = "quality") -> None:
    """Print the figures."""
    found = blocks()
    if what == "speed":
        speed()
    elif found is None:
        print(f"the labelled blocks are not beside the checkout: {DATA}")
    elif what == "told":
        told(*found)
    elif what == "terms":
        terms(*found)
    else:
        quality(*found)


if __name__ == "__main__":
    main(*sys.argv[1:2])
