"""What `logllm audit canary` found, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.audit.canary import Canary
    from logllm.cli.audit_canary import Finding

__all__ = ["show_findings"]

_SHORT = {
    "Slack's API": "bot",
    "Slack's webhook": "slack",
    "alertmanager": "alertm.",
    "explanations of the local model": "model*",
    "own logs": "logs",
    "pagerduty": "pagerd.",
}
_LAST = ("stdout", "logs", "files")
_MARKS = ("LEAK", "kept", "ok", "-")
_WIDE = 8


def show_findings(
    planted: Sequence[Canary], findings: Sequence[Finding], notes: Sequence[str], *, as_json: bool
) -> bool:
    """Print them; whether anything leaked."""
    import msgspec

    leaks = [finding for finding in findings if finding.leaked]
    if as_json:
        rows = [{**finding._asdict(), "leaked": finding.leaked} for finding in findings]
        click.echo(
            msgspec.json.encode({"planted": len(planted), "leaks": len(leaks), "notes": notes, "findings": rows})
        )
        return bool(leaks)
    names = dict.fromkeys(_column(finding.place) for finding in findings)
    columns = sorted(names, key=lambda name: (_LAST.index(name) if name in _LAST else -1, name))
    cells: dict[tuple[str, str], str] = {}
    for finding in findings:
        at = (finding.kind, _column(finding.place))
        cells[at] = min(cells.get(at, "-"), _mark(finding), key=_MARKS.index)
    wide = max(len(one.kind) for one in planted)
    click.echo(" " * wide + "  " + "".join(f"{name:{_WIDE}}" for name in columns))
    for one in planted:
        click.echo(f"{one.kind:{wide}}  " + "".join(f"{cells[one.kind, name]:{_WIDE}}" for name in columns))
    click.echo("")
    click.echo("ok: its line came there without it   -: its line did not come there   LEAK: see below")
    click.echo("kept: no secret, and in what this machine learned (state.msgpack), for its owner alone")
    for finding in leaks:
        click.echo(f"LEAK  {finding.kind}: {finding.place}, written as {', '.join(finding.forms)}")
    for note in notes:
        click.echo(f"note  {note}")
    secrets = sum(one.is_secret for one in planted)
    verdict = f"{len(leaks)} leaks" if leaks else "nothing leaked"
    click.echo(f"{secrets} kinds of secrets and {len(planted) - secrets} of personal values planted: {verdict}")
    return bool(leaks)


def _column(place: str) -> str:
    if "/" in place:
        return "files"
    return "stdout" if place.startswith("stdout") else _SHORT.get(place, place)


def _mark(finding: Finding) -> str:
    if finding.forms:
        return "LEAK" if finding.leaked else "kept"
    return "ok" if finding.seen else "-"
