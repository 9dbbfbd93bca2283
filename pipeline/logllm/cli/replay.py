"""`logllm replay`: a file of records as it would have gone through, and proof that nothing that matters is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logllm.service.proof import IncidentProof
    from logllm.service.replay import Replayed

__all__ = ["replay"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--reduce", "reduces", is_flag=True, help="Cull what [reduce] says, as `serve --reduce` does.")
@click.option(
    "--proof",
    is_flag=True,
    help="With --reduce: show for each incident that what it cites is in the output. Exit code 1 where it is not.",
)
@click.option(
    "--diff",
    is_flag=True,
    help="Show what --config would have told, against --against: + told now, - no longer, ~ of another severity.",
)
@click.option(
    "--against",
    type=click.Path(),
    help="With --diff: another TOML file, or a data folder for what was really told.  [default: built-in settings]",
)
@click.option("--since", help="With --diff: compare from here on; what came before is still learned from.")
@click.option("--out", type=click.Path(), help="Write what goes on here: .ndjson or .msgpack, and .zst behind it.")
@click.option("--format", "line_format", default="auto", help="Name the format of a plain log.  [default: detected]")
@click.option("--tz", default="UTC", help="Zone of times that name none.  [default: UTC]")
@click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file.")
@click.option(
    "--alerts-per-day",
    type=click.FloatRange(min=0.0, min_open=True),
    help="How many incidents a day you are willing to look at.  [default: 5]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
def replay(
    file: str,
    reduces: bool,
    proof: bool,
    diff: bool,
    against: str | None,
    since: str | None,
    out: str | None,
    line_format: str,
    tz: str,
    config_path: str | None,
    alerts_per_day: float | None,
    as_json: bool,
) -> None:
    """Run FILE through as if it came now, by its own times: what would be told of it, and what would go on.

    \b
    logllm replay --proof app.log
    logllm replay --since -7d --config new.toml --diff --against logllm.toml app.log

    FILE is a plain log, or what a file sink wrote, as NDJSON or msgpack. Nothing is kept but what --out names, and no
    model is asked.
    """
    from logllm.cli.options import configured
    from logllm.cli.output import outlet
    from logllm.errors import ConfigError
    from logllm.service.replay import ReplayOptions
    from logllm.service.replay import replay as run_replay

    if not diff and (against is not None or since is not None):
        raise ConfigError("--against and --since say what --diff compares: give --diff too")
    if diff and (reduces or proof or out is not None):
        raise ConfigError("--diff compares what is told and writes nothing: leave out --reduce, --proof and --out")
    config = configured(config_path, None, alerts_per_day, True, None, (), ())
    if diff:
        from logllm.cli.replay_diff import show_difference

        show_difference(ReplayOptions(file, format=line_format, tz=tz), config, against, since, as_json=as_json)
        return
    options = ReplayOptions(file, reduces, proof, out, line_format, tz, reveal=not as_json)
    replayed = run_replay(options, config, outlet(as_json=as_json))
    if replayed.proofs is not None:
        _show(replayed, replayed.proofs, as_json=as_json)
        if not all(one.is_whole for one in replayed.proofs):
            raise SystemExit(1)


def _show(replayed: Replayed, proofs: list[IncidentProof], *, as_json: bool) -> None:
    import msgspec

    from logllm.cli.render_text import neutral

    if as_json:
        for one in proofs:
            click.echo(msgspec.json.encode(one))
        return
    click.echo("\nProof: records in the output, of those in the input")
    for one in proofs:
        told = f"  {one.id}  cited {one.cited_found}/{one.cited}  before {one.before_found}/{one.before}  "
        told += f"after {one.after_found}/{one.after}  {one.service}: {one.title}"
        click.echo(neutral(told, 160))
    cited, found = sum(one.cited for one in proofs), sum(one.cited_found for one in proofs)
    around = sum(one.before + one.after for one in proofs)
    around_found = sum(one.before_found + one.after_found for one in proofs)
    who = "1 incident cites" if len(proofs) == 1 else f"{len(proofs):,} incidents cite"
    click.echo(f"  {found:,} of {cited:,} records that {who} are in the output")
    click.echo(f"  {around_found:,} of {around:,} records around them")
    if unknown := sum(one.unknown for one in proofs):
        click.echo(f"  {unknown:,} pieces of evidence are no records of the input: plugins raised them")
