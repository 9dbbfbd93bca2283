"""Which fields of a record say its message, severity and service, and what their values mean."""

from __future__ import annotations

import re

from logllm.events import Severity

__all__ = [
    "KUBE_TAG",
    "MESSAGE_KEYS",
    "SERVICE_KEYS",
    "SEVERITY_KEYS",
    "service_of",
    "service_of_tag",
    "severity_of",
]

# In order of trust: the first that a record has is taken. `message` comes before `log`, since where both are there
# (Fluent Bit's Merge_Log with Keep_Log) `log` is the raw line that `message` was taken out of.
MESSAGE_KEYS = ("message", "msg", "log", "MESSAGE", "body", "Body", "event", "short_message", "text", "line")
SEVERITY_KEYS = (
    "level", "severity", "lvl", "log.level", "levelname", "loglevel", "log_level", "severity_text", "SeverityText",
    "PRIORITY", "pri", "severity_number", "SeverityNumber", "levelno", "LEVEL", "Level",
)  # fmt: skip
SERVICE_KEYS = (
    "service", "service.name", "service_name", "app", "application", "kubernetes", "container_name", "ident",
    "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "appname", "program",
)  # fmt: skip

KUBE_TAG = re.compile(
    r"(?:^|\.)var\.log\.containers\.(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+?)(?:-(?P<id>[0-9a-f]{64}))?\.log$"
)
"""The tag that Fluent Bit's tail input gives to a container's file."""

# RFC 5424, emergency to debug.
_SYSLOG = (Severity.FATAL,) * 3 + (Severity.ERROR, Severity.WARN, Severity.INFO, Severity.INFO, Severity.DEBUG)
_LABELS = ("app.kubernetes.io/name", "app", "k8s-app", "app.kubernetes.io/component")
_HEX_ID = re.compile(r"^[0-9a-f]{12,64}$")


def severity_of(key: str, value: object) -> int:
    """OpenTelemetry's number for a level field's value; 0 where it says none.

    Numbers mean what their writers mean: `PRIORITY` and `pri` syslog's 0 to 7 (the facility is taken off),
    `levelno` Python's, `severity_number` OpenTelemetry's own; else 0 to 7 is syslog's (GELF) and 10 to 60 pino's.

    >>> severity_of("level", "WARN"), severity_of("level", 50), severity_of("PRIORITY", "3"), severity_of("level", {})
    (13, 17, 17, 0)
    """
    if isinstance(value, dict):
        value = value.get("name", value.get("level"))
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if not value.isascii() or not value.strip().isdigit() or len(value) > 4:
            return int(Severity.parse(value[:32]))
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10_000:
        return 0
    number = int(value)
    if key in ("severity_number", "SeverityNumber"):
        return number if number <= 24 else 0
    if key in ("PRIORITY", "pri"):
        return int(_SYSLOG[number & 7])
    if number < 8:
        return int(_SYSLOG[number])
    if key == "levelno":
        number += 10
    # pino and bunyan: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal.
    return min(max(number // 10, 1), 6) * 4 - 3


def service_of(key: str, value: object) -> str:
    """The service that a field names; "" where it names none.

    >>> service_of("kubernetes", {"labels": {"app.kubernetes.io/name": "cart"}, "container_name": "main"})
    'cart'
    >>> service_of("container_name", "/web-1"), service_of("_SYSTEMD_UNIT", "ssh.service")
    ('web-1', 'ssh')
    """
    if isinstance(value, dict):
        if key == "kubernetes":
            return _service_of_kubernetes(value)
        value = value.get("name")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    if key == "container_name":
        value = value.lstrip("/")
    return value.removesuffix(".service").replace("\0", "").strip()[:256]


def _service_of_kubernetes(value: dict[object, object]) -> str:
    labels = value.get("labels")
    if isinstance(labels, dict):
        for name in _LABELS:
            if found := service_of(name, labels.get(name)):
                return found
    return service_of("", value.get("container_name")) or service_of("", value.get("pod_name"))


def service_of_tag(tag: str) -> tuple[str, bool]:
    """The service a tag names, and whether it surely does.

    >>> service_of_tag("kube.var.log.containers.cart-7d9f_shop_cart-" + "0" * 64 + ".log")
    ('cart', True)
    >>> service_of_tag("app.web"), service_of_tag("tail.0"), service_of_tag("var.log.nginx.log")
    (('web', False), ('tail.0', False), ('nginx', False))
    """
    if match := KUBE_TAG.search(tag):
        return match["container"], True
    name = tag.removesuffix(".log")
    last = name.rpartition(".")[2]
    if not last or last.isdigit() or _HEX_ID.match(last):
        last = name
    return last.replace("\0", "")[:256], False
