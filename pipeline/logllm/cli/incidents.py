"""`logllm incidents`: what was found, from the data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from logllm.cli.incidents_answers import answers, expected, forget_answer, noise, real
from logllm.cli.incidents_fixed import fixed

if TYPE_CHECKING:
    pass

__all__ = ["incidents"]


@click.group()
def incidents() -> None:
    """Incidents that were kept with --data-dir, and what people say of them.

    Answers are kept in learned.toml and decide what is told from then on; a service that runs heeds them at once.
    """


for _command in (expected, noise, real, fixed, answers, forget_answer):
    incidents.add_command(_command)


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to tail or serve.")


@incidents.command("list")
@_data_dir
@click.option("--open", "only_open", is_flag=True, help="Only those that have not ended.")
@click.option("-n", "limit", default=20, type=click.IntRange(min=1), help="At most this many.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(data_dir: str, only_open: bool, limit: int, as_json: bool) -> None:
    """Latest first."""
    import msgspec

    from logllm.cli.render_text import neutral
    from logllm.incidents.store import IncidentStore, incidents_in

    store = IncidentStore(incidents_in(data_dir))
    try:
        for event, _ in store.latest(limit, state="open" if only_open else None):
            if as_json:
                click.echo(msgspec.json.encode(event))
            else:
                state = "resolved" if event.event == "resolve" else "open"
                line = (
                    f"{event.id}  {event.started[:16]}Z  {event.severity:8} {state:8}  {event.service}: {event.title}"
                )
                click.echo(neutral(line))
    finally:
        store.close()


@incidents.command()
@click.argument("incident_id")
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="JSON lines: the incident, then its explanation.")
def show(incident_id: str, data_dir: str, as_json: bool) -> None:
    """One of them, with its evidence and explanation. The beginning of its id is enough."""
    from logllm.cli.output import outlet
    from logllm.cli.render_text import neutral
    from logllm.errors import SourceError
    from logllm.incidents.store import IncidentStore, incidents_in

    store = IncidentStore(incidents_in(data_dir))
    try:
        found = store.get(incident_id)
        said = [] if found is None else store.said(found[0].id)
    finally:
        store.close()
    if found is None:
        raise SourceError(f"{incident_id}: no such incident, or more than one begins with it")
    event, explanation = found
    out = outlet(as_json=as_json)
    out.incident(event)
    if explanation is not None:
        out.explanation(explanation, event)
    if said and not as_json:
        click.echo(neutral(f"  {'; '.join(said)}"))
