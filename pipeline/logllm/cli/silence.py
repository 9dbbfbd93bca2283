"""`logllm silence`: what nobody wants to be told of for a while, and maintenance windows."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.database import Database
    from logllm.events import IncidentEvent
    from logllm.notify.dispatch.silences import Silence

__all__ = ["silence"]

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d{1,9}[smhdw])+", re.ASCII)
_SHOWN_INCIDENTS = 10


@click.group()
def silence() -> None:
    """Times in which incidents are not told. A service that runs heeds a change within a second.

    What is silenced is still found and kept. What is still open when its silence ends is told then.
    """


def _span(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """Seconds, written as 90m, 2h, 1d or 1h30m."""
    if not _SPAN.fullmatch(text.strip().lower()):
        raise click.BadParameter(f"{text[:40]!r} is no time, expected one as 90m, 2h, 1d or 1h30m")
    return float(sum(int(count) * _UNITS_S[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text.lower())))


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """Unix time, written as RFC 3339."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(f"{text[:40]!r} is no time, expected one as 2026-12-01T22:00Z") from None
    if when.tzinfo is None:
        raise click.BadParameter(f"{text[:40]!r} names no zone, expected one as 2026-12-01T22:00Z or +02:00")
    return (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to serve.")


@silence.command()
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@_data_dir
@click.option(
    "--for",
    "span_s",
    required=True,
    metavar="TIME",
    callback=_span,
    help="How long: 90m, 2h, 1d, 1h30m; at most 90 days.",
)
@click.option(
    "--from", "from_s", metavar="WHEN", callback=_moment, help="When it starts, as 2026-12-01T22:00Z.  [default: now]"
)
@click.option("--comment", required=True, help="Why.")
@click.option("--by", help="Who.  [default: your user name]")
def add(
    matchers: tuple[str, ...], data_dir: str, span_s: float, from_s: float | None, comment: str, by: str | None
) -> None:
    """Silence the incidents that match every MATCHER, and list those that are open now.

    \b
    logllm silence add service=payments --for 2h --comment "new database" --data-dir DIR
    logllm silence add 'severity!=critical' 'service=~batch-.*' --for 1d --comment "known" --data-dir DIR
    logllm silence add owner=shop --from 2026-12-01T22:00Z --for 90m --comment "maintenance" --data-dir DIR

    Labels: service, services, severity, kind, owner, fingerprint, incident, runbook, source.
    """
    from logllm.cli.render_text import amount, duration, neutral
    from logllm.notify.dispatch.hold import open_incidents
    from logllm.notify.dispatch.silences import Silences
    from logllm.notify.routing.matchers import parse_matchers

    now_s = time.time()
    starts_s = now_s if from_s is None else from_s
    with _database(data_dir, make=True) as database:
        made = Silences(database).add(
            matchers,
            starts_s=starts_s,
            ends_s=starts_s + span_s,
            by=_user() if by is None else by,
            comment=comment,
            now_s=now_s,
        )
        found = open_incidents(database, parse_matchers(made.matchers))
    begins = "" if made.starts_s <= now_s else f"from {_time(made.starts_s)} "
    lasts = duration(made.ends_s - made.starts_s)
    click.echo(neutral(f"silence {made.id}: {_matchers(made)} {begins}until {_time(made.ends_s)} ({lasts})"))
    click.echo(f"matches {amount(len(found), 'open incident')} now{':' if found else ''}")
    for event in found[:_SHOWN_INCIDENTS]:
        click.echo(neutral(f"  {_line(event)}"))
    if len(found) > _SHOWN_INCIDENTS:
        click.echo(f"  and {len(found) - _SHOWN_INCIDENTS:,} more")


@silence.command("list")
@_data_dir
@click.option("--all", "expired", is_flag=True, help="Also those that ended within 30 days.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(data_dir: str, expired: bool, as_json: bool) -> None:
    """Those that hold or will, the first to end first."""
    import msgspec

    from logllm.cli.render_text import amount, neutral
    from logllm.notify.dispatch.hold import open_labels
    from logllm.notify.dispatch.silences import Silences

    now_s = time.time()
    with _database(data_dir) as database:
        silences = Silences(database)
        labels = open_labels(database)
        for one in silences.list(now_s, expired=expired):
            state = one.state(now_s)
            matchers = silences.matchers(one)
            found = []
            if matchers is not None and state != "expired":
                found = [incident for incident, its in labels if matchers.match(its)]
            if as_json:
                shown = msgspec.to_builtins(one)
                shown |= {"state": state, "starts": _time(one.starts_s), "ends": _time(one.ends_s)}
                click.echo(msgspec.json.encode(shown | {"open_incidents": found}))
                continue
            span = f"{_time(one.starts_s)} to {_time(one.ends_s)}"
            line = f"{one.id:>4}  {state:8}  {span}  {_matchers(one)}  {one.by}: {one.comment}"
            click.echo(neutral(line + (f"  ({amount(len(found), 'open incident')})" if found else "")))


@silence.command()
@click.argument("silence_id", metavar="ID", type=click.IntRange(min=1))
@_data_dir
def expire(silence_id: int, data_dir: str) -> None:
    """End one now. What it silenced and is still open is told."""
    from logllm.errors import SourceError
    from logllm.notify.dispatch.silences import Silences

    with _database(data_dir) as database:
        if not Silences(database).expire(silence_id, time.time()):
            raise SourceError(f"{silence_id}: no silence of this number that has not ended (see `logllm silence list`)")
    click.echo(f"silence {silence_id} has ended")


@contextmanager
def _database(data_dir: str, *, make: bool = False) -> Iterator[Database]:
    from pathlib import Path

    from logllm.database import Database
    from logllm.errors import SourceError
    from logllm.notify.dispatch.dispatcher import DISPATCH_SCHEMA

    path = Path(data_dir) / "notify.db"
    if make and not path.parent.is_dir():
        raise SourceError(f"{path.parent}: no such folder, expected the data folder of logllm serve")
    if not make and not path.is_file():
        raise SourceError(f"{path}: no silence was ever added here")
    database = Database(path, DISPATCH_SCHEMA)
    try:
        yield database
    finally:
        database.close()


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"


def _matchers(one: Silence) -> str:
    return ", ".join(one.matchers)


def _time(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _line(event: IncidentEvent) -> str:
    return f"{event.id}  {event.severity:8}  {event.service}: {event.title}"
