"""The tree of routes, checked and with all that routes have from those above them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from logllm.errors import ConfigError
from logllm.notify.routing.labels import LABELS
from logllm.notify.routing.matchers import Matchers, parse_matchers
from logllm.notify.routing.owners import Owners
from logllm.notify.routing.plan import Step
from logllm.notify.routing.route_config import OWNER, RouteConfig, RoutingConfig
from logllm.notify.routing.times import TimeInterval

__all__ = ["Names", "Route", "grow", "intervals"]

DEEPEST = 16
MOST_ROUTES = 1_000
MOST_STEPS = 16
LONGEST_WAIT_S = 30 * 86_400

_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9 @:/._-]{0,63}")


@dataclass(frozen=True, eq=False)
class Route:
    """One route, with what it has from those above it.

    Args:
        name: Its own, or its place; `default` at the root.
        depth: 0 at the root.
        steps: Its own escalation or that of a route above it; None where it is the owner's, or the default.
        continues: Those beside it that come after are looked at as well.
    """

    name: str
    depth: int
    parent: Route | None
    matchers: Matchers
    to: tuple[str, ...]
    group_by: tuple[str, ...]
    group_wait_s: float
    group_interval_s: float
    repeat_interval_s: float
    steps: tuple[Step, ...] | None
    continues: bool = False
    active: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    children: list[Route] = field(default_factory=list)

    def walk(self) -> Iterator[Route]:
        """This one and all below it, from above, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def up(self) -> Iterator[Route]:
        """This one and all above it, to the root."""
        yield self
        if self.parent is not None:
            yield from self.parent.up()


class Names:
    """What routes and teams may name.

    Raises:
        ConfigError: On a name that there is not; it says where, and which there are.
    """

    def __init__(self, destinations: Sequence[str], times: Collection[str], owners: Owners) -> None:
        self.destinations = tuple(dict.fromkeys(destinations))
        self._times = tuple(times)
        self._owners = owners

    def told(self, names: Sequence[str], where: str) -> tuple[str, ...]:
        """Checks destinations; `@owner` is one."""
        if not names:
            raise ConfigError(
                f"{where}: it is empty, expected destinations: {self._listed((*self.destinations, OWNER))}"
            )
        for name in names:
            if name != OWNER and name not in self.destinations:
                raise ConfigError(
                    f"{where}: no destination {name[:80]!r}, expected {self._listed((*self.destinations, OWNER))}"
                )
        return tuple(dict.fromkeys(names))

    def times(self, names: Sequence[str], where: str) -> tuple[str, ...]:
        """Checks time intervals."""
        for name in names:
            if name not in self._times:
                raise ConfigError(f"{where}: no time interval {name[:80]!r}, expected {self._listed(self._times)}")
        return tuple(dict.fromkeys(names))

    def steps(self, steps: Sequence[Step], where: str) -> tuple[Step, ...]:
        """Checks an escalation: each step later than the one before it."""
        if len(steps) > MOST_STEPS:
            raise ConfigError(f"{where}: {len(steps)} steps, expected at most {MOST_STEPS}")
        before_s = 0.0
        for number, step in enumerate(steps):
            self.told(step.to, f"{where}[{number}].to")
            if not (math.isfinite(step.after_s) and before_s < step.after_s <= LONGEST_WAIT_S):
                raise ConfigError(
                    f"{where}[{number}].after_s: {step.after_s:g}, expected more than {before_s:g}, "
                    f"the step before it, and at most {LONGEST_WAIT_S}"
                )
            before_s = step.after_s
        return tuple(steps)

    def labels(self, names: Sequence[str], where: str) -> tuple[str, ...]:
        """Checks labels to group by."""
        for name in names:
            if name not in LABELS:
                raise ConfigError(f"{where}: no label {name[:80]!r}, expected {self._listed(LABELS)}")
        return tuple(dict.fromkeys(names))

    def matchers(self, texts: Sequence[str], where: str) -> Matchers:
        """Reads matchers; a team that there is not is a mistake too."""
        try:
            matchers = parse_matchers(texts)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        for one in matchers:
            if one.name == "owner" and one.operator in ("=", "!=") and one.value not in ("", *self._owners.teams):
                raise ConfigError(
                    f"{where}: no team {one.value[:80]!r}, expected one of {self._owners.where}: "
                    f"{self._listed(tuple(self._owners.teams))}"
                )
        return matchers

    @staticmethod
    def _listed(names: Sequence[str]) -> str:
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return ", ".join(names[:20]) + more if names else "none, as there is none"


def grow(config: RoutingConfig, names: Names) -> Route:
    """The root, with all routes below it.

    Raises:
        ConfigError: Something is named that there is not, steps are out of order, two routes have one name, or there
            are more than 1,000 routes or 16 within each other.
    """
    root = Route(
        name="default",
        depth=0,
        parent=None,
        matchers=parse_matchers([]),
        to=names.told(config.to, "notify.to") if config.to else (OWNER,),
        group_by=names.labels(config.group_by, "notify.group_by"),
        group_wait_s=_seconds(config.group_wait_s, "notify.group_wait_s"),
        group_interval_s=_seconds(config.group_interval_s, "notify.group_interval_s"),
        repeat_interval_s=_seconds(config.repeat_interval_s, "notify.repeat_interval_s"),
        steps=None,
    )
    names.steps(config.escalate, "notify.escalate")
    taken = {root.name}
    _grow(root, config.routes, "", names, taken)
    return root


def _grow(parent: Route, configs: Sequence[RouteConfig], within: str, names: Names, taken: set[str]) -> None:
    if configs and parent.depth >= DEEPEST:
        raise ConfigError(f"notify.{within}routes: more than {DEEPEST} routes within each other")
    for number, config in enumerate(configs):
        place = f"{within}routes[{number}]"
        route = _route(parent, config, place, names)
        if route.name in taken:
            raise ConfigError(f"notify.{place}.name: {route.name!r} is another route's, expected one of its own")
        taken.add(route.name)
        if len(taken) > MOST_ROUTES:
            raise ConfigError(f"notify.{place}: more than {MOST_ROUTES} routes")
        parent.children.append(route)
        _grow(route, config.routes, f"{place}.", names, taken)


def _route(parent: Route, config: RouteConfig, place: str, names: Names) -> Route:
    where = f"notify.{place}"
    if config.name and not _NAME.fullmatch(config.name):
        raise ConfigError(f"{where}.name: {config.name[:80]!r}, expected up to 64 letters, digits, spaces, . _ - : / @")
    wait, interval, repeat = config.group_wait_s, config.group_interval_s, config.repeat_interval_s
    return Route(
        name=config.name or place,
        depth=parent.depth + 1,
        parent=parent,
        matchers=names.matchers(config.match, f"{where}.match"),
        to=parent.to if config.to is None else names.told(config.to, f"{where}.to"),
        group_by=parent.group_by if config.group_by is None else names.labels(config.group_by, f"{where}.group_by"),
        group_wait_s=parent.group_wait_s if wait is None else _seconds(wait, f"{where}.group_wait_s"),
        group_interval_s=parent.group_interval_s
        if interval is None
        else _seconds(interval, f"{where}.group_interval_s"),
        repeat_interval_s=parent.repeat_interval_s
        if repeat is None
        else _seconds(repeat, f"{where}.repeat_interval_s"),
        steps=parent.steps if config.escalate is None else names.steps(config.escalate, f"{where}.escalate"),
        continues=config.continue_,
        active=parent.active if config.active is None else names.times(config.active, f"{where}.active"),
        mute=parent.mute if config.mute is None else names.times(config.mute, f"{where}.mute"),
    )


def _seconds(value: float, where: str) -> float:
    if not 0 <= value <= LONGEST_WAIT_S:
        raise ConfigError(f"{where}: {value:g}, expected seconds from 0 to {LONGEST_WAIT_S}")
    return value


def intervals(config: RoutingConfig) -> dict[str, TimeInterval]:
    """`[notify.times]`, read. Raises ConfigError."""
    found = {}
    for name, given in config.times.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"notify.times: {name[:80]!r}, expected up to 64 letters, digits, spaces, . _ - : / @")
        found[name] = TimeInterval(given if isinstance(given, list) else [given], f"notify.times.{name}")
    return found
