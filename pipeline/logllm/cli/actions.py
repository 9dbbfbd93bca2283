"""`logllm actions`: what runbooks offer to run, who said yes, and what came of it, from the data directory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.actions.audit import Entry
    from logllm.actions.request import Request
    from logllm.actions.requests import Requests

__all__ = ["actions"]

_TICK_S = 0.2


@click.group()
def actions() -> None:
    """Actions of runbooks: what waits for approval, and what was run.

    The service runs them; `[actions]` in its configuration says what may run at all.
    """


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to serve.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@contextmanager
def _requests(data_dir: str) -> Iterator[Requests]:
    from pathlib import Path

    from logllm.actions.database import opened
    from logllm.actions.requests import Requests
    from logllm.errors import SourceError

    path = Path(data_dir) / "actions.db"
    if not path.is_file():
        raise SourceError(f"{path}: no actions were offered here (use --data-dir with serve)")
    database = opened(path)
    try:
        yield Requests(database)
    finally:
        database.close()


def _who() -> str:
    import os
    import pwd

    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"cli:{os.getuid()}"


def _now_s() -> float:
    import time

    return time.time()


@actions.command("list")
@_data_dir
@click.option("--pending", is_flag=True, help="Only those that wait for approval.")
@click.option("-n", "limit", default=20, type=click.IntRange(min=1), help="At most this many.  [default: 20]")
@_as_json
def list_(data_dir: str, pending: bool, limit: int, as_json: bool) -> None:
    """Latest first."""
    from logllm.actions.request import time_of
    from logllm.cli.render_text import neutral

    with _requests(data_dir) as requests:
        requests.expire(_now_s())
        for request in requests.latest(limit, state="pending" if pending else None):
            if as_json:
                click.echo(_json(request))
            else:
                what = f"{request.runbook}/{request.action}"
                made = time_of(request.created_s)[:16]
                click.echo(neutral(f"{request.id}  {made}Z  {request.state:8}  {what}: {request.preview}"))


@actions.command()
@click.argument("request_id", metavar="REQUEST")
@_data_dir
@_as_json
def show(request_id: str, data_dir: str, as_json: bool) -> None:
    """One of them, with its part of the audit: who decided, what was run, its output."""
    with _requests(data_dir) as requests:
        requests.expire(_now_s())
        request = requests.get(request_id)
        entries = list(requests.audit.entries(request=request.id))
    if as_json:
        click.echo(_json(request))
    else:
        _tell(request)
    for seq, entry in entries:
        _tell_entry(seq, entry, as_json=as_json)


@actions.command()
@click.argument("request_id", metavar="REQUEST")
@_data_dir
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter's value; repeatable.")
@click.option("--wait", "wait_s", default=0.0, type=click.FloatRange(min=0.0), help="See how it ends, so many seconds.")
def approve(request_id: str, data_dir: str, params: tuple[str, ...], wait_s: float) -> None:
    """Let it run, once. The service begins it at once; it is forgotten where none does within five minutes."""
    import time

    from logllm.errors import ActionError

    given = {}
    for each in params:
        name, is_there, value = each.partition("=")
        if not is_there or name in given:
            raise ActionError(f"--param {each[:60]!a}: expected NAME=VALUE, each name once")
        given[name] = value
    with _requests(data_dir) as requests:
        request = requests.decide(request_id, "approve", _who(), _now_s(), given)
        _tell(request)
        deadline = time.monotonic() + wait_s
        while request.state in ("approved", "running") and time.monotonic() < deadline:
            time.sleep(min(_TICK_S, max(0.0, deadline - time.monotonic())))
            request = requests.get(request_id)
        if wait_s and request.state not in ("approved", "running"):
            for seq, entry in requests.audit.entries(request=request.id):
                if entry.what in ("dry-run", "finished", "refused", "expired", "unknown"):
                    _tell_entry(seq, entry, as_json=False)
    if wait_s and request.state != "done":
        raise ActionError(f"{request.id}: is {request.state}")


@actions.command()
@click.argument("request_id", metavar="REQUEST")
@_data_dir
@click.option("--reason", default="", help="Why not, for the audit.")
def reject(request_id: str, data_dir: str, reason: str) -> None:
    """Do not let it run."""
    with _requests(data_dir) as requests:
        _tell(requests.decide(request_id, "reject", _who(), _now_s(), reason=reason))


@actions.command()
@_data_dir
@_as_json
@click.option("--verify", is_flag=True, help="Only see that no entry was changed, and tell the last one's hash.")
@click.option(
    "--head", default="", metavar="HASH", help="With --verify: a hash told before, which must still be there."
)
def audit(data_dir: str, as_json: bool, verify: bool, head: str) -> None:
    """Every decision and every run, in order. Outputs stay on this machine."""
    import msgspec

    if head and not verify:
        raise click.UsageError("--head needs --verify")
    with _requests(data_dir) as requests:
        if verify:
            count, last = requests.audit.verify(head)
            told = {"type": "verified", "entries": count, "head": last}
            click.echo(msgspec.json.encode(told) if as_json else f"{count} entries, none changed; the last is {last}")
            return
        for seq, entry in requests.audit.entries():
            _tell_entry(seq, entry, as_json=as_json)


def _json(request: Request) -> bytes:
    import msgspec

    fields = msgspec.to_builtins(request)
    fields.pop("parameters")
    return msgspec.json.encode({"type": "request", **fields, "preview": request.preview})


def _tell(request: Request) -> None:
    from logllm.actions.request import time_of
    from logllm.cli.render_text import neutral

    rows = [
        (request.id, f"{request.state}, {request.title}"),
        ("runs", request.preview),
        ("for", f"incident {request.incident}, {request.severity}; runbook {request.runbook}, risk {request.risk}"),
        ("made", f"{time_of(request.created_s)}, {request.mode}"),
        ("until", time_of(request.expires_s) if request.state == "pending" else ""),
        ("by", request.who),
        ("result", request.result),
        *((f"--param {name}=", why) for name, why in request.missing.items()),
    ]
    for name, value in rows:
        if value:
            click.echo(neutral(f"{name:18}{value}"))


def _tell_entry(seq: int, entry: Entry, *, as_json: bool) -> None:
    import msgspec

    from logllm.cli.render_text import neutral

    if as_json:
        click.echo(msgspec.json.encode({"type": "audit", "seq": seq, **msgspec.to_builtins(entry)}))
        return
    words = [f"{entry.runbook}/{entry.action}", entry.request, f"by {entry.who}" if entry.who else "", entry.reason]
    words += [f"{name}={value}" for name, value in entry.parameters.items()]
    if entry.exit_status is not None:
        words.append(f"status {entry.exit_status}")
    if entry.argv:
        words.append(ascii(entry.argv))
    click.echo(neutral(f"{entry.time}  {entry.what:9}  {'  '.join(filter(None, words))}"))
    for line in entry.output.splitlines():
        click.echo(f"    {neutral(line)}")
