"""Who and where: the hosts, users, services and other names that the evidence has, and which lines have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.explain.chat.case import Item

__all__ = ["asked_for", "named_by", "names_in"]

_KINDS: dict[str, tuple[str, re.Pattern[str]]] = {
    "address": (
        r"ips?|address(?:es)?|attackers?|culprits?|where (?:does|do|did|is|are) .*(?:come|from)|from where|clients?"
        r"|sources?|who is|who are|who's",
        re.compile(
            r"<ip_\w+>|(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{1,4}"
        ),
    ),
    "host": (
        r"hosts?|machines?|servers?|nodes?|computers?|workers?|where",
        re.compile(r"<host_\w+>|\bnode/[\w.-]+|\b(?:[a-z0-9-]{1,60}\.)+(?:com|org|net|local|internal|example)\b"),
    ),
    "user": (
        r"users?|accounts?|logins?|people|person|who|whom|whose",
        re.compile(r"<(?:user|email)_\w+>|\broot\b|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w{1,20}"),
    ),
    "pod": (r"pods?|containers?|where", re.compile(r"\bpod/[\w.-]+|(?<=container )[\w.-]+")),
    "status": (
        r"status(?:es)?|codes?|answers?|responses?|http",
        re.compile(r"(?<=answered )[45]\d\d\b|(?<=status[ =:])\d{3}\b|(?<=code )\d{1,3}\b|(?<=\" )[45]\d\d\b"),
    ),
    "file": (
        r"files?|paths?|director(?:y|ies)|folders?|mounts?|volumes?|disks?",
        re.compile(r"(?<![\w:/.])/[\w./-]{2,}|\"[\w.-]{1,100}/[\w./-]{1,200}\""),
    ),
    "error": (
        r"exceptions?|errors?|errno",
        re.compile(r"(?<![\w.])[\w.]{0,120}(?:Exception|Error)\b|\bE[A-Z]{4,20}\b"),
    ),
}
_MOST_NAMES = 8
_MOST_IDS = 6
_NOUN = re.compile(r"\b(?:which|what|whose|the name of the) (?:\w+ )??([a-z]{3,20}?)(?:s|es)?\b(?=[\s?.!]|$)")
_NO_NOUN = frozenset(
    ("the", "this", "that", "has", "was", "were", "did", "are", "happen", "service", "incident", "kind", "time")
)


def asked_for(question: str) -> list[str]:
    """The kinds of names that a question asks for, "service" among them; none for all of them.

    >>> asked_for("which users and hosts are affected?")
    ['host', 'user']
    """
    lower = question.lower()
    kinds = [kind for kind, (words, _) in _KINDS.items() if re.search(rf"\b(?:{words})\b", lower)]
    if re.search(r"\b(?:services?|components?|applications?|apps?|systems?)\b", lower):
        kinds.append("service")
    return kinds


def names_in(items: Sequence[Item], kind: str) -> dict[str, list[str]]:
    """The names of a kind, the most frequent first, each with the ids of the items that have it."""
    pattern = _KINDS[kind][1]
    return _most({item.id: pattern.findall(item.text) for item in items})


def named_by(question: str, items: Sequence[Item]) -> tuple[str, dict[str, list[str]]] | None:
    """What stands behind the noun that a question asks for: "which process" finds "process 4711 (java)".

    Returns the noun and its names, each with the ids of the items; None where the items have no such noun.
    """
    for noun in _NOUN.findall(question.lower()):
        if noun in _NO_NOUN:
            continue
        pattern = re.compile(rf"(?i)\b{re.escape(noun)}s?[ =:#/]{{1,2}}[\"'(<]?([\w./-]*\w(?: \([\w.-]+\))?)")
        found = _most({item.id: pattern.findall(item.text) for item in items})
        if found:
            return noun, found
    return None


def _most(found: dict[str, list[str]]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    for name, values in found.items():
        for value in dict.fromkeys(values):
            ids.setdefault(value.strip('"'), []).append(name)
    top = sorted(ids, key=lambda value: -len(ids[value]))[:_MOST_NAMES]
    return {value: ids[value][:_MOST_IDS] for value in top}
