"""What an incident consists of, in the terms in which people's answers are kept."""

from __future__ import annotations

import msgspec

__all__ = ["Cause"]


class Cause(msgspec.Struct, frozen=True):
    """One anomaly of an incident, as answers of people are kept by: kind, service and template.

    `template` is the stable id, "*" where all of a service is meant (then `text` is empty); `service` "*" is the whole
    source. `expected` and `seen` as in `Anomaly`; `severity` is OpenTelemetry's number.
    """

    kind: str
    service: str
    template: str
    text: str
    expected: float
    seen: float
    severity: int
