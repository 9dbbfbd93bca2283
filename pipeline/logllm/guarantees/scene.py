"""Two hours of services of which something goes wrong at the hundredth minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logllm.guarantees.verdict import Broken
from logllm.guarantees.wire import frame

if TYPE_CHECKING:
    from logllm.guarantees.child import Child
    from logllm.guarantees.wire import Sender

__all__ = ["POOL", "SHOP", "incident_of", "play"]

POOL = "ERROR could not reserve item: database connection pool exhausted, 50 of 50 in use"
SHOP: Mapping[str, Sequence[str]] = {"shop": (POOL,)}

_MINUTES, _AT_MINUTE = 120, 100
_CHUNKS = 3
_FAULTS = 400


def play(sender: Sender, faults: Mapping[str, Sequence[str]] = SHOP, *, level: str = "error") -> int:
    """Send it and wait for the acks; returns how many records it is.

    Args:
        faults: By service, the lines that its fault logs in turn; `{n}` in them is a number.
        level: Of those lines.
    """
    count = 0
    for chunk in range(_CHUNKS):
        first = chunk * _MINUTES // _CHUNKS
        records = [
            record
            for service, fault in faults.items()
            for minute in range(first, first + _MINUTES // _CHUNKS)
            for record in _minute(service, minute, fault, level)
        ]
        records.sort(key=lambda record: record[0])
        name = f"chunk-{chunk}"
        sender.deliver(frame((record for _, record in records), name, (at for at, _ in records)), [name])
        count += len(records)
    return count


def _minute(service: str, minute: int, fault: Sequence[str], level: str) -> list[tuple[float, dict[str, str]]]:
    records = [
        (minute * 60.0 + at * 9, {"log": f"GET /items/{minute * 7 + at} 200 in {20 + at} ms", "service": service})
        for at in range(6)
    ]
    if minute == _AT_MINUTE:
        for at in range(_FAULTS):
            log = fault[at % len(fault)].replace("{n}", str(at))
            records.append((minute * 60.0 + at / 10, {"log": log, "level": level, "service": service}))
    return records


def incident_of(child: Child, service: str, patience_s: float) -> dict[str, Any]:
    """The incident that a child tells of a service. Raises Broken where it tells none."""
    incident = child.incident(patience_s, lambda event: event.get("service") == service)
    if incident is None:
        raise Broken(f"no incident was told within {patience_s:g} s of a fault that cannot be missed")
    return incident
