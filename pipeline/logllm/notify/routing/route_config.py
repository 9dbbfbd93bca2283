"""Routes as they are configured: `[notify]` and `[[notify.routes]]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from logllm.notify.routing.plan import Step
from logllm.notify.routing.times import TimeIntervalConfig

__all__ = ["OWNER", "RouteConfig", "RoutingConfig"]

OWNER = "@owner"
"""Among the names of destinations: those of the team that the incident's service belongs to."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)]


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"continue_": "continue"}):
    """`[[notify.routes]]`, and `[[notify.routes.routes]]` below one.

    A route that matches hands the incident to the first of its own routes that matches, and takes it itself where none
    does. What is left out is as in the route above it.

    Args:
        match: Matchers, all of which must hold; none: every incident. Each as `service="payments"`, with `=`, `!=`,
            `=~` (a regular expression for the whole value) or `!~`.
        to: Destinations, or `"@owner"`.
        name: In messages; else its place, `routes[0]`.
        continue_: `continue` in the file: the routes after this one are looked at as well.
        group_by: Labels whose incidents are told together; empty: all of the route together.
        group_wait_s: After the first of a group was told, others of it are collected for so long.
        group_interval_s: After that, news of the group is told at most so often.
        repeat_interval_s: What is still open, and nobody acknowledged, is told again after so long.
        escalate: Who is told when nobody acknowledges, in order; empty: nobody.
        active: Time intervals in which it tells; out of all of them it waits.
        mute: Time intervals in which it waits.
        routes: Below this one.
    """

    match: list[str] = []
    to: list[str] | None = None
    name: str = ""
    continue_: bool = False
    group_by: list[str] | None = None
    group_wait_s: Seconds | None = None
    group_interval_s: Seconds | None = None
    repeat_interval_s: Seconds | None = None
    escalate: list[Step] | None = None
    active: list[str] | None = None
    mute: list[str] | None = None
    routes: list[RouteConfig] = []


class RoutingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `[notify]` says of routes: what holds for every incident that no route says more about.

    Args:
        to: Destinations for what no route takes; empty: those of the service's owner, or else all there are.
        group_by: As in a route, like the three after it.
        escalate: Who is told when nobody acknowledges, where neither a route nor the owner says so.
        routes: Looked at in order; the first that matches takes the incident.
        times: Time intervals by name.
        owners: Path of `owners.toml`; empty: services belong to nobody.
    """

    to: list[str] = []
    group_by: list[str] = msgspec.field(default_factory=lambda: ["service"])
    group_wait_s: Seconds = 30.0
    group_interval_s: Seconds = 300.0
    repeat_interval_s: Seconds = 14_400.0
    escalate: list[Step] = []
    routes: list[RouteConfig] = []
    times: dict[str, TimeIntervalConfig | list[TimeIntervalConfig]] = {}
    owners: str = ""
