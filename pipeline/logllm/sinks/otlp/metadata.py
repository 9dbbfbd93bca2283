"""What Fluent Bit's OpenTelemetry input has put into an entry's metadata, to be put back where it came from."""

from __future__ import annotations

from typing import NamedTuple

from logllm.sinks.entries import fields_of, text_of
from logllm.sinks.json_value import head_at, number_at
from logllm.sinks.trace import NO_TRACE, Trace, trace_of

__all__ = ["Metadata", "metadata_of"]

_LARGEST_NS = (1 << 63) - 1
_MOST_SEVERE = 24


class Metadata(NamedTuple):
    """Of a log record as OpenTelemetry knows it; 0, b"" or nothing for what is not said.

    Args:
        time_ns, observed_ns: Nanoseconds since 1970.
        severity, severity_text: The number, 1 to 24; the text in UTF-8.
        trace: Where it belongs.
        attributes: Values as MessagePack.
        rest: The map of what metadata there is beside it, as MessagePack.
    """

    time_ns: int = 0
    observed_ns: int = 0
    severity: int = 0
    severity_text: bytes = b""
    trace: Trace = NO_TRACE
    attributes: dict[str, bytes] = {}  # noqa: RUF012 - never changed
    rest: bytes = b""


def metadata_of(value: bytes) -> Metadata:
    r"""What a map of metadata says, as MessagePack: the map under `otlp`, and what is beside it.

    >>> metadata_of(b"\x81\xa4otlp\x81\xafseverity_number\x11").severity
    17
    """
    fields = fields_of(value)
    said = fields.pop("otlp", b"\x80")
    if head_at(said, 0)[0] != "map":
        return Metadata(rest=value)
    otlp = fields_of(said)
    attributes = otlp.get("attributes", b"\x80")
    severity = _number(otlp.get("severity_number"))
    return Metadata(
        time_ns=_number(otlp.get("timestamp")),
        observed_ns=_number(otlp.get("observed_timestamp")),
        severity=severity if severity <= _MOST_SEVERE else 0,
        severity_text=text_of(otlp["severity_text"]) or b"" if "severity_text" in otlp else b"",
        trace=trace_of({key: otlp[key] for key in ("trace_id", "span_id", "trace_flags") if key in otlp}),
        attributes=fields_of(attributes) if head_at(attributes, 0)[0] == "map" else {},
        rest=_map(fields) if fields else b"",
    )


def _number(value: bytes | None) -> int:
    if value is None or head_at(value, 0)[0] != "number":
        return 0
    number = number_at(value, 0)
    return number if isinstance(number, int) and 0 < number <= _LARGEST_NS else 0


def _map(fields: dict[str, bytes]) -> bytes:
    names = [name.encode() for name in fields]
    pairs = zip(names, fields.values(), strict=True)
    parts = [b"\xdb" + len(name).to_bytes(4, "big") + name + value for name, value in pairs]
    return b"\xdf" + len(parts).to_bytes(4, "big") + b"".join(parts)
