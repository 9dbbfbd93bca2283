"""What people said of other templates says something of one that nobody has judged yet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from logllm.events import Severity

__all__ = ["ALERT_CHANCE", "Near"]

ALERT_CHANCE = 0.2
"""One alert in five that is worth it: below that a new template is not worth a person's look."""

AGREE = 3
"""So many answers must speak of a template before they hold it back."""

_PRIORS = {Severity.FATAL: 0.5, Severity.ERROR: 0.35, Severity.WARN: 0.25, Severity.UNSPECIFIED: 0.05}
_HARMLESS_PRIOR = 0.02
"""How often a new template of a severity is a problem, before anyone has answered. Rough on purpose: a few answers
outweigh it."""

_PRIOR_WEIGHT = 0.5
_OTHER_SEVERITY, _OTHER_SERVICE = 0.3, 0.5
"""What is said of one severity or service says less of another."""

_MOST = 2_000
_LONGEST = 2_000
_WORD = re.compile(r"[^\W\d_]{2,}|[^\w\s<>*]{2,}")
_PLACE = re.compile(r"<[a-z0-9*]+>")


@dataclass(frozen=True, slots=True)
class _Said:
    words: frozenset[str]
    severity: int
    service: str
    is_real: bool


class Near:
    """The chance that a template is a problem, from the answers given to templates that are like it.

    An average of the answers, 1 for real and 0 for harmless, weighed by how many words two templates share (Jaccard's
    index, as in a nearest-neighbour regression after Nadaraya and Watson) and by whether severity and service are the
    same; severity alone decides while there are none. Runs of punctuation count as words: tables and dumps are known
    by them. It knows no meaning: a real problem worded like three harmless ones of the same severity and service is
    held back, until somebody says so.

    Cost: some 2 microseconds an answer for each template asked of; at most 2,000 answers are remembered, the latest.
    """

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def __len__(self) -> int:
        return len(self._said)

    def learn(self, name: str, text: str, severity: int, service: str, *, is_real: bool) -> None:
        """Take an answer in, in place of an earlier one under the same name.

        Args:
            text: The template's.
            severity: What its records say of themselves, else how it sounds; 0 where neither says anything.
        """
        self._said.pop(name, None)
        self._said[name] = _Said(_words(text), severity, service, is_real)
        while len(self._said) > _MOST:
            del self._said[next(iter(self._said))]

    def chance(self, text: str, severity: int, service: str) -> float:
        """0 to 1. Below ALERT_CHANCE at least AGREE answers say so, or the severity alone."""
        return self._judge(text, severity, service)[0]

    def harmless(self, text: str, severity: int, service: str) -> bool:
        """Whether at least AGREE answers say that it is not worth a look."""
        chance, speak = self._judge(text, severity, service)
        return speak >= AGREE and chance < ALERT_CHANCE

    def _judge(self, text: str, severity: int, service: str) -> tuple[float, int]:
        """The chance, and how many answers speak of it."""
        prior = _prior(severity)
        words = _words(text)
        real = prior * _PRIOR_WEIGHT
        whole = _PRIOR_WEIGHT
        speak = 0
        for said in self._said.values():
            shared = len(words & said.words)
            if not shared:
                continue
            weight = shared / len(words | said.words)
            weight *= 1.0 if said.severity == severity else _OTHER_SEVERITY
            weight *= 1.0 if said.service == service else _OTHER_SERVICE
            real += weight * said.is_real
            whole += weight
            speak += 1
        chance = real / whole
        return (max(chance, min(prior, ALERT_CHANCE)) if speak < AGREE else chance), speak


def _prior(severity: int) -> float:
    level = next((level for level in _PRIORS if level and severity >= level), None)
    if level is not None:
        return _PRIORS[level]
    return _PRIORS[Severity.UNSPECIFIED] if severity == Severity.UNSPECIFIED else _HARMLESS_PRIOR


def _words(text: str) -> frozenset[str]:
    """What two templates are compared by; what stands for a value is left out.

    >>> sorted(_words("took <num> ms......<*> at 0x1"))
    ['..', 'at', 'ms', 'took']
    """
    found = _WORD.findall(_PLACE.sub(" ", text[:_LONGEST].lower()))
    return frozenset(word if word[0].isalpha() else word[:2] for word in found)
