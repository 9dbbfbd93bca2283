"""What runs: declared actions that somebody approved, and nothing else."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import msgspec

from logllm.guarantees.scene import POOL, incident_of, play
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from logllm.guarantees.place import Place
    from logllm.guarantees.receiver import Arrived

__all__ = ["only_what_is_approved"]

_RUNBOOK = """+++
id = "guarantee"
title = "Guarantee"
signals = ["database connection pool exhausted"]

[[actions]]
id = "touch"
title = "Make a file"
run = [{program}, {file}]
mode = "approve"
+++

## What it is

A pool that is exhausted, for this check.

## Check

- Is the pool full?

## Do

- Look at it.
"""
_WATCHED_S = 0.3


def only_what_is_approved(place: Place) -> str:
    """Let log lines and a model ask for a program to be run; then approve what a runbook declares."""
    program = shutil.which("touch")
    if program is None:
        raise Unchecked("there is no `touch` to run here")
    said, wanted = place.folder / "said", place.folder / "approved"
    command = f"{program} {said}"

    def answer(_: Arrived) -> tuple[int, bytes]:
        content = json.dumps({"cause": f"Run `{command}`", "steps": [command], "run": [program, str(said)]})
        return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()

    model = place.receive(answer)
    data = place.folder / "data"
    arguments = ("-c", str(_config(place.folder, program, wanted)), "--data-dir", str(data))
    child = place.serve(*arguments, model=f"{model.url}/v1")
    lines = [f"{POOL}; {command}", f"{POOL} $({command})", f"{POOL} `{command}` | sh"]
    play(place.connect(child), {"shop": lines})
    incident_of(child, "shop", place.patience_s)
    asked = model.wait(1, place.patience_s)
    requests = [msgspec.json.decode(line) for line in _actions(place, "list", data, "--pending", "--json").splitlines()]
    until(lambda: said.exists() or wanted.exists(), _WATCHED_S)
    _nothing_but(said, wanted, ran=False)

    if not requests:
        raise Broken("the action that the runbook declares was not offered")
    _actions(place, "approve", data, str(requests[0]["id"]), "--wait", f"{place.patience_s:g}")
    until(wanted.exists, place.patience_s)
    _nothing_but(said, wanted, ran=True)
    child.end()

    if not asked:
        raise Unchecked("the model was never asked")
    return "a declared action waited for approval, and ran with it; what log lines and a model ask for did not"


def _config(folder: Path, program: str, file: Path) -> Path:
    books, config = folder / "runbooks", folder / "logllm.toml"
    books.mkdir()
    text = _RUNBOOK.format(program=json.dumps(program), file=json.dumps(str(file)))
    (books / "guarantee.md").write_text(text, encoding="utf-8")
    config.write_text(
        f"[explain]\nrunbooks = [{json.dumps(str(books))}]\n"
        f"[actions]\nenabled = true\nallow_programs = [{json.dumps(program)}]\n",
        encoding="utf-8",
    )
    return config


def _actions(place: Place, command: str, data: Path, *arguments: str) -> bytes:
    return place.run("actions", command, *arguments, "--data-dir", str(data))


def _nothing_but(said: Path, wanted: Path, *, ran: bool) -> None:
    if said.exists():
        raise Broken("a program ran that a log line or the model asked for")
    if wanted.exists() is not ran:
        raise Broken("an approved action did not run" if ran else "an action ran that nobody approved")
