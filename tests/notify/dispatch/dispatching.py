"""A dispatcher on a real database, outbox and routes, with the time passed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from logllm.database import Database
from logllm.events import Explanation, IncidentEvent
from logllm.notify.dispatch.dispatcher import DISPATCH_SCHEMA, Dispatcher, InhibitRule, Traits
from logllm.notify.dispatch.silences import Silences
from logllm.notify.notification import Notification, RunbookNote
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.routing.owners import Owners
from logllm.notify.routing.routes import RouteConfig, Routing, RoutingConfig

__all__ = ["EDITING", "PLAIN", "START_S", "Bench", "explanation", "incident", "route", "told"]

# 2026-11-30T12:00:00Z, a Monday.
START_S = 1_796_040_000.0
EDITING = "pager"
PLAIN = "hook"


def incident(
    number: int | str = 1,
    what: Literal["open", "update", "resolve"] = "open",
    *,
    service: str = "payments",
    severity: Literal["info", "warning", "critical"] = "warning",
    minute: int = 0,
    kinds: Sequence[str] = ("rate",),
    runbook: str | None = None,
) -> IncidentEvent:
    """An event of incident `number`, `minute` minutes after noon."""
    time = f"{datetime(2026, 11, 30, 12, tzinfo=UTC) + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S}.000Z"
    return IncidentEvent(
        id=f"inc-{number}",
        event=what,
        time=time,
        severity=severity,
        service=service,
        kinds=list(kinds),
        title=f"connection refused, number {number}",
        expected="",
        seen="",
        template="",
        count=7,
        runbook=runbook,
        evidence=[],
        started="2026-11-30T12:00:00.000Z",
        fingerprint=f"{number}",
    )


def explanation(number: int | str = 1, cause: str = "the disk is full", **changes: object) -> Explanation:
    """What the model said of incident `number`."""
    return Explanation(
        incident=f"inc-{number}",
        status=str(changes.get("status", "ok")),  # type: ignore[arg-type]
        cause=cause,
        runbook=None,
        steps=["df -h"] if cause else [],
        evidence=["E1"],
        confidence=0.7,
        model="tiny",
    )


def told(notification: Notification) -> str:
    """A message in short: `open inc-1`, `digest 12`."""
    if notification.kind == "digest" or notification.total > 1:
        return f"{notification.kind} {notification.total}"
    return f"{notification.kind} {notification.incidents[0].id}"


class Bench:
    """One destination that edits, `pager`, and one that does not, `hook`; all goes to `hook` unless told otherwise.

    Attributes:
        now_s: Seconds since the start.
    """

    def __init__(
        self,
        path: Path | None = None,
        config: RoutingConfig | None = None,
        *,
        inhibit: Sequence[InhibitRule] = (),
        traits: Mapping[str, Traits] | None = None,
        owners: Owners | None = None,
        runbooks: Mapping[str, RunbookNote] | None = None,
        keep: int = 50_000,
    ) -> None:
        self.now_s = 0.0
        self.next_s: float | None = None
        self._keep = keep
        self._path = path
        self._config = config or RoutingConfig(to=[PLAIN])
        self._inhibit = inhibit
        self._traits = traits or {EDITING: Traits(edits=True), PLAIN: Traits()}
        self._owners = owners or Owners()
        self._runbooks = runbooks or {}
        self._seen: Counter[str] = Counter()
        self._open()

    def _open(self) -> None:
        self.database = Database(self._path, OUTBOX_SCHEMA, DISPATCH_SCHEMA)
        self.outbox = Outbox(self.database)
        self.silences = Silences(self.database)
        self.dispatcher = Dispatcher(
            self.database,
            self.outbox,
            self.routing(self._config),
            inhibit=self._inhibit,
            traits=self._traits,
            runbook=lambda event: self._runbooks.get(event.runbook or ""),
            keep=self._keep,
        )

    def routing(self, config: RoutingConfig) -> Routing:
        """Routes to the two destinations."""
        return Routing(config, sorted(self._traits), self._owners)

    def restart(self) -> None:
        """A new process on the same file."""
        self.database.close()
        self._open()

    def close(self) -> None:
        self.database.close()

    def accept(self, *events: IncidentEvent, after_s: float = 0.0) -> None:
        """Events that come `after_s` seconds later, and a tick."""
        self.now_s += after_s
        self.dispatcher.accept(events, START_S + self.now_s)
        self.tick()

    def tick(self, after_s: float = 0.0, grain_s: float = 0.0) -> None:
        """Let time go on by ticks where the dispatcher asked for them, `grain_s` apart or more, and one at the end."""
        end_s = self.now_s + after_s
        for _ in range(10_000):
            self.next_s = self.dispatcher.tick(START_S + self.now_s)
            if self.next_s is None or self.next_s > START_S + end_s:
                break
            assert self.next_s >= START_S + self.now_s, "it asked to come again in the past"
            self.now_s = min(end_s, max(self.next_s - START_S, self.now_s + grain_s))
        else:
            raise AssertionError("it asks to come again for ever")
        if self.now_s < end_s:
            self.now_s = end_s
            self.next_s = self.dispatcher.tick(START_S + self.now_s)

    def explain(self, said: Explanation) -> None:
        """An explanation comes, and a tick."""
        self.dispatcher.explained(said, START_S + self.now_s)
        self.tick()

    def messages(self, destination: str = PLAIN) -> list[Notification]:
        """All messages to a destination, in order."""
        latest_first = self.outbox.rows(destination=destination, limit=100_000)
        return [row.notification for row in reversed(latest_first) if row.notification is not None]

    def new(self, destination: str = PLAIN) -> list[str]:
        """In short, those that came since it was last asked."""
        shown = [told(message) for message in self.messages(destination)]
        fresh = shown[self._seen[destination] :]
        self._seen[destination] = len(shown)
        return fresh

    def covered(self, destination: str = PLAIN) -> set[tuple[str, str]]:
        """What all messages account for."""
        return {pair for message in self.messages(destination) for pair in self.outbox.covered(message.id)}

    def silence(self, *matchers: str, for_s: float, in_s: float = 0.0) -> int:
        """Add a silence; returns its number."""
        now_s = START_S + self.now_s
        made = self.silences.add(
            matchers, starts_s=now_s + in_s, ends_s=now_s + in_s + for_s, by="ana", comment="known", now_s=now_s
        )
        return made.id


def route(name: str, match: list[str], **changes: object) -> RouteConfig:
    """A route of the configuration."""
    return RouteConfig(name=name, match=match, **changes)  # type: ignore[arg-type]
