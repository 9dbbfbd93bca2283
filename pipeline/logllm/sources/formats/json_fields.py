"""Which keys of a JSON record hold its time, level, service and text, whoever wrote it.

Keys are compared in small letters. A path of several keys goes into nested objects; for each a record may also hold
the path as one dotted key (`"log.level"`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from logllm.events import Severity
from logllm.sources.formats.levels import severity_of_number, severity_of_word

__all__ = ["Path", "Place", "common_places", "lookup", "places", "scalars", "severity_of_json", "text_of"]

Path = tuple[str, ...]


def _paths(text: str) -> tuple[Path, ...]:
    """`a.b` stands for the dotted key and for the nested one."""
    found: list[Path] = []
    for word in text.split():
        found.append((word,))
        if "." in word:
            found.append(tuple(word.split(".")))
    return tuple(found)


TIMES = _paths(
    "time timestamp @timestamp ts @t eventtime event_time datetime date asctime time_iso8601 time_local t.$date "
    "timestamp.$date timeunixnano time_unix_nano observedtimeunixnano __realtime_timestamp syslog_timestamp t "
    "record.time.timestamp"
)
LEVELS = _paths(
    "level severity lvl log.level levelname log_level loglevel severity_text severitytext @l level_name priority "
    "severitynumber severity_number s record.level.name"
)
SERVICES = _paths(
    "service.name service service_name resource.service.name resource.attributes.service.name app.name app application "
    "app_name appname application_name kubernetes.labels.app "
    "kubernetes.container_name kubernetes.container.name container_name container.name container program "
    "syslog_identifier ident _systemd_unit component"
)
SERVICES += (("kubernetes", "labels", "app.kubernetes.io/name"),)
MESSAGES = _paths(
    "message msg @m @mt log event.original event text body short_message messagetemplate body.stringvalue "
    "record.message"
)
_letters = re.compile(r"\A([DIWEF])\d?\Z")


@dataclass(slots=True, frozen=True)
class Place:
    """Where the records of one writer keep what we read, each a path in the record's own spelling."""

    time: Path | None
    level: Path | None
    service: Path | None
    message: Path | None


def lookup(record: dict[str, Any], path: Path) -> Any:
    """The value at a path; None where there is none."""
    value: Any = record
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _spelled(record: dict[str, Any], path: Path) -> tuple[Path, Any] | None:
    """The path in the record's spelling and its value."""
    value: Any = record
    spelled: list[str] = []
    for wanted in path:
        if not isinstance(value, dict):
            return None
        for key in value:
            if isinstance(key, str) and key.lower() == wanted:
                spelled.append(key)
                value = value[key]
                break
        else:
            return None
    return tuple(spelled), value


def places(record: dict[str, Any]) -> Place:
    """Where this record keeps time, level, service and message."""

    def first(paths: tuple[Path, ...], fits: Any) -> Path | None:
        for path in paths:
            found = _spelled(record, path)
            if found is not None and fits(found[1]):
                return found[0]
        return None

    time = first(
        TIMES, lambda value: isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
    )
    level = first(LEVELS, lambda value: bool(severity_of_json(value)))
    message = first(MESSAGES, lambda value: isinstance(value, str))
    service = first(SERVICES, lambda value: isinstance(value, str) and value != "")
    if service is None and {"name", "hostname", "pid", "level"} <= record.keys() and isinstance(record["name"], str):
        service = ("name",)  # bunyan and pino
    return Place(time, level, service, message)


def common_places(records: list[dict[str, Any]]) -> dict[str, list[Path]]:
    """Where these records keep `time`, `level`, `service` and `message`, the likelier place first; three at most."""
    found = [places(record) for record in records]
    votes = {name: Counter(path for place in found if (path := getattr(place, name))) for name in Place.__slots__}
    return {name: [path for path, _ in counted.most_common(3)] for name, counted in votes.items()}


def severity_of_json(value: Any, *, otel: bool = False) -> Severity:
    """The severity of a JSON level: a word, a number of syslog's or pino's, or either as text.

    With `otel` a number is OpenTelemetry's own.
    """
    if otel and isinstance(value, int) and 1 <= value <= 24:
        return Severity((value - 1) // 4 * 4 + 1)
    if isinstance(value, bool) or value is None:
        return Severity.UNSPECIFIED
    if isinstance(value, (int, float)):
        return severity_of_number(value)
    if isinstance(value, str):
        return severity_of_word(_letters.sub(r"\1", value))
    return Severity.UNSPECIFIED


def text_of(value: Any) -> str:
    """A value as text of a record: texts as they are, scalars as JSON writes them, others shortened."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):  # `"service": {"name": "pay"}`
        value = value.get("name")
        return value if isinstance(value, str) else ""
    return "" if value is None else str(value)


def scalars(record: dict[str, Any], without: Place) -> str:
    """`key=value` of a record that has no message, in its order, without what was read already."""
    skip = {path[0] for path in (without.time, without.level, without.service) if path is not None and len(path) == 1}
    parts = [
        f"{key}={text_of(value)}"
        for key, value in record.items()
        if key not in skip and value is not None and not isinstance(value, (dict, list))
    ]
    return " ".join(parts)
