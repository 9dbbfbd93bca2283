"""Records that should be and records that are, compared as JSON values, told by the path of what differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from logllm.cli.render_text import neutral
from logllm.errors import PluginError

__all__ = ["compared"]

_SHOWN_CHARS = 160
_MOST_ALIGNED = 2_000
"""Records on each side that are aligned; the matcher takes the square of them. More are compared in pairs."""


def compared(expected: list[bytes], got: list[bytes]) -> Iterator[str]:
    """One line for each difference; nothing where both are the same records in the same order.

    The order of keys is no difference; that a number is whole (`10`) or not (`10.0`) is one: Fluent Bit keeps the two
    apart. Records are counted from 1, by their place in the file they are in.

    >>> list(compared([b'{"a": [1, 2], "b": 1}'], [b'{"a": [1, 3], "c": 1}']))
    ['record 1: $.a[1]: expected 2, got 3', 'record 1: $.b: expected 1, it is missing', 'record 1: $.c: unexpected 1']

    Raises:
        PluginError: A record is nested several hundred deep.
    """
    try:
        yield from _compared(expected, got)
    except RecursionError as error:
        raise PluginError("records are nested too deep to be compared") from error


def _compared(expected: list[bytes], got: list[bytes]) -> Iterator[str]:
    should = [json.loads(line) for line in expected]
    is_ = [json.loads(line) for line in got]
    left, right = [_canonical(value) for value in should], [_canonical(value) for value in is_]
    for kind, a, b, c, d in _blocks(left, right):
        if kind == "equal":
            continue
        both = min(b - a, d - c)
        for at in range(both):
            for line in _values(should[a + at], is_[c + at], "$"):
                yield f"record {a + at + 1}: {line}"
        for at in range(a + both, b):
            yield f"record {at + 1}: expected, it is missing: {_shown(should[at])}"
        for at in range(c + both, d):
            yield f"record {at + 1} of the output: unexpected: {_shown(is_[at])}"


def _blocks(left: list[str], right: list[str]) -> list[tuple[str, int, int, int, int]]:
    """What must be done to make one list the other, as difflib tells it."""
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    ends = (len(left), len(right))
    while ends[0] > start and ends[1] > start and left[ends[0] - 1] == right[ends[1] - 1]:
        ends = (ends[0] - 1, ends[1] - 1)
    middle = left[start : ends[0]], right[start : ends[1]]
    if max(map(len, middle)) > _MOST_ALIGNED:
        return [("replace", start, ends[0], start, ends[1])]
    found = difflib.SequenceMatcher(None, *middle, autojunk=False).get_opcodes()
    return [(kind, start + a, start + b, start + c, start + d) for kind, a, b, c, d in found]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _values(expected: Any, got: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            if key in got:
                yield from _values(expected[key], got[key], _member(path, key))
            else:
                yield f"{_member(path, key)}: expected {_shown(expected[key])}, it is missing"
        for key in got:
            if key not in expected:
                yield f"{_member(path, key)}: unexpected {_shown(got[key])}"
    elif isinstance(expected, list) and isinstance(got, list):
        for at, (one, other) in enumerate(zip(expected, got, strict=False)):
            yield from _values(one, other, f"{path}[{at}]")
        if len(expected) != len(got):
            yield f"{path}: expected {len(expected)} items, got {len(got)}"
    elif _canonical(expected) != _canonical(got):
        yield f"{path}: expected {_shown(expected)}, got {_shown(got)}"


def _member(path: str, key: str) -> str:
    return f"{path}.{key}" if key.replace("_", "a").isalnum() else f"{path}[{_shown(key)}]"


def _shown(value: Any) -> str:
    text = neutral(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
