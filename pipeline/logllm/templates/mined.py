"""Which part of a message its template is made of."""

from __future__ import annotations

import re

from logllm.templates.records import abridged

__all__ = ["MAX_CHARS", "mined_part", "printable"]

MAX_CHARS = 2000
_EXCEPTION = re.compile(
    r"(?:Caused by: )?(?:[\w$]+\.)*[\w$]*(?:Exception|Error|Throwable|Fault|Exit|Interrupt|Warning)\b"
)
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?::\s.*)?")


def mined_part(message: str) -> str:
    """What of a message its template is made of: one line, at most `MAX_CHARS` long.

    Of several lines: the first that is not blank and the one that names the exception, which is the last
    of a Python traceback and the first other one of Java or Node; never the frames. Of a record, all its fields.
    """
    if message[:1] == "{" or (len(message) > MAX_CHARS and "=" in message[:MAX_CHARS]):
        record = abridged(message) if "\n" in message or len(message) > MAX_CHARS else None
        if record is not None:
            return record[:MAX_CHARS]
    if "\n" not in message:
        return message[:MAX_CHARS]
    lines = message[: 4 * MAX_CHARS].split("\n")
    if len(message) > 4 * MAX_CHARS:
        lines += message[-MAX_CHARS:].split("\n")[1:]
    filled = [line for line in lines if line and not line.isspace()]
    if not filled:
        return ""
    first = filled[0][:MAX_CHARS]
    rest = filled[1:]
    if any(line.lstrip().startswith("Traceback (most recent call last)") for line in filled):
        rest = [line for line in reversed(rest) if not line[0].isspace() and _RAISED.fullmatch(line.rstrip("\r"))]
        if rest:
            return f"{first} … {rest[0][:300]}"
    elif not _EXCEPTION.match(first):
        for line in rest:
            if _EXCEPTION.match(line.lstrip()):
                return f"{first} … {line.strip()[:300]}"
    return first


def printable(text: str) -> str:
    """The text with what UTF-8 cannot write (lone surrogates) as `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
