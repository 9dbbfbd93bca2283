"""While one thing is wrong, what follows from it is not told: Alertmanager's inhibition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError
from logllm.notify.routing.labels import LABELS
from logllm.notify.routing.matchers import parse_matchers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.notify.routing.plan import Labels

__all__ = ["InhibitRule", "Inhibition"]

_Values = tuple[tuple[str, ...], ...]


class InhibitRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """While an open incident matches `source`, those that match `target` are not told.

    They are kept, and told if the source ends while they are open.

    Args:
        source: Matchers, all of which must hold.
        target: Matchers, all of which must hold.
        equal: Labels that must have the same values in both; a label that both lack is equal.
    """

    source: list[str]
    target: list[str]
    equal: list[str] = []


class Inhibition:
    """Which incidents are inhibited by those that are open.

    As in Alertmanager an incident that matches both sides of a rule is not inhibited by another one that does, nor by
    itself; and a source inhibits also while it is silenced.

    Raises:
        ConfigError: A rule has no matchers on one side, or one that is none; the message says which.
    """

    def __init__(self, rules: Sequence[InhibitRule] = ()) -> None:
        self._rules = [_Rule(rule, number) for number, rule in enumerate(rules, 1)]
        self._sources: dict[str, list[_Place]] = {}

    def __bool__(self) -> bool:
        """Whether anything can be inhibited now."""
        return bool(self._sources)

    def open(self, incident: str, labels: Labels) -> bool:
        """An incident is open with these labels; returns whether what it inhibited before may be free now."""
        places = [
            _Place(rule, rule.values(labels), rule.target.match(labels))
            for rule in self._rules
            if rule.source.match(labels)
        ]
        before = self._sources.get(incident, [])
        for place in before:
            place.leave(incident)
        for place in places:
            place.enter(incident)
        if places:
            self._sources[incident] = places
        else:
            self._sources.pop(incident, None)
        return any(place not in places for place in before)

    def close(self, incident: str) -> bool:
        """An incident is over; returns whether what it inhibited may be free now."""
        places = self._sources.pop(incident, [])
        for place in places:
            place.leave(incident)
        return bool(places)

    def holds(self, labels: Labels) -> bool:
        """Whether an open incident inhibits one with these labels."""
        return any(rule.holds(labels) for rule in self._rules)


class _Rule:
    """A rule with its matchers read; and by the values of `equal` its open sources, apart those that are targets."""

    def __init__(self, rule: InhibitRule, number: int) -> None:
        sides = []
        for name, texts in (("source", rule.source), ("target", rule.target)):
            try:
                matchers = parse_matchers(texts)
            except ConfigError as error:
                raise ConfigError(f"inhibit {number}, {name}: {error}") from None
            if not matchers.texts:
                raise ConfigError(f"inhibit {number}, {name}: empty, expected at least one matcher")
            sides.append(matchers)
        for label in rule.equal:
            if label not in LABELS:
                raise ConfigError(f"inhibit {number}, equal: no label {label!r}, expected {', '.join(LABELS)}")
        self.source, self.target = sides
        self._equal = tuple(rule.equal)
        self.sources: dict[_Values, tuple[set[str], set[str]]] = {}

    def values(self, labels: Labels) -> _Values:
        return tuple(tuple(labels.get(label, ("",))) for label in self._equal)

    def holds(self, labels: Labels) -> bool:
        if not self.sources or not self.target.match(labels):
            return False
        plain, also_targets = self.sources.get(self.values(labels), (set(), set()))
        return bool(plain) or (bool(also_targets) and not self.source.match(labels))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a source stands: a rule, and the values of its `equal`."""

    rule: _Rule
    values: _Values
    is_target: bool

    def enter(self, incident: str) -> None:
        self.rule.sources.setdefault(self.values, (set(), set()))[self.is_target].add(incident)

    def leave(self, incident: str) -> None:
        sides = self.rule.sources.get(self.values, (set(), set()))
        sides[self.is_target].discard(incident)
        if not (sides[0] or sides[1]):
            self.rule.sources.pop(self.values, None)
