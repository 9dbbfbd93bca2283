"""`logllm tail`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from logllm.cli.options import configured, run_options

if TYPE_CHECKING:
    from logllm.service.outlet import Outlet

__all__ = ["tail"]


@click.command()
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--once", is_flag=True, help="Stop at the end of the input instead of following it.")
@click.option("--format", "line_format", default="auto", help="Name the format of the lines.  [default: detected]")
@click.option("--since", help="Leave out older records: -3h, 15m, yesterday, 2026-11-22T10:00:00Z.")
@click.option("--service", "services", multiple=True, help="Only this service; repeatable.")
@click.option("--tz", default="UTC", help="Zone of times that name none.  [default: UTC]")
@click.option(
    "--max-incidents", default=10, type=click.IntRange(min=1), help="At most this many for the past.  [default: 10]"
)
@click.option("--reveal", is_flag=True, help="Show addresses and user names in --json too; secrets never.")
@run_options
def tail(
    files: tuple[str, ...],
    once: bool,
    line_format: str,
    since: str | None,
    services: tuple[str, ...],
    tz: str,
    max_incidents: int,
    reveal: bool,
    config_path: str | None,
    data_dir: str | None,
    alerts_per_day: float | None,
    no_llm: bool,
    model: str | None,
    runbooks: tuple[str, ...],
    filters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Read FILES from the start, report what stands out, then follow them.

    "-" is standard input, which is also what is read where no file is named and it is no terminal. Globs in quotes
    are watched for new files. .gz, .bz2, .xz and .zst are read once.
    """
    import signal
    import sys
    import threading
    import time

    from logllm.errors import ConfigError
    from logllm.service.tail import TailOptions
    from logllm.service.tail import tail as run_tail
    from logllm.sources.file_select import parse_since

    if not files:
        if sys.stdin.isatty():
            raise ConfigError("tail: name a file, or - for standard input")
        files = ("-",)
    config = configured(config_path, data_dir, alerts_per_day, no_llm, model, runbooks, filters)
    options = TailOptions(
        paths=files,
        once=once,
        format=line_format,
        tz=tz,
        since_ns=None if since is None else parse_since(since, time.time_ns()),
        services=frozenset(services),
        max_incidents=max_incidents,
        reveal=reveal or not as_json,
    )
    stop = threading.Event()
    interrupted: list[int] = []

    def end(number: int, _frame: object) -> None:
        if interrupted:
            raise SystemExit(128 + number)
        interrupted.append(number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        summary, failed = run_tail(options, config, _outlet(as_json, config.explain.runbooks), stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise SystemExit(128 + interrupted[0])
    if failed and not summary.records:
        raise SystemExit(1)


def _outlet(as_json: bool, runbooks: list[str]) -> Outlet:
    from logllm.cli.output import outlet

    if as_json:
        return outlet(as_json=True)
    from logllm.explain.runbooks.search import Catalogue

    with Catalogue.load(runbooks) as catalogue:
        titles = {name: runbook.title for name, runbook in catalogue.by_id.items()}
    return outlet(as_json=False, runbook_title=titles.get)
