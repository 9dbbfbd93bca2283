"""`logllm stats`: what the reducer and the cache of explanations have saved, and what answers have held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from logllm.explain.allowance import Usage
    from logllm.sinks.reduce.meter import Account, Flow

__all__ = ["stats"]


@click.command()
@click.option("--data-dir", required=True, type=click.Path(), help="As given to serve.")
@click.option("-n", "limit", default=20, type=click.IntRange(min=1), help="At most this many rows each.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all of it.")
def stats(data_dir: str, limit: int, as_json: bool) -> None:
    """What came, what went on and what that saves, by tag and by template; while serve runs and afterwards.

    It is written down twice a minute. Bytes are those of MessagePack, a GB is 10^9 of them. Then tokens that the model
    has read and written and that the cache has saved; and what people's answers have held back, by answer.
    """
    from pathlib import Path

    import msgspec

    from logllm.cli.render_text import neutral
    from logllm.errors import SourceError
    from logllm.explain.allowance import usage_in
    from logllm.service.learning import held_in
    from logllm.service.reduction import ACCOUNT_FILE
    from logllm.sinks.reduce.meter import load_account

    path = Path(data_dir) / ACCOUNT_FILE
    account = load_account(path)
    held = held_in(Path(data_dir))
    usage = usage_in(Path(data_dir))
    if account is None and usage is None and not held:
        raise SourceError(
            f"{path}: nothing is written down here yet; serve with --reduce and --data-dir does so twice a minute"
        )
    if as_json:
        said = {"type": "stats"} if account is None else _said(account)
        click.echo(msgspec.json.encode(said | {"held_back": held, "model": usage}))
        return
    if account is not None:
        _show(account, limit)
    if usage is not None:
        click.echo(("\n" if account is not None else "") + _model(usage))
    if held:
        click.echo(f"\n{sum(held.values()):,} anomalies held back by answers (see `logllm incidents answers`):")
        for name, count in sorted(held.items(), key=lambda each: -each[1])[:limit]:
            click.echo(f"{count:>10,}  {neutral(name)}")


def _model(usage: Usage) -> str:
    from logllm.cli.render_text import amount
    from logllm.events import rfc3339

    return (
        f"model, since {rfc3339(int(usage.since * 1e9))[:16]}Z: {usage.read + usage.written:,} tokens for "
        f"{amount(usage.asked, 'answer')}, {usage.hour:,} of them in the last hour; "
        f"{amount(usage.spared, 'explanation')} from the cache, {usage.saved:,} tokens saved"
    )


def _said(account: Account) -> dict[str, Any]:
    import msgspec

    said: dict[str, Any] = msgspec.to_builtins(account)
    return said | {
        "type": "stats",
        "saved_bytes": account.saved_bytes,
        "saved": account.saved,
        "saved_per_day": account.saved_per_day,
    }


def _show(account: Account, limit: int) -> None:
    from logllm.cli.render_text import duration, neutral, size
    from logllm.events import rfc3339

    since, as_of = (rfc3339(int(moment * 1e9))[:16] + "Z" for moment in (account.since_s, account.as_of_s))
    click.echo(f"since {since}, {duration(account.seconds)} of running, as of {as_of}")
    total = account.total
    saved = f"{size(account.saved_bytes)} did not go on"
    if account.price_per_gb:
        saved += f": {account.saved:,.2f} {neutral(account.currency)}, {account.saved_per_day:,.2f} a day"
    click.echo(f"{_flow(total)}; {saved}")
    if total.records_late:
        click.echo(f"{total.records_late:,} records went on after all, for incidents or to tell of others")
    if account.kept:
        reasons = sorted(account.kept.items(), key=lambda each: -each[1])
        click.echo("kept: " + ", ".join(f"{count:,} {neutral(reason)}" for reason, count in reasons))
    rows = sorted(account.tags.items(), key=lambda each: each[1].bytes_out - each[1].bytes_in)
    for title, named in (
        ("tag", rows),
        ("template", [(f"{row.name.service}: {row.name.text}", row.flow) for row in account.templates]),
    ):
        click.echo(f"\n{'in':>10} {'out':>10} {'out/in':>7}  {title}")
        for name, flow in named[:limit]:
            click.echo(
                f"{size(flow.bytes_in):>10} {size(flow.bytes_out):>10} {100 * flow.ratio:6.1f}%  {neutral(name, 200)}"
            )
        if len(named) > limit:
            click.echo(f"{'':>30}  and {len(named) - limit:,} more (--json has all)")


def _flow(flow: Flow) -> str:
    from logllm.cli.render_text import size

    return (
        f"{flow.records_in:,} records in ({size(flow.bytes_in)}), {flow.records_out:,} out ({size(flow.bytes_out)}), "
        f"{100 * flow.ratio:.1f} % of the bytes"
    )
