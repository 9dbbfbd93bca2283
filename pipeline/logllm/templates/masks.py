"""Which parts of a log line vary, judged on the line alone.

A line is cut at white space and every token is masked by itself, so a token seen before costs one
dictionary lookup. A variable part becomes `<*>` in the token's *shape*; beside the shape stands what
would be shown for each `<*>`: a type (`<num>`, `<ip>`), or, for a part that only probably varies
(`user=root`, `'eth'`), the word itself, which stays on show until a second one is seen.

All patterns run in linear time: they are anchored at a token's ends, without nested repeats, and a
line is at most `MAX_CHARS` long.
"""

from __future__ import annotations

import re

from logllm.templates.codes import is_code
from logllm.templates.words import CONSTANTS, COUNTRIES, FIXED, NOT_USERS, TELLING, TOP_LEVEL, UNITS, USERS

__all__ = ["WILD", "Masked", "mask", "mask_token"]

WILD = "<*>"
Masked = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]

_TRIM_LEFT = "[({<\"'`*"
_TRIM_RIGHT = "])}>\"'`,;:.!?*"
_PIECES = re.compile(r"(\.{2,}|->|[,;:=|\"'`\[\](){}<>#])")

_DIGIT = re.compile("[0-9]")
_SIGNS = "+-~$€£"
_NUMBER = re.compile(r"[+\-~$€£]?\d(?:[\d,._]*\d)?(?:[eE][+\-]?\d+)?(?:%|[a-zA-Zµ]{1,7}(?:/[a-z]{1,3})?)?")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+[uUlLhH]*|(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}h?")
_LEAST_HEX_WORD = 8
_HEX_WORD = re.compile(rf"[a-f]{{{_LEAST_HEX_WORD},}}|[A-F]{{{_LEAST_HEX_WORD},}}")
_UUID_CHARS = 36
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_IP_DOTS = 3
_IP = re.compile(r"(?:[\w.\-]*/)?\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:/\d{1,2})?(?:[:#]\d{1,5})?(?:->.*)?")
_IP6 = re.compile(
    r"\[?(?=[a-fA-F:]*\d)(?=[0-9a-fA-F]*:[0-9a-fA-F:]*:)[0-9a-fA-F:]{3,39}(?:%\w+)?\]?(?:\.\d{1,3}){0,4}(?::\d{1,5})?"
)
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:[:\-][0-9a-fA-F]{2}){5,15}")
_TIME = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|\d{1,2}/[A-Z][a-z]{2}/\d{4})"
    r"(?:[T_:\-]?\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:[.,]\d+)?)?(?:Z|[+\-]\d{2}:?\d{2})?"
    r"|\d{1,3}:\d{2}(?::\d{2}(?:[.,:]\d+)?)?(?:Z|[+\-]\d{2}:?\d{2})?"
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]{1,15}://.*")
_EMAIL = re.compile(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+")
_WINDOWS_PATH = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\).*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]*\.)+([a-z]{2,8})\.?(?::\d{1,5})?")
_HOST_PORT = re.compile(r"localhost:\d{2,5}|[A-Za-z](?=[A-Za-z_.\-]*\d[\w.\-]*:)\w*[.\-][\w.\-]*:\d{2,5}")
# What holds delimiters and belongs together, inside a token that holds more.
_INNER = re.compile(
    r"(?<![\w.:\-])(?:(?P<ip>(?:[\w.\-]*/)?\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d{1,5})"
    r"|(?P<mac>[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5,15})"
    r"|(?P<time>(?:\d{4}[-/]\d{1,2}[-/]\d{1,2}[T:_])?\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?)"
    r"|(?P<num>\d{1,3}(?:,\d{3})+))(?![\w,])"
)
_INNER_TYPES = {"\x02ip": "<ip>", "\x02mac": "<mac>", "\x02time": "<time>", "\x02num": "<num>"}
_CLASS = re.compile(r"[A-Za-z_][\w$]*(?:\.[A-Za-z_$][\w$]*)*\.[A-Z][\w$]*")
_VALUE_ENDS = frozenset(("", ",", ";", "|", ")", "]", "}", ">"))
# With commas between them, and with spaces: two paths or addresses side by side are often two things.
_LISTS = frozenset(("<id>", "<path>", "<uuid>", "<time>", "<ip>", "<host>"))
_ROWS = frozenset(("<id>", "<uuid>", "<time>"))
_USER = re.compile(r"([A-Za-z_](?:[\w.\-]*\w)?)([.,;:)]*)")
_MNEMONIC = re.compile(r"%[A-Z][A-Z0-9_]*-\d-[A-Z][A-Z0-9_]*")
_PATH_WITH_SPACES = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\\/:*?\"<>|\s]+(?: [^\\/:*?\"<>|\s]+){0,4}\\)+")
_DOMAIN_USER = re.compile(r"[A-Z][A-Z0-9\-]{1,14}\\[\w.$\-]+")
_DURATION = re.compile(
    r"\d+(?:\.\d+)?(?:ns|us|µs|ms|s|sec|secs|m|min|mins|h|d)|(?:\d+d)?(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?m?s(?:\d+ms)?"
)
_SIZE = re.compile(r"\d+(?:\.\d+)?(?:[KMGT]i?|k)?B|\d+(?:\.\d+)?[KMGT]")
_STEM_DOT_NUMBER = re.compile(r"([A-Za-z][A-Za-z_]*\.)\d+")
_OBJECT = re.compile(r"((?:[a-z_][\w$]*\.)*[A-Z][\w.$]*@)[0-9a-f]+")
_NAME = re.compile(r"[A-Za-z_][\w.$\-]*")
_MONTH_BEGIN = re.compile("Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec")
_MONTHS = rf"(?:{_MONTH_BEGIN.pattern})[a-z]{{0,6}}"
_MONTH = re.compile(rf"{_MONTHS} {{1,2}}[0-9]|[0-9] {_MONTHS}")
_DATE_IN_LINE = re.compile(
    rf"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{{0,6}},? {{1,2}})?"
    rf"(?:{_MONTHS} {{1,2}}\d{{1,2}}|\d{{1,2}} {_MONTHS}),?(?: \d{{4}},?)?"
    r"(?: \d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?)?(?: (?:[AP]M|[A-Z]{3,4}|[+\-]\d{4})(?!\w))?(?: \d{4}(?!\d))?"
)
_WHEN = "\x02time"
_QUOTED_VALUE = re.compile(r"(?<![\w.\-])([A-Za-z_][\w.\-]*)=(?:\"[^\"]{0,200}\"|'[^']{0,200}')")
_SPACE = "\x04"  # stands for a space inside a quoted value while a line is cut at white space
_LESS_THAN = re.compile(r"(?<=\s)<(\d+) (?:sec|ms|s|min)\b")

_PACKAGES = ("org.", "com.", "net.", "java.", "javax.", "io.", "sun.", "edu.")


def _piece(piece: str) -> str | None:
    """The type of one piece between delimiters, or None where it is text."""
    if "\x02" in piece:
        return _INNER_TYPES.get(piece, "<id>")
    if piece.isalpha():
        return CONSTANTS.get(piece) or ("<hex>" if _is_hex_word(piece) else None)
    has_digit = _has_digit(piece)
    if "/" in piece or "\\" in piece:
        if _IP.fullmatch(piece):
            return "<ip>"
        if _NUMBER.fullmatch(piece):
            return "<num>"
        if _DOMAIN_USER.fullmatch(piece):
            return "<user>"
        if _WINDOWS_PATH.fullmatch(piece) or (piece[0] in "/~" and len(piece) > 1 and piece.strip("/.")):
            return "<path>"
        if max(piece.count("/"), piece.count("\\")) > 1 or has_digit or "." in piece or "_" in piece:
            return "<path>"
        return None
    if "@" in piece and _EMAIL.fullmatch(piece):
        return "<email>"
    if "." in piece and (found := _HOST.fullmatch(piece)) and not piece.startswith(_PACKAGES):
        last = found[1]
        if last in TOP_LEVEL or (last in COUNTRIES and piece.count(".") > 1):
            return "<host>"
    if not has_digit:
        return None
    # What stands before each pattern costs a fraction of it, and what it matches has it.
    if piece.count(".") >= _IP_DOTS and _IP.fullmatch(piece):
        return "<ip>"
    numeric = piece[0].isdecimal()
    if (numeric or piece[0] in _SIGNS) and _NUMBER.fullmatch(piece):
        return "<num>" if piece[-1].isdigit() else _quantity(piece)
    if (not numeric and is_code(piece)) or piece in FIXED or (piece[0] == "%" and _MNEMONIC.fullmatch(piece)):
        return None
    if _HEX.fullmatch(piece):
        return "<hex>"
    if len(piece) == _UUID_CHARS and _UUID.fullmatch(piece):
        return "<uuid>"
    if numeric and _TIME.fullmatch(piece):
        return "<time>"
    if numeric and _DURATION.fullmatch(piece):
        return "<dur>"
    if "." in piece and _CLASS.fullmatch(piece):
        return None
    return "<id>"


def _is_hex_word(letters: str) -> bool:
    return len(letters) >= _LEAST_HEX_WORD and _HEX_WORD.fullmatch(letters) is not None


def _has_digit(piece: str) -> bool:
    return _DIGIT.search(piece) is not None or (not piece.isascii() and any(map(str.isdigit, piece)))


def _quantity(piece: str) -> str:
    return "<dur>" if _DURATION.fullmatch(piece) else "<size>" if _SIZE.fullmatch(piece) else "<num>"


def _whole(core: str) -> str | None:
    """The type of a token whose parts belong together although it holds delimiters."""
    if "://" in core and _URL.fullmatch(core):
        return "<url>"
    if ":" in core:
        if _TIME.fullmatch(core):
            return "<time>"
        if _MAC.fullmatch(core):
            return "<mac>"
        if _IP.fullmatch(core) or _IP6.fullmatch(core):
            return "<ip>"
        if _HOST_PORT.fullmatch(core):
            return "<host>"
        if _WINDOWS_PATH.fullmatch(core):
            return "<path>"
        if found := _HOST.fullmatch(core):
            # A country and a port: no file's ending is followed by a line number that way.
            return "<host>" if found[1] in COUNTRIES else _piece(core.partition(":")[0])
    elif core[0] == "/" and _PIECES.search(core.partition("?")[0]) is None:
        return "<ip>" if _IP.fullmatch(core) else "<path>" if core.strip("/.") else None
    return None


def _inner(found: re.Match[str]) -> str:
    return f"\x02{found.lastgroup}"


def _pieces(core: str) -> tuple[str, tuple[str, ...]]:
    if ":" in core or "," in core:
        core = _INNER.sub(_inner, core)
    parts = _PIECES.split(core)
    shape: list[str] = []
    shown: list[str] = []
    last = len(parts) - 1
    opened = ""
    for at in range(0, last + 1, 2):
        piece = parts[at]
        before = parts[at - 1] if at else ""
        after = parts[at + 1] if at < last else ""
        kind: str | None = None
        if before == "=" and after in _VALUE_ENDS and _NAME.fullmatch(parts[at - 2]):
            # key=value: the value varies, whatever it looks like, unless the key says it is the message
            kind = _piece(piece) if piece else ""
            if kind is None and parts[at - 2].lower() not in TELLING:
                kind = piece
        elif opened and after == opened and piece:
            key = ""
            if at >= 4 and parts[at - 3] == "=" and not parts[at - 2]:
                key = parts[at - 4]
            elif at >= 6 and parts[at - 3] == ":" and parts[at - 5] == before:
                key = parts[at - 6]
            is_key = at + 3 <= last and parts[at + 3] == ":" and not parts[at + 2]
            kind = _piece(piece)
            if kind is None and not is_key and key.lower() not in TELLING:
                kind = piece
        elif piece:
            body = piece.rstrip(".!?*")
            if after and after in "(=" and _NAME.fullmatch(piece):
                kind = None  # a function's or a field's name
            elif body:
                kind = _piece(body)
                if kind is not None and body is not piece:
                    after = piece[len(body) :] + after
            if kind == "<id>" and (found := _STEM_DOT_NUMBER.fullmatch(piece) or _OBJECT.fullmatch(piece)):
                shape.append(found[1])
                kind = "<num>"
        if after and after[-1] in "\"'":
            opened = "" if opened == after[-1] else opened or after[-1]
        if kind is None:
            shape.append(piece)
        elif kind in _LISTS and len(shape) > 1 and shape[-2] == WILD and shape[-1] in ",:" and shown[-1] == kind:
            shape.pop()  # a list of unknown length
        else:
            shape.append(WILD)
            shown.append(kind)
        if after:
            shape.append(after)
    return "".join(shape), tuple(shown)


def mask_token(token: str) -> tuple[str, tuple[str, ...]]:
    """A token's shape and what is shown at each `<*>` of it.

    >>> mask_token("/10.251.30.6:33145"), mask_token("user=root"), mask_token("E1")
    (('<*>', ('<ip>',)), ('user=<*>', ('root',)), ('E1', ()))
    """
    if token.isalpha():
        if token in _WORDS:
            return _WORDS[token]
        return (WILD, ("<hex>",)) if _is_hex_word(token) else (token, ())
    if token.isdecimal():
        return WILD, ("<num>",)
    if token == _WHEN:
        return WILD, ("<time>",)
    if WILD in token:
        return WILD, (WILD,)
    if token[:1] == "@":
        shape, shown = mask_token(token[1:]) if len(token) > 1 else ("", ())
        return f"@{shape}", shown
    left = token.lstrip(_TRIM_LEFT)
    core = left.rstrip(_TRIM_RIGHT)
    if "]:" in core and token[len(token) - len(left) - 1 : len(token) - len(left)] == "[":
        left, core = f"[{left}", f"[{core}"  # an IPv6 address with its port
    if not core:
        return (f"({WILD})", ("",)) if token == "()" else (token, ())  # noqa: S105
    lead, trail = token[: len(token) - len(left)], left[len(core) :]
    kind = _whole(core)
    if kind is None and core[0] == "." and lead[-1:] == "*" and _HOST.fullmatch(core[1:]):
        kind = _piece(core[1:])
        lead = lead[:-1] if kind is not None else lead
    if kind is not None:
        return f"{lead}{WILD}{trail}", (kind,)
    if lead or trail:
        return _pieces(token)
    return _pieces(core)


_WORDS = {word: (WILD, (kind,)) for word, kind in {**dict.fromkeys(USERS, "<user>"), **CONSTANTS}.items()}


def _keep_together(found: re.Match[str]) -> str:
    text = found[0]
    return text if found[1].lower() in TELLING else text.replace(" ", _SPACE)


_tokens: dict[str, tuple[str, tuple[str, ...]]] = {}
_MAX_TOKENS = 50_000


def mask(line: str) -> Masked:
    """The shapes of a line's tokens and what is shown in each; a pure function of the line.

    >>> mask("took 5 ms for user=bob")
    (('took', '<*>', '<*>', 'for', 'user=<*>'), ((), ('<num>',), ('ms',), (), ('bob',)))
    """
    if _MONTH_BEGIN.search(line) and _MONTH.search(line):  # the second takes five times as long
        line = _DATE_IN_LINE.sub(_WHEN, line)
    if ":\\" in line:
        line = _PATH_WITH_SPACES.sub(lambda found: found[0].replace(" ", _SPACE), line)
    quoted = '="' in line or "='" in line
    if quoted:
        line = _QUOTED_VALUE.sub(_keep_together, line)
    if " <" in line:
        line = _LESS_THAN.sub(r"\1", line)
    tokens = line.split()
    known = _tokens
    shapes: list[str] = []
    shown: list[tuple[str, ...]] = []
    previous = ""
    for token in tokens:
        # Short words cost less than looking them up, and random ones fill no room.
        short = len(token) < _LEAST_HEX_WORD and token.isalpha()
        masked = (_WORDS.get(token) or (token, ())) if short else known.get(token)
        if masked is None:
            masked = mask_token(token)
            if len(known) >= _MAX_TOKENS:
                known.clear()
            known[token] = masked
        shape, shows = masked
        if previous == WILD:
            if shape == WILD and shows == shown[-1] and shows[0] in _ROWS:
                continue  # a list of unknown length
            if token.startswith("HTTP/") and shape.startswith(WILD):
                shapes[-1] = shape  # the rest of a request line
                continue
            if not shows and shown[-1] == ("<num>",) and (unit := token.rstrip("),.;]")) in UNITS:
                shape, shows = WILD + token[len(unit) :], (unit,)
        elif not shows and previous in ("user", "User", "username", "account") and (name := _USER.fullmatch(token)):
            shape, shows = WILD + name[2], ("<user>" if name[1].lower() not in NOT_USERS else name[1],)
        if quoted and shows:
            shows = tuple([show.replace(_SPACE, " ") for show in shows])
        shapes.append(shape)
        shown.append(shows)
        previous = shape
    return tuple(shapes), tuple(shown)
