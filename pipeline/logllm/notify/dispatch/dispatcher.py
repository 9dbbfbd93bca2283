"""From what happened to incidents to what is told: grouped, bounded, repeated, escalated, and nothing lost.

An incident goes to each destination by the first route that leads there. What becomes of it then, in this order:

* It is held while a silence matches it, while another open incident inhibits it, or while its route is muted; and
  told when that is over and it is still open.
* It waits for its group (`groups`) and is told with it: one incident by a message of its own, several by one digest.
* A change or the end of what has a message of its own is an edit of it, where the destination can edit; else it is
  news of the group. That an incident has become critical is told at once.
* When more than `Traits.burst` messages a minute would go to a destination, one digest tells of all (`storm`).
* While nobody answers for it, the steps of its route are gone through (`escalation`) and it is told again.

All of it is in the database, each change in one transaction together with the messages it makes: whenever the process
ends, nothing is lost and nothing told twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from logllm.notify.dispatch import escalation, upkeep
from logllm.notify.dispatch.answers import ANSWERS_SCHEMA, answers_of, keep
from logllm.notify.dispatch.compose import Composer, Item
from logllm.notify.dispatch.escalation import ESCALATIONS_SCHEMA
from logllm.notify.dispatch.groups import GROUPS_SCHEMA
from logllm.notify.dispatch.hold import Gate
from logllm.notify.dispatch.inhibit import InhibitRule
from logllm.notify.dispatch.news import News
from logllm.notify.dispatch.silences import SILENCES_SCHEMA
from logllm.notify.dispatch.storm import BURSTS_SCHEMA
from logllm.notify.dispatch.tell import Teller
from logllm.notify.dispatch.tellings import TELLINGS_SCHEMA, Traits, cleaned

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from logllm.database import Database
    from logllm.events import Explanation, IncidentEvent
    from logllm.notify.dispatch.tellings import Post, Router
    from logllm.notify.notification import Answer, RunbookNote

__all__ = ["DISPATCH_SCHEMA", "Dispatcher", "InhibitRule", "Traits"]

DISPATCH_SCHEMA = "".join(
    (TELLINGS_SCHEMA, GROUPS_SCHEMA, BURSTS_SCHEMA, ESCALATIONS_SCHEMA, SILENCES_SCHEMA, ANSWERS_SCHEMA)
)

_UPKEEP_S = 60.0
_MANY = 1_000


class Dispatcher:
    """Decides what is told to whom and when. Synchronous; `tick` tells what is due.

    Args:
        database: Opened with `DISPATCH_SCHEMA` and the outbox's.
        outbox: Takes messages within the running transaction.
        routing: Where incidents go.
        inhibit: Which incidents keep others from being told.
        traits: By destination; one that is missing has the defaults.
        runbook: What the runbook of an incident says and offers.
        keep: Incidents remembered at most. Over that those that ended first are forgotten first, then those that
            were told, then the oldest; `counts` says how many were forgotten before they were told.

    Raises:
        ConfigError: A rule of `inhibit` cannot be read.
        StateError: From every method: the disk is full, the file is damaged. Nothing has happened then.
    """

    def __init__(
        self,
        database: Database,
        outbox: Post,
        routing: Router,
        *,
        inhibit: Sequence[InhibitRule] = (),
        traits: Mapping[str, Traits] = MappingProxyType({}),
        runbook: Callable[[IncidentEvent], RunbookNote | None] = lambda _: None,
        keep: int = 50_000,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._keep = keep
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._tally: Counter[str] = Counter()
        self._gate = Gate(database, routing, inhibit, self._tally)
        self._composer = Composer(routing, runbook)
        self._news = News(routing, dict(traits), self._gate, self._tally)
        self._teller = Teller(outbox, self._composer, self._gate, self._tally)
        self._destinations: set[str] | None = None
        self._is_changed = True
        self._since_upkeep = 0
        self._upkeep_s = 0.0
        self._last_s: float | None = None

    def replace(self, routing: Router, *, inhibit: Sequence[InhibitRule], traits: Mapping[str, Traits]) -> None:
        """Other routes, from the next event or tick on; an incident that has a route keeps it. Raises ConfigError."""
        with self._lock:
            self._gate.replace(routing, inhibit)
            self._composer.routing = self._news.routing = routing
            self._news.traits = dict(traits)
            self._is_changed = True

    def accept(self, events: Sequence[IncidentEvent], now_s: float) -> None:
        """Take events in, in order; they are on the disk when it returns, and `tick` tells of them.

        An event that is known already, by its incident, what happened and its time, changes nothing.
        """
        with self._change() as (db, destinations):
            for event in events:
                destinations |= self._news.take(db, event, now_s)
            self._since_upkeep += len(events)
            if self._since_upkeep >= _MANY:
                self._care(db, now_s)

    def explained(self, explanation: Explanation, now_s: float) -> None:
        """An explanation has come: it follows into the threads of its incident, and what is told later has it.

        One that failed or says nothing is not told, unless it knows of an earlier incident like this one.
        """
        said = explanation.status != "failed" and (explanation.cause or explanation.steps)
        if not said and not explanation.seen_before:
            return
        explanation, body = cleaned(explanation)
        with self._change() as (db, _):
            is_new = db.execute(
                "UPDATE dispatch_incidents SET explanation = ?1 WHERE incident = ?2 AND explanation IS NOT ?1",
                (body, explanation.incident),
            ).rowcount
            if is_new:
                db.execute("UPDATE tellings SET explain = 1 WHERE incident = ? AND own = 1", (explanation.incident,))

    def answer(self, answer: Answer, now_s: float) -> bool:
        """A person said something of an incident: nobody else is called for it, and its threads say so.

        Returns:
            False where the incident is not known here (any more); the answer is kept all the same.
        """
        with self._change() as (db, _):
            answer, is_news = keep(db, answer)
            known = db.execute(
                "UPDATE dispatch_incidents SET acknowledged = 1 WHERE incident = ? RETURNING service, severity, time",
                (answer.incident,),
            ).fetchall()
            escalation.stop(db, answer.incident)
            if known and is_news:
                told = db.execute(
                    "SELECT destination, route FROM tellings WHERE incident = ? AND own = 1", (answer.incident,)
                ).fetchall()
                for destination, route in told:
                    service, severity, time = known[0]
                    item = Item(answer.incident, route, service, severity, time, "answer", ("answer",))
                    news = f"{answer.verdict} {answer.who} {answer.time}"
                    notification = self._composer.single(db, destination, item, "answer", news=news)
                    self._outbox.put(destination, notification, now_s=now_s, covers=[(answer.incident, "answer")])
                    self._tally["answered"] += 1
        return bool(known)

    def answers(self, incident: str) -> list[Answer]:
        """What was said of an incident, in order."""
        with self._database.reading() as db:
            return answers_of(db, incident)

    def knows(self, incident: str) -> bool:
        """Whether an incident is known here (still)."""
        with self._database.reading() as db:
            return bool(db.execute("SELECT 1 FROM dispatch_incidents WHERE incident = ?", (incident,)).fetchall())

    def lose_sight(self, watched: Collection[str], before_s: float, now_s: float) -> int:
        """End the open incidents that are not among the watched ones and were last heard of before then; how many."""
        with self._change() as (db, destinations):
            events = upkeep.out_of_sight(db, watched, before_s)
            for event in events:
                destinations |= self._news.take(db, event, now_s)
        return len(events)

    def tick(self, now_s: float) -> float | None:
        """Tell what is due.

        Returns:
            When to come again, Unix time, None where only an event can bring anything. After `accept`, `explained`
            and `answer` come again at once.
        """
        with self._change() as (db, destinations):
            if self._is_changed:
                self._tally["forgotten"] += upkeep.forget_unreadable(db, self._gate)
                upkeep.without_edits(db, [name for name in destinations if not self._traits(name).edits], now_s)
            if self._last_s is None or now_s < self._last_s:
                upkeep.put_back(db, now_s)
            if not 0 <= now_s - self._upkeep_s < _UPKEEP_S:
                self._care(db, now_s)
                self._upkeep_s = now_s
            self._gate.look(db, now_s)
            destinations |= escalation.fire(db, self._gate, now_s)
            times = [self._teller.tell(db, name, self._traits(name), now_s) for name in sorted(destinations)]
            # What was told may have begun an escalation.
            times += [escalation.next_s(db), self._gate.next_s(db)]
            self._is_changed, self._last_s = False, now_s
        return min((time_s for time_s in times if time_s is not None), default=None)

    def counts(self) -> dict[str, int]:
        """Figures since the start.

        `accepted` events, and those `known` already; `unrouted`: incidents with no route; put on hold: `silenced`,
        `inhibited`, `muted`, and `ended_held` of them; messages: `told` of one incident, `repeated`, `escalated`,
        `answered`; `digested`: incidents told of in digests; `forgotten`: incidents dropped before they were told.
        Now: `held`, `waiting` (incidents times destinations).
        """
        with self._database.reading() as db:
            held, waiting = db.execute(
                "SELECT coalesce(sum(hold <> ''), 0), coalesce(sum(hold = ''), 0) FROM tellings WHERE way IS NOT NULL"
            ).fetchone()
        with self._lock:
            figures = {name: self._counts[name] for name in _FIGURES}
        return figures | {"held": held, "waiting": waiting}

    def _traits(self, destination: str) -> Traits:
        return self._news.traits.get(destination, _TRAITS)

    def _care(self, db: sqlite3.Connection, now_s: float) -> None:
        self._since_upkeep = 0
        self._tally["forgotten"] += upkeep.care(db, self._gate, self._keep, now_s)

    @contextmanager
    def _change(self) -> Iterator[tuple[sqlite3.Connection, set[str]]]:
        """One transaction, and the destinations there are; what it has counted holds when it has."""
        with self._lock:
            try:
                with self._database.transaction() as db:
                    known = self._destinations
                    if known is None:
                        known = {name for (name,) in db.execute("SELECT DISTINCT destination FROM tellings")}
                    yield db, known
                self._destinations = known
                self._counts.update(self._tally)
            except BaseException:
                self._gate.forget()
                self._destinations = None
                raise
            finally:
                self._tally.clear()


_TRAITS = Traits()
_FIGURES = (
    "accepted",
    "known",
    "unrouted",
    "silenced",
    "inhibited",
    "muted",
    "ended_held",
    "told",
    "digested",
    "repeated",
    "escalated",
    "answered",
    "forgotten",
)
