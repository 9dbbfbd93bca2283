"""Matchers on an incident's labels, in Alertmanager's syntax."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.errors import ConfigError
from logllm.notify.routing.labels import LABELS
from logllm.notify.routing.patterns import LONGEST_TEXT, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logllm.notify.routing.plan import Labels

__all__ = ["Matcher", "Matchers", "parse_matchers"]

LONGEST = 1_200
MOST = 64

_NONE = ("",)
_SEVERITIES = ("info", "warning", "critical")
_MATCHER = re.compile(r"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*", re.ASCII)
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"\s*', re.DOTALL)
_BARE = re.compile(r'[^\s,"{}]+\s*')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_EXPECTED = 'expected NAME="VALUE" with =, !=, =~ or !~'


class Matcher:
    """One of them: a label, `=`, `!=`, `=~` or `!~`, and a value.

    `=` and `=~` hold when one of the label's values matches, `!=` and `!~` when none does. A missing label is "". Only
    the first 256 characters of a value are looked at.
    """

    def __init__(self, name: str, operator: str, value: str) -> None:
        self.name, self.operator, self.value = name, operator, value
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self.text = f'{name}{operator}"{escaped}"'
        self._negative = operator.startswith("!")
        self._pattern = Pattern(value) if operator.endswith("~") else None

    def match(self, labels: Labels) -> bool:
        """Whether it holds for an incident."""
        return self._negative is not any(map(self._fits, labels.get(self.name) or _NONE))

    def _fits(self, value: str) -> bool:
        return value[:LONGEST_TEXT] == self.value if self._pattern is None else self._pattern.match(value)


class Matchers:
    """Several matchers, all of which must hold; none at all hold for every incident.

    Attributes:
        texts: Each as one text, `service="payments"`, however it was written.
    """

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._matchers = tuple(matchers)
        self.texts = tuple(matcher.text for matcher in self._matchers)

    def __iter__(self) -> Iterator[Matcher]:
        return iter(self._matchers)

    def __repr__(self) -> str:
        return f"Matchers({', '.join(self.texts)})"

    def match(self, labels: Labels) -> bool:
        """Whether all hold for an incident."""
        return all(matcher.match(labels) for matcher in self._matchers)

    def failing(self, labels: Labels) -> Matcher | None:
        """The first that does not hold, None where all do."""
        return next((matcher for matcher in self._matchers if not matcher.match(labels)), None)


def parse_matchers(texts: Sequence[str]) -> Matchers:
    """Read matchers, each text one or, separated by commas and perhaps in braces, several.

    A value with a space, comma, brace or quote in it is written in double quotes, where `\\"`, `\\\\` and `\\n` stand
    for a quote, a backslash and a line break, as in Alertmanager; any other backslash is itself.

    >>> parse_matchers(["service=payments", '{severity=~"warning|critical", kind!="new"}']).texts
    ('service="payments"', 'severity=~"warning|critical"', 'kind!="new"')

    Raises:
        ConfigError: One is none, is longer than 1,200 characters, or asks for a label or a severity that no incident
            has; or there are more than 64. It says which and what was expected.
    """
    found = [matcher for text in texts for matcher in _read(text)]
    if len(found) > MOST:
        raise ConfigError(f"{len(found)} matchers, expected at most {MOST}")
    return Matchers(found)


def _read(text: str) -> Iterator[Matcher]:
    if len(text) > LONGEST:
        raise ConfigError(f"matcher {text[:40]!r}...: {len(text)} characters, expected at most {LONGEST}")
    inner = text.strip()
    if inner.startswith("{"):
        if not inner.endswith("}"):
            raise ConfigError(f"matcher {text!r}: no }} for its {{, {_EXPECTED}")
        inner = inner[1:-1].rstrip()
        # As Alertmanager does: {} is every incident, and a comma may stand at the end.
        if not inner:
            return
        inner = inner.removesuffix(",")
    at = 0
    while True:
        head = _MATCHER.match(inner, at)
        if head is None:
            raise ConfigError(f"matcher {text!r}: {inner[at:].strip()!r} is none, {_EXPECTED}")
        value = _QUOTED.match(inner, head.end()) or _BARE.match(inner, head.end())
        if value is None and inner[head.end() : head.end() + 1] not in ("", ","):
            raise ConfigError(f"matcher {text!r}: the value at {inner[head.end() :]!r} does not end, {_EXPECTED}")
        at = value.end() if value else head.end()
        if at < len(inner) and inner[at] != ",":
            raise ConfigError(f"matcher {text!r}: {inner[at:]!r} after its value, {_EXPECTED}, or a comma")
        plain = ""
        if value is not None:
            plain = _ESCAPE.sub(_unescaped, value[1]) if value.re is _QUOTED else value[0].rstrip()
        yield _checked(text, head[1], head[2], plain)
        if at >= len(inner):
            return
        at += 1


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n", '"': '"', "\\": "\\"}.get(found[1], found[0])


def _checked(text: str, name: str, operator: str, value: str) -> Matcher:
    if name not in LABELS:
        raise ConfigError(f"matcher {text!r}: no label {name!r}, expected one of {', '.join(LABELS)}")
    exact = not operator.endswith("~")
    if exact and name == "severity" and value not in _SEVERITIES:
        raise ConfigError(f"matcher {text!r}: no severity {value!r}, expected {', '.join(_SEVERITIES)}")
    if exact and len(value) > LONGEST_TEXT:
        raise ConfigError(f"matcher {text!r}: {len(value)} characters, expected a value of at most {LONGEST_TEXT}")
    try:
        return Matcher(name, operator, value)
    except ConfigError as error:
        raise ConfigError(f"matcher {text!r}: {error}") from None
