"""Numbers of people, told from plain ones by their check digits or by the way they are written.

Not known: numbers that any other number of their length may pass for (a Dutch BSN, a Polish PESEL, a Spanish DNI, an
Aadhaar): those are masked behind a key that names them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logllm.explain.redact.rule import rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logllm.explain.redact.rule import Span

__all__ = ["PERSONAL_KINDS", "PHONE", "personal_spans"]

_CARD = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|62\d{14}"
)

# Of the registry of ISO 13616: how long the account numbers of a country are.
_IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI NL FO GL",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "PT",
    26: "IS TR",
    27: "FR GR IT MC MR SM",
    28: "AL AZ CY DO GT HU LB PL",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
}
_LENGTH_OF = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries.split()}
# Of every length, the longest first: a word behind the number may look like a part of it.
_IBAN = "|".join(
    rf"(?:[A-Z0-9] ?){{{length - 5}}}[A-Z0-9](?![A-Za-z0-9])" for length in sorted(_IBAN_LENGTHS, reverse=True)
)


def _luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    # The networks' own lengths and first digits: of random numbers one in ten passes the sum alone.
    if not _CARD.fullmatch("".join(map(str, digits))) or len(set(digits)) < 2:
        return False
    doubled = (digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if _LENGTH_OF.get(compact[:2]) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _ssn(text: str) -> bool:
    area, group, serial = text.split("-")
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _nino(text: str) -> bool:
    return not set(text[:2]) & set("DFIQUV") and text[1] != "O"


def _cpf(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    for size in (9, 10):
        weighed = sum(digit * weight for digit, weight in zip(digits[:size], range(size + 1, 1, -1), strict=True))
        if weighed * 10 % 11 % 10 != digits[size]:
            return False
    return len(set(digits)) > 1


def _hetu(text: str) -> bool:
    return text[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[7:10]) % 31]


def _chinese(text: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], weights, strict=True))
    return text[17].upper() == "10X98765432"[total % 11]


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _codice_fiscale(text: str) -> bool:
    values = [int(char) if char.isdigit() else ord(char) - ord("A") for char in text]
    total = sum(_ODD[value] if place % 2 == 0 else value for place, value in enumerate(values[:15]))
    return total % 26 == values[15]


def _nir(text: str) -> bool:
    digits = text.replace(" ", "")
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def _telephone(text: str) -> bool:
    # E.164 allows fifteen digits; with fewer than ten it may as well be a sum.
    return 10 <= sum(char.isdigit() for char in text) <= 15


_NOT_AFTER = r"(?![\w+-]|\.\d)"
# None of the numbers is shorter than ten characters: most digits of a line are done with there.
_FIRST_DIGIT = r"\d(?<![\w.+-]\d)(?=[\d .+A-]{9})"

# One pattern for all that begin with a digit, one for those that begin with a letter: a line is gone through twice.
_NUMBERS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (
        "card",
        r"(?:\d{13,15}|\d{3}(?: \d{4}){3}|\d{3}(?:-\d{4}){3}|\d{3}[ -]\d{6}[ -]\d{5})(?!\w|[.-]\d)",
        _luhn,
    ),
    ("chinese id", r"\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[0-9Xx](?!\w)", _chinese),
    ("us ssn", rf"\d\d-\d\d-\d{{4}}{_NOT_AFTER}", _ssn),
    ("finnish hetu", rf"\d(?:0[1-9]|1[0-2])\d\d[-+A]\d{{3}}[0-9A-Y]{_NOT_AFTER}", _hetu),
    ("brazilian cpf", rf"\d\d\.\d{{3}}\.\d{{3}}-\d\d{_NOT_AFTER}", _cpf),
    ("french nir", r" \d\d (?:0[1-9]|1[0-2]) \d\d \d{3} \d{3} \d\d(?!\w)", _nir),
)
_LETTERED: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("iban", rf"\d\d ?(?:{_IBAN})", _iban),
    ("british nino", r" \d\d \d\d \d\d [A-D](?!\w)", _nino),
    ("italian codice fiscale", r"[A-Z]{4}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z](?!\w)", _codice_fiscale),
)
_PATTERNS = tuple(
    (re.compile(first + "(?:" + "|".join(f"({pattern})" for _, pattern, _ in rules) + ")"), [each[2] for each in rules])
    for first, rules in ((_FIRST_DIGIT, _NUMBERS), (r"[A-Z](?<!\w.)[A-Z]", _LETTERED))
)

PERSONAL_KINDS = tuple(kind for kind, _, _ in (*_NUMBERS, *_LETTERED))


def personal_spans(text: str) -> Iterator[Span]:
    """Where numbers of accounts and of people stand."""
    for pattern, accepts in _PATTERNS:
        for match in pattern.finditer(text):
            if accepts[(match.lastindex or 1) - 1](match[0]):
                yield match.span()


PHONE = rule(
    "phone",
    "+",
    r"(?<![\w+/.%-])\+[1-9](?:\d{9,14}|\d{0,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,8}(?:[ .-]\d{2,8}){0,4})(?![\w-]|\.\d)",
    _telephone,
)
"""Telephone numbers with the sign of their country code: a kind of its own, which can be put back."""
