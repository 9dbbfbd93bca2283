"""Routes: who is told of an incident, how it is grouped, when it waits, and who comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from logllm.errors import ConfigError
from logllm.events import IncidentEvent
from logllm.notify.routing.labels import labels_of
from logllm.notify.routing.owners import Owners
from logllm.notify.routing.plan import Labels, Plan, Step
from logllm.notify.routing.route_config import OWNER, RouteConfig, RoutingConfig
from logllm.notify.routing.route_tree import Names, Route, grow, intervals

__all__ = ["OWNER", "Hop", "RouteConfig", "Routing", "RoutingConfig"]

_MOST_CHANGES = 100
_REMEMBERED = 4_096


class Hop(msgspec.Struct, frozen=True):
    """One route that was looked at.

    Args:
        depth: 0 at the root.
        matched: All of its matchers hold.
        why: In plain words: which matcher does not hold, who decides, and what comes after it.
        plan: Where it takes the incident itself.
        muted_until_s: When a plan that is muted will not be any more, in seconds since the epoch; None: not within
            400 days, or it is not muted.
    """

    route: str
    depth: int
    match: list[str]
    matched: bool
    why: str
    plan: Plan | None = None
    muted_until_s: float | None = None


class Routing:
    """The tree of routes, with Alertmanager's rules.

    From the root down, the first route that matches takes the incident, and those after it only where it says
    `continue`; a route whose own routes do not match takes it itself. So there is always at least one plan, and with
    any destination at all none of them leads nowhere: where a service has no owner, or the owner no destination,
    `@owner` stands for what the route above names, and at the root for all destinations.

    Escalation is that of the route or the nearest route above it that has one, else the owner's where the owner is
    told, else the default. Of a team that has hours, incidents that are not critical wait for them, where they go
    to `@owner`.

    Args:
        destinations: Their names.
        owners: By which services belong to teams.

    Attributes:
        root: The tree.
        times: Time intervals by name.

    Raises:
        ConfigError: A matcher, destination, time interval, label or team that there is not, an empty `to`, steps out of
            order, two routes of one name, or more than 16 routes within each other.
    """

    def __init__(self, config: RoutingConfig, destinations: Sequence[str], owners: Owners) -> None:
        self.times = intervals(config)
        self.owners = owners
        self._names = Names(destinations, self.times, owners)
        self.default_steps = tuple(config.escalate)
        self.root: Route = grow(config, self._names)
        for name, team in owners.teams.items():
            where = f"{owners.where}: teams.{name}"
            if OWNER in (*team.to, *(told for step in team.escalate or [] for told in step.to)):
                raise ConfigError(f"{where}: {OWNER} stands for this team itself, expected destinations")
            if team.to:
                self._names.told(team.to, f"{where}.to")
            self._names.steps(team.escalate or [], f"{where}.escalate")
            self._names.times([team.hours] if team.hours else [], f"{where}.hours")
        self._planned = lru_cache(_REMEMBERED)(self._plan)

    @classmethod
    def load(cls, config: RoutingConfig, destinations: Sequence[str]) -> Routing:
        """With the owners that the configuration names. Raises ConfigError."""
        return cls(config, destinations, Owners.load(config.owners) if config.owners else Owners())

    def owner(self, service: str) -> str:
        """The team a service belongs to, empty for none."""
        return self.owners.of(service)

    def labels(self, event: IncidentEvent) -> Labels:
        """What matchers see of an incident."""
        return labels_of(event, self.owner(event.service))

    def plans(self, event: IncidentEvent, now_s: float) -> list[Plan]:
        """Where an incident goes, at least one plan; the same for the same incident at the same time.

        Args:
            now_s: Seconds since the epoch, for time intervals.
        """
        labels = self.labels(event)
        return [self._now(route, labels, now_s) for route in self._takers(self.root, labels)]

    def explain(self, labels: Labels, now_s: float) -> list[Hop]:
        """Each route that is looked at for an incident with these labels, in order, and what came of it."""
        takers = list(self._takers(self.root, labels))
        return list(self._hops(self.root, labels, takers, now_s))

    def _takers(self, route: Route, labels: Labels) -> Iterator[Route]:
        below = False
        for child in route.children:
            if child.matchers.match(labels):
                below = True
                yield from self._takers(child, labels)
                if not child.continues:
                    break
        if not below:
            yield route

    def _hops(self, route: Route, labels: Labels, takers: list[Route], now_s: float) -> Iterator[Hop]:
        match = list(route.matchers.texts)
        failing = route.matchers.failing(labels)
        if failing is not None:
            has = ", ".join(value or '""' for value in labels.get(failing.name) or ("",))
            yield Hop(route.name, route.depth, match, False, f"{failing.text} does not hold: {failing.name} is {has}")
            return
        takes = route in takers
        why = f"{', '.join(match)} {'holds' if len(match) == 1 else 'hold'}" if match else "it is for every incident"
        if not takes:
            why += ", and a route below takes it"
        elif route.children:
            why += ", and no route below takes it"
        if route.continues:
            why += "; continue: the next ones are looked at too"
        if takes and OWNER in route.to:
            why += f"; {self._whom(_owner(labels))}"
        plan = self._now(route, labels, now_s) if takes else None
        until_s = self._muted_until_s(route, labels, now_s) if plan is not None and plan.muted else None
        yield Hop(route.name, route.depth, match, True, why, plan, until_s)
        for child in route.children:
            yield from self._hops(child, labels, takers, now_s)
            if child.matchers.match(labels) and not child.continues:
                return

    def _whom(self, owner: str) -> str:
        team = self.owners.teams.get(owner)
        if team is not None and team.to:
            return f"{OWNER} is {owner}"
        return f"{OWNER} is nobody: {f'{owner} has no destination' if owner else 'the service has no owner'}"

    def _now(self, route: Route, labels: Labels, now_s: float) -> Plan:
        plan, hours = self._planned(route, _owner(labels))
        muted = self._muted(route, hours, labels, now_s)
        return replace(plan, muted=muted) if muted else plan

    def _plan(self, route: Route, owner: str) -> tuple[Plan, str]:
        """Its plan, not muted yet, and the hours of the owner that is told by it."""
        to, is_owners = self._told(route, route.to, owner)
        team = self.owners.teams.get(owner) if is_owners else None
        steps = route.steps
        if steps is None:
            steps = self.default_steps if team is None or team.escalate is None else tuple(team.escalate)
        plan = Plan(
            route=route.name,
            to=to,
            group_by=route.group_by,
            group_wait_s=route.group_wait_s,
            group_interval_s=route.group_interval_s,
            repeat_interval_s=route.repeat_interval_s,
            steps=tuple(Step(step.after_s, list(self._told(route, tuple(step.to), owner)[0])) for step in steps),
        )
        return plan, "" if team is None else team.hours

    def _told(self, route: Route, names: tuple[str, ...], owner: str) -> tuple[tuple[str, ...], bool]:
        """Destinations, and whether the owner's are among them."""
        team = self.owners.teams.get(owner)
        for asked in (names, *(above.to for above in route.up())):
            owners = team.to if team is not None and OWNER in asked else []
            found = dict.fromkeys(name for given in asked for name in (owners if given == OWNER else [given]))
            if found:
                return tuple(found), bool(owners)
        return self._names.destinations, False

    def _muted(self, route: Route, hours: str, labels: Labels, now_s: float) -> str:
        for name in route.mute:
            if self.times[name].holds(now_s):
                return name
        if route.active and not any(self.times[name].holds(now_s) for name in route.active):
            return f"outside {', '.join(route.active)}"
        if hours and "critical" not in labels.get("severity", ()) and not self.times[hours].holds(now_s):
            return f"outside {hours}"
        return ""

    def _muted_until_s(self, route: Route, labels: Labels, now_s: float) -> float | None:
        hours = self._planned(route, _owner(labels))[1]
        named = {*route.mute, *route.active, *([hours] if hours else [])}
        for _ in range(_MOST_CHANGES):
            changes = [self.times[name].next_change_s(now_s) for name in named]
            known = [change for change in changes if change is not None]
            if not known:
                return None
            now_s = min(known)
            if not self._muted(route, hours, labels, now_s):
                return now_s
        return None


def _owner(labels: Labels) -> str:
    return (labels.get("owner") or ("",))[0]
