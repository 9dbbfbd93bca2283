"""Short codes that keep their digits: `E1` and `E2`, `http2` and `http3` are different texts.

Keys have no digits. `CODE` finds the codes of a message; `CODE_STEM` finds, in a key, what a code leaves when its
digits are gone. Whatever `CODE` finds in a message, `CODE_STEM` finds in its key, so the key alone tells whether
codes must be looked for. That is why the words a number may follow are listed: if any word could be a code, every
key would be in doubt.
"""

from __future__ import annotations

import re

__all__ = ["CODE", "CODE_STEM", "is_code"]

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


def _bounded(body: str, around: str) -> str:
    return rf"(?:(?<![^{around}])|(?<=\.\.)){body}(?![^{around}.!?*])(?!://)"


CODE = re.compile(_bounded(_BODY, _AROUND))
CODE_STEM = re.compile(_bounded(_STEM, _AROUND_BYTES).encode())
_CODE_ALONE = re.compile(_BODY)


def is_code(piece: str) -> bool:
    """Whether a piece between delimiters keeps its digits.

    >>> is_code("E1"), is_code("ORA-00942"), is_code("ID7"), is_code("E123456")
    (True, True, False, False)
    """
    return _CODE_ALONE.fullmatch(piece) is not None
