"""What each detector adds: a shop with problems of every kind, under all detectors and under all but one.

    python tests/bench/leave_out.py [SEED] [--budget=N] [KIND...]

Eight days of `shop.py` through the whole pipeline, at the levels of five alerts a day (or N), with eight problems of
each kind after three days, which all detectors have learned from: then one is left out, and its share goes to the
others. The purse is held open, since more than five problems a day are put in: what is measured are the levels. A
problem is found by an incident of its service that is opened or changes in its time or the quarter of an hour after it;
an incident that belongs to none, and is no release, is false. Printed as Markdown.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec
import numpy as np

from logllm import Pipeline
from logllm.config import Config
from logllm.detectors.config import DetectConfig, Shares
from logllm.incidents.grouper import Grouper
from tests.bench.shop import DAY, FIRST, KINDS, WARM_UP_DAYS, Shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.events import Chunk, IncidentEvent
    from tests.bench.shop import Problem

__all__ = ["Outcome", "judged", "watch"]

BUDGET = 5.0
DAYS = 8
EACH = 8
SLACK = 15
"""Minutes after a problem in which an incident is still of it."""


class OpenPurse:
    """Covers everything, and counts it."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, now_ns: int, *, critical: bool, again: bool = False, service: str = "") -> bool:
        """Always."""
        self.spent += not again
        return True


class Outcome(msgspec.Struct):
    """What came of a run. `found`: kind of problem -> delays in minutes. `false`: leading kind -> incidents."""

    found: dict[str, list[float]]
    false: Counter[str]
    days: float
    cpu_s: float = 0.0

    @property
    def problems_found(self) -> int:
        """All kinds together."""
        return sum(map(len, self.found.values()))

    @property
    def delay(self) -> float:
        """Mean, in minutes."""
        return float(np.mean([each for delays in self.found.values() for each in delays] or [np.nan]))


def _pipeline(shares: Shares, per_day: float) -> Pipeline:
    pipeline = Pipeline(Config(detect=DetectConfig(per_day, shares)))
    pipeline.grouper = Grouper(pipeline.keys, OpenPurse(), pipeline.template_id, pipeline.feedback.is_real)
    # As where a file's past is read; a window at a time finds the same and takes twice as long.
    pipeline.windows.whole_blocks = True
    return pipeline


def learned(chunks: Sequence[Chunk], per_day: float = BUDGET) -> bytes:
    """The state of a pipeline with all detectors after the first days."""
    pipeline = _pipeline(Shares(), per_day)
    for chunk in chunks:
        pipeline.feed(chunk)
    saved: bytes = msgpack.packb(pipeline.state())
    return saved


def watch(shop: Shop, chunks: Sequence[Chunk], state: bytes, shares: Shares, per_day: float = BUDGET) -> Outcome:
    """Go on from that state with the days in which there are problems, the budget divided otherwise."""
    begun = time.process_time()
    pipeline = _pipeline(shares, per_day)
    pipeline.restore(msgpack.unpackb(state, strict_map_key=False))
    events = [event for chunk in chunks for event in pipeline.feed(chunk)]
    outcome = judged(shop, events)
    outcome.cpu_s = time.process_time() - begun
    return outcome


def judged(shop: Shop, events: Sequence[IncidentEvent]) -> Outcome:
    """Which problems the incidents found, and which incidents belong to none."""
    outcome = Outcome({kind: [] for kind in KINDS}, Counter(), shop.days - WARM_UP_DAYS)
    found: set[Problem] = set()
    for event in events:
        minute = _minute(event)
        if event.event == "resolve" or minute < WARM_UP_DAYS * DAY:
            continue
        service = shop.names.index(event.service) if event.service in shop.names else -1
        mine = [p for p in shop.problems if p.service == service and p.start <= minute <= p.end + SLACK]
        for problem in mine:
            if problem not in found:
                found.add(problem)
                outcome.found[problem.kind].append(float(minute - problem.start))
        if not mine and event.event == "open" and event.kinds != ["release"]:
            outcome.false[event.kinds[0]] += 1
    return outcome


def _minute(event: IncidentEvent) -> int:
    return int(datetime.fromisoformat(event.time).timestamp()) // 60 - FIRST


def without(kind: str) -> Shares:
    """All shares as they are by default, but for one kind, which has none."""
    return msgspec.structs.replace(Shares(), **{kind: 0.0}) if kind else Shares()


def main(*arguments: str) -> None:
    """Print the table."""
    per_day = next((float(text.removeprefix("--budget=")) for text in arguments if text.startswith("--")), BUDGET)
    seed, *kinds = [text for text in arguments if not text.startswith("--")] or ["31"]
    head = ["left out", "found", *KINDS, "false a day", "delay, min", "CPU, s"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    notes = []
    shop = Shop(int(seed), DAYS, EACH)
    chunks = list(shop.hours())
    state = learned(chunks[: WARM_UP_DAYS * 24], per_day)
    for kind in kinds or ("", *Shares.__struct_fields__):
        outcome = watch(shop, chunks[WARM_UP_DAYS * 24 :], state, without(kind), per_day)
        cells = [
            kind or "nothing",
            f"{outcome.problems_found} of {EACH * len(KINDS)}",
            *(str(len(outcome.found[each])) for each in KINDS),
            f"{outcome.false.total() / outcome.days:.1f}",
            f"{outcome.delay:.0f}",
            f"{outcome.cpu_s:.0f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
        delays = {each: round(float(np.mean(found))) for each, found in outcome.found.items() if found}
        notes.append(f"{kind or 'nothing'}: false {dict(outcome.false)}; delays {delays}")
        print(notes[-1], file=sys.stderr, flush=True)
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main(*sys.argv[1:])
