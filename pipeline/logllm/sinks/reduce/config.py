"""What of the records goes on to the sinks, as it is configured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from logllm.events import Severity

__all__ = ["ReduceConfig"]

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class ReduceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which records are always sent on, and how many of the rest.

    Args:
        enabled: False: every record goes on to the sinks.
        keep_tags: Tags whose records are all kept, with `*` and `?`, as an audit trail's.
        severity: Records of this severity or a higher one are always kept; of those that say none, the ones whose
            template sounds like an error.
        burst: The first records of each template of each service are kept.
        per_hour: So many of each template are kept in an hour whatever is sampled, and after an hour of less as many
            at once: what comes no more often than that is never culled. 0: none.
        sample: Of the rest of each template, one in so many; 1: all.
        context_s: Records of an incident's service this long before and after what it cites are kept.
        context_bytes: So much of them for an incident, before it is told and again afterwards.
        incident_bytes: So much of an incident's own templates is kept while it is open; beyond it they are sampled.
        ring_bytes: Memory for what was culled of late, out of which an incident's records and context are sent after
            all. It takes more where the detectors themselves remember more.
        count_field: The field in which a record says how many it stands for, itself included; "": none.
        price_per_gb: What a gigabyte (10^9 bytes) costs where the records go, to tell what is saved; 0: not known.
        currency: Of that price.
    """

    enabled: bool = False
    keep_tags: list[str] = []
    severity: Literal["trace", "debug", "info", "warn", "error", "fatal"] = "error"
    burst: Count = 10
    per_hour: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 12
    sample: Count = 100
    context_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    context_bytes: Bytes = 1 << 20
    incident_bytes: Bytes = 8 << 20
    ring_bytes: Bytes = 64 << 20
    count_field: Annotated[str, msgspec.Meta(max_length=63)] = "logllm_count"
    price_per_gb: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    currency: Annotated[str, msgspec.Meta(max_length=16)] = "USD"

    @property
    def least_severity(self) -> Severity:
        """The severity from which on every record is kept."""
        return Severity.parse(self.severity)
