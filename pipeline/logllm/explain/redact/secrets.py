"""What a secret looks like: one rule a kind, each with the literal its line must hold before the pattern is tried.

Patterns are linear: single character classes, bounded or possessive repeats, no alternatives that overlap.
Formats are the issuers' published ones; the kinds follow gitleaks' and GitHub secret scanning's lists.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RULES", "Rule", "key_values", "rules_for"]


class Rule(NamedTuple):
    """Group 1 of `pattern`, else the whole match, is the secret; `accept` may still refuse it.

    `hints` are lower-case literals: without one of them in the line the pattern is not tried.
    """

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    accept: Callable[[str], bool] = lambda value: True


def _rule(kind: str, hints: str, pattern: str, accept: Callable[[str], bool] = lambda value: True) -> Rule:
    return Rule(kind, tuple(hints.split()), re.compile(pattern), accept)


def _luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    number = "".join(map(str, digits))
    # The networks' own lengths and first digits: of random numbers one in ten passes the sum alone.
    if not _CARD.fullmatch(number) or len(set(digits)) < 2:
        return False
    doubled = (digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


_CARD = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14}"
)


def _iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _basic(text: str) -> bool:
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROSE = _words(
    "true false null none nil undefined empty missing invalid expired required unexpected expected error "
    "failed failure is not was the a an has for to from of and or in with no yes on off incorrect wrong "
    "mismatch rejected accepted received authentication authorization type bearer basic redacted masked hidden "
    "changed reset updated set unset valid"
)


def _value(text: str) -> bool:
    bare = text.strip("\"'`.,;:*<>[](){}\\")
    return (
        bool(bare) and bare.lower() not in _PROSE and not bare.startswith(("/", "$", "%(", "0x")) and set(bare) != {"x"}
    )


def _bearer(text: str) -> bool:
    return len(text) >= 20 or any(char.isdigit() for char in text)


# A value: quoted with escapes, quoted inside an escaped JSON text, or bare up to a separator.
_VALUE = re.compile(r"(?:\\\"([^\"\\]++)|\"((?:[^\"\\]|\\.)++)|'([^']++)|([^\s\"',;&|<>(){}\[\]]++))")
# A word before `=`, `:` or `=>`; whether it names a secret is asked only then, of its last letters.
_KEY = re.compile(r"(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]++(?:\\?[\"'])?\s{0,4}(?:=>|[:=])\s{0,4}")
_SECRET_KEY = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code)|(?<![a-z])pwd|(?<![a-z])pass|secret(?:[_.-]?access)?(?:[_.-]?key)?|credentials?"
    r"|(?<!max_)(?<!num_)(?<!n_)token|api[_.-]?key|access[_.-]?key(?:[_.-]?id)?|account[_.-]?key|shared[_.-]?access[_.-]?key"
    r"|private[_.-]?key|signing[_.-]?key|encryption[_.-]?key|auth[_.-]?key|session[_.-]?(?:id|key|token)|jsessionid|phpsessid"
    r"|sessid|client[_.-]?secret|x-amz-signature|x-amz-credential|signature|(?<![a-z])otp|connection[_.-]?string)(?:\\?[\"'])?\s*(?:=>|[:=])\s*$"
)
_KEY_HINTS = (
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "session",
    "sessid",
    "credential",
    "signature",
    "otp",
    "connection",
)

RULES: tuple[Rule, ...] = (
    _rule(
        "private key",
        "-----begin",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,6}-----(?:[^-]|-(?!----END))*+"
        r"(?:-----END [A-Z0-9 ]{0,40}-----)?",
    ),
    _rule("putty key", "private-lines", r"Private-Lines: \d++\s++([A-Za-z0-9+/=\s]{20,})"),
    _rule("url credentials", "://", r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:@/\"'<>]{0,256}:([^\s@/\"'<>]{1,512})@"),
    _rule("url credentials", "://", r"https?://([A-Za-z0-9_-]{16,256})@"),
    _rule("aws key id", "akia asia abia acca", r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])"),
    _rule("google api key", "aiza", r"AIza[0-9A-Za-z_-]{35}"),
    _rule("google oauth", "ya29. gocspx-", r"(?:ya29\.|GOCSPX-)[0-9A-Za-z_-]{20,}+"),
    _rule(
        "github",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?:gh[pousr]_[A-Za-z0-9]{30,}+|github_pat_[A-Za-z0-9_]{22,}+)",
    ),
    _rule(
        "gitlab",
        "glpat- gldt- glrt- glcbt- glptt- glsoat- glft-",
        r"gl(?:pat|dt|rt|cbt|ptt|soat|ft)-[0-9A-Za-z_.-]{20,}+",
    ),
    _rule("slack", "xox xapp-", r"(?:xox[abeoprs]|xapp)-[0-9A-Za-z-]{10,}+"),
    _rule(
        "slack webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/+-]{20,}+)"
    ),
    _rule("discord webhook", "/webhooks/", r"discord(?:app)?\.com/api/webhooks/(\d{10,22}/[A-Za-z0-9_-]{20,}+)"),
    _rule("teams webhook", "webhook.office.com", r"webhook\.office\.com/(webhookb2/[A-Za-z0-9@/-]{30,}+)"),
    _rule(
        "stripe", "_live_ _test_ whsec_", r"(?:(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{10,}+|whsec_[0-9A-Za-z+/=]{20,}+)"
    ),
    _rule("openai and kin", "sk-", r"(?<![A-Za-z0-9])sk-(?:proj-|ant-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,}+"),
    _rule("hugging face", "hf_", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}+"),
    _rule("npm", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _rule("pypi", "pypi-age", r"pypi-AgE[A-Za-z0-9_-]{20,}+"),
    _rule("sendgrid", "sg.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    _rule("twilio", "sk ac", r"(?<![A-Za-z0-9])(?:SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])"),
    _rule("mailgun", "key-", r"(?<![A-Za-z0-9-])key-[0-9a-f]{32}(?![A-Za-z0-9])"),
    _rule("mailchimp", "-us", r"(?<![0-9a-f])[0-9a-f]{32}-us\d{1,2}(?!\d)"),
    _rule("telegram", ":aa", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{32,33}(?![A-Za-z0-9_-])"),
    _rule("digitalocean", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    _rule("shopify", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    _rule("vault", "hvs. hvb. hvr.", r"(?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_-]{20,}+"),
    _rule("databricks", "dapi", r"(?<![A-Za-z0-9])dapi[a-f0-9]{32}(?:-\d)?"),
    _rule("grafana", "glsa_ glc_ eyjrijoi", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}+"),
    _rule("new relic", "nrak- nrii-", r"NR(?:AK|II)-[A-Za-z0-9_-]{20,}+"),
    _rule("docker", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}+"),
    _rule("linear", "lin_api_", r"lin_api_[A-Za-z0-9]{32,}+"),
    _rule("atlassian", "atatt3", r"ATATT3[A-Za-z0-9_=-]{50,}+"),
    _rule("doppler", "dp.", r"(?<![a-z])dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{30,}+"),
    _rule("square", "sq0 eaaa", r"(?:sq0[a-z]{3}-[0-9A-Za-z_-]{22,43}|(?<![A-Za-z0-9])EAAA[A-Za-z0-9_-]{60})"),
    _rule("facebook", "eaac", r"(?<![A-Za-z0-9])EAAC[A-Za-z0-9]{40,}+"),
    _rule("age", "age-secret-key-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _rule("heroku", "hrku-", r"HRKU-[A-Za-z0-9_-]{30,}+"),
    _rule("pulumi", "pul-", r"(?<![a-z])pul-[a-f0-9]{40}"),
    _rule("planetscale", "pscale_", r"pscale_(?:pw|tkn|oauth)_[A-Za-z0-9_=.-]{30,}+"),
    _rule("postman", "pmak-", r"PMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}"),
    _rule("jwt", "eyj", r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"),
    _rule(
        "authorization",
        "authorization",
        r"(?i)authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:[a-z][a-z0-9-]{2,20}\s{1,4})?([A-Za-z0-9._~+/=:,-]{6,}+)",
        _value,
    ),
    _rule("bearer", "bearer", r"(?i)\bbearer\s{1,4}([A-Za-z0-9._~+/=-]{8,}+)", _bearer),
    _rule("basic", "basic", r"(?i)\bbasic\s{1,4}([A-Za-z0-9+/]{8,}+={0,2})", _basic),
    _rule(
        "cookie", "cookie", r"(?i)(?:set-)?cookie[\"']?\s{0,4}[:=]\s{0,4}[\"']?([^\s\"'=;]{1,128}=[^\r\n\"']{4,4096})"
    ),
    _rule("dsn password", "password= pwd=", r"(?i)(?:password|pwd)=([^;\s\"'&]{1,512})(?=;)", _value),
    _rule("mysql -p", "mysql", r"\bmysql(?:dump|admin)?\b[^\n]{0,200}?\s-p([^\s-][^\s]{2,128})"),
    _rule("sas", "sig=", r"[?&]sig=([A-Za-z0-9%+/=_-]{10,512})"),
    _rule("card", "", r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?!\w|[.-]\d)", _luhn),
    _rule("iban", "", r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", _iban),
)

_ALWAYS = tuple(number for number, rule in enumerate(RULES) if not rule.hints)
_HINTS = tuple((hint, number) for number, rule in enumerate(RULES) for hint in rule.hints)


def rules_for(lower: str) -> list[Rule]:
    """The rules whose hint occurs in a lower-case text, in order: a few, for most lines only those of plain numbers."""
    return [RULES[number] for number in sorted({number for hint, number in _HINTS if hint in lower}.union(_ALWAYS))]


def key_values(text: str, lower: str) -> list[tuple[int, int]]:
    """Where the values of `password=`, `"api_key": "..."`, `token => ...` stand, in order."""
    if not any(hint in lower for hint in _KEY_HINTS):
        return []
    found = []
    for match in _KEY.finditer(text):
        # The last letters decide; 80 of them hold every key above with quotes and separator.
        if _SECRET_KEY.search(text[max(match.start(), match.end() - 80) : match.end()]):
            value = _VALUE.match(text, match.end())
            if value and value.lastindex and _value(value[value.lastindex]):
                found.append(value.span(value.lastindex))
    return found
