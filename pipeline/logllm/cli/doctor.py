"""`logllm doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.doctor.finding import Finding, Level

__all__ = ["doctor"]

_STYLE = {"ok": "green", "warn": "bold yellow", "fail": "bold red", "skipped": "dim"}
_WIDEST = max(map(len, _STYLE))


@click.command()
@click.option("-c", "--config", "config_path", type=click.Path(), help="The TOML file that `logllm serve` is given.")
@click.option("--data-dir", type=click.Path(), help="In place of the configuration's.")
@click.option("--url", help="HTTP address of a running service.  [default: http.listen of the configuration]")
@click.option(
    "--fluent-bit",
    multiple=True,
    type=click.Path(),
    help="A configuration of Fluent Bit, YAML or classic, whose forward outputs to look at; repeatable.",
)
@click.option("--offline", is_flag=True, help="Configuration, files and plugins only: bind nothing, ask nobody.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a check on standard output.")
def doctor(
    config_path: str | None,
    data_dir: str | None,
    url: str | None,
    fluent_bit: tuple[str, ...],
    offline: bool,
    as_json: bool,
) -> None:
    """See whether configuration, machine, running service and senders are as they should be.

    One line a check: what was looked at, what was found, what to do. Run it as the user that runs the service. Nothing
    is changed.

    \b
    Exit codes: 0 nothing failed, 1 something failed, 2 the configuration is wrong.
    """
    from logllm.doctor.examine import Options, configuration, examine
    from logllm.errors import ConfigError

    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url!r}: expected an address such as http://127.0.0.1:24280")
    if url is not None and offline:
        raise ConfigError("--url and --offline: give one of them")
    options = Options(config_path, data_dir, url, fluent_bit, offline)
    counts: dict[Level, int] = {"ok": 0, "warn": 0, "fail": 0, "skipped": 0}
    show = _json if as_json else _lines()
    config, first = configuration(options)

    def told(finding: Finding) -> None:
        counts[finding.level] += 1
        show(finding)

    told(first)
    for finding in examine(config, options):
        told(finding)
    _sum(counts, as_json=as_json)
    if config is None:
        raise SystemExit(ConfigError.exit_code)
    if counts["fail"]:
        raise SystemExit(1)


def _json(finding: Finding) -> None:
    import msgspec

    click.echo(msgspec.json.encode(finding).decode())


def _lines() -> Callable[[Finding], None]:
    """Shows findings as lines: coloured and wrapped on a terminal; one line each, plain, on a pipe."""
    import sys

    from rich.text import Text

    from logllm.cli.render import console_for, print_row
    from logllm.cli.render_text import neutral

    console = console_for(sys.stdout)

    def show(finding: Finding) -> None:
        head = Text(f"{finding.level:<{_WIDEST}}  ", _STYLE[finding.level])
        text = Text.assemble((neutral(finding.about, 300, console.encoding), "bold"), ": ")
        text.append(neutral(finding.found, 1_000, console.encoding), "dim" if finding.level == "skipped" else "")
        if finding.advice:
            text.append("; ").append(neutral(finding.advice, 500, console.encoding), "cyan")
        print_row(console, head, text)

    return show


def _sum(counts: dict[Level, int], *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"type": "summary", **counts}).decode())
    else:
        click.echo(", ".join(f"{count} {level}" for level, count in counts.items() if count), err=True)
