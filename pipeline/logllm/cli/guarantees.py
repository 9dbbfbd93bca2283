"""`logllm guarantees`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from logllm.guarantees.promise import Promise
    from logllm.guarantees.verdict import Status, Verdict

__all__ = ["guarantees"]

_STYLE = {"holds": "green", "broken": "bold red", "unchecked": "yellow"}
_WORDS: dict[Status, str] = {"holds": "holds", "broken": "broken", "unchecked": "could not be checked"}
_WIDEST = max(map(len, _WORDS.values()))


@click.command()
@click.option("--verify", "verifying", is_flag=True, help="Check each promise on this machine: a minute, no root.")
@click.option("--only", "ids", metavar="ID", multiple=True, help="This promise only; repeatable.")
@click.option(
    "--folder",
    type=click.Path(),
    help="Where temporary folders are made: name the disk that your sinks are on.  [default: the system's]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
def guarantees(verifying: bool, ids: tuple[str, ...], folder: str | None, as_json: bool) -> None:
    """What logllm promises, and whether it keeps it here.

    --verify starts services of its own on free ports of 127.0.0.1, in temporary folders, sends to them, kills them,
    and says what it saw. Nothing of yours is touched.

    \b
    Exit codes: 0 nothing is broken, 1 something is, 2 no such promise or folder.
    """
    from pathlib import Path

    from logllm.errors import ConfigError
    from logllm.guarantees.registry import PROMISES

    known = {promise.id: promise for promise in PROMISES}
    if unknown := [name for name in ids if name not in known]:
        raise ConfigError(f"--only {unknown[0]!r}: expected one of {', '.join(known)}")
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(f"--folder {folder!r}: expected a folder that is there")
    chosen = [promise for promise in PROMISES if not ids or promise.id in ids]
    if not verifying:
        (_list_json if as_json else _list)(chosen)
        return
    counts: dict[Status, int] = {"holds": 0, "broken": 0, "unchecked": 0}
    show = _json if as_json else _lines(max(len(promise.id) for promise in chosen))
    for verdict in _verified(chosen, None if folder is None else Path(folder)):
        counts[verdict.status] += 1
        show(verdict)
    _sum(counts, as_json=as_json)
    if counts["broken"]:
        raise SystemExit(1)


def _verified(chosen: Sequence[Promise], folder: Path | None) -> Iterator[Verdict]:
    """Verdicts as they come. A signal that ends us leaves no folder behind."""
    import signal
    import tempfile
    from pathlib import Path

    from logllm.guarantees.place import Place
    from logllm.guarantees.verify import verify

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="logllm-code-", dir=folder) as code:
            yield from verify(chosen, lambda: Place(folder, cache=Path(code)))
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def _list(chosen: Sequence[Promise]) -> None:
    import sys
    import textwrap

    from logllm.cli.render import console_for

    console = console_for(sys.stdout)
    width = max(40, min(console.width, 120)) if console.is_terminal else 10_000
    for promise in chosen:
        click.secho(promise.id, bold=True)
        for words in filter(None, (promise.sentence, promise.limits)):
            click.echo(textwrap.fill(words, width, initial_indent="  ", subsequent_indent="  "))
    click.echo("`logllm guarantees --verify` checks them on this machine.", err=True)


def _list_json(chosen: Sequence[Promise]) -> None:
    import msgspec

    for each in chosen:
        row = {"type": "promise", "id": each.id, "sentence": each.sentence, "limits": each.limits, "tests": each.tests}
        click.echo(msgspec.json.encode(row).decode())


def _json(verdict: Verdict) -> None:
    import msgspec

    click.echo(msgspec.json.encode({"type": "verdict", **msgspec.structs.asdict(verdict)}).decode())


def _lines(widest: int) -> Callable[[Verdict], None]:
    """Shows verdicts as lines: coloured and wrapped on a terminal; one line each, plain, on a pipe."""
    import sys

    from rich.text import Text

    from logllm.cli.render import console_for, print_row
    from logllm.cli.render_text import neutral

    console = console_for(sys.stdout)

    def show(verdict: Verdict) -> None:
        head = Text(f"{_WORDS[verdict.status]:<{_WIDEST}}  ", _STYLE[verdict.status])
        text = Text.assemble((f"{verdict.id:<{widest}}", "bold"), "  ", neutral(verdict.seen, 1_000, console.encoding))
        text.append(f" ({verdict.seconds:.1f} s)", "dim")
        print_row(console, head, text)

    return show


def _sum(counts: dict[Status, int], *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"type": "summary", **counts}).decode())
    else:
        click.echo(
            f"{counts['holds']} hold, {counts['broken']} broken, {counts['unchecked']} could not be checked", err=True
        )
