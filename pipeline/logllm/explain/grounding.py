"""Whether a sentence says what the evidence says: its things, numbers, units, negations, directions and causes.

Each rule is cheap and knows no grammar: it finds what a small model gets wrong most often, not every untruth. A
sentence that puts true things together wrongly ("the client denied the server", where the server denied it) passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.explain.runbooks.words import WEAK, stem, terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ungrounded"]

_WEAK_STEMS = frozenset(stem(word) for word in WEAK)
# Things that must be found in the evidence as they are: numbers, codes, paths, dotted or dashed names, pseudonyms.
_FIRM = re.compile(
    r"<\w+>|\$?/[\w./-]+|[A-Za-z0-9][\w-]*(?:[.:@/][\w-]+)+|[\w-]*\d[\w-]*|\b[A-Za-z][a-z]*[A-Z]\w*"
    r"|\b[A-Z][A-Z0-9_]{2,}\b|\w+_\w+|[^\x00-\x7f]\S*"
)
_TOKEN = re.compile(r"[^\s,;()\[\]{}=\"'|]+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\d.]*\d)")
_QUOTED = re.compile(r"\"([^\"]{1,120})\"|“([^”]{1,120})”|(?<!\w)'([^']{1,120})'(?!\w)")
_DASHED = re.compile(r"\b[A-Za-z]+(?:-[A-Za-z]+)+\b")
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]{2,}\b")
_MEASURE = re.compile(r"(?<![\w.])(\d+(?:[.,]\d+)*)[ -]?(%|[A-Za-zµ]+)")
_WORD = re.compile(r"[A-Za-z']+|[.,;:!?]")

_UNITS = {
    unit: name
    for name, units in {
        "percent": "% percent pct",
        "ms": "ms msec millis millisecond milliseconds",
        "us": "us µs usec microsecond microseconds",
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
        "byte": "b byte bytes",
        "kB": "k kb kib kilobyte kilobytes",
        "MB": "m mb mib megabyte megabytes",
        "GB": "g gb gib gigabyte gigabytes",
        "TB": "t tb tib terabyte terabytes",
    }.items()
    for unit in units.split()
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATORS = _words(
    "no not never without cannot cant can't isn't wasn't won't doesn't didn't don't couldn't hasn't haven't aren't "
    "weren't nor neither none"
)
_BREAKS = _words(
    "because but so and while when as after before since which that to of on in at for with by from . , ; : ! ?"
)
_SKIPPED = _words("a an the is are was were be been any it its enough longer")
# What a sentence may claim only where the evidence says it too, and does not deny it.
_GOOD = frozenset(
    stem(word)
    for word in _words(
        "success successful successfully succeeded healthy fine normal normally recovered resolved completed available "
        "works working restored accepted allowed connected established passed fixed harmless benign safe expected"
    )
)
_OPPOSITES = tuple(
    (frozenset(map(stem, one.split())), frozenset(map(stem, other.split())))
    for one, other in (
        (
            "increase increased increasing rise rising rose grow growing grew higher exceeded exceeds",
            "decrease decreased decreasing drop dropped fall falling fell lower fewer shrink shrank",
        ),
        ("start started starting begin began launched booted", "stop stopped stopping ended terminated halted killed"),
        ("open opened opening", "close closed closing"),
        ("connected connects reconnected", "disconnected disconnects"),
        ("enable enabled", "disable disabled"),
        ("accept accepted accepts allow allowed", "reject rejected refuse refused deny denied"),
        ("mount mounted", "unmount unmounted"),
        ("created added inserted", "deleted removed dropped"),
        ("joined", "left leaves"),
        ("acquired locked", "released unlocked"),
        ("valid", "invalid"),
        ("online reachable", "offline unreachable"),
    )
)
_CAUSE = re.compile(
    r"(?i)\b(?:because(?: of)?|due to|caused by|as a result of|result of|owing to|thanks to|triggered by|led by)\b"
)
_CARRIED_AT_LEAST = 0.7


def ungrounded(sentence: str, known: Sequence[str]) -> str | None:
    """What in a sentence the evidence does not carry, in words, or None. About 0.2 ms with a dozen items.

    Args:
        known: Everything it may speak of, one text an item: a cause must be carried by one of them alone.

    >>> ungrounded("The disk of db-1 is full.", ["db-1: disk /var is full"]) is None
    True
    >>> ungrounded("The billing database started.", ["billing database stopped by signal 9"])
    "'started', where the evidence says the opposite"
    """
    whole = "\n".join(known)
    fault = _things(sentence, whole) or _measures(sentence, whole)
    if fault:
        return fault
    carried = {stem(word) for word in terms(whole)}
    said = [stem(word) for word in terms(_MEASURE.sub(_bare, sentence))]
    firm = {match[0].lower() for match in _FIRM.finditer(sentence)}
    if len({word for word in said if word not in _WEAK_STEMS and word in carried} | firm) < 2:
        return "says nothing of this incident"
    fault = _denies(sentence, known) or _turned(sentence, whole)
    if fault:
        return fault
    for match in _NAME.finditer(sentence):
        if not {stem(word) for word in terms(match[0])} <= carried:
            return f"{match[0]!r} is not in the evidence"
    found = sum(word in carried for word in said)
    # A sentence needs a verb of its own; a third of foreign words is already a story.
    if found < _CARRIED_AT_LEAST * len(said):
        return f"only {found} of its {len(said)} words are in the evidence"
    return _cause(sentence, known)


def _bare(measure: re.Match[str]) -> str:
    return " " if measure[2].lower() in _UNITS else measure[0]


def _things(sentence: str, whole: str) -> str | None:
    tokens = {token.strip(".,;:") for token in _TOKEN.findall(whole.lower())}
    tokens.update(token.lower().rstrip(".,;:") for token in _FIRM.findall(whole))
    tokens.update(_NUMBER.findall(whole))
    tokens.update(number for number, unit in _MEASURE.findall(whole) if unit.lower() in _UNITS)
    for match in _FIRM.finditer(sentence):
        thing = match[0].lower().rstrip(".,;:-")
        if thing and thing not in tokens and not (number := _MEASURE.fullmatch(thing)):
            return f"{thing[:40]!r} is not in the evidence"
        if thing and thing not in tokens and number and number[1] not in tokens:
            return f"{thing[:40]!r} is not in the evidence"
    plain = " ".join(whole.lower().split())
    for quoted in _QUOTED.finditer(sentence):
        said = " ".join(next(filter(None, quoted.groups())).lower().split()).strip(" .,")
        if said and said not in plain:
            return f"{said[:40]!r} is quoted and not in the evidence"
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", whole)}
    for dashed in _DASHED.findall(sentence):
        if not {part.lower() for part in dashed.split("-")} <= words:
            return f"{dashed[:40]!r} is not in the evidence"
    return None


def _measures(sentence: str, whole: str) -> str | None:
    """A number with another unit than in the evidence: "30 minutes" for "30 s"."""
    seen = {(number, _UNITS[unit.lower()]) for number, unit in _MEASURE.findall(whole) if unit.lower() in _UNITS}
    for number, unit in _MEASURE.findall(sentence):
        if unit.lower() in _UNITS and (number, _UNITS[unit.lower()]) not in seen:
            return f"'{number} {unit}' is not in the evidence"
    return None


def _denied(text: str) -> Iterator[tuple[str, bool]]:
    """The stems of a text's words, each with whether "not" or the like stands up to two words before it."""
    left = 0
    for word in _WORD.findall(text):
        small = word.lower()
        if small in _NEGATORS or small.endswith("n't"):
            left = 2
            continue
        if small in _BREAKS:
            left = 0
        if small in _SKIPPED or not small[0].isalpha():
            continue
        yield stem(small), left > 0
        left -= left > 0


def _denies(sentence: str, known: Sequence[str]) -> str | None:
    evidence: dict[str, set[bool]] = {}
    for text in known:
        for word, denied in _denied(text):
            evidence.setdefault(word, set()).add(denied)
    for word, denied in _denied(sentence):
        seen = evidence.get(word)
        if word in _GOOD and not denied and (seen is None or False not in seen):
            return f"says {word!r}, which the evidence does not"
        if denied and seen == {False} and word not in _WEAK_STEMS:
            return f"denies {word!r}, which the evidence says"
    return None


def _turned(sentence: str, whole: str) -> str | None:
    evidence = {stem(word.lower()) for word in re.findall(r"[A-Za-z]+", whole)}
    for word in re.findall(r"[A-Za-z]+", sentence):
        mine = stem(word.lower())
        for sides in _OPPOSITES:
            for here, there in (sides, sides[::-1]):
                if mine in here and evidence.isdisjoint(here) and not evidence.isdisjoint(there):
                    return f"{word.lower()!r}, where the evidence says the opposite"
    return None


def _cause(sentence: str, known: Sequence[str]) -> str | None:
    """A cause is believed where one item carries it and something of its effect: words from here and there are none."""
    match = _CAUSE.search(sentence)
    if match is None:
        return None
    cause = {stem(word) for word in terms(re.split(r"[,;]", sentence[match.end() :])[0])}
    telling = cause - _WEAK_STEMS
    effect = {stem(word) for word in terms(sentence[: match.start()])} - _WEAK_STEMS - cause
    for text in known:
        have = {stem(word) for word in terms(text)}
        carried = len(cause & have) >= _CARRIED_AT_LEAST * len(cause) and (telling & have or not telling)
        if carried and (effect & have or not effect):
            return None
    return f"claims a cause ({match[0].lower()}...) that no line carries" if cause else None
