"""What the plugin `redact` hides, once more: slow and obvious, one regular expression or a few lines a rule.

At each place of a text, from left to right, each rule is asked whether something to hide has its anchor there (the `@`
of an address, the `=` behind a name, the first digit of a number) and does not begin before what is hidden already.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "masked", "record", "spans"]

KINDS = [
    "card",
    "email",
    "ip",
    "iban",
    "jwt",
    "private_key",
    "aws",
    "github",
    "gitlab",
    "slack",
    "stripe",
    "google",
    "npm",
    "pypi",
    "openai",
    "authorization",
    "password",
    "secret",
    "ssn",
]

Span = tuple[int, int]
_LETTER = rb"[\xc3-\xd4][\x80-\xbf]"
_UNITS = b"service socket timer mount slice scope target device path swap".split()


def _email(text: bytes, at: int, done: int, width: int) -> Span | None:
    local = re.search(rb"(?:[A-Za-z0-9._%+-]|" + _LETTER + rb")*\Z", text[done:at])
    assert local
    if len(local[0]) > 64:
        return None
    start = at - len(local[0].lstrip(b".%+-"))
    if start == at or text[:start].endswith(b"//") or text[start:at] == b"git":
        return None
    labels = re.match(rb"(?:[A-Za-z0-9.-]|" + _LETTER + rb")*", text[at + width :])
    assert labels
    end, good = 0, None
    for number, label in enumerate(labels[0].split(b".")):
        end += len(label) + bool(number)
        if not label or label[:1] == b"-" or label[-1:] == b"-" or len(label) > 63 or end > 253:
            break
        if number == 0 and re.fullmatch(rb"\d\d?|\dx", label):
            return None
        if number and label not in _UNITS and re.fullmatch(rb"(?:[A-Za-z]|" + _LETTER + rb")+|xn--.*", label):
            good = end if 2 <= len(label) <= 24 or label.startswith(b"xn--") else good
    return None if good is None else (start, at + width + good)


def email(text: bytes, at: int, done: int) -> Span | None:
    if text[at] == ord("@"):
        return _email(text, at, done, 1)
    return _email(text, at, done, 3) if text[at : at + 3] == b"%40" else None


def _luhn(digits: bytes) -> bool:
    found = [int(digit) for digit in digits.decode()][::-1]
    return (sum(found[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in found[1::2])) % 10 == 0


_NETWORKS = re.compile(
    rb"4\d{12}|4\d{15}|5[1-5]\d{14}|222[1-9]\d{12}|22[3-9]\d{13}|2[3-6]\d{14}|27[01]\d{13}|2720\d{12}|220[0-4]\d{12}"
    rb"|3[47]\d{13}|30[0-5]\d{11}|3095\d{10}|36\d{12}|3[89]\d{12}|6011\d{12}|64[4-9]\d{13}|65\d{14}|35(?:2[89]|[3-8]\d)"
    rb"\d{12}|62\d{14,17}|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}"
)
_NINETEEN = re.compile(rb"4\d{18}|6011\d{15}|64[4-9]\d{16}|65\d{17}|35(?:2[89]|[3-8]\d)\d{15}")
_GROUPS = [
    re.compile(rb"\d{4}([ -])" + rest)
    for rest in (rb"\d{4}\1\d{4}\1\d{4}\1\d{3}", rb"\d{4}\1\d{4}\1\d{4}", rb"\d{6}\1\d{5}", rb"\d{6}\1\d{4}")
]
_END = re.compile(rb"(?![A-Za-z0-9_]|[.,-][0-9])")
_BEGIN = re.compile(rb"(?<![A-Za-z0-9_])(?<![0-9]\.)(?=[0-9])")


def card(text: bytes, at: int, done: int) -> Span | None:
    if not _BEGIN.match(text, at) or re.compile(rb"(?<=[+-])|(?<=[0-9],)").match(text, at):
        return None
    row = re.compile(rb"[0-9]+").match(text, at)
    assert row
    if 13 <= len(row[0]) <= 19:
        good = _NETWORKS.fullmatch(row[0]) and _luhn(row[0]) and _END.match(text, row.end())
        return row.span() if good else None
    for form in _GROUPS:
        found = form.match(text, at)
        digits = re.sub(rb"[ -]", b"", found[0]) if found else b""
        known = _NETWORKS.fullmatch(digits) or _NINETEEN.fullmatch(digits)
        if found and known and _luhn(digits) and _END.match(text, found.end()):
            return found.span()
    return None


_IBANS = (
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22"
    "GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27"
    "MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29"
    "VA22VG24XK20YE30"
)
_SIZES = {_IBANS[at : at + 2].encode(): int(_IBANS[at + 2 : at + 4]) for at in range(0, len(_IBANS), 4)}


def iban(text: bytes, at: int, done: int) -> Span | None:
    start = at - 2
    if start < done or re.match(rb"[0-9]", text[at - 1 :]) or not re.match(rb"[0-9]{2}", text[at:]):
        return None
    size = _SIZES.get(text[start:at])
    if size is None or re.compile(rb"(?<=[A-Za-z0-9_])").match(text, start):
        return None
    found = re.compile(rb"[A-Z]{2}[0-9]{2}" + b"".join(
        (b" ?" if number % 4 == 0 else b"") + b"[A-Z0-9]" for number in range(4, size)
    ) + rb"(?![A-Za-z0-9_])").match(text, start)  # fmt: skip
    if not found:
        return None
    code = found[0].replace(b" ", b"")
    number = "".join(str(int(chr(char), 36)) for char in code[4:] + code[:4])
    return found.span() if int(number) % 97 == 1 else None


def ssn(text: bytes, at: int, done: int) -> Span | None:
    form = rb"(?<!-)(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"
    found = re.compile(form).match(text, at)
    return found.span() if found and _BEGIN.match(text, at) and _END.match(text, found.end()) else None


_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_QUAD = re.compile(_OCTET + rb"(?:\." + _OCTET + rb"){3}(?![0-9])")
_RANGES = "0.0.0.0/8 10.0.0.0/8 127.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3"
_PRIVATE = [ipaddress.ip_network(one) for one in _RANGES.split(" ")]


def _is_private(address: ipaddress.IPv4Address) -> bool:
    return any(address in network for network in _PRIVATE)


def ipv4(text: bytes, at: int, done: int, keep_private: bool) -> Span | None:
    found = _QUAD.match(text, at)
    if not found or not _BEGIN.match(text, at) or re.compile(rb"(?<=[A-Za-z_]-)").match(text, at):
        return None
    rest = text[found.end() :]
    if re.match(rb"[A-Za-z0-9_]|\.[0-9]|[+~][A-Za-z0-9]", rest):
        return None
    if re.match(rb"-[A-Za-z0-9]", rest) and not _QUAD.match(rest, 1):
        return None
    word = re.search(rb"([A-Za-z]*)[ :=\"'(]{0,3}\Z", text[:at])
    assert word
    said = word[1][-12:].lower()
    if said in (b"ver", b"rev") or said.endswith((b"version", b"release", b"firmware", b"build", b"revision")):
        return None
    if keep_private and _is_private(ipaddress.IPv4Address(found[0].decode())):
        return None
    return found.span()


def ipv6(text: bytes, at: int, done: int, keep_private: bool) -> Span | None:
    group = re.search(rb"[0-9A-Fa-f]{0,4}\Z", text[done:at])
    assert group
    start = at - len(group[0])
    if re.compile(rb"(?<=[A-Za-z0-9_:.])").match(text, start):
        return None
    if len(group[0]) != 4 and (group[0] or text[at + 1 : at + 2] != b":"):
        return None
    row = re.compile(rb"[0-9A-Fa-f:.]+").match(text, start)
    assert row
    if len(row[0]) > 46 or re.match(rb"[A-Za-z0-9_]", text[row.end() :]) or not re.search(rb"[0-9]", row[0]):
        return None
    code = row[0]
    while code.endswith(b".") or (code.endswith(b":") and not code.endswith(b"::")):
        code = code[:-1]
    try:
        address = ipaddress.IPv6Address(code.decode())
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    loopback = address == ipaddress.IPv6Address("::1")
    if len(group[0]) != 4 and mapped is None and not loopback:
        return None
    top = int(address) >> 112
    inside = loopback or 0xFC00 <= top <= 0xFDFF or 0xFE80 <= top <= 0xFEBF or top >= 0xFF00
    if keep_private and (inside or (mapped is not None and _is_private(mapped))):
        return None
    zone = re.match(rb"%[A-Za-z0-9]+", text[start + len(code) :])
    return start, start + len(code) + (len(zone[0]) if zone else 0)


def _token(pattern: bytes, anchor: int, group: int = 0) -> Callable[[bytes, int, int], Span | None]:
    """A rule for what begins `anchor` bytes before the anchor."""
    compiled = re.compile(pattern)

    def rule(text: bytes, at: int, done: int) -> Span | None:
        found = compiled.match(text, at - anchor) if at - anchor >= 0 else None
        return found.span(group) if found and found.start(group) >= done else None

    return rule


def _openai(text: bytes, at: int, done: int) -> Span | None:
    found = _token(rb"(?<![\w-])sk-[\w-]{20,}", 2)(text, at, done)
    body = text[at + 1 : found[1]] if found else b""
    return found if re.search(rb"[0-9]", body) and re.search(rb"[A-Z]", body) else None


def _private_key(text: bytes, at: int, done: int) -> Span | None:
    if at - 4 < done or not text[at - 4 :].startswith(b"-----BEGIN "):
        return None
    label = re.match(rb"[A-Z0-9 ]*", text[at + 1 : at + 60])
    assert label
    end = at + 1 + len(label[0])
    if not label[0].endswith((b"PRIVATE KEY", b"PRIVATE KEY BLOCK")) or not text[end:].startswith(b"-----"):
        return None
    last = re.compile(rb"-----END[A-Z0-9 ]*(?:-----)?").search(text, end + 5)
    return at - 4, last.end() if last and last.start() + 8 < len(text) else len(text)


def _authorization(text: bytes, at: int, done: int) -> Span | None:
    if re.compile(rb"(?<=[A-Za-z0-9_])").match(text, at):
        return None
    bearer = re.compile(rb"bearer {1,4}([\w.~+/=-]{8,})", re.I).match(text, at)
    if bearer:
        good = len(bearer[1]) >= 20 or re.search(rb"[0-9]", bearer[1])
        return bearer.span(1) if good else None
    basic = re.compile(rb"basic {1,4}(([A-Za-z0-9+/]{8,})={0,2})", re.I).match(text, at)
    if not basic:
        return None
    code = basic[2] if len(basic[2]) % 4 != 1 else basic[2][:-1]
    return basic.span(1) if b":" in base64.b64decode(code + b"=" * (-len(code) % 4)) else None


def _url_password(text: bytes, at: int, done: int) -> Span | None:
    if not re.compile(rb"(?<=[A-Za-z0-9+.-])://").match(text, at):
        return None
    user = re.compile(rb"[^\x00-\x20/?#\"'<>:@]{0,256}:").match(text, at + 3)
    rest = re.compile(rb"([^\x00-\x20/?#\"'<>]*)@").match(text[: user.end() + 512], user.end()) if user else None
    return rest.span(1) if rest and rest[1] else None


_CERTAIN = [
    "password",
    "passwd",
    "accesskeyid",
    "passphrase",
    "passcode",
    "passwordhash",
    "accesstoken",
    "authtoken",
    "refreshtoken",
    "sessiontoken",
    "bearertoken",
    "apitoken",
    "csrftoken",
    "xsrftoken",
    "authorization",
    "passwordconfirmation",
    "clientsecret",
    "apisecret",
    "appsecret",
    "sharedsecret",
    "passwort",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "authkey",
    "accountkey",
    "sharedkey",
]
_WORDS = ["pwd", "auth", "oauth", "credential", "token", "pass", "credentials", "creds", "secret"]
_NO_TOKENS = ("page", "next", "continuation", "sync", "max", "min")
_SOURCE = Path(__file__).parents[2] / "plugins" / "redact" / "src" / "words.rs"
# A list of words is no algorithm: it stands in one place.
_PROSE = frozenset(re.findall(r'"(\w+)"', _SOURCE.read_text().partition("const PROSE")[2].partition("];")[0]))
_SCHEMES = b"bearer basic token digest negotiate apikey ntlm".split()


def sure(name: bytes) -> str:
    """ "yes", "perhaps" or "no": whether a name is that of a secret."""
    if not re.search(rb"[A-Za-z]{2}\Z", name):
        return "no"
    letters = [(chr(char), at) for at, char in enumerate(name) if char not in b"_-."]
    squeezed = "".join(letter for letter, _ in letters).lower()
    if squeezed.endswith(tuple(_CERTAIN)):
        return "yes"
    for word in sorted(_WORDS, key=len, reverse=True):
        if not squeezed.endswith(word):
            continue
        start = letters[-len(word)][1]
        whole = re.search(rb"[^A-Za-z0-9]\Z|\A\Z", name[:start]) or (
            name[start : start + 1].isupper() and not name[start - 1 : start].isupper()
        )
        other = word == "token" and squeezed[: -len(word)].endswith(_NO_TOKENS)
        if whole and not other:
            return "perhaps"
        if word != "oauth":
            return "no"
    return "no"


def accepted(certain: str, value: bytes, *, loose: bool) -> bool:
    """Whether what stands behind such a name is a secret."""
    if certain == "no" or not re.search(rb"[A-Za-z0-9\x80-\xff]", value) or re.fullmatch(rb"[xX]*", value):
        return False
    if value.lower().decode("latin-1") in _PROSE:
        return False
    if certain == "yes":
        return True
    if re.fullmatch(rb"[0-9]{0,4}", value) or value.startswith((b"/", b"~", b"./", b"0x")):
        return False
    mixed = len(value) >= 6 and re.search(rb"[0-9]", value) and re.search(rb"[A-Za-z]", value)
    return not loose or len(value) >= 20 or bool(mixed)


_BARE = rb"[^\x00-\x20\x7f\"'`,;&|<>(){}\[\]]*"


def _bare(text: bytes, start: int) -> Span:
    found = re.compile(_BARE).match(text, start)
    assert found
    return start, start + len(found[0].rstrip(b".:\\"))


def _value(text: bytes, start: int) -> tuple[int, int, bool]:
    for form in (
        rb"\\{1,3}\"([^\\\"]*)",
        rb"\\{1,3}'([^\\']*)",
        rb"\"((?:[^\"\\]|\\.|\\\Z)*)",
        rb"'([^']*)'",
        rb"`([^`]*)`",
    ):
        found = re.compile(form, re.S).match(text, start)
        if found:
            return found.start(1), found.end(1), True
    return *_bare(text, start + (text[start : start + 1] in (b"'", b"`"))), False


def key_value(text: bytes, at: int, done: int) -> Span | None:
    sign = re.compile(rb"=>|=(?!=)|:(?![:=])").match(text, at)
    head = text[done:at]
    if not sign or text[at : at + 3] == b"://":
        return None
    if text[at] == ord("=") and head.endswith(b":"):
        head = head[:-1]
    found = re.search(rb"([A-Za-z0-9_.-]*)(?:\\{0,3}[\"'`])?\]?[ \t]{0,4}\Z", head)
    assert found
    digits = re.search(rb"[0-9]{0,64}\Z", found[1])
    assert digits
    certain = sure(found[1][: digits.start()][-64:])
    blank = re.compile(rb"[ \t]{0,4}").match(text, sign.end())
    assert blank
    first, last, quoted = _value(text, blank.end())
    if not quoted and text[first:last].lower() in _SCHEMES and text[last : last + 1] == b" ":
        first, last = _bare(text, last + 1)
    loose = not quoted and (text[at] == ord(":") or blank[0] != b"")
    return (first, last) if accepted(certain, text[first:last], loose=loose) else None


def option(text: bytes, at: int, done: int) -> Span | None:
    found = re.compile(rb"(?<![A-Za-z0-9_-]-)(?<=-)-([A-Za-z][A-Za-z0-9_-]{0,63}) (?!-)").match(text, at)
    if not found:
        return None
    first, last, _ = _value(text, found.end())
    certain = sure(re.sub(rb"[0-9]{1,64}\Z", b"", found[1]))
    return (first, last) if accepted(certain, text[first:last], loose=False) else None


_IN_ORDER: list[tuple[str, bytes, Callable[..., Span | None]]] = [
    ("email", b"@%", email),
    ("password", b":", _url_password),
    ("secret", b":=", key_value),
    ("ip", b":", ipv6),
    ("iban", b"0123456789", iban),
    ("card", b"0123456789", card),
    ("ip", b"0123456789", ipv4),
    ("ssn", b"0123456789", ssn),
    ("github", b"_", _token(rb"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{30,}", 3)),
    ("github", b"_", _token(rb"(?<![A-Za-z0-9])github_pat_\w{22,}", 10)),
    ("stripe", b"_", _token(rb"(?<!\w)[sr]k_(?:live|test)_[A-Za-z0-9]{10,}", 2)),
    ("stripe", b"_", _token(rb"(?<!\w)whsec_[A-Za-z0-9+/=]{20,}", 5)),
    ("npm", b"_", _token(rb"(?<!\w)npm_[A-Za-z0-9]{36,}", 3)),
    ("private_key", b"-", _private_key),
    ("secret", b"-", option),
    ("gitlab", b"-", _token(rb"(?<!\w)glpat-(?=[\w.-]{20})[\w.-]{19,}[\w]", 5)),
    ("openai", b"-", _openai),
    ("pypi", b"-", _token(rb"(?<!\w)pypi-(?=AgE)[\w-]{30,}", 4)),
    ("slack", b"-", _token(rb"(?<!\w)(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", 4)),
    ("slack", b".", _token(rb"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/+-]{20,})", 5, 1)),
    ("jwt", b"J", _token(rb"(?<![\w-])eyJ[\w-]{7,}\.(?:eyJ[\w-]{7,}|[\w-]{10,}(?=\.))(?:\.[\w-]+)*", 2)),
    ("aws", b"I", _token(rb"(?<!\w)A[KS]IA[A-Z0-9]{16}(?!\w)", 2)),
    ("google", b"z", _token(rb"(?<![\w-])AIza[\w-]{35,}", 2)),
    ("authorization", b"bB", _authorization),
]


def spans(text: bytes, kinds: frozenset[str], keep_private: bool = True) -> list[tuple[int, int, str]]:
    """What to hide of a text: from, to, kind."""
    found = []
    done = 0
    for at in range(len(text)):
        if at < done or (at and text[at] in b"0123456789" and text[at - 1] in b"0123456789"):
            continue
        for kind, anchors, rule in _IN_ORDER:
            if kind in kinds and text[at] in anchors:
                more = (keep_private,) if kind == "ip" else ()
                hit = rule(text, at, done, *more)
                if hit:
                    found.append((*hit, kind))
                    done = hit[1]
                    break
    return found


def _mark(kind: str, value: bytes, salt: bytes) -> bytes:
    if not salt:
        return f"[{kind}]".encode()
    if kind in ("card", "iban", "ssn"):
        value = re.sub(rb"[^A-Za-z0-9]", b"", value)
    elif kind in ("email", "ip"):
        value = value.lower()
    return f"[{kind}:{hmac.new(salt, value, hashlib.sha256).hexdigest()[:8]}]".encode()


def masked(text: bytes, kinds: frozenset[str], keep_private: bool = True, salt: bytes = b"") -> bytes:
    """A text with all of it hidden."""
    out, done = b"", 0
    for start, end, kind in spans(text, kinds, keep_private):
        out += text[done:start] + _mark(kind, text[start:end], salt)
        done = end
    return out + text[done:]


def record(value: Any, name: str = "", *, kinds: frozenset[str], skip: frozenset[str] = frozenset()) -> Any:
    """A record, or what is in it, with all of it hidden."""
    if isinstance(value, dict):
        return {
            key: one if isinstance(key, str) and key in skip
            else record(one, key if isinstance(key, str) else "", kinds=kinds, skip=skip)
            for key, one in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [record(one, name, kinds=kinds, skip=skip) for one in value]
    if isinstance(value, str):
        return record(value.encode(), name, kinds=kinds, skip=skip).decode()
    if not isinstance(value, bytes):
        return value
    called = name.encode()[-64:]
    certain = sure(re.sub(rb"[0-9]{1,64}\Z", b"", called))
    first = re.split(rb"[\x00-\x20]", value, maxsplit=1)
    sentence = len(first) > 1 and first[0].lower() not in _SCHEMES
    if "secret" in kinds and accepted(certain, value, loose=False) and (certain == "yes" or not sentence):
        return b"[secret]"
    return masked(value, kinds)
