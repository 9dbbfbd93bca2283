"""What can be set of detection: how much is told in all, by kind and by service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.values.config import ValuesConfig

if TYPE_CHECKING:
    from logllm.fields import Wanted

__all__ = ["BudgetConfig", "DetectConfig", "ServiceConfig", "Shares"]

_PerDay = Annotated[float, msgspec.Meta(gt=0, le=10_000)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1_000)]


class Shares(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the budget is divided among kinds of anomalies. Only their proportions count; 0 means never.

    What a kind cannot use, because nothing of its sort is logged or hardly anything of it is odd, goes to the others.
    """

    rate: _Share = 6.0
    silence: _Share = 1.0
    heartbeat: _Share = 1.0
    severity: _Share = 1.0
    new: _Share = 2.0
    value: _Share = 2.0
    distinct: _Share = 1.0
    session: _Share = 2.0
    change: _Share = 1.0
    odd: _Share = 1.0


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is different for some services. Of several entries that fit a service the first counts.

    Args:
        name: The service's name; `*` stands for anything, `?` for one character.
        alerts_per_day: A budget of their own for all services of this name, beside the general one.
        quiet: Nothing is told of them. They are learned all the same.
        weight: How much their oddities count within the general budget: 2.0 is told at twice the tail probability.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    alerts_per_day: _PerDay | None = None
    quiet: bool = False
    weight: Annotated[float, msgspec.Meta(ge=0.01, le=100)] = 1.0


class BudgetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much may be told.

    Args:
        alerts_per_day: Incidents a day that a person is willing to look at, for all that this process watches.
        shares: Its division among kinds.
        services: What is different for some services.
        learned: The file of what people said of incidents, to share it or keep it in a repository; a relative path is
            looked for beside the configuration. Without it they are in the data folder, in `learned.toml`.
    """

    alerts_per_day: _PerDay = 5.0
    shares: Shares = Shares()
    services: Annotated[list[ServiceConfig], msgspec.Meta(max_length=1_000)] = []
    learned: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class DetectConfig(BudgetConfig, frozen=True, forbid_unknown_fields=True):
    """The budget, and what detectors have to be told; each detector's own settings are a field here.

    A kind whose share is 0 is not even looked for.

    >>> DetectConfig().alerts_per_day
    5.0
    """

    values: ValuesConfig = ValuesConfig()
    sessions: SessionsConfig = SessionsConfig()

    @property
    def wanted(self) -> Wanted:
        """The fields of records that detectors need to be read."""
        wanted, key = self.values.wanted(), self.sessions.key
        if key in {"auto", "off"} or key.startswith("re:"):
            return wanted
        return replace(wanted, words=wanted.words | {key})
