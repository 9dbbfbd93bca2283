"""`logllm routes`: who would be told of an incident, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from logllm.notify.routing.plan import Labels, Step
    from logllm.notify.routing.route_tree import Route
    from logllm.notify.routing.routes import Hop, Routing

__all__ = ["chain_lines", "routes", "tree_lines", "try_out"]

_NOBODY = "nobody else when nobody acknowledges"

_config = click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file, as given to serve.")


@click.group()
def routes() -> None:
    """Who is told of which incident."""


@routes.command("test")
@click.option("--service", default="", help="The service it is about.")
@click.option(
    "--severity", type=click.Choice(["info", "warning", "critical"]), default="warning", help="[default: warning]"
)
@click.option("--kind", "kinds", multiple=True, help="What saw it: rate, silence, new, plugin...; repeatable.")
@click.option("--owner", help="A team, as if the service were its own.  [default: what owners.toml says]")
@click.option("--label", "more", metavar="NAME=VALUE", multiple=True, help="Any other label; repeatable.")
@click.option("--at", metavar="TIME", help="When, in RFC 3339: 2026-12-01T03:00:00+01:00.  [default: now]")
@_config
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def test(
    ctx: click.Context,
    service: str,
    severity: str,
    kinds: tuple[str, ...],
    owner: str | None,
    more: tuple[str, ...],
    at: str | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """The way of an incident: which routes are looked at, who is told at once, and who when nobody acknowledges.

    Nothing is sent. Exit code 1 where nobody would be told.

    \b
    logllm routes test -c logllm.toml --service payments --severity critical
    logllm routes test -c logllm.toml --service payments --at 2026-12-01T03:00:00+01:00
    """
    when = _moment(at)
    others = _others(more)
    routing = _routing(config_path)
    labels = {
        "service": (service,),
        "services": (service,),
        "severity": (severity,),
        "kind": kinds or ("",),
        "owner": (routing.owner(service) if owner is None else owner,),
        **others,
    }
    if not try_out(routing, labels, when, as_json=as_json):
        ctx.exit(1)


def try_out(routing: Routing, labels: Labels, when: datetime, *, as_json: bool) -> bool:
    """Prints the way of an incident with these labels; returns whether anybody would be told, now or later."""
    import msgspec

    hops = routing.explain(labels, when.timestamp())
    told = any(map(_is_told, hops))
    if as_json:
        found = {"at": when.isoformat(), "labels": labels, "told": told, "hops": hops}
        click.echo(msgspec.json.encode(found).decode())
    else:
        for line in chain_lines(hops, labels, when):
            click.echo(line)
    if not told:
        click.echo("logllm: nobody would be told", err=True)
    return told


@routes.command()
@_config
def show(config_path: str | None) -> None:
    """The tree of routes, the teams and the time intervals."""
    when = _moment(None)
    for line in tree_lines(_routing(config_path), when):
        click.echo(line)


def _routing(config_path: str | None) -> Routing:
    from logllm.config import Config
    from logllm.notify.routing.routes import Routing

    notify = (Config() if config_path is None else Config.load(config_path)).notify
    return Routing.load(notify, [destination.name for destination in notify.destinations])


def _moment(text: str | None) -> datetime:
    from datetime import UTC, datetime

    if text is None:
        return datetime.now(UTC).astimezone()
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None or not 1970 < when.year < 3000:
        raise click.BadParameter(
            f"{text[:60]!r}, expected a time with its offset, as 2026-12-01T03:00:00+01:00", param_hint="--at"
        )
    return when


def _others(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from logllm.notify.routing.labels import LABELS

    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in LABELS:
            raise click.BadParameter(
                f"{text[:60]!r}, expected NAME=VALUE with one of {', '.join(LABELS)}", param_hint="--label"
            )
        found[name] = (*found.get(name, ()), value)
    return found


def _is_told(hop: Hop) -> bool:
    return hop.plan is not None and bool(hop.plan.to) and (not hop.plan.muted or hop.muted_until_s is not None)


def chain_lines(hops: Sequence[Hop], labels: Labels, when: datetime) -> Iterator[str]:
    """What `routes test` prints: the incident, each route that was looked at, then what each that takes it does.

    Args:
        when: Its offset is the one that times are shown with.
    """
    from logllm.cli.render_text import neutral

    given = [
        f"{name} {' '.join(values)}"
        for name, values in labels.items()
        if any(values) and (name != "services" or values != labels.get("service"))
    ]
    yield neutral(f"{', '.join(given)}, at {_clock(when)}")
    yield ""
    for hop in hops:
        sign = "+" if hop.plan else "|" if hop.matched else "-"
        yield neutral(f"{'  ' * hop.depth}{sign} {hop.route}: {hop.why}")
    for hop in hops:
        if hop.plan is not None:
            yield ""
            yield from map(neutral, _plan_lines(hop, when))


def _plan_lines(hop: Hop, when: datetime) -> Iterator[str]:
    from datetime import datetime

    from logllm.cli.render_text import duration

    plan = hop.plan
    if plan is None:
        return
    yield f"{plan.route}:"
    if plan.muted:
        until = "for more than 400 days"
        if hop.muted_until_s is not None:
            until = f"until {_clock(datetime.fromtimestamp(hop.muted_until_s, when.tzinfo))}"
        yield f"  waits: {plan.muted}, {until}"
    yield f"  {'then' if plan.muted else 'at once'}: {', '.join(plan.to) or 'nobody, there is no destination'}"
    yield from (f"  {line}" for line in _step_lines(plan.steps))
    yield (
        f"  {_grouped(plan.group_by)}: the first at once, others collected for {duration(plan.group_wait_s)}, then at "
        f"most every {duration(plan.group_interval_s)}"
    )
    yield f"  still open and unacknowledged: again every {duration(plan.repeat_interval_s)}"


def _step_lines(steps: Sequence[Step]) -> list[str]:
    from logllm.cli.render_text import duration

    return [f"after {duration(step.after_s)}, unacknowledged: {', '.join(step.to)}" for step in steps]


def _grouped(labels: Sequence[str]) -> str:
    return f"grouped by {', '.join(labels)}" if labels else "in one group"


def _clock(when: datetime) -> str:
    return f"{when:%a %Y-%m-%d %H:%M} {when.isoformat()[-6:]}"


def tree_lines(routing: Routing, when: datetime) -> Iterator[str]:
    """What `routes show` prints: the tree of routes, the teams, and the time intervals as they are at `when`."""
    from datetime import datetime

    from logllm.cli.render_text import neutral

    for route in routing.root.walk():
        lead = "  " * route.depth
        yield neutral(f"{lead}{route.name}: {', '.join(route.matchers.texts) or 'every incident'}")
        yield from (neutral(f"{lead}    {line}") for line in _route_lines(route, routing))
    for name, team in routing.owners.teams.items():
        yield ""
        yield neutral(f"team {name}: {', '.join(team.services) or 'no services'}")
        yield neutral(f"    to {', '.join(team.to) or 'whom the route above names'}")
        if team.escalate is not None:
            yield from (neutral(f"    {line}") for line in _step_lines(team.escalate) or (_NOBODY,))
        if team.hours:
            yield neutral(f"    outside {team.hours} only what is critical is told at once")
    if routing.times:
        yield ""
    for name, interval in routing.times.items():
        change_s = interval.next_change_s(when.timestamp())
        until = "for more than 400 days"
        if change_s is not None:
            until = f"until {_clock(datetime.fromtimestamp(change_s, when.tzinfo))}"
        yield neutral(f"time {name}: {'now' if interval.holds(when.timestamp()) else 'not now'}, {until}")


def _route_lines(route: Route, routing: Routing) -> Iterator[str]:
    """What a route has of its own; what is as in the route above it is left out."""
    from logllm.cli.render_text import duration

    above = route.parent
    if above is None or route.to != above.to:
        yield f"to {', '.join(route.to)}"
    steps = routing.default_steps if above is None else route.steps
    if steps is not None and (above is None or steps != above.steps):
        yield from _step_lines(steps) or (_NOBODY,)
    if above is None or route.group_by != above.group_by:
        yield _grouped(route.group_by)
    for what in ("group_wait_s", "group_interval_s", "repeat_interval_s"):
        value: float = getattr(route, what)
        if above is None or value != getattr(above, what):
            yield f"{what.removesuffix('_s')} {duration(value)}"
    for what, names, inherited in (
        ("only in", route.active, () if above is None else above.active),
        ("not in", route.mute, () if above is None else above.mute),
    ):
        if names != inherited:
            yield f"{what} {', '.join(names) or 'no time interval'}"
    if route.continues:
        yield "continue"
