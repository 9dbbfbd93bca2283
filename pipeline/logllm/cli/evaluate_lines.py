"""`logllm eval lines`: alerts on lines, with an operator who answers few questions, against labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.evaluation.lines import LinesResult

__all__ = ["lines"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--label", required=True, metavar="COLUMN", help="What says whether a line is a problem.")
@click.option("--message", default="Content", metavar="COLUMN", help="The line's text.  [default: Content]")
@click.option("--level", metavar="COLUMN", help="Its severity.")
@click.option("--time", metavar="COLUMN", help="When it was: seconds since the epoch, or ISO 8601.")
@click.option("--service", metavar="COLUMN", help="What it came from.")
@click.option("--normal", multiple=True, metavar="LABEL", help="A label of no problem; repeatable.  [default: -, 0...]")
@click.option(
    "--answers",
    default=130,
    type=click.IntRange(min=0),
    help="Questions that the operator answers, with the labels.  [default: 130]",
)
@click.option("--details", is_flag=True, help="The questions and the numbers of the lines flagged too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def lines(
    file: str,
    label: str,
    message: str,
    level: str | None,
    time: str | None,
    service: str | None,
    normal: tuple[str, ...],
    answers: int,
    details: bool,
    as_json: bool,
) -> None:
    """F1, precision and recall of the lines of FILE that would have been alerted, a CSV file with a header.

    Each alert for a template that nobody has answered for is a question; its answer, the label of that line, holds for
    the template from the next line on. No other label is read but for the figures.
    """
    import msgspec

    from logllm.evaluation.lines import NORMAL, evaluate_lines

    found = evaluate_lines(
        file,
        label=label,
        message=message,
        level=level,
        time=time,
        service=service,
        answers=answers,
        normal={word.lower() for word in normal} or NORMAL,
    )
    if as_json:
        said = msgspec.to_builtins(found)
        for name in () if details else ("questions", "flagged_lines"):
            del said[name]
        click.echo(msgspec.json.encode(said))
        return
    _show(found, details=details)


def _show(found: LinesResult, *, details: bool) -> None:
    from logllm.cli.render_text import amount, duration, neutral

    click.echo(
        f"F1 {found.f1:.3f}   precision {found.precision:.3f}   recall {found.recall:.3f}\n"
        f"{found.flagged:,} flagged of {amount(found.lines, 'line')}, {found.problems:,} of which are problems; "
        f"{amount(found.asked, 'question')} answered"
    )
    often = "" if found.alerts_per_day is None else f", {found.alerts_per_day:.2f} a day"
    delay = "" if found.delay_s is None else f"; the first of a kind after {duration(found.delay_s)} (median)"
    click.echo(f"{amount(found.alerts, 'alert')}{often}{delay}")
    if found.missed:
        click.echo(f"never flagged: {amount(found.missed, 'kind')} of problem")
    if details:
        for question in found.questions:
            answer = "real" if question.is_problem else "noise"
            click.echo(f"line {question.line:,}: {answer:5} {neutral(question.template, 200)}")
