"""Declared actions, as this stage takes them from whoever has read the runbooks.

Runbooks are read, and their mistakes told with file and line, in `explain`; only what can run is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from logllm.actions.config import Mode
from logllm.actions.parameters import Parameter, fault_of
from logllm.errors import ConfigError

__all__ = ["Declaration", "Limit", "Severity", "Webhook", "declared"]

Severity = Literal["info", "warning", "critical"]
Scalar = str | int | float | bool


class Limit(msgspec.Struct, frozen=True):
    """How often an action may begin, whatever it is about."""

    per_hour: int = 3
    per_day: int = 10
    cooldown_s: float = 300.0


class Webhook(msgspec.Struct, frozen=True):
    """A request to one address, which may be a secret."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: dict[str, Scalar | list[Scalar] | dict[str, Scalar]] = {}

    def __repr__(self) -> str:
        return f"Webhook(method={self.method!r})"


class Declaration(msgspec.Struct, frozen=True):
    """One action of a runbook; its fields are those of `[[actions]]` in the file."""

    id: str
    title: str
    run: list[str] = []
    webhook: Webhook | None = None
    parameters: list[Parameter] = []
    mode: Mode = "suggest"
    idempotent: bool = False
    dry_run: list[str] = []
    limit: Limit | None = None
    when: tuple[Severity, ...] = ("critical",)
    timeout_s: float | None = None
    risk: Literal["low", "medium", "high"] = "medium"

    @property
    def digest(self) -> str:
        """Changes with anything in it: what was approved is what runs, or nothing does."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def programs(self) -> list[str]:
        """What it would execute."""
        return [argv[0] for argv in (self.run, self.dry_run) if argv]


def declared(runbook: str, actions: Iterable[object]) -> list[Declaration]:
    """A runbook's actions, given as objects with the fields of `Declaration`.

    Raises:
        ConfigError: One has other fields, or a default or choice that its own type refuses.
    """
    found = []
    for given in actions:
        try:
            declaration = msgspec.convert(given, Declaration, from_attributes=True)
        except msgspec.ValidationError as error:
            raise ConfigError(f"runbook {runbook}: actions: {error}") from None
        for parameter in declaration.parameters:
            own = [] if parameter.default is None else [str(parameter.default)]
            for value in (*parameter.choices, *own):
                fault = fault_of(parameter, value)
                if fault:
                    raise ConfigError(f"runbook {runbook}: action {declaration.id}: {fault}")
        found.append(declaration)
    return found
