"""What matchers see of an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logllm.events import IncidentEvent
    from logllm.notify.routing.plan import Labels

__all__ = ["LABELS", "labels_of"]

LABELS = ("service", "services", "severity", "kind", "owner", "fingerprint", "incident", "runbook", "source")
"""Every label there is; what else is asked for is a mistake."""

_MOST_VALUES = 20


def labels_of(event: IncidentEvent, owner: str) -> Labels:
    """The labels of an incident; none is missing, what there is nothing of is ("",).

    `service` is the one it is told under, `services` are all that it touches, `kind` is each detector that saw it,
    `source` the files or peers its evidence came from. Of each at most 20 values.

    Args:
        owner: The team that the service belongs to, as `owners.toml` calls it; empty for none.
    """
    return {
        "service": (event.service,),
        "services": _each(event.services or [event.service]),
        "severity": (event.severity,),
        "kind": _each(event.kinds),
        "owner": (owner,),
        "fingerprint": (event.fingerprint,),
        "incident": (event.id,),
        "runbook": (event.runbook or "",),
        "source": _each([evidence.source for evidence in event.evidence]),
    }


def _each(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))[:_MOST_VALUES] or ("",)
