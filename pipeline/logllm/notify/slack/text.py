"""Text of logs, models and people, made harmless for Slack: it can neither mention, link, format nor break a layout.

The ways in, by where it goes: `plain` (a header, which knows no markup), `prose` (running text), `code` (a span),
`literal` and `cell` (a line of a `preformatted` block). Each looks at the beginning of a long text only, and is at most
`limit` long as Slack may count it: UTF-16 units, escapes in full. What is cut ends in "…", never within an escape or
an accent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from unicodedata import category, east_asian_width

__all__ = ["MARK", "cell", "code", "instruction", "literal", "plain", "preformatted", "prose", "shortened", "width"]

MARK = "…"
WORD_JOINER = "\u2060"
"""No width and no break: put behind what would begin a link, a mention or an emoji, none of which allows it."""

_MOST_MARKS = 3  # more of them on one letter reach into the lines above and below
_BREAKS = re.compile("[ \t]*[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029][\\s\x1c-\x1e\x85]*")
_SPACES = re.compile(r"\s+")
_VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SKIN = re.compile("[\U0001f3fb-\U0001f3ff]")
# By their category they are letters, symbols or not assigned, and nothing is to be seen of them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2060-\u206f\u2800\u3164\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))

_BEGINS = re.compile(r"[@#:](?=\S)|(?<=\w)\.(?=[^\W\d_])")
_LOOK_ALIKE = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_LOOSE_UNDERSCORE = re.compile("(?<![0-9A-Za-z])_+|_+(?![0-9A-Za-z])|__+")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNMARKED = str.maketrans({"&": "＆", "<": "‹", ">": "›"})
_SPAN = re.compile("`([^`]+)`")


def width(text: str) -> int:
    """UTF-16 units.

    >>> width("a…😀")
    4
    """
    return len(text) + sum(char > "\uffff" for char in text)


def plain(text: str, limit: int) -> str:
    """For `plain_text`, where Slack reads no markup; whether it reads escapes is not told, so none is needed.

    >>> plain("New: <!channel> at <*> & more", 150)
    'New: ‹!channel› at ‹*› ＆ more'
    """
    return _fitted(_broken(_one_line(text, limit).translate(_UNMARKED)), limit, str)


def prose(text: str, limit: int) -> str:
    """For running text in `mrkdwn`. Markup characters become others that look alike; names keep their underscores.

    >>> prose("*a* of db_main & <!here> _now_", 100)
    '∗a∗ of db_main &amp; &lt;!here&gt; ˍnowˍ'
    """
    line = _broken(_one_line(text, limit).translate(_LOOK_ALIKE))
    line = _LOOSE_UNDERSCORE.sub(lambda found: "ˍ" * len(found[0]), line)
    if line.startswith(">"):
        line = "›" + line[1:]
    fitted = _fitted(line, limit, _escaped)
    # An underscore within a name that the cut left at its end.
    return fitted[: -len(MARK)].rstrip("_") + MARK if fitted.endswith("_" + MARK) else fitted


def literal(text: str, limit: int) -> str:
    """For a line within code, without backticks of its own.

    >>> literal("a ```b <c>", 100)
    'a ˋˋˋb &lt;c&gt;'
    """
    return _fitted(_one_line(text, limit).replace("`", "ˋ"), limit, _escaped)


def cell(text: str, columns: int) -> str:
    """Like `literal`, exactly so many columns wide where letters have one width, as in a table within code.

    >>> cell("a<b", 5), cell("日本語", 5)
    ('a&lt;b  ', '日本…')
    """
    shown, used = [], 0
    clusters = list(_clusters(_one_line(text, columns).replace("`", "ˋ")))
    for number, cluster in enumerate(clusters):
        wide = 1 + (east_asian_width(cluster[0]) in "WF")
        if used + wide > columns - (number < len(clusters) - 1):
            shown.append(MARK)
            used += 1
            break
        shown.append(_escaped(cluster))
        used += wide
    return "".join(shown) + " " * (columns - used)


def code(text: str, limit: int) -> str:
    """A span of code in one line, with its backticks; empty for no text.

    >>> code("a `b` <c>", 100)
    '`a ˋbˋ &lt;c&gt;`'
    """
    inner = literal(text, limit - 2)
    return f"`{inner}`" if inner else ""


def preformatted(lines: Iterable[str], limit: int) -> str:
    """A block of code of lines that `literal` or `cell` made; those that do not fit into `limit` are left out.

    >>> preformatted(["E1 x", "E2 y"], 100)
    '```\\nE1 x\\nE2 y\\n```'
    """
    block = shortened("\n".join(line for line in lines if line), limit - 8)
    return f"```\n{block}\n```" if block else ""


def instruction(text: str, limit: int) -> str:
    """A step of a runbook: prose, in which commands between backticks are spans of code.

    >>> instruction("Look: `ss -ltnp`, then *wait* for a `", 100)
    'Look: `ss -ltnp`, then ∗wait∗ for a ˋ'
    """
    told = ""
    for number, piece in enumerate(_SPAN.split(_one_line(text, limit))):
        if not piece.strip():
            continue
        left = limit - width(told) - 3  # for two blanks and the mark
        if left < 8 or told.endswith(MARK):
            return told.rstrip().removesuffix(MARK) + MARK
        shown = code(piece, left) if number % 2 else prose(piece, left)
        # Slack sees a span only where no word touches it.
        touching = told[-1:].isalnum() or shown[:1].isalnum() or piece[0] == " "
        told += f" {shown}" if told and touching else shown
        if piece[-1] == " " and number % 2 == 0:
            told += " "
    return told.strip()


def shortened(text: str, limit: int) -> str:
    """A text of ours, whole lines of it, at most `limit` long.

    >>> shortened("one\\ntwo\\nthree", 9)
    'one\\ntwo\\n…'
    """
    if width(text) <= limit:
        return text
    kept, left = [], limit - len(MARK)
    for line in text.split("\n"):
        left -= width(line) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join([*kept, MARK])


def _escaped(cluster: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in cluster)


def _broken(line: str) -> str:
    return _BEGINS.sub(lambda found: found[0] + WORD_JOINER, line)


def _one_line(text: str, limit: int) -> str:
    """Line breaks as ⏎, what is hidden or steers shown as a picture or its number, all white space as one blank.

    Looks at four times `limit` characters at most.
    """
    most = 4 * limit
    cut = _VARIATION.sub("", text[:most])
    cut = _SPACES.sub(" ", _BREAKS.sub(" ⏎ ", cut.strip()))
    shown = "".join(_shown(char) for char in cut)
    return shown + MARK if len(text) > most else shown


def _shown(char: str) -> str:
    if " " <= char <= "~":
        return char
    number = ord(char)
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "␡"
    if category(char) not in _HIDDEN and not _INVISIBLE.match(char):
        return char
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _clusters(line: str) -> Iterator[str]:
    """Each character with what sits on it."""
    cluster, marks = "", 0
    for char in line:
        if char > "\x7f" and (category(char)[0] == "M" or _SKIN.match(char)):
            marks += 1
            if marks > _MOST_MARKS:
                continue
            # A mark at the beginning would sit on what stands before the text.
            cluster = (cluster or "◌") + char
            continue
        if cluster:
            yield cluster
        cluster, marks = char, 0
    if cluster:
        yield cluster


def _fitted(line: str, limit: int, escape: Callable[[str], str]) -> str:
    pieces: list[str] = []
    size, room = 0, limit - len(MARK)
    fits = 0
    for cluster in _clusters(line):
        piece = escape(cluster)
        size += width(piece)
        if size > limit:
            return "".join(pieces[:fits]).rstrip(f" {WORD_JOINER}") + MARK
        pieces.append(piece)
        if size <= room:
            fits = len(pieces)
    return "".join(pieces)
