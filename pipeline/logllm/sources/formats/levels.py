"""Level words and numbers of all kinds to OpenTelemetry's severity, a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logllm.events import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "LEVEL_WORDS",
    "severities",
    "severity_of_number",
    "severity_of_pri",
    "severity_of_status",
    "severity_of_word",
]

# Longest first, so that an expression made of them takes `WARNING` whole.
LEVEL_WORDS = (
    "information|informational|verbose|debug[1-5]|trace|debug|info|notice|note|warning|warn|error|severe|fatal|"
    "critical|crit|alert|emergency|emerg|panic|failure|finest|finer|fine|config|statement|detail|context|hint|log|"
    "dbg|inf|wrn|eror|err|ftl|trc|vrb"
)

_MORE = {
    "note": Severity.INFO,
    "hint": Severity.INFO,
    "detail": Severity.INFO,
    "context": Severity.INFO,
    "statement": Severity.INFO,
    "vrb": Severity.TRACE,
    "trce": Severity.TRACE,
    "dbug": Severity.DEBUG,
    "system": Severity.INFO,
    ".": Severity.DEBUG,  # Redis writes one sign
    "-": Severity.TRACE,
    "*": Severity.INFO,
    "#": Severity.WARN,
    "default": Severity.UNSPECIFIED,
    "fatal error": Severity.FATAL,
    "parse error": Severity.ERROR,
}
# RFC 5424, emergency to debug.
_SYSLOG = (
    Severity.FATAL, Severity.FATAL, Severity.FATAL, Severity.ERROR,
    Severity.WARN, Severity.INFO, Severity.INFO, Severity.DEBUG,
)  # fmt: skip


def severity_of_word(word: str) -> Severity:
    """The severity of a level word, in brackets or not, in any case; UNSPECIFIED where it names none.

    >>> severity_of_word("[Warning]").name, severity_of_word("debug3").name, severity_of_word("30").name
    ('WARN', 'DEBUG', 'INFO')
    """
    plain = word.strip(" \t[]()<>|:,\"'").lower()
    if plain.isdecimal() and len(plain) < 4:
        return severity_of_number(int(plain))
    found = Severity.parse(plain)
    if not found and plain:
        found = _MORE.get(plain) or Severity.parse(plain.rstrip("0123456789"))
    return found


def severity_of_number(number: float) -> Severity:
    """Syslog's 0 to 7, or pino's and bunyan's 10 to 60 in tens; UNSPECIFIED for other numbers."""
    if 0 <= number <= 7:
        return _SYSLOG[int(number)]
    if 10 <= number < 70:
        return (
            Severity.TRACE, Severity.DEBUG, Severity.INFO, Severity.WARN, Severity.ERROR, Severity.FATAL
        )[int(number) // 10 - 1]  # fmt: skip
    return Severity.UNSPECIFIED


def severity_of_pri(pri: str) -> Severity:
    """The severity in syslog's PRI number (facility * 8 + severity), in its digits; UNSPECIFIED where it is empty."""
    return _SYSLOG[int(pri) & 7] if pri else Severity.UNSPECIFIED


def severity_of_status(status: str) -> Severity:
    """The severity of an HTTP status: 5xx is an error, 4xx a warning, the rest information.

    4xx is a warning because a template does not tell 404 from 200 (digits are masked): the severity has to.
    """
    return {"5": Severity.ERROR, "4": Severity.WARN}.get(status[:1], Severity.INFO)


def severities(values: Sequence[Hashable], convert: Callable[[str], Severity] = severity_of_word) -> NDArray[np.uint8]:
    """A column of level texts as uint8[n]; each distinct text is converted once."""
    table = {value: int(convert(str(value))) for value in set(values)}
    return np.fromiter(map(table.__getitem__, values), np.uint8, len(values))
