"""Short codes that keep their digits: `E1` and `E2`, `http2` and `http3` are different texts.

Keys have no digits. `codes_in` finds the codes of a message; `holds_stem` finds, in a key, what a code leaves when its
digits are gone. Whatever the one finds in a message, the other finds in its key, so the key alone tells whether
codes must be looked for. That is why the words a number may follow are listed: if any word could be a code, every
key would be in doubt.
"""

from __future__ import annotations

import re

__all__ = ["codes_in", "holds_stem", "is_code"]

# Network interfaces too: their number is part of the name, and there are few.
_INTERFACES = "eth|en|wlan|wl|awdl|utun|lo|bond|ppp"
_STEMS = f"{_INTERFACES}|http|HTTP|ipv|IPv|tls|TLS|TLSv|SSLv|sha|SHA|md|MD|ERR|ORA|SQL|ext|python|oauth|OAuth|mp"
# Two capitals are often a word; with digits behind them they are an identifier.
_NO_STEMS = "OK|ID|IP|VM|IO|NO|ON|TO|IN|IS|OF|AT|BY|OR|DB|UI|OS|PC|RM|NM|AM|PM|MB|GB|KB|I|A"
_BODY = (
    rf"(?:(?:{_STEMS})[0-9]{{1,3}}(?![0-9])|(?!(?:{_NO_STEMS})[0-9])[A-Z]{{1,2}}[0-9]{{1,4}}(?![0-9])"
    r"|[A-Z]{2,8}-[0-9]{1,6}(?![0-9]))"
)
_STEM = rf"(?:(?:{_STEMS})|(?!(?:{_NO_STEMS})(?![A-Z-]))[A-Z]{{1,2}}|[A-Z]{{2,8}}-)"
_AROUND = r"\s,;:=|\"'`\[\](){}<>#"
# White space that only `str` knows is some byte above 127, or one of these, in a key.
_AROUND_BYTES = _AROUND + r"\x1c-\x1f\x80-\xff"


def _bounded(body: str, around: str, behind: str) -> str:
    """Finds a body between delimiters, or behind two dots.

    It begins with what stands before the body, for which the text is searched fast; so there must be something. Then
    comes what most words are not, before all that a body may be: half the time.
    """
    before = rf"[{around}.](?:(?<!\.)|(?<=\.)\.)(?=[A-Z]|[a-z]{{2,6}}{behind})"
    return rf"{before}({body})(?![^{around}.!?*])(?!://)"


_CODE = re.compile(_bounded(_BODY, _AROUND, "[0-9]"))
_CODE_STEM = re.compile(_bounded(_STEM, _AROUND_BYTES, "(?![a-z])").encode())
_CODE_ALONE = re.compile(_BODY)


def codes_in(message: str) -> list[str]:
    """The codes of a message, in order.

    >>> codes_in("E1 on eth0: ORA-00942, took 5 ms")
    ['E1', 'eth0', 'ORA-00942']
    """
    return _CODE.findall(f" {message}")


def holds_stem(key: bytes) -> bool:
    """Whether a code may have stood in the message of this key."""
    return _CODE_STEM.search(b" " + key) is not None


def is_code(piece: str) -> bool:
    """Whether a piece between delimiters keeps its digits.

    >>> is_code("E1"), is_code("ORA-00942"), is_code("ID7"), is_code("E123456")
    (True, True, False, False)
    """
    return _CODE_ALONE.fullmatch(piece) is not None
