"""Headers that have a name of their own: syslog, access logs, klog, nginx, Apache, Postgres."""

from __future__ import annotations

from logllm.sources.formats.header import Header
from logllm.sources.formats.notations import NOTATIONS

__all__ = ["KNOWN"]

_ISO = NOTATIONS["iso"].embed
_SYSLOG = NOTATIONS["syslog"].embed
# A tag is one word; two or three only with a process number or a version (`syslogd 1.4.1:`, `--  root[2421]:`).
_TAG = r"(?:(?P<service>[^\s:\[\]]+)(?:\[[\w.-]*\])?(?: \([^)\n]*\))?:)"
_WIDE_TAG = (
    r"(?P<service>[^\s:\[\]][^:\[\]\n]{0,60}?)(?:\[[\w.-]+\](?: \([^)\n]*\))?|(?<= \d)[\d.]*):"
)  # fmt: skip
_PRI = r"(?:<(?P<pri>\d{1,3})>)?"
_STRUCTURED = r"(?:-|(?:\[(?:[^\]\"\\\n]|\\.|\"(?:[^\"\\\n]|\\.)*\")*\])+)"
_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\""
_CLF = NOTATIONS["clf"].embed


def _syslog(name: str, time: str, notation: str) -> Header:
    start = rf"{_PRI}(?P<time>{time})\s+"
    return Header(
        name=name,
        # The host may be missing: `Jan  2 03:04:05 kernel: text`.
        expression=rf"{start}(?:\S*[^\s:]\s+)?{_TAG}\s*",
        notation=NOTATIONS[notation],
        others=(rf"{start}\S+\s+{_WIDE_TAG}\s*", rf"{start}\S+\s+"),
    )


# By name: the headers a format may have, the likelier first.
KNOWN: dict[str, tuple[Header, ...]] = {
    "syslog": (
        _syslog("syslog", r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", "syslog"),
        _syslog("syslog", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", "iso"),
        _syslog("syslog", _SYSLOG, "syslog"),
    ),
    "syslog5424": (
        Header(
            name="syslog5424",
            expression=rf"(?:\d+ )?<(?P<pri>\d{{1,3}})>\d{{1,2}} (?P<time>{_ISO}|-) \S+ (?:-|(?P<service>\S+)) "
            rf"\S+ \S+ (?:{_STRUCTURED} (?:\ufeff)?(?P<message>.*)|(?P<who>{_STRUCTURED}))",
            notation=NOTATIONS["iso"],
        ),
    ),
    "access": (
        Header(
            name="access",
            expression=rf"(?:\S+:\d+ )?(?P<who>\S+) \S+ [^\[\n]*?\[(?P<time>{_CLF})\] "
            rf"(?P<message>{_QUOTED} (?P<status>\d{{3}}) \S+)[^\n]*",
            notation=NOTATIONS["clf"],
        ),
    ),
    "klog": tuple(
        Header(
            name="klog",
            expression=rf"(?P<level>[IWEF])(?P<time>{digits} \d\d:\d\d:\d\d(?:\.\d{{1,9}})?)\s+\d+ [^\s\]]+:\d+\] ?",
            notation=NOTATIONS[notation],
        )
        for digits, notation in ((r"\d{4}", "klog"), (r"\d{8}", "klog_year"))
    ),
    "nginx": (
        Header(
            name="nginx",
            expression=r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]+)\] \d+#\d+: (?:\*\d+ )?",
            notation=NOTATIONS["iso"],
        ),
    ),
    "apache": (
        Header(
            name="apache",
            expression=rf"\[(?P<time>{NOTATIONS['ctime'].embed})\] \[(?:[\w-]*:)?(?P<level>[a-z]+\d?)\] "
            r"(?:\[pid [^\]\n]*\] )?",
            notation=NOTATIONS["ctime"],
        ),
    ),
    "postgres": (
        Header(
            name="postgres",
            expression=rf"(?P<time>{_ISO}) \[\d+(?:-\d+)?\](?:: \[[^\]\n]*\])? ?(?:[^\n]{{0,200}}? )?"
            r"(?P<level>DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|STATEMENT|CONTEXT|QUERY):\s+",
            notation=NOTATIONS["iso"],
        ),
    ),
}
