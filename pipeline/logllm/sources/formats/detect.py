"""Which format a file is in, told by its first lines, and formats by name."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from logllm.errors import ConfigError
from logllm.fields import Wanted
from logllm.sources.formats.container import ContainerFormat, is_cri, is_docker
from logllm.sources.formats.header import Header, HeaderFormat
from logllm.sources.formats.json_lines import JsonFormat, decode_record
from logllm.sources.formats.known import KNOWN
from logllm.sources.formats.learn import learn_header
from logllm.sources.formats.line_format import Reading, zone_named
from logllm.sources.formats.logfmt import LogfmtFormat, is_logfmt
from logllm.sources.formats.text import TextFormat
from logllm.sources.multiline import record_starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.events import Columns
    from logllm.sources.formats.line_format import LineFormat

__all__ = ["NAMES", "by_name", "detect", "detect_in", "named_in"]

_SAMPLE = 200
_MOST = 0.6
_ALIASES = {
    "jsonl": "json", "ndjson": "json", "rfc3164": "syslog", "rfc5424": "syslog5424", "docker-json": "docker",
    "combined": "access", "common": "access", "glog": "klog", "nginx-error": "nginx", "apache-error": "apache",
    "postgresql": "postgres", "logback": "log4j",
}  # fmt: skip
_LEARNED = ("plain", "python", "log4j")
NAMES = ("json", "logfmt", *KNOWN, "cri", "docker", *_LEARNED, "text")
"""What `by_name` knows; `plain`, `python` and `log4j` learn the header's columns, `text` has none."""


def detect(
    lines: list[str],
    *,
    reference_ns: int,
    default_service: str = "",
    tz: str = "UTC",
    wanted: Wanted | None = None,
) -> LineFormat:
    """The format that the first lines of a file are in; `text` if they have nothing in common.

    Args:
        lines: some tens to hundreds of lines, without line ends.
        reference_ns, wanted: see `Reading`.

    Raises:
        ConfigError: there is no zone `tz`.
    """
    return detect_in(lines, Reading(reference_ns, default_service, zone_named(tz), wanted=wanted or Wanted()))


def by_name(name: str, *, reference_ns: int, default_service: str = "", tz: str = "UTC") -> LineFormat:
    """A format by its name; what it must learn it learns from the first lines it parses.

    Raises:
        ConfigError: there is no such format or zone.
    """
    return named_in(name, Reading(reference_ns, default_service, zone_named(tz)))


def detect_in(lines: list[str], reading: Reading, *, inside: bool = False) -> LineFormat:
    """As `detect`, going on in a file that is being read; `inside` a container's line there is no other container."""
    starts = record_starts(lines[: 2 * _SAMPLE]) if lines else None
    sample = lines[:_SAMPLE] if starts is None else [lines[start] for start in starts[:_SAMPLE].tolist()]
    if not sample:
        return TextFormat(reading)

    def most(fits: Callable[[str], object], share: float = _MOST) -> bool:
        return sum(1 for line in sample if fits(line)) >= share * len(sample)

    if not inside and most(is_cri):
        return _container("cri", reading)
    if most(lambda line: line.lstrip().startswith("{") and decode_record(line) is not None):
        return _container("docker", reading) if not inside and most(is_docker) else _json(reading, inside)
    if most(is_logfmt):
        return LogfmtFormat(reading)
    header = _known(sample) or learn_header(sample, reference_ns=reading.reference_ns)
    return TextFormat(reading) if header is None else HeaderFormat(header, reading)


def named_in(name: str, reading: Reading) -> LineFormat:
    """As `by_name`, going on in a file that is being read."""
    plain = name.strip().lower()
    plain = _ALIASES.get(plain, plain)
    if plain in {"cri", "docker"}:
        return _container(plain, reading)
    if plain in KNOWN or plain in _LEARNED:
        return _Late(plain, reading)
    if plain == "json":
        return _json(reading, False)
    if plain == "logfmt":
        return LogfmtFormat(reading)
    if plain == "text":
        return TextFormat(reading)
    raise ConfigError(f"format: no format {name!r}, expected auto, {', '.join(NAMES)}")


def _container(name: str, reading: Reading) -> ContainerFormat:
    return ContainerFormat(name, reading, lambda lines, inner: detect_in(lines, inner, inside=True))


def _json(reading: Reading, inside: bool) -> JsonFormat:
    return JsonFormat(reading, None if inside else lambda lines, inner: detect_in(lines, inner, inside=True))


@cache
def _compiled(header: Header) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(one) for one in (header.expression, *header.others))


_LEVEL_HOST = re.compile(r"(?:<\d+>)?\S+(?: +\d+ \S+)? +\[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b")


def _known(sample: list[str]) -> Header | None:
    """The header with a name that most lines fit; a syslog line needs its tag, and a host that is no level."""
    best: tuple[float, Header] | None = None
    for name, headers in KNOWN.items():
        for header in headers:
            main, *others = _compiled(header)
            fitting = sum(1 for line in sample if main.match(line)) / len(sample)
            if name == "syslog":
                if any(_LEVEL_HOST.match(line) for line in sample[:20]):
                    continue
                loosely = sum(1 for line in sample if any(one.match(line) for one in others)) / len(sample)
                fitting = min(loosely, fitting + 0.2)
            if fitting >= _MOST and (best is None or fitting > best[0] + 0.05):
                best = fitting, header
    return None if best is None else best[1]


class _Late:
    """A named format that chooses its header when it sees the first lines; until one fits it is `text`."""

    def __init__(self, name: str, reading: Reading) -> None:
        self.name = name
        self.misses = 0
        self._reading = reading
        self._chosen: LineFormat | None = None

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        chosen = self._choose(lines)
        columns = chosen.parse(lines, join=join)
        self.misses = chosen.misses
        return columns

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`."""
        return self._choose(lines).unfinished(lines)

    def _choose(self, lines: list[str]) -> LineFormat:
        if self._chosen is not None:
            return self._chosen
        sample = [line for line in lines[:_SAMPLE] if line.strip()]
        header: Header | None
        if self.name in KNOWN:
            headers = KNOWN[self.name]
            header = max(headers, key=lambda one: sum(1 for line in sample if _compiled(one)[0].match(line)))
        else:
            header = learn_header(sample, reference_ns=self._reading.reference_ns)
        if header is None:
            return TextFormat(self._reading)
        self._chosen = HeaderFormat(header, self._reading)
        return self._chosen
