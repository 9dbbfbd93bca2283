"""`logllm eval series`: alerts on a numeric series against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.evaluation.series import SeriesResult

__all__ = ["series"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--labels", type=click.Path(), help="A JSON file of windows, as NAB has them.  [default: FILE's label]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def series(file: str, labels: str | None, as_json: bool) -> None:
    """Precision, recall, delay and alerts a day on FILE, a CSV file of times and values, and labels where it has them.

    Each point is scored when it comes, by what came before. The threshold is the one that is built in; what the best
    one would have reached is said apart, as the oracle.
    """
    import msgspec

    from logllm.evaluation.series import evaluate_series

    found = evaluate_series(file, labels)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    _show(found)


def _show(found: SeriesResult) -> None:
    from logllm.cli.render_text import amount, duration

    figures = found.figures
    delay = f", {duration(figures.delay_s)} after their begin on average" if figures.found else ""
    click.echo(
        f"F1 {figures.f1:.3f}   precision {figures.precision:.3f}   recall {figures.recall:.3f}\n"
        f"{figures.found:,} of {found.windows:,} windows found{delay}; "
        f"{amount(figures.false_alerts, 'false alert')}, {figures.alerts_per_day:.2f} alerts a day"
    )
    if found.oracle is not None:
        best = found.oracle
        click.echo(f"the best threshold, chosen with the labels: F1 {best.f1:.3f} at {best.threshold:.3f}")
    skipped = f", {found.skipped:,} of them without a number" if found.skipped else ""
    click.echo(f"{amount(found.points, 'point')}{skipped} in {found.days:,.1f} days")
