"""Long lines: a part that comes again and again costs time that grows with the line, not with its square."""

from __future__ import annotations

import time

from logllm.sources.formats.detect import NAMES, by_name, detect
from tests.fuzz.inputs import TOKENS, Choices
from tests.fuzz.lines import LINES

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 400

_NOW = 1_700_000_000_000_000_000
_FIRST_LINES = tuple(lines.decode("utf-8", "replace").split("\n")[0] for lines in LINES.values())
_SHORT, _LONG = 2000, 16_000
# A short line this slow is worth a long one, which may cost a second: linear ones take a hundredth of it.
_SLOW_S, _MOST_S = 0.004, 1.0


def check(data: bytes) -> None:
    """CPU time of a format for three long lines, alone or in the middle of its own ones."""
    choices = Choices(data)
    number = choices.below(2 * len(NAMES))
    name = NAMES[number] if number < len(NAMES) else "auto"
    around = choices.one_of(_FIRST_LINES)
    copies = 1 + 2 * choices.below(2)
    part_bytes = 1 + choices.below(12)
    begin, end = choices.below(256), choices.below(2)
    text = choices.rest().decode("utf-8", "replace").replace("\n", " ")
    part, rest = text[:part_bytes] or "a", text[part_bytes:]
    begin %= len(around) + 1

    def seconds(length: int) -> float:
        long = around[:begin] + part * (length // len(part)) + (around[begin:] if end else rest[:8])
        lines = [around, *[long] * copies, around]
        started = time.process_time()
        chosen = detect(lines, reference_ns=_NOW) if name == "auto" else by_name(name, reference_ns=_NOW)
        chosen.parse(lines)
        chosen.unfinished(lines)
        return time.process_time() - started

    if seconds(_SHORT) > _SLOW_S:
        taken = seconds(_LONG)
        # Once more, lest the machine was slow.
        taken = taken if taken < _MOST_S else seconds(_LONG)
        assert taken < _MOST_S, f"{name}: {taken:.1f} s for {part!r} again and again in {around!r}"


def seeds() -> list[bytes]:
    """Each format with what its lines are made of, again and again."""
    parts = [token for token in TOKENS if token.isascii() and token.strip(b"\0\x7f")]
    return [
        bytes([number, 3 * number % 256, number % 2, len(part) - 1, 7 * number % 256, number % 2]) + part + b'" ]'
        for number, part in enumerate(parts)
    ]
