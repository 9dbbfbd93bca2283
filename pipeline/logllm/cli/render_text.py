"""The small texts of the terminal view: hostile text made harmless, sparklines, times, sizes. No rich in here."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime

__all__ = ["amount", "duration", "moment", "neutral", "size", "span_s", "sparkline"]

# All that moves the cursor, starts an escape sequence, reorders text (bidi) or hides in it (zero width, tags).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
# More than three marks stacked on one letter reach into the lines above and below it.
_STACKED = re.compile("([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3})"
                      "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip
_PRESENTATION = re.compile("[\ufe00-\ufe0f]")  # emoji or plain: terminals disagree on the width it gives
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"


def neutral(text: str, limit: int = 4_000, encoding: str = "utf-8") -> str:
    r"""`text` as one line that a terminal can only show, never obey.

    Line breaks become ⏎, tabs a space, other control characters their picture (ESC is ␛), characters that reorder or
    hide text their number. What `encoding` cannot write is written as its number too. At most `limit` characters of
    the text are looked at, so a line of 10 MB costs no more than a short one.

    >>> neutral("a\x1b[31mred\r\n\u202egpj.exe")
    'a␛[31mred⏎\\u202egpj.exe'
    >>> neutral("naïve ␛", encoding="ascii")
    'na\\xefve \\u241b'
    """
    cut = text[: limit + 1]
    if len(cut) > limit:
        cut = cut[:limit] + "…"
    shown = _UNSAFE.sub(_picture, _PRESENTATION.sub("", cut.replace("\r\n", "\n").strip("\n")))
    shown = _STACKED.sub(r"\1", shown)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _picture(found: re.Match[str]) -> str:
    char = found[0]
    code = ord(char)
    if char == "\n":
        return "⏎"
    if char == "\t":
        return " "
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def sparkline(series: Sequence[int], width: int, *, plain: bool = False) -> str:
    """Counts as a row of bars at most `width` wide; a longer series keeps the highest count of each stretch.

    Nothing at all is the lowest bar and everything else is above it, so a silence shows. `plain` uses ASCII.

    >>> sparkline([0, 1, 50, 100], 10), sparkline([0, 1, 50, 100], 2), sparkline([0, 0], 9, plain=True)
    ('▁▂▅█', '▂█', '__')
    """
    if not series or width < 1:
        return ""
    bars = _ASCII_BARS if plain else _BARS
    groups = min(width, len(series))
    edges = [round(i * len(series) / groups) for i in range(groups + 1)]
    peaks = [max(series[a:b]) for a, b in itertools.pairwise(edges)]
    top = max(peaks)
    steps = len(bars) - 1
    return "".join(bars[0] if n <= 0 else bars[max(1, round(steps * n / top))] for n in peaks)


def moment(rfc3339: str) -> datetime | None:
    """The instant an RFC 3339 string names, None where it is none."""
    try:
        return datetime.fromisoformat(rfc3339)
    except ValueError:
        return None


def span_s(started: str, ended: str) -> float:
    """Seconds from one RFC 3339 time to another; 0 where either is missing or they run backwards."""
    first, last = moment(started), moment(ended)
    if first is None or last is None or (first.tzinfo is None) != (last.tzinfo is None):
        return 0.0
    return max(0.0, (last - first).total_seconds())


def duration(seconds: float) -> str:
    """A span in its two largest units.

    >>> duration(0.412), duration(41), duration(308), duration(7_380), duration(200_000)
    ('0.41 s', '41 s', '5 min 8 s', '2 h 3 min', '2 d 7 h')
    """
    if seconds < 10:
        return f"{seconds:.2f} s".replace(".00 s", " s")
    whole = round(seconds)
    for unit, size_s, small, small_s in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size_s:
            rest = whole % size_s // small_s
            return f"{whole // size_s} {unit} {rest} {small}" if rest else f"{whole // size_s} {unit}"
    return f"{whole} s"


def size(count: int) -> str:
    """Bytes in decimal units.

    >>> size(512), size(208_400), size(3_200_000_000)
    ('512 B', '208.4 kB', '3.2 GB')
    """
    if count < 1_000:
        return f"{count} B"
    value, units = count / 1_000, ["TB", "GB", "MB", "kB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1_000
        units.pop()
    return f"{value:,.1f} {units[-1]}"


def amount(count: int, noun: str) -> str:
    """A count with its noun.

    >>> amount(1, "incident"), amount(12_000, "line")
    ('1 incident', '12,000 lines')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
