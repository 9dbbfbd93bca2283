"""Stack traces and indented lines belong to the record above them.

Three callers: formats whose records begin with a header (there, any line without one continues the record),
plain text without headers, and the payload of container logs; the last two only have the shape of a line to go by.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections import Counter

    from numpy.typing import NDArray

__all__ = ["CUT", "continues", "join_records", "record_starts", "unfinished_lines"]

CUT = "record cut"

# A line of this shape never begins a record. Java, JavaScript and .NET `at`, Java's `Caused by`, `Suppressed` and
# `... 3 more`, Python's chaining sentences, .NET's inner exceptions, PHP's and gdb's numbered frames.
_CONTINUES = (
    r"[ \t]+\S|Caused by: |Suppressed: |\.\.\. \d+ (?:more|common frames)|at [\w$.<>/]+\(|#\d+ |"
    r"The above exception was the direct cause|During handling of the above exception|"
    r" ?---> |--- End of (?:inner exception )?stack trace"
)
_continues = re.compile(_CONTINUES)
# What tells, in one scan of a whole block, that there may be anything to join at all.
# Begins with the newline, which the engine looks for quickly; the block is given one in front.
_hint = re.compile(rf"\n(?:{_CONTINUES}|\s*(?:\n|\Z)|Traceback \(most|panic: |fatal error: |goroutine \d+ \[)")
_traceback = re.compile(r"(?:.*\s)?Traceback \(most recent call last\):\s*$")
_chained = re.compile(r"(?:The above exception was|During handling of the above)")
_go_start = re.compile(r"(?:panic: |fatal error: |goroutine \d+ \[)")
_go_frame = re.compile(r"goroutine \d+ \[|\S+\(.*\)$|created by |\[signal |\t|exit status ")
# Looking back further than this for the start of a record costs more than a cut trace is worth.
_LOOK_BACK = 256


def continues(line: str) -> bool:
    """Whether a line, by its shape alone, continues the record above it."""
    return _continues.match(line) is not None


def record_starts(lines: list[str], text: str | None = None) -> NDArray[np.intp] | None:
    """Where records begin in text without headers; None if every line that is not blank begins one and none is blank.

    Args:
        text: the lines joined by newlines, if the caller has them so already.
    """
    text = "\n".join(lines) if text is None else text
    if _hint.search("\n" + text) is None:
        return None
    starts: list[int] = []
    trace = ""  # "python" inside a traceback, "chain" before the next of a chain, "go" inside a panic
    for index, line in enumerate(lines):
        begins = True
        if not line.strip() or (trace == "go" and _go_frame.match(line)):
            begins = False
            trace = "" if line.startswith("exit status ") else trace
        elif _continues.match(line):
            begins = False
            trace = "chain" if _chained.match(line) else trace
        elif trace == "python":
            # The line that names the exception ends the trace: `ValueError: bad`.
            begins, trace = False, ""
        elif trace == "chain" and _traceback.match(line):
            begins, trace = False, "python"
        if begins or not starts:
            if not line.strip():
                continue
            starts.append(index)
            trace = "python" if _traceback.match(line) else "go" if _go_start.match(line) else ""
    return np.array(starts, np.intp)


def unfinished_lines(lines: list[str]) -> int:
    """How many of the last lines the next line may still continue, in text without headers.

    A record begins at the last line that neither continues by shape nor stands inside a trace; traces are found by
    looking back a bounded way.
    """
    window = lines[-_LOOK_BACK:]
    if not window:
        return 0
    starts = record_starts(window)
    if starts is None:
        return 1
    return len(window) - int(starts[-1]) if len(starts) else len(window)


def join_records(
    lines: list[str],
    messages: list[str],
    starts: NDArray[np.intp],
    counts: Counter[str],
    *,
    max_lines: int,
    max_chars: int,
) -> list[str]:
    """The messages of the records that begin at `starts`, their further lines added.

    Args:
        messages: what each line says without its header; read at `starts` only.
        starts: ascending; the lines before the first are nobody's.
        counts: `CUT` is raised by one for each record that was longer than allowed.
    """
    joined = [messages[start] for start in starts.tolist()]
    ends = np.append(starts[1:], len(lines))
    for record in np.flatnonzero(ends - starts > 1).tolist():
        start, end = int(starts[record]), int(ends[record])
        while end > start + 1 and not lines[end - 1].strip():
            end -= 1
        if end == start + 1:
            continue
        last = min(end, start + max_lines)
        message = "\n".join([joined[record], *lines[start + 1 : last]])
        if last < end or len(message) > max_chars:
            counts[CUT] += 1
            message = message[:max_chars]
        joined[record] = message
    return joined
