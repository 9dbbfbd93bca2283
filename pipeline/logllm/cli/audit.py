"""`logllm audit`: what left the process, and whether anything left that should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.audit.entry import Entry
    from logllm.audit.verify import Reading, Verdict

__all__ = ["audit"]

_WORDS_CHARS = 60
_PIECE_CHARS = 4_000


@click.group()
def audit() -> None:
    """What left this process and to whom; and a trial with planted secrets that must not."""


@audit.command()
@click.option("--data-dir", required=True, type=click.Path(), help="As given to serve.")
@click.option("--to", default="", help="Only what went to this host, host:port or destination.")
@click.option("--kind", default="", help="Only slack, webhook, alertmanager, pagerduty, apprise, model, action...")
@click.option("--since", help="Only from here on: 2h, 3d, or a time as 2026-02-02T10:00.")
@click.option("--show", type=click.IntRange(min=1), help="The bytes of this one.")
@click.option("--bodies", is_flag=True, help="The bytes of each.")
@click.option("--verify", is_flag=True, help="Walk the chain; 1 where an entry or its bytes were changed or are gone.")
@click.option("--head", default="", help="With --verify: a hash kept elsewhere, which must be there still.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def egress(
    data_dir: str,
    to: str,
    kind: str,
    since: str | None,
    show: int | None,
    bodies: bool,
    verify: bool,
    head: str,
    as_json: bool,
) -> None:
    """What left, oldest first, from the ledger of a data directory; also while the service runs.

    An entry is made before the bytes leave: the last one may not have left. What sinks forwarded is not in it, see
    docs/egress.md. Keep the hash that --verify prints elsewhere: with it nobody can cut off or rewrite what was before.
    """
    import time
    from pathlib import Path

    from logllm.audit.ledger import FILE
    from logllm.audit.verify import Reading
    from logllm.errors import SourceError
    from logllm.sources.file_select import parse_since

    if head and not verify:
        raise click.UsageError("--head says what --verify must find: give --verify too")
    since_ns = 0 if since is None else parse_since(since, time.time_ns())
    reading = Reading(Path(data_dir) / FILE)
    try:
        if verify:
            found = reading.verify(head.lower())
            _tell(found, as_json=as_json)
            if found.wrong:
                raise SystemExit(1)
            return
        if show is not None:
            entry = reading.entry(show)
            if entry is None:
                raise SourceError(f"{show}: there is no such entry, or it has made room for later ones")
            _print(reading, [entry].__iter__(), bodies=True, as_json=as_json)
            return
        _print(reading, reading.entries(kind=kind, to=to, since_ns=since_ns), bodies=bodies, as_json=as_json)
    finally:
        reading.close()


@audit.command()
@click.option("-c", "--config", "config_path", type=click.Path(), help="As given to serve.")
@click.option("--no-model", is_flag=True, help="Do not try the local model, only a stand-in for one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def canary(config_path: str | None, no_model: bool, as_json: bool) -> None:
    """Plant secrets and names of people in a log, run it, and look for them in all that leaves or is written.

    Redaction, plugins and runbooks are the configuration's; destinations and the model are stand-ins on this machine,
    and data goes to a temporary folder. Values are looked for as they are and in base64, hex, percent and JSON escapes.
    1 where one is found that must not be. Takes about half a minute, with a local model one more.
    """
    import random
    import tempfile
    import time
    from pathlib import Path

    from logllm.audit.canary import canaries
    from logllm.cli.audit_canary import Trial
    from logllm.cli.audit_table import show_findings
    from logllm.config import Config

    config = Config() if config_path is None else Config.load(config_path)
    with tempfile.TemporaryDirectory(prefix="logllm-canary-") as folder:
        planted = canaries(random.SystemRandom())
        trial = Trial(config, Path(folder), planted, time.time_ns(), with_model=not no_model)
        findings = trial.run()
    if show_findings(planted, findings, trial.notes, as_json=as_json):
        raise SystemExit(1)


def _tell(found: Verdict, *, as_json: bool) -> None:
    import msgspec

    from logllm.cli.render_text import neutral

    if as_json:
        click.echo(msgspec.json.encode(found._asdict()))
        return
    if found.wrong:
        click.echo(neutral(found.wrong))
        return
    click.echo(f"entries in one chain: {found.entries:,}, with their bytes as kept: {found.bodies:,}")
    if found.dropped:
        click.echo(f"{found.dropped:,} older bodies have made room: their digests are kept")
    click.echo(f"head {found.head}")


def _print(reading: Reading, entries: Iterator[Entry], *, bodies: bool, as_json: bool) -> None:
    import base64

    import msgspec

    from logllm.cli.render_text import neutral

    for entry in entries:
        body = reading.body(entry)
        if as_json:
            # Compared by programs: the bytes themselves, whatever they are.
            kept = {"body": None if body is None else base64.b64encode(body).decode()} if bodies else {}
            click.echo(msgspec.json.encode({**msgspec.structs.asdict(entry), **kept}))
            continue
        click.echo(neutral(_line(entry, None if bodies else body)))
        if bodies:
            _show(entry, body)


def _line(entry: Entry, body: bytes | None) -> str:
    from logllm.cli.render_text import size
    from logllm.events import rfc3339

    whom = f"{entry.name} {entry.to}".strip()
    about = f"  {entry.about}" if entry.about else ""
    words = f"  {_words(body)}" if body else ""
    try:
        when = rfc3339(entry.time_ns)[:19] + "Z"
    except (OverflowError, ValueError, OSError):
        when = "no time of ours"
    return f"{entry.number:>6}  {when}  {entry.kind:12}  {whom}  {size(entry.size)}{about}{words}"


def _show(entry: Entry, body: bytes | None) -> None:
    """All of it, in pieces, since a terminal must show it and not obey it."""
    from logllm.cli.render_text import neutral

    click.echo(neutral(f"        sha256 {entry.sha256}"))
    if body is None:
        click.echo("        not kept" if not entry.kept_sha256 else "        not here: made room, or was taken away")
        return
    if entry.is_blanked:
        click.echo("        a secret of ours in it is shown as *")
    text = body.decode(errors="backslashreplace")
    for line in text.split("\n"):
        for start in range(0, max(1, len(line)), _PIECE_CHARS):
            click.echo(f"        {neutral(line[start : start + _PIECE_CHARS])}")


def _words(body: bytes) -> str:
    """The first text in it that has words, for people to know it by; of what a model is asked the last message's."""
    import msgspec

    try:
        found = msgspec.json.decode(body)
        if isinstance(found, dict) and isinstance(found.get("messages"), list):
            found = found["messages"][-1:]
        text = next((one for one in _texts(found, 8) if " " in one.strip()), "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = ""
    text = text or body[: 4 * _WORDS_CHARS].decode(errors="replace")
    return " ".join(text[: 4 * _WORDS_CHARS].split())[:_WORDS_CHARS]


def _texts(found: object, depth: int) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif depth and isinstance(found, dict | list):
        for one in found.values() if isinstance(found, dict) else found:
            yield from _texts(one, depth - 1)
