"""`logllm alerts`: what was sent to whom, what waits, what was given up; from the data directory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.database import Database
    from logllm.notify.outbox.outbox import Message, State

__all__ = ["alerts"]

_SHOWN_INCIDENTS = 50
_EVERY = 1 << 31


@click.group()
def alerts() -> None:
    """Messages about incidents: sent, waiting, or given up as dead letters. Also while the service runs."""


@contextmanager
def _database(data_dir: str) -> Iterator[Database]:
    from pathlib import Path

    from logllm.database import Database
    from logllm.errors import SourceError
    from logllm.notify.outbox.outbox import OUTBOX_SCHEMA

    path = Path(data_dir) / "notify.db"
    if not path.is_file():
        raise SourceError(f"{path}: no alerts were kept here (use --data-dir with serve, and name a destination)")
    database = Database(path, OUTBOX_SCHEMA)
    try:
        yield database
    finally:
        database.close()


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to serve.")


@alerts.command("list")
@_data_dir
@click.option("--dead", "state", flag_value="dead", help="Only dead letters.")
@click.option("--queued", "state", flag_value="queued", help="Only what waits.")
@click.option("--destination", help="Only what goes there.")
@click.option("-n", "limit", default=20, type=click.IntRange(min=1), help="At most this many.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(data_dir: str, state: str | None, destination: str | None, limit: int, as_json: bool) -> None:
    """Latest first."""
    import msgspec

    from logllm.cli.render_text import neutral
    from logllm.notify.outbox.outbox import Outbox

    with _database(data_dir) as database:
        chosen: State | None = None if state is None else "dead" if state == "dead" else "queued"
        for message in Outbox(database).rows(chosen, destination, limit):
            if as_json:
                click.echo(msgspec.json.encode(message))
            else:
                click.echo(neutral(_line(message)))


@alerts.command()
@click.argument("message_id", metavar="ID")
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the message, and all incidents it covers.")
def show(message_id: str, data_dir: str, as_json: bool) -> None:
    """One of them: its tries, its last error, and the incidents it accounts for. The beginning of its id is enough."""
    import msgspec

    from logllm.cli.render_text import amount, neutral
    from logllm.notify.outbox.outbox import Outbox

    with _database(data_dir) as database:
        outbox = Outbox(database)
        message = _found(outbox.get(message_id), message_id)
        covered = outbox.covered(message.id)
    if as_json:
        pairs = [{"incident": incident, "event": event} for incident, event in covered]
        click.echo(msgspec.json.encode({"message": message, "covers": pairs}))
        return
    click.echo(neutral(_line(message)))
    click.echo(neutral(f"thread      {message.thread}"))
    if message.notification is not None and message.notification.route:
        click.echo(neutral(f"route       {message.notification.route}"))
    click.echo(f"queued      {_time(message.queued_s)}")
    if message.finished_s is not None:
        click.echo(f"{message.state:11} {_time(message.finished_s)}")
    click.echo(f"tries       {message.attempts}")
    if message.note:
        click.echo(neutral(f"{'last error' if message.state != 'sent' else 'note':11} {message.note}"))
    click.echo(f"covers      {amount(len(covered), 'incident event')}")
    for incident, event in covered[:_SHOWN_INCIDENTS]:
        click.echo(neutral(f"  {incident}  {event}"))
    if len(covered) > _SHOWN_INCIDENTS:
        click.echo(f"  and {len(covered) - _SHOWN_INCIDENTS:,} more; --json has them all")


@alerts.command()
@click.argument("message_id", metavar="[ID]", required=False)
@_data_dir
@click.option("--all-dead", is_flag=True, help="Every dead letter.")
@click.option("--destination", help="With --all-dead: only what goes there.")
def retry(message_id: str | None, data_dir: str, all_dead: bool, destination: str | None) -> None:
    """Send dead letters after all, before what waits behind them. A service that runs begins within seconds."""
    import time

    from logllm.cli.render_text import amount
    from logllm.errors import SourceError
    from logllm.notify.outbox.outbox import Outbox

    if (message_id is None) != all_dead or (destination is not None and not all_dead):
        raise click.UsageError("expected either the ID of one dead letter, or --all-dead")
    with _database(data_dir) as database:
        outbox = Outbox(database)
        with database.transaction():
            if message_id is not None:
                message = _found(outbox.get(message_id), message_id)
                if message.state != "dead":
                    raise SourceError(f"{message.id}: it is {message.state}, only dead letters are sent again")
                dead = [message]
            else:
                dead = outbox.rows("dead", destination, _EVERY)
            count = sum(outbox.requeue(message.id, time.time()) for message in dead)
    click.echo(f"{amount(count, 'message')} queued again")


def _found(message: Message | None, message_id: str) -> Message:
    from logllm.errors import SourceError

    if message is None:
        raise SourceError(f"{message_id}: no such message, or more than one begins with it")
    return message


def _line(message: Message) -> str:
    told = message.notification
    if told is None:
        what = "(cannot be read)"
    elif told.total > 1 or not told.incidents:
        what = f"{told.total:,} incidents"
    else:
        what = f"{told.incidents[0].service}: {told.incidents[0].title}"
    begun = f"{message.id}  {_time(message.queued_s)[:16]}Z  {message.state:6}  {message.destination}  {message.kind}"
    why = f"  ({message.note})" if message.note and message.state != "sent" else ""
    return f"{begun}  {what}{why}"


def _time(time_s: float) -> str:
    from logllm.events import rfc3339

    return rfc3339(int(time_s * 1_000_000_000))


@alerts.command("test")
@click.option("-c", "--config", "config_path", type=click.Path(), help="As given to serve.")
@click.option("--destination", help="Only this one.")
@click.option("--slack-webhook", envvar="LOGLLM_SLACK_WEBHOOK", help="As given to serve.")
@click.option("--webhook", "webhooks", multiple=True, help="As given to serve; repeatable.")
def test(
    config_path: str | None, destination: str | None, slack_webhook: str | None, webhooks: tuple[str, ...]
) -> None:
    """Send a test message to every destination, at once and by no outbox; 1 where one does not take it."""
    import secrets
    from pathlib import Path

    from logllm.audit.ledger import Ledger
    from logllm.cli.destinations import with_destinations
    from logllm.config import Config
    from logllm.egress import about
    from logllm.errors import ConfigError, DeliveryError
    from logllm.notify.notification import Notification

    config = with_destinations(
        Config() if config_path is None else Config.load(config_path), (), slack_webhook, webhooks
    )
    config.notify.check(config.egress)
    asked = [each for each in config.notify.destinations if destination in (None, each.name)]
    if not asked:
        known = ", ".join(each.name for each in config.notify.destinations)
        if not known:
            raise ConfigError(
                "no destination is configured, expected --slack-webhook, --webhook or [[notify.destinations]]"
            )
        raise ConfigError(f"--destination {destination}: there is none, expected one of: {known}")
    failed = False
    ledger = Ledger.of(config.egress, None if config.data_dir is None else Path(config.data_dir))
    for each in asked:
        told = Notification(id=secrets.token_hex(8), kind="test", thread="test", incidents=[], total=0)
        try:
            made = each.build(_NoLinks(), ledger)
            try:
                with about(told.id):
                    made.send(told, "")
            finally:
                made.close()
        except DeliveryError as error:
            failed = True
            click.echo(f"{each.name}: not taken: {error}")
        else:
            click.echo(f"{each.name}: taken, message {told.id}")
    if ledger is not None:
        ledger.close()
    if failed:
        raise SystemExit(1)


class _NoLinks:
    def url(self, incident: str, verb: str) -> str:
        return ""
