"""`logllm templates`: what a log consists of, what has been learned, and what a person makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.service.mining import Mined
    from logllm.sources.file_stats import ReadStats

__all__ = ["templates"]


class _FileOrCommand(click.Group):
    """What is no subcommand is a file to mine: `logllm templates app.log`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            if args[0].isalpha() and not Path(args[0]).exists():
                # Neither of the two: whoever wrote `lst` for `list` is told of both.
                there = ", ".join(name for name, command in self.commands.items() if not command.hidden)
                raise click.UsageError(f"no file and no command {args[0]!r}; commands are {there}", ctx)
            args = ["mine", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_FileOrCommand)
def templates() -> None:
    """The templates of a log, or of all that was learned: list, rename, merge and pin them.

    \b
    logllm templates app.log                 what the file consists of, most frequent first
    logllm templates --once --json app.log   each line with its template
    logllm templates list --data-dir DIR     what tail or serve have learned
    """


@templates.command(hidden=True)
@click.argument("file", type=click.Path())
@click.option("--once", is_flag=True, help="Read to the end of FILE; a file is never followed here.")
@click.option("--column", help="FILE is a CSV with a head: mine this column of it.")
@click.option("--untyped", is_flag=True, help="Every parameter as <*>, instead of <ip>, <num> and the like.")
@click.option("--format", "line_format", default="auto", help="Name the format of the lines.  [default: detected]")
@click.option("--tz", default="UTC", help="Zone of times that name none.  [default: UTC]")
@click.option("-n", "limit", default=50, type=click.IntRange(min=1), help="List at most this many.  [default: 50]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line of FILE, in its order.")
def mine(
    file: str,
    once: bool,
    column: str | None,
    untyped: bool,
    line_format: str,
    tz: str,
    limit: int,
    as_json: bool,
) -> None:
    """The templates of FILE ("-": standard input), as they stand at its end.

    Of a plain line the message is mined, without its time, level and service.
    """
    from logllm.service.mining import mine_column, mine_file
    from logllm.sources.file_stats import ReadStats

    del once  # said for clarity: there is no other way
    stats = ReadStats()
    if column is None:
        mined = mine_file(file, line_format=line_format, tz=tz, stats=stats)
    else:
        mined = mine_column(file, column, stats)
    if as_json:
        _write(mined, untyped=untyped)
    else:
        _table(mined, stats, limit, untyped=untyped)


def _write(mined: Mined, *, untyped: bool) -> None:
    import sys

    import msgspec

    encoder = msgspec.json.Encoder()
    ends: dict[int, bytes] = {}
    for line, index in mined.rows():
        end = ends.get(index)
        if end is None:
            template = mined.template(index)
            said = {"id": "", "template": ""}
            if template is not None:
                said = {"id": template.id, "template": template.untyped if untyped else template.text}
            end = ends[index] = b"," + encoder.encode(said)[1:] + b"\n"
        sys.stdout.buffer.write(b'{"line":%d' % line + end)
    sys.stdout.buffer.flush()


def _table(mined: Mined, stats: ReadStats, limit: int, *, untyped: bool) -> None:
    import sys
    from collections import Counter

    from rich.text import Text

    from logllm.cli.render import console_for, print_row
    from logllm.cli.render_text import neutral
    from logllm.incidents.describe import count_of

    counts = Counter(row.template for row in mined.rows())
    console = console_for(sys.stdout)
    for index, count in counts.most_common(limit):
        template = mined.template(index)
        name, text = (
            ("(forgotten)", "") if template is None else (template.id, template.untyped if untyped else template.text)
        )
        print_row(console, Text(f"{count:>10,}  {name:12}  "), Text(neutral(text, 2_000)))
    rest = len(counts) - limit
    more = f", of which {rest:,} are not shown (-n)" if rest > 0 else ""
    records, kinds = count_of(sum(counts.values()), "record"), count_of(len(counts), "template")
    click.echo(f"{records} in {count_of(stats.lines, 'line')}, {kinds}{more}")
    for what, count in sorted(stats.skipped.items()):
        click.echo(f"{count:,} {what}", err=True)
    for notice in stats.notices:
        click.echo(notice, err=True)


_data_dir = click.option("--data-dir", required=True, type=click.Path(), help="As given to tail or serve.")


@templates.command("list")
@_data_dir
@click.option("-n", "limit", default=50, type=click.IntRange(min=1), help="At most this many.  [default: 50]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all of them.")
def list_(data_dir: str, limit: int, as_json: bool) -> None:
    """What was learned, most frequent first: count, id, version, text."""
    from logllm.cli.templates_learned import learned, show_all

    show_all(learned(data_dir), limit, as_json=as_json)


@templates.command()
@click.argument("template_id")
@_data_dir
def show(template_id: str, data_dir: str) -> None:
    """One template: its text, ids that became part of it, what people made of it. The beginning of its id is enough."""
    from logllm.cli.templates_learned import learned, show_one

    show_one(learned(data_dir), template_id)


@templates.command()
@click.argument("template_id")
@click.argument("name")
@_data_dir
def rename(template_id: str, name: str, data_dir: str) -> None:
    """Call a template NAME wherever it is shown; "" takes the name away."""
    from logllm.cli.templates_learned import change, found

    edits = change(data_dir, lambda miner: miner.rename(found(miner, template_id).id, name))
    click.echo(f"written to {edits}")


@templates.command()
@click.argument("template_ids", nargs=-1, required=True)
@_data_dir
def merge(template_ids: tuple[str, ...], data_dir: str) -> None:
    """Count templates as one from now on: the others become part of the first."""
    from logllm.cli.templates_learned import change, found

    edits = change(data_dir, lambda miner: miner.merge([found(miner, each).id for each in template_ids]))
    click.echo(f"written to {edits}")


@templates.command()
@click.argument("text")
@_data_dir
def pin(text: str, data_dir: str) -> None:
    """Let every line that fits TEXT be of it, whatever mining says.

    <*> in it stands for anything, <num>, <ip>, <path> and the like for what is shown so.
    """
    from logllm.cli.templates_learned import change

    edits = change(data_dir, lambda miner: miner.pin(text))
    click.echo(f"written to {edits}")


@templates.command()
@click.argument("text")
@_data_dir
def unpin(text: str, data_dir: str) -> None:
    """Forget a pinned TEXT; its lines are mined again."""
    from logllm.cli.templates_learned import change

    edits = change(data_dir, lambda miner: miner.unpin(text))
    click.echo(f"written to {edits}")
