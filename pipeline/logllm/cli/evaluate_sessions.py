"""`logllm eval sessions`: odd sessions against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.evaluation.sessions import SessionsResult

__all__ = ["sessions"]


@click.command()
@click.argument("events", type=click.Path())
@click.argument("labels", type=click.Path())
@click.option("--session", required=True, metavar="COLUMN", help="What says which session an event is of.")
@click.option(
    "--event", metavar="COLUMN", help="The message, or an event's id.  [default: message, Content... or EventId...]"
)
@click.option("--time", metavar="COLUMN", help="When it was.  [default: time, timestamp..., or Date and Time]")
@click.option(
    "--label", metavar="COLUMN", help="What LABELS says of a session.  [default: label, anomaly..., the last]"
)
@click.option(
    "--warm-up",
    default=500,
    type=click.IntRange(min=0),
    help="Sessions that are only learned from, in order of their ends.  [default: 500]",
)
@click.option(
    "--idle",
    "idle_s",
    metavar="SECONDS",
    type=click.IntRange(min=60),
    help="Judge a session when it has been idle for so long, as serve does.  [default: with its last event]",
)
@click.option("--odd", "with_odd", is_flag=True, help="The flagged sessions too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def sessions(
    events: str,
    labels: str,
    session: str,
    event: str | None,
    time: str | None,
    label: str | None,
    warm_up: int,
    idle_s: int | None,
    with_odd: bool,
    as_json: bool,
) -> None:
    """F1, precision and recall of the odd sessions in EVENTS, a CSV file (or .csv.gz) with a row an event, in time
    order, against LABELS, one with a row a session: Anomaly or Normal, true or false, 1 or 0.

    Each session is judged once it has ended, by what was learned from all sessions up to then. No threshold is chosen
    by a label; what the best one would have reached is said apart, as the oracle.
    """
    import msgspec

    from logllm.evaluation.sessions import evaluate_sessions

    found = evaluate_sessions(
        events, labels, session=session, event=event, time=time, label=label, warm_up=warm_up, idle_s=idle_s
    )
    if not with_odd:
        found = msgspec.structs.replace(found, odd=[])
    if as_json:
        said = msgspec.to_builtins(found)
        if not with_odd:
            del said["odd"]
        click.echo(msgspec.json.encode(said))
        return
    _show(found)


def _show(found: SessionsResult) -> None:
    from logllm.cli.render_text import amount, neutral

    click.echo(
        f"F1 {found.f1:.3f}   precision {found.precision:.3f}   recall {found.recall:.3f}\n"
        f"{found.flagged:,} flagged of {amount(found.sessions, 'session')} judged, {found.anomalous:,} of which are "
        f"anomalous, after {found.warm_up:,} to warm up"
    )
    best, all_of_them = found.oracle, found.with_warm_up
    click.echo(
        f"the best threshold, chosen with the labels: F1 {best.f1:.3f} ({best.flagged:,} flagged)\n"
        f"with those to warm up as not flagged: F1 {all_of_them.f1:.3f} of {amount(all_of_them.sessions, 'session')}, "
        f"{all_of_them.anomalous:,} anomalous"
    )
    if found.unlabelled:
        click.echo(f"{amount(found.unlabelled, 'session')} judged without a label, in no figure")
    if found.without_events:
        click.echo(f"{amount(found.without_events, 'label')} without events of their session, in no figure")
    click.echo(f"{amount(found.events, 'event')} of {amount(found.templates, 'kind')}")
    for name in found.odd:
        click.echo(neutral(name, 200))
