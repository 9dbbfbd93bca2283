"""The dispatcher in a process that can be killed.

`python dispatch_child.py DATABASE` takes in the next of `events()` and ticks, by a clock that goes 3 s for each, until
all of them are told; it begins with the last twenty once more, as a pipeline does that starts from a snapshot. It says
`taken N` after each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from logllm.events import IncidentEvent
from logllm.notify.routing.routes import RoutingConfig
from tests.notify.dispatch.dispatching import EDITING, PLAIN, Bench, incident

__all__ = ["bench", "events"]

COUNT = 600
STEP_S = 3.0
_AGAIN = 20


def events() -> list[IncidentEvent]:
    """Incidents of nine services; every third of them ends later, and some become critical before."""
    found = []
    for number in range(COUNT):
        found.append(incident(number, service=f"s{number % 9}", minute=number))
        if number >= 40 and number % 3 == 0:
            found.append(
                incident(number - 40, "update", service=f"s{(number - 40) % 9}", severity="critical", minute=number)
            )
        if number >= 60 and number % 3 == 0:
            found.append(incident(number - 60, "resolve", service=f"s{(number - 60) % 9}", minute=number))
    return found


def bench(path: Path) -> Bench:
    """Both destinations, everything to both."""
    return Bench(path, RoutingConfig(to=[EDITING, PLAIN]))


def _main() -> None:
    with_database = bench(Path(sys.argv[1]))
    with with_database.database.reading() as db:
        (taken,) = db.execute("SELECT count(*) FROM dispatch_events").fetchone()
    everything = events()
    for number in range(max(0, taken - _AGAIN), len(everything)):
        with_database.now_s = max(with_database.now_s, taken * STEP_S, number * STEP_S)
        with_database.accept(everything[number])
        print(f"taken {number}", flush=True)
    with_database.tick(14_000)
    with_database.close()


if __name__ == "__main__":
    _main()
