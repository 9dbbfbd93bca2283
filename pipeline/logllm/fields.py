"""Which fields of a record say its message, severity and service, what their values mean, and which more are read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from logllm.events import Severity

__all__ = [
    "KUBE_TAG",
    "LONGEST_NUMBER",
    "MESSAGE_KEYS",
    "NUMBER",
    "SERVICE_KEYS",
    "SEVERITY_KEYS",
    "Kind",
    "Wanted",
    "dimension",
    "is_id",
    "number_of",
    "scale_of",
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


Kind = Literal["number", "word"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which further fields of a record are read.

    Args:
        names: Fields by name, dotted where nested, in the records' own spelling; numbers or words, as the first value
            says that is met.
        words: The same, always words.
        discover: Whether well-known ones are read too: durations and sizes as numbers; status codes, clients, users,
            paths and the ids of sessions, requests and traces as words.
        most: Fields of one tag or file; what is met later is not read.

    >>> Wanted().kind(("http", "responseTimeMs"), 3), Wanted().kind(("trace_id",), "a"), Wanted().kind(("time_ms",), 1)
    ('number', 'word', None)
    """

    names: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    discover: bool = True
    most: int = 24

    def kind(self, path: tuple[str, ...], value: object) -> Kind | None:
        """What the field at `path` is read as; None where it is not wanted or its value is no scalar."""
        if not isinstance(value, str | bytes | int | float):
            return None
        name = ".".join(path)
        if name in self.words:
            return "word"
        if name in self.names:
            return "word" if math.isnan(number_of(name, value)) else "number"
        if not self.discover:
            return None
        kind = _kind_of_name(path)
        # A duration that reads "fast" is none.
        return None if kind == "number" and math.isnan(number_of(name, value)) else kind

    def leads_to(self, name: str) -> bool:
        """Whether something wanted may be in the map that the field `name` of a record holds."""
        return (self.discover and name not in _NOT_INSIDE) or any(
            each.startswith(f"{name}.") for each in self.names | self.words
        )


def _tokens(name: str) -> list[str]:
    return [token.lower() for token in _TOKEN.findall(name)]


@lru_cache(4096)
def _kind_of_name(path: tuple[str, ...]) -> Kind | None:
    tokens = _tokens(path[-1])
    if not tokens or len(tokens) > _MOST_TOKENS:
        return None
    if "".join(tokens) in _WORDS or (len(path) > 1 and "".join([*_tokens(path[-2]), *tokens]) in _WORDS):
        return "word"
    unit = tokens[-1] in _UNITS and len(tokens) > 1
    stem = tokens[:-1] if unit else tokens
    if _INSTANTS & set(tokens) or stem == ["time"]:
        return None
    if stem[-1] in _DURATIONS or "".join(stem[-2:]) in _DURATIONS or stem[-1] in _SIZES or "".join(stem) in _SIZES:
        return "number"
    return "number" if unit and len(tokens[-1]) > 1 else None


def is_id(name: str) -> bool:
    """Whether a word field names the session, request or trace that a record belongs to.

    >>> is_id("traceId"), is_id("trace.id"), is_id("user")
    (True, True, False)
    """
    path = name.split(".")
    return bool({"".join(_tokens(path[-1])), "".join(_tokens(name))} & _IDS)


@lru_cache(65_536)
def _measured(text: str) -> tuple[float, str]:
    """A number written as text and its unit, as it is written; NaN for what is none."""
    if (match := NUMBER.fullmatch(text)) is not None:
        return float(match[1]), match[2]
    if _GO_DURATION.fullmatch(text):
        return sum(float(value) * _SECONDS[unit] for value, unit in _GO_PART.findall(text)), "s"
    return math.nan, ""


@lru_cache(4096)
def scale_of(name: str, unit: str) -> float:
    """What a number with this unit is multiplied by, to be in that of the field's name; NaN for what is no unit.

    >>> scale_of("took", "s"), scale_of("latency_s", "ms"), scale_of("took", "parsecs")
    (1000.0, 0.001, nan)
    """
    unit = unit if unit in ("m", "M") else unit.lower()
    if unit in ("", "%"):
        return 1.0
    last = (_tokens(name) or [""])[-1]
    for units, usual in ((_SECONDS, "ms"), (_BYTES, "b")):
        if unit in units:
            target = last if last in units and last not in ("m", "b") else usual
            return float(f"{units[unit] / units[target]:.12g}")
    return math.nan


def dimension(text: str) -> str:
    """`time` or `size` where a number is written with its unit; "" elsewhere.

    >>> dimension("17ms"), dimension("1.5 MiB"), dimension("12")
    ('time', 'size', '')
    """
    unit = _measured(text.strip())[1].lower() if len(text) <= LONGEST_NUMBER else ""
    return "time" if unit in _SECONDS else "size" if unit in _BYTES else ""


def number_of(name: str, value: object) -> float:
    """A field's value as a number; NaN where it is none, is not finite or is true or false.

    A bare number is taken as it is. Written with a unit it is given in the unit that the field's name ends in; where
    that names none, in milliseconds or bytes.

    >>> number_of("took", "0.35s"), number_of("latency_seconds", "2000 ms"), number_of("took", "1m30s")
    (350.0, 2.0, 90000.0)
    >>> number_of("took", 17), number_of("took", "12.5"), number_of("took", True), number_of("size", "2KiB")
    (17.0, 12.5, nan, 2048.0)
    """
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return math.nan
        return number if math.isfinite(number) else math.nan
    if isinstance(value, bytes):
        value = value[: LONGEST_NUMBER + 1].decode("utf-8", "replace")
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NUMBER:
        return math.nan
    number, unit = _measured(value.strip())
    number *= scale_of(name, unit)
    return number if math.isfinite(number) else math.nan


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MOST_TOKENS = 8
LONGEST_NUMBER = 40
"""Characters a number written as text may have."""
NUMBER = re.compile(
    r"([+-]?(?:[0-9]{1,25}(?:\.[0-9]{0,25})?|\.[0-9]{1,25})(?:[eE][+-]?[0-9]{1,3})?) ?([A-Za-zµμ%]{0,12})"
)
"""A number and its unit, or what may be one: `scale_of` says."""
_GO_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:h|ms|m|s|us|µs|ns)){2,6}")
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|µs|ns)")
_SECONDS = {
    unit: seconds
    for seconds, units in {
        1e-9: "ns nsec nanos nanosecond nanoseconds", 1e-6: "us µs μs usec micros microsecond microseconds",
        1e-3: "ms msec msecs millis millisecond milliseconds", 1.0: "s sec secs second seconds",
        60.0: "m min mins minute minutes", 3600.0: "h hr hrs hour hours",
    }.items()
    for unit in units.split()
}  # fmt: skip
_BYTES = {
    unit: size
    for size, units in {
        1.0: "b byte bytes", 1e3: "kb", 1e6: "mb", 1e9: "gb", 1e12: "tb",
        2.0**10: "kib", 2.0**20: "mib", 2.0**30: "gib", 2.0**40: "tib",
    }.items()
    for unit in units.split()
}  # fmt: skip
_UNITS = frozenset(_SECONDS) | frozenset(_BYTES)
_DURATIONS = _names(
    "duration durations latency elapsed took rt responsetime requesttime timetaken timespent runtime processingtime "
    "elapsedtime resptime querytime executiontime exectime servicetime waittime upstreamtime connecttime totaltime"
)
_SIZES = _names(
    "bytes size contentlength bodylength bytessent bytesreceived bodybytessent bytesin bytesout requestlength "
    "responselength payloadlength rows"
)
# A moment, not how long it took.
_INSTANTS = _names("timestamp ts epoch date created updated expires expiry start started end ended at timeout deadline")
_IDS = _names(
    "traceid requestid reqid xrequestid sessionid session correlationid xcorrelationid transactionid txid txnid jobid "
    "taskid operationid flowid conversationid blockid blkid blk activityid executionid invocationid awsrequestid "
    "connectionid connid orderid workflowid runid contextid"
)
_WORDS = _IDS | _names(
    "status statuscode httpstatus httpstatuscode responsecode responsestatus scstatus errorcode errno exitcode "
    "grpccode clientip client remoteaddr remoteip remotehost remoteaddress srcip sourceip sourceaddress peer ip "
    "ipaddress clientaddr clientaddress xforwardedfor user username userid useremail account accountid login principal "
    "email path uri url endpoint route requestpath requesturi requesturl urlpath resource target"
)
# Inside of these are what a shipper says of where the record came from, not what it says.
_NOT_INSIDE = frozenset((*SERVICE_KEYS, "labels", "annotations", "host", "agent", "docker", "container", "resource"))
