"""`logllm incidents expected|noise|real`: what people say of incidents; listed, and taken back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from logllm.events import IncidentEvent
    from logllm.incidents.learned import Lesson, Teaching
    from logllm.incidents.learned_file import LearnedFile
    from logllm.incidents.learned_from import Wish

__all__ = ["answers", "expected", "forget_answer", "kept_incidents", "noise", "real"]

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d{1,6}[smhdw])+", re.ASCII)
_SHOWN_IDS = 5
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _span(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    if not _SPAN.fullmatch(text.strip().lower()):
        raise click.BadParameter(f"{text[:40]!r} is no time, expected one as 90m, 12h, 7d or 1d12h")
    seconds = sum(int(count) * _UNITS_S[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text.lower()))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise click.BadParameter(f"{text[:40]!r} is too long a time") from None


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.strip())
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text[:40]!r} is no time, expected one as 2026-12-01T22:00Z") from None


def _count(_ctx: click.Context, _param: click.Parameter, count: float | None) -> float | None:
    if count is not None and not count < float("inf"):
        raise click.BadParameter(f"{count} is no number, expected one; --any-size is for however many")
    return count


def _days(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[str]:
    days = [day.strip().lower() for day in text.split(",")] if text else []
    odd = [day for day in days if day not in _DAYS]
    if odd:
        raise click.BadParameter(f"{odd[0][:40]!r} is no day, expected some of {','.join(_DAYS)}")
    return days


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to tail or serve.")
_COMMON: tuple[Callable[[Any], Any], ...] = (
    click.argument("ids", metavar="ID...", nargs=-1, required=True),
    _data_dir,
    click.option("--by", help="Who says so.  [default: your user name]"),
    click.option("--note", default="", help="Why; kept with the answer."),
    click.option("--for", "span", metavar="TIME", callback=_span, help="It holds for so long: 90m, 12h, 7d."),
    click.option("--until", metavar="WHEN", callback=_moment, help="It holds until then, as 2026-12-01T22:00Z."),
    click.option("--everywhere", is_flag=True, help="Whatever the service."),
    click.option("--any-kind", is_flag=True, help="Whatever is odd about this template."),
    click.option("--all", "every_cause", is_flag=True, help="All templates of the incident, not only the leading one."),
)
_always = click.option("--always", is_flag=True, help="Fatal records too; they are told in spite of it otherwise.")


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_COMMON):
        command = option(command)
    return command


@click.command()
@_common
@_always
def noise(ids: tuple[str, ...], **given: Any) -> None:
    """Not worth an alert: this kind of thing is not told again of this template of this service."""
    _say("noise", ids, given)


@click.command()
@_common
@_always
@click.option(
    "--up-to",
    type=click.FloatRange(min=0.0),
    callback=_count,
    metavar="COUNT",
    help="Told again from more than this many.",
)
@click.option("--any-size", is_flag=True, help="However many there are.")
@click.option("--days", callback=_days, metavar="DAYS", help="Only on these, as sat,sun.")
@click.option("--hours", default="", metavar="HOURS", help="Only then, as 22:00-04:00.")
@click.option("--zone", default="UTC", help="The time zone of days and hours, as Europe/Berlin.  [default: UTC]")
def expected(ids: tuple[str, ...], **given: Any) -> None:
    """Known and in order: not told again up to one and a half times as many; clearly more is told."""
    _say("expected", ids, given)


@click.command()
@_common
def real(ids: tuple[str, ...], **given: Any) -> None:
    """A real problem: told whenever it comes again, whatever the budget."""
    _say("real", ids, given)


def _say(verdict: Teaching, ids: tuple[str, ...], given: dict[str, Any]) -> None:
    from logllm.cli.render_text import amount, neutral
    from logllm.errors import ConfigError
    from logllm.incidents.learned_from import lessons_of

    if given["span"] is not None and given["until"] is not None:
        raise ConfigError("--for and --until: give one of them")
    now = datetime.fromtimestamp(time.time(), UTC)
    wish = _wish(given, now)
    who = _user() if given["by"] is None else given["by"]
    events = kept_incidents(given["data_dir"], ids)
    lessons = [lesson for event in events for lesson in lessons_of(event, verdict, who, now, wish)]
    mine = {lesson.about for lesson in lessons}
    _file(given["data_dir"]).change(lambda before: [*(each for each in before if each.about not in mine), *lessons])
    _judge(given["data_dir"], [event.id for event in events], verdict)
    said = {"noise": "noise", "expected": "expected", "real": "a real problem"}[verdict]
    for event in events:
        click.echo(neutral(f"{event.id}: {said}: {event.service}: {event.title}"))
    click.echo(f"{amount(len(mine), 'answer')} kept:")
    for lesson in {each.about: each for each in lessons}.values():
        click.echo(neutral(f"  {_line(lesson)}"))
    if verdict != "real" and not given["always"] and any(lesson.level == "fatal" for lesson in lessons):
        click.echo("fatal records are told all the same; --always holds them back too")


def _wish(given: dict[str, Any], now: datetime) -> Wish:
    import math

    from logllm.errors import ConfigError
    from logllm.incidents.learned_from import Wish
    from logllm.incidents.learned_times import Hours

    if given.get("any_size") and given.get("up_to") is not None:
        raise ConfigError("--up-to and --any-size: give one of them")
    days, hours, zone = given.get("days", []), given.get("hours", ""), given.get("zone", "UTC")
    if days or hours:
        try:
            Hours(days, hours, zone)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    try:
        until = given["until"] if given["span"] is None else now + given["span"]
    except OverflowError:
        raise ConfigError("--for: too long a time") from None
    return Wish(
        note=given["note"],
        until=until,
        up_to=math.inf if given.get("any_size") else given.get("up_to"),
        days=days,
        hours=hours,
        zone=zone,
        everywhere=given["everywhere"],
        any_kind=given["any_kind"],
        every_cause=given["every_cause"],
        always=given.get("always", False),
    )


def kept_incidents(data_dir: str, ids: tuple[str, ...]) -> list[IncidentEvent]:
    """Each of them, or an error that says which there are; nothing is answered then."""

    from logllm.errors import SourceError
    from logllm.incidents.store import IncidentStore, incidents_in

    store = IncidentStore(incidents_in(data_dir))
    try:
        found = {name: store.get(name) for name in dict.fromkeys(ids)}
        latest = ", ".join(event.id for event, _ in store.latest(_SHOWN_IDS))
    finally:
        store.close()
    for name, each in found.items():
        if each is None:
            there = f"the latest are {latest}" if latest else "there are none"
            raise SourceError(f"{name}: no such incident, or more than one begins with it; {there}")
    return [each[0] for each in found.values() if each is not None]


@click.command()
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def answers(data_dir: str, as_json: bool) -> None:
    """What people have said of incidents, and how much each answer has held back."""
    from pathlib import Path

    import msgspec

    from logllm.cli.render_text import neutral
    from logllm.incidents.feedback import NEAR
    from logllm.service.learning import held_in

    held = held_in(Path(data_dir))
    lessons = _file(data_dir).lessons
    if not lessons:
        click.echo("no answers yet: logllm incidents expected|noise|real ID", err=True)
    for lesson in lessons:
        count = held.get(lesson.id, 0)
        if as_json:
            click.echo(msgspec.json.encode(msgspec.to_builtins(lesson) | {"id": lesson.id, "held_back": count}))
        else:
            click.echo(neutral(_line(lesson, count)))
    if held.get(NEAR) and not as_json:
        click.echo(f"{held[NEAR]:,} new messages were like several that are harmless, and not told")


@click.command("forget-answer")
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@_data_dir
def forget_answer(names: tuple[str, ...], data_dir: str) -> None:
    """Take answers back, by their own ids or by those of the incidents they were given for."""
    from logllm.cli.render_text import amount, neutral
    from logllm.errors import SourceError

    file = _file(data_dir)
    gone: list[Lesson] = []
    for name in dict.fromkeys(names):
        mine = [lesson for lesson in file.lessons if _is_meant(lesson, name)]
        if not mine:
            there = ", ".join(lesson.id for lesson in file.lessons[:_SHOWN_IDS])
            known = (
                f"there are {there}{', ...' if len(file.lessons) > _SHOWN_IDS else ''}" if there else "there are none"
            )
            raise SourceError(f"{name}: no answer of this id, nor any for such an incident; {known}")
        gone += mine
    about = {lesson.about for lesson in gone}
    left = file.change(lambda before: [lesson for lesson in before if lesson.about not in about])
    _judge(data_dir, sorted({lesson.incident for lesson in gone} - {lesson.incident for lesson in left}), "")
    click.echo(f"{amount(len(about), 'answer')} taken back:")
    for lesson in {each.about: each for each in gone}.values():
        click.echo(neutral(f"  {_line(lesson)}"))


def _judge(data_dir: str, ids: list[str], verdict: str) -> None:
    """Keep beside the incidents what they were called, where they are kept."""
    from contextlib import suppress
    from pathlib import Path

    from logllm.errors import StateError
    from logllm.incidents.store import IncidentStore

    path = Path(data_dir) / "logllm.db"
    if not path.is_file():
        return
    # The answer itself is in its file already.
    with suppress(StateError):
        store = IncidentStore(path)
        try:
            for each in ids:
                store.judge(each, verdict)
        finally:
            store.close()


def _is_meant(lesson: Lesson, name: str) -> bool:
    # The beginning of an incident's id is enough, as everywhere, but not of the four letters that all of them share.
    return name == lesson.id or (len(name) > len("inc-") and lesson.incident.startswith(name))


def _file(data_dir: str) -> LearnedFile:
    from pathlib import Path

    from logllm.errors import SourceError
    from logllm.incidents.learned_file import LearnedFile
    from logllm.service.learning import LEARNED_FILE

    folder = Path(data_dir)
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder, expected the data folder of tail or serve")
    return LearnedFile(folder / LEARNED_FILE)


def _line(lesson: Lesson, held: int = 0) -> str:
    where = "any service" if lesson.service == "*" else lesson.service or "(no service)"
    what = "all of it" if lesson.template == "*" else lesson.text or lesson.template
    more = [f"by {lesson.by}" if lesson.by else "", f"{lesson.when:%Y-%m-%d %H:%M}Z"]
    if lesson.up_to is not None and lesson.verdict == "expected":
        more.append("any number" if lesson.up_to == float("inf") else f"up to {lesson.up_to:,.10g}")
    if lesson.days or lesson.hours:
        more.append(" ".join([*lesson.days, lesson.hours, lesson.zone]))
    if lesson.until is not None:
        more.append(f"until {lesson.until:%Y-%m-%d %H:%M}Z")
    if held:
        more.append(f"held back {held:,}")
    more.append(lesson.note)
    kind = "any kind" if lesson.kind == "*" else lesson.kind
    return f"{lesson.id}  {lesson.verdict:8}  {kind:8}  {where}: {what}  ({'; '.join(each for each in more if each)})"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"
