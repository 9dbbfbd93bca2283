"""Where secrets stand in a text: by their issuers' forms, by what stands before them, as numbers of people, encoded."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from logllm.explain.redact.encoded import encoded_spans, long_runs, may_hold_token, percent_spans
from logllm.explain.redact.issuers import ISSUED
from logllm.explain.redact.keyed import keyed_spans
from logllm.explain.redact.personal import PERSONAL_KINDS, PHONE, personal_spans
from logllm.explain.redact.private_keys import private_key_spans
from logllm.explain.redact.rule import RuleSet, rule
from logllm.explain.redact.values import is_secret_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.explain.redact.rule import Span

__all__ = ["PLACED", "kinds", "phone_spans", "secret_spans"]


def _bearer(text: str) -> bool:
    return len(text) >= 20 or any(char.isdigit() for char in text)


def _basic(text: str) -> bool:
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _not_a_number(text: str) -> bool:
    return is_secret_value(text) and not text.isdigit()


_QUOTE = r"(?:\\{0,15}[\"'])?"

PLACED = RuleSet(
    (
        rule("url credentials", "://", r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:@/\"'<>]{0,256}:([^\s@/\"'<>]{1,512})@"),
        rule("url credentials", "://", r"https?://([A-Za-z0-9_-]{16,256})@"),
        rule("oracle url", "jdbc:oracle", r"jdbc:oracle:\w{2,8}:[^\s/@]{1,64}/([^\s@\"']{1,128})@"),
        rule("digest authorization", "digest", r"(?i)authorization\W{1,8}digest\s{1,4}([^\n]{10,1000})"),
        rule(
            "authorization",
            "authorization",
            rf"(?i)authorization{_QUOTE}\s{{0,4}}(?:[:=]|=>|,)\s{{0,4}}[\[(]?{_QUOTE}"
            r"(?:[a-z][a-z0-9-]{2,20}\s{1,4})?([A-Za-z0-9._~+/=:,-]{6,}+)",
            is_secret_value,
        ),
        rule("bearer", "bearer", r"(?i)\bbearer\s{1,4}([A-Za-z0-9._~+/=-]{8,}+)", _bearer),
        rule("basic", "basic", r"(?i)\bbasic\s{1,4}([A-Za-z0-9+/]{8,}+={0,2})", _basic),
        rule("zapier hook", "hooks.zapier.com", r"hooks\.zapier\.com/hooks/catch/([0-9A-Za-z/]{8,}+)"),
        rule("google chat hook", "chat.googleapis.com", r"chat\.googleapis\.com/v1/spaces/([\w/?=&%-]{40,}+)"),
        rule("asana", "1/1 2/1", r"[12](?<![\w/].)/(?:\d{13,17}/)?\d{13,17}:[0-9a-f]{32}"),
        rule("okta", "ssws", r"\bSSWS\s{1,4}([A-Za-z0-9_-]{30,}+)"),
        rule(
            "cookie",
            "cookie",
            rf"(?i)(?:set-)?cookie{_QUOTE}\s{{0,4}}(?:[:=]|=>)\s{{0,4}}\[?"
            rf"{_QUOTE}([^\s\"'=;\\]{{1,128}}=[^\r\n\"'\\]{{4,4096}})",
        ),
        rule(
            "mysql -p",
            "mysql maria",
            r"\b(?:mysql|maria)(?:db)?(?:dump|admin)?\b[^\n]{0,200}?\s-p[\"']?([^\s\"'-][^\s\"']{2,128})",
        ),
        rule(
            "login -p",
            "login sshpass",
            r"\b(?:(?:docker|podman|oc|az|registry|helm)\s"
            r"{1,4}login|sshpass)\b[^\n|;]{0,200}?\s-p\s{0,2}[\"']?([^\s\"']{3,128})",
            _not_a_number,
        ),
        rule(
            "curl -u",
            "curl",
            r"\s(?:-u|--user|--proxy-user)\s{0,4}[\"']?[^\s:\"']{1,128}:([^\s\"']{2,256})",
            _not_a_number,
        ),
        rule("basic", '"auth', r"(?<=auth)\\{0,15}\"\s?:\s?\\{0,15}\"([A-Za-z0-9+/]{8,}+={0,2})", _basic),
        rule("sasl", "plain", r"(?i)\bauth\splain\s([A-Za-z0-9+/]{8,}+={0,2})"),
        rule(
            "piped password",
            "sudo --password-stdin",
            r"\becho\s{1,4}[\"']?([^\s\"'|]{3,256}+)[\"']?\s{0,4}\|\s{0,4}(?:sudo\s{1,4}-S|[^|\n]{0,200}?--password-stdin)",
        ),
        rule("piped password", "<<<", r"\bsudo\s{1,4}-S[^|\n]{0,100}?<<<\s{0,4}[\"']?([^\s\"']{3,256}+)"),
        rule("ldap -w", "ldap", r"\bldap\w{1,20}\b[^\n|;]{0,200}?\s-w\s{0,4}[\"']?([^\s\"'-][^\s\"']{2,128})"),
        rule("zip -P", "zip", r"\bzip\b[^\n|;]{0,200}?\s-P\s{0,4}[\"']?([^\s\"']{3,128})"),
        rule("redis-cli -a", "redis-cli", r"\bredis-cli\b[^\n|;]{0,200}?\s-a\s{1,4}[\"']?([^\s\"']{3,256})"),
        rule("signed url", "sig=", r"[?&;](?:amp;|u0026)?sig=([A-Za-z0-9%+/=_-]{10,512})"),
        rule(
            "password hash",
            "$",
            r"\$(?:(?:1|apr1)\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{22}|2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"
            r"|[56]\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}"
            r"|(?:y|gy|7)\$[./A-Za-z0-9]{1,64}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
            r"|argon2(?:id|i|d)\$[A-Za-z0-9=,$+/.]{20,512}+|(?:scrypt|pbkdf2[a-z0-9-]"
            r"{0,16})\$[A-Za-z0-9=,$+/.]{20,512}+)",
        ),
        rule(
            "password hash",
            "pbkdf2 scrypt:",
            r"(?:pbkdf2_sha\d{1,3}\$\d{1,9}|pbkdf2:sha\d{1,3}:\d{1,9}|scrypt:\d"
            r"{1,7}:\d:\d)(\$[A-Za-z0-9+/=.]{1,64}\$[A-Za-z0-9+/=]{20,512}+)",
        ),
        rule("password hash", "{s {crypt", r"\{(?:SSHA|SHA|SMD5|CRYPT)\d{0,3}\}([A-Za-z0-9+/=.$]{20,512}+)"),
        rule("password hash", "scram-sha-256$", r"SCRAM-SHA-256\$\d{1,9}:([A-Za-z0-9+/=$:]{20,512}+)"),
        rule("password hash", ":::", r":([0-9a-fA-F]{32}:[0-9a-fA-F]{32}):::"),
    )
)
"""Secrets known by what surrounds them."""

_MOST_DEPTH = 2


def secret_spans(text: str, lower: str, depth: int = 0) -> Iterator[Span]:
    """Where secrets stand in a text, `lower` being the text in small letters; they may overlap, the earlier counts.

    What is encoded is decoded at most twice over. Linear in the text.
    """
    yield from private_key_spans(text, lower)
    yield from PLACED.spans(text, lower)
    yield from keyed_spans(text, lower)
    decode = depth < _MOST_DEPTH
    if decode and "%" in text:
        # Before the forms: what is percent-encoded may hold more of a token than its form shows.
        yield from percent_spans(text, lambda plain: any(secret_spans(plain, plain.lower(), depth + 1)))
    runs = long_runs(text)
    if runs and may_hold_token(text, runs):
        yield from ISSUED.spans(text, text)
    yield from personal_spans(text)
    if decode and runs:
        yield from encoded_spans(text, runs, lambda plain: any(secret_spans(plain, plain.lower(), depth + 1)))


def phone_spans(text: str) -> Iterator[Span]:
    """Where telephone numbers stand that have the sign of a country code."""
    return PHONE.spans(text) if "+" in text else iter(())


def kinds() -> list[str]:
    """What is known by a form or a place of its own, each once."""
    return sorted({each.kind for rules in (ISSUED, PLACED) for each in rules.rules} | {"private key", *PERSONAL_KINDS})
