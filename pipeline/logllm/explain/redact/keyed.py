"""Secrets that are known by what stands before them: `password=`, `"api_key": "..."`, `--token X`, `IDENTIFIED BY`."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from logllm.explain.redact.values import is_secret_value, is_short_number, reads_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.explain.redact.rule import Span

__all__ = ["KEY_HINTS", "is_secret_name", "keyed_spans"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# A name that ends so, camels parted and dots and dashes read as `_`.
_ENDS = _words(
    "password passwd passphrase passcode passwort kennwort secret credential credentials token apikey api_key "
    "access_key access_key_id account_key shared_access_key secret_access_key secret_key private_key signing_key "
    "encryption_key auth_key session_key master_key app_key application_key subscription_key license_key licence_key "
    "consumer_key storage_account_key azure_storage_key secret_id jsessionid phpsessid sessid session_id sessionid "
    "client_key_data signature connection_string password_hash passwd_hash recovery_code verification_code "
    "passwords storepass keypass passport_no passport_number social_security_number ni_number security_code card_number"
)
_JOINED_ENDS = tuple(name.replace("_", "") for name in _ENDS)
# The same where it is the whole name or its last word.
_LAST_WORDS = frozenset(
    _words(
        "pass pwd pw psk otp ssn nif dni nino pesel bsn cpf iban cvv cvc pincode passport aadhaar steuer_id "
        "tax_id national_id personnummer ext_pat github_pat gitlab_pat"
    )
)
_COUNT = re.compile(r"(?<![a-z])(?:max|num|n|unexpected|expected|invalid_syntax)_token\Z")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAME_TAIL = 64
"""The last letters of a name decide; so many hold each of those above with a camel's humps."""

# Without one of these in small letters a line holds no name of a secret, and no pattern is tried.
KEY_HINTS = (
    *_words(
        "pass pwd secret token key sess credential signature otp _string nstring -string _auth x-auth ext_pat ext-pat "
        "hub_pat lab_pat kennwort identified ssn nif dni nino pesel bsn cpf iban cvv cvc pincode aadhaar tax_ taxid "
        "tax-id steuer national personnum social ni_num security securestring recovery verification card psk _pw pw="
    ),
    'pw"',
    "code is",
    "auth ",
)

_QUOTE = r"\\{0,15}[\"']"
# A word before `=`, `:`, `=>` or `::`; whether it names a secret is asked only then.
_KEY = re.compile(
    rf"([A-Za-z0-9_.-](?<![A-Za-z0-9_.-].)[A-Za-z0-9_.-]*+)(?:{_QUOTE})?(?:\]|%5[Dd])?(?:{_QUOTE})?"
    r"\s{0,4}(?:=>|->|::?=?|==?|\\u003d)\s{0,16}"
)
_OPTION = re.compile(rf"-(?<![\w-]-)-?([A-Za-z][\w.-]*+)(?:{_QUOTE})?,?\s{{1,4}}")
_ELEMENT = re.compile(
    r"(?:<|&lt;)([\w:.-]{1,64})(?:\s[^<>]{0,256})?(?:>|&gt;)(?:<!\[CDATA\[)?([^<>&\]]{1,4096})(?=&lt;/|</|\]\]>)"
)
_NAMED = re.compile(
    rf"[NnKk](?<![A-Za-z0-9_].)(?:ame|ey)(?:{_QUOTE})?\s{{0,4}}[:=]\s{{0,4}}(?:{_QUOTE})?([\w.-]{{1,64}})(?:{_QUOTE})?"
    rf"(?:\s{{0,4}},?\s{{0,16}}(?:{_QUOTE})?[Vv]alue(?:{_QUOTE})?\s{{0,4}}[:=]\s{{0,4}}|(?:\r?\n|\\r\\n|\\n){{2}})"
)
_PAIR = re.compile(rf"[(\[]\s?(?:b|u)?({_QUOTE})([\w.-]{{1,64}})\1,\s?(?=[bu]?\\{{0,15}}[\"'])")
_SQL = re.compile(
    r"(?i)\b(?:identified\s{1,4}(?:with\s{1,4}[\w\"'`]{1,64}\s{1,4})?(?:by|as)\s{1,4}(?:password\s{1,4})?"
    r"|password\s{0,4}\(\s?|password\s{1,4}|convertto-securestring\s{1,4}(?:-string\s{1,4})?)(?=N?\\{0,15}[\"'])"
)
_SAID = re.compile(
    r"(?i)\b(?:pass(?:word|phrase|code)|secret(?:\s{1,3}key)?|token|(?:api|access|licen[sc]e)[ _-]?key"
    r"|(?:verification|security|one-time|login)\s{1,3}code)\s{1,3}"
    r"(?:(?:is|was|set\s{1,3}to|changed\s{1,3}to|to)\s{1,3}|for\s{1,3}\S{1,64}:\s{1,3})(?=\S)"
)
# Of .netrc, FTP, POP, redis: a word and its value. Small letters are prose too often but for `password`.
_COMMAND = re.compile(r"(?:\bpassword|\bPASS|\bAUTH|\brequirepass|\bmasterauth)\s{1,4}(?=[^\s=:])")
_ENV = re.compile(r"\b(?:ENV|set|export|setx)\s{1,4}([A-Za-z_][\w.]{1,63})\s{1,4}(?=[^\s=])")
# What may stand between a key and its value: a list, an option, PHP's type, YAML's block.
_OPENED = re.compile(
    rf"(?:&?\[\]string\{{|Some\(|string\(\d{{1,6}}\)\s|\[|\{{\s?(?:{_QUOTE})?value(?:{_QUOTE})?\s?:\s?"
    r"|[|>][+-]?[ \t]*\n\s{1,16})"
)

# A value: quoted with escapes, quoted inside an escaped text (its quote has as many backslashes), or bare: then it
# goes on over a separator that touches both sides and begins no further key.
_VALUE = re.compile(
    r"[bBuN]?(?:\"((?:[^\"\\\n]|\\.)++)|'((?:[^'\\\n]|\\.)++)|(\\{1,15}[\"'])((?:(?!(?<!\\)\3)[^\n]){1,8192}+))"
    r"|([^\s\"',;&|<>(){}\[\]\\]++"
    r"(?:(?:[,;&(){}\[\]]|\\(?![nrt\"'\\])|\\u0026)(?![\w.-]{1,64}+(?:\\{0,15}[\"'])?\s?[=:])"
    r"[^\s\"',;&|<>(){}\[\]\\]++)*+)"
)
_BARE_GROUP = 5
_DIGIT = re.compile(r"[^0-9]*+[0-9]")
_LETTER_AND_DIGIT = re.compile(r"(?=[^0-9]*+[0-9])(?=[^A-Za-z]*+[A-Za-z]).{8}", re.DOTALL)
_NO_WORD = re.compile(r"(?![A-Z]?[a-z_-]*+\Z|[A-Z_-]*+\Z)")


@functools.lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Whether a name such as `dbPassword` or `X-Api-Key` says that its value is secret."""
    plain = _CAMEL.sub("_", name).replace("-", "_").replace(".", "_").lower().rstrip("_")
    if _COUNT.search(plain):
        return False
    if plain.replace("_", "").endswith(_JOINED_ENDS) or plain in {"_auth", "x_auth"}:
        return True
    return any(plain.endswith(word) and plain[: -len(word)][-1:] in {"", "_"} for word in _LAST_WORDS)


def keyed_spans(text: str, lower: str) -> Iterator[Span]:
    """Where the values behind names of secrets stand."""
    if not any(hint in lower for hint in KEY_HINTS):
        return
    done = 0
    for match in _KEY.finditer(text):
        name = match[1][-_NAME_TAIL:]
        # A value may hold further names: those go with it, or `password=password=...` would be quadratic.
        if match.start() >= done and is_secret_name(name):
            for start, end in _value_at(text, match.end(), name=name, after=match[0]):
                done = end
                yield start, end
    if "-" in text:
        for match in _OPTION.finditer(text):
            if is_secret_name(match[1][-_NAME_TAIL:]) and text[match.end() : match.end() + 1] != "-":
                yield from _value_at(text, match.end())
    if "</" in text or "&lt;/" in text:
        for match in _ELEMENT.finditer(text):
            if is_secret_name(match[1].rpartition(":")[2]) and is_secret_value(match[2]):
                yield match.span(2)
    if "alue" in text or "form-data" in lower:
        for match in _NAMED.finditer(text):
            if is_secret_name(match[1]):
                yield from _value_at(text, match.end())
    for match in _PAIR.finditer(text):
        if is_secret_name(match[2]):
            yield from _value_at(text, match.end(), mark=_NO_WORD)
    if any(word in lower for word in ("pass", "identified", "securestring")):
        for match in _SQL.finditer(text):
            yield from _value_at(text, match.end())
    for match in _SAID.finditer(text):
        yield from _value_at(text, match.end(), mark=_DIGIT)
    for match in _COMMAND.finditer(text):
        yield from _value_at(text, match.end(), mark=_LETTER_AND_DIGIT)
    for match in _ENV.finditer(text):
        if is_secret_name(match[1]):
            yield from _value_at(text, match.end())


def _value_at(
    text: str, start: int, *, name: str = "", after: str = "", mark: re.Pattern[str] | None = None
) -> Iterator[Span]:
    """The value that begins at `start`, if it may be a secret.

    Args:
        name: What names it, where that was a key.
        after: The key with its separator.
        mark: What a value must show to count, where what stands before is weak.
    """
    opened = _OPENED.match(text, start) if name else None
    match = _VALUE.match(text, opened.end() if opened else start)
    if not match or not match.lastindex:
        return
    group = match.lastindex
    value = match[group]
    if (mark and not mark.match(value)) or not is_secret_value(value) or is_short_number(value, name):
        return
    if group == _BARE_GROUP and not opened and reads_on(text, match.end(), value, after):
        return
    yield match.span(group)
