"""What the tests of actions share: a program that leaves a trace, declarations, incidents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logllm.actions.actions import Actions
from logllm.actions.config import ActionsConfig
from logllm.actions.declare import Declaration
from logllm.actions.parameters import Parameter
from logllm.events import Evidence, IncidentEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logllm.egress import EgressConfig

__all__ = ["NOW_S", "UNIT", "Canary", "acting", "config", "incident", "restart"]

NOW_S = 1_700_000_000.0
UNIT = Parameter("unit", "service", choices=["payments", "checkout"], source="service")


class Canary:
    """A program in a folder; each of its runs adds a line with its arguments to a file beside it."""

    def __init__(self, folder: Path, *, then: str = "", name: str = "canary") -> None:
        self.program = folder / name
        self.trace = folder / f"{name}.ran"
        self.program.write_text(f'#!/bin/sh\nprintf \'%s \' "$#" "$@" >> {self.trace}\necho >> {self.trace}\n{then}\n')
        self.program.chmod(0o755)

    def __str__(self) -> str:
        return str(self.program)

    @property
    def runs(self) -> list[str]:
        """The number of arguments and the arguments of each run."""
        return [line.strip() for line in self.trace.read_text().splitlines()] if self.trace.exists() else []


def config(*programs: object, max_mode: Literal["suggest", "approve", "auto"] = "auto") -> ActionsConfig:
    return ActionsConfig(enabled=True, max_mode=max_mode, allow_programs=[str(program) for program in programs])


def restart(program: object, **fields: object) -> Declaration:
    """An action that runs `PROGRAM restart SERVICE` when a person says so."""
    given: dict[str, object] = {
        "id": "restart",
        "title": "Restart the unit",
        "run": [str(program), "restart", "{unit}"],
        "parameters": [UNIT],
        "mode": "approve",
    }
    return Declaration(**(given | fields))  # type: ignore[arg-type]


def incident(lines: Sequence[str] = ("connection refused",), **fields: object) -> IncidentEvent:
    given: dict[str, object] = {
        "id": "inc-1",
        "event": "open",
        "time": "2023-11-14T22:13:20Z",
        "severity": "critical",
        "service": "payments",
        "kinds": ["rate"],
        "title": "payments: connection refused 0 to 312 a minute",
        "expected": "0 a minute",
        "seen": "312 a minute",
        "template": "connection refused",
        "count": 312,
        "runbook": "refused",
        "evidence": [Evidence(f"E{number}", "2023-11-14T22:13:20Z", line) for number, line in enumerate(lines, 1)],
        "started": "2023-11-14T22:13:20Z",
        "fingerprint": "f1",
    }
    return IncidentEvent(**(given | fields))  # type: ignore[arg-type]


def acting(
    declarations: Mapping[str, Sequence[object]] | Declaration,
    settings: ActionsConfig,
    path: Path | None = None,
    *,
    now_s: float = NOW_S,
    egress: EgressConfig | None = None,
    environ: Mapping[str, str] | None = None,
) -> Actions:
    """Actions of these runbooks; of one declaration, it is the only one of runbook "refused"."""
    given = {"refused": [declarations]} if isinstance(declarations, Declaration) else declarations
    return Actions(path, settings, given, now_s=now_s, egress=egress, environ=environ or {})
