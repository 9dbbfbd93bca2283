"""`logllm incidents fixed`: what helped, told with later incidents that are like this one."""

from __future__ import annotations

import click

from logllm.cli.incidents_answers import kept_incidents

__all__ = ["fixed"]


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--data-dir", required=True, type=click.Path(), help="As given to tail or serve.")
@click.option("--how", required=True, help='What helped, in a sentence: "raised max_connections"; "" takes it back.')
def fixed(ids: tuple[str, ...], data_dir: str, how: str) -> None:
    """What helped: shown when something like it comes again. Addresses, names and secrets in it are not kept."""
    from pathlib import Path

    from logllm.cli.render_text import neutral
    from logllm.errors import SourceError
    from logllm.explain.history import masked_outcome
    from logllm.explain.redact.redactor import Redactor
    from logllm.incidents.store import IncidentStore

    events = kept_incidents(data_dir, ids)
    outcome = masked_outcome(how, Redactor())
    if how.strip() and not outcome:
        raise SourceError("--how: Expected words, got characters that cannot be shown")
    store = IncidentStore(Path(data_dir) / "logllm.db")
    try:
        for event in events:
            store.solve(event.id, outcome)
    finally:
        store.close()
    said = f"fixed by: {outcome}" if outcome else "what helped is forgotten"
    for event in events:
        click.echo(neutral(f"{event.id}: {said}: {event.service}: {event.title}"))
