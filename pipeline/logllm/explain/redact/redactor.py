"""Secrets and personal data out, stable pseudonyms in; addresses put back only for those who may see them."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import re
import secrets as entropy
import threading
from typing import TYPE_CHECKING, Any

from logllm.errors import StateError
from logllm.explain.redact.secrets import key_values, rules_for

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["KINDS", "REVEALABLE", "Redactor"]

REVEALABLE = ("ip", "host", "email", "mac", "user")
KINDS = (*REVEALABLE, "secret")

_MAX_PASSES = 8

_PSEUDONYM = re.compile(r"<(ip|host|email|mac|user|secret)_([0-9]{1,9}|x[0-9a-f]{8})>")
_IPV4 = re.compile(
    r"(?<![\d.vV])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?!\d|\.\d)"
)
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,40}(?:%[0-9A-Za-z]{1,15})?(?![0-9A-Za-z:])")
_MAC = re.compile(r"(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])")
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,128}+@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_AT_ADDRESS = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]{0,63}+)@(?=\d{1,3}\.\d{1,3}\.|\[?[0-9a-fA-F]{0,4}:)")

_NAME = r"([^\s,;:\"'\[\]()<>=/\\]{1,64}+)"
_USER = tuple(
    (tuple(hints.split()), re.compile(pattern))
    for hints, pattern in (
        ("from", rf"\b(?:[Ff]ailed|[Aa]ccepted) \S{{1,40}} for (?:(?:invalid|illegal) user )?{_NAME} from\b"),
        (
            "user",
            rf"(?i)\b(?:invalid|illegal|unknown|authenticating|disconnected from|for|by) user:? {{1,2}}[\"'`]?{_NAME}",
        ),
        (
            "user login logname account acct principal",
            r"(?i)(?<![a-z0-9])(?:user(?:_?name|_?id)?|ruser|logname|login|account|acct|principal)(?:\\?[\"'])?\s{0,2}[=:]\s{0,2}(?:\\?[\"'])?"
            + _NAME,
        ),
        ("user role", rf"(?i)\b(?:user|role) [\"'`]{_NAME}[\"'`]"),
        ("sudo", rf"\bsudo(?:\[\d++\])?:\s++{_NAME} : "),
        ("(to", rf"\(to {_NAME}\) {_NAME} on "),
        ("/home/ /users/", rf"(?:/home|/Users)/{_NAME}"),
    )
)
# Java prints an address as name/address.
_SLASH_IP = re.compile(r"(?<![\w./-])([A-Za-z0-9][A-Za-z0-9-]{0,62}+)/(?=\d{1,3}\.\d{1,3}\.\d{1,3}\.)")
_HOST_HINTS = ("host", "node", "peer", "server")
_HOST_KEY = re.compile(
    r"(?i)(?<![a-z0-9])(?:rhost|host(?:name)?|node_?name|peer|server_?name)(?:\\?[\"'])?\s{0,2}[=:]\s{0,2}(?:\\?[\"'])?([A-Za-z0-9][A-Za-z0-9.-]{0,252}+)"
)
_FQDN = re.compile(
    r"(?<![\w.@/\\$-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,9}[A-Za-z]{2,24}(?![\w(]|-\w|\.\w|/\w{1,40}\.(?:java|py|go|rs|js))"
)
_FQDN_IN_URL = re.compile(
    r"://(?:[^\s/@\"'<>]{1,256}@)?((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,9}[A-Za-z]{2,24})(?![\w.-])"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Accounts every machine has: their names tell what happened and nothing about a person.
_SYSTEM_USERS = _words(
    "root admin administrator daemon nobody www-data postgres mysql redis nginx apache git ubuntu debian "
    "centos ec2-user system guest test user news cyrus games man lp uucp proxy list irc gnats bin sync dbus "
    "polkitd chrony zookeeper kafka hdfs yarn oracle ftp mail sshd backup operator service anonymous unknown "
    "null none nil true false uid euid ruser rhost tty from not is id name with has in on at was password to "
    "or and authentication session"
)
_LOCAL_HOSTS = _words("localhost localhost.localdomain true false null none unknown")
_GENERIC_TLDS = _words(
    "com net org edu gov mil int io dev app cloud local internal lan corp home intranet arpa info biz online "
    "site xyz tech ai co systems network services example test localdomain svc consul cluster"
)
# Country codes that are neither English words nor endings of file or package names.
_COUNTRY_TLDS = _words(
    "uk de fr nl es ch se dk fi cz sk hu ro bg gr pt ie lu lv lt ee eu us ca mx br ar cl ve uy cn jp kr tw hk "
    "sg th vn ph au nz za ng ke eg ma tn il tr ua ru kz ge am az ae sa qa kw ir pk lk bd np su"
)
# English words: hosts only under at least two more labels.
_WORD_TLDS = _words("at in is it no to be me my do am as by id so tv")
_PACKAGE_ROOTS = _words("java javax jakarta kotlin scala sun com net org io akka dev app edu gov co system microsoft")
_KEEP_IP = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::"})  # noqa: S104 - addresses in text, not bound


class Redactor:
    """Replaces what must not leave by `<ip_1>`, `<host_2>`, `<email_1>`, `<mac_1>`, `<user_1>`, `<secret_1>`.

    The same value gets the same pseudonym for the life of the redactor, and over restarts through `state`. At most
    `max_values` are remembered; later ones get a pseudonym from a keyed hash (`<ip_x1f3a9c00>`), stable too, but never
    put back. Of a secret only a keyed hash is remembered. Safe to call from several threads; linear in the text.

    Loopback addresses and accounts every system has (`root`, `postgres`) stay as they are. Names of Java classes and
    files are not taken for hosts.

    >>> redactor = Redactor()
    >>> redactor.mask("Failed password for invalid user carol from 203.0.113.9 port 22 token=s3cr3t-value")
    'Failed password for invalid user <user_1> from <ip_1> port 22 token=<secret_1>'
    >>> redactor.reveal("<user_1> at <ip_1> with <secret_1>")
    'carol at 203.0.113.9 with <secret_1>'
    """

    def __init__(self, *, max_values: int = 100_000, key: bytes | None = None) -> None:
        self._max_values = max_values
        self._key = key or entropy.token_bytes(16)
        self._lock = threading.Lock()
        self._number: dict[tuple[str, str | bytes], int] = {}
        self._values: dict[str, list[str | bytes]] = {kind: [] for kind in KINDS}
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)

    def mask(self, text: str) -> str:
        """`text` with every secret, address, name it recognises replaced. Masking twice changes nothing more."""
        # A value that touched another shows only once that one is replaced: again until nothing is found.
        for _ in range(_MAX_PASSES):
            spans = _spans(text)
            if all(kind == "kept" for _, _, kind in spans):
                break
            text = self._replaced(text, spans)
        return text

    def _replaced(self, text: str, spans: list[tuple[int, int, str]]) -> str:
        pieces = []
        at = 0
        for start, end, kind in spans:
            pieces.append(text[at:start])
            pieces.append(text[start:end] if kind == "kept" else self._pseudonym(kind, text[start:end]))
            at = end
        pieces.append(text[at:])
        return "".join(pieces)

    def reveal(self, text: str, kinds: Collection[str] = REVEALABLE) -> str:
        """Put back the values of these kinds. Secrets never come back, whatever `kinds` says."""

        def value(match: re.Match[str]) -> str:
            kind, number = match[1], match[2]
            if kind not in kinds or kind == "secret" or number.startswith("x"):
                return match[0]
            known = self._values[kind]
            place = int(number) - 1
            return str(known[place]) if 0 <= place < len(known) else match[0]

        return _PSEUDONYM.sub(value, text)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on with the same pseudonyms: msgpack-able, holds no secret."""
        with self._lock:
            return {
                "version": 1,
                "key": self._key,
                "values": {kind: list(known) for kind, known in self._values.items()},
            }

    @classmethod
    def from_state(cls, state: dict[str, Any], *, max_values: int = 100_000) -> Redactor:
        """The redactor `state` was taken of.

        Raises:
            StateError: the state is not one of ours.
        """
        try:
            if state["version"] != 1:
                raise StateError(f"redactor state: Expected version 1, got {state['version']!r}")
            redactor = cls(max_values=max_values, key=bytes(state["key"]))
            for kind in KINDS:
                for value in state["values"].get(kind, []):
                    known = bytes(value) if kind == "secret" else str(value)
                    redactor._values[kind].append(known)
                    redactor._number[kind, known] = len(redactor._values[kind])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(
                f"redactor state: Expected version, key and values, got {type(error).__name__}: {error}"
            ) from None
        return redactor

    def _pseudonym(self, kind: str, value: str) -> str:
        digest = hashlib.blake2b(
            value.encode(errors="surrogatepass"), key=self._key, digest_size=16, person=kind.encode()
        ).digest()
        known: str | bytes = digest if kind == "secret" else value
        with self._lock:
            self.counts[kind] += 1
            number = self._number.get((kind, known))
            if number is None:
                if len(self._number) >= self._max_values or (len(value) > 1_024 and kind != "secret"):
                    return f"<{kind}_x{digest[:4].hex()}>"
                self._values[kind].append(known)
                number = self._number[kind, known] = len(self._values[kind])
        return f"<{kind}_{number}>"


def _spans(text: str) -> list[tuple[int, int, str]]:
    """What to replace, in order, not overlapping; where two overlap the earlier rule wins: secrets before addresses."""
    found: list[tuple[int, int, str]] = []
    lower = text.lower()
    if "<" in text:
        found.extend((match.start(), match.end(), "kept") for match in _PSEUDONYM.finditer(text))
    has_digit = any(char in text for char in "0123456789")
    for rule in rules_for(lower):
        for match in rule.pattern.finditer(text):
            group = next((number for number in range(1, rule.pattern.groups + 1) if match[number] is not None), 0)
            if rule.accept(match[group]):
                found.append((match.start(group), match.end(group), "secret"))
    found.extend((start, end, "secret") for start, end in key_values(text, lower))
    if "@" in text:
        found.extend((match.start(), match.end(), "email") for match in _EMAIL.finditer(text))
        found.extend(
            (match.start(1), match.end(1), "user") for match in _AT_ADDRESS.finditer(text) if _person(match[1])
        )
    if "." in text:
        # Names before addresses: providers put the address into the name (81.2.69.160.dsl.example.net).
        found.extend((match.start(), match.end(), "host") for match in _FQDN.finditer(text) if _is_host(match[0]))
        if "://" in text:
            found.extend(
                (match.start(1), match.end(1), "host")
                for match in _FQDN_IN_URL.finditer(text)
                if _known_tld(match[1].lower())
            )
        if has_digit:
            found.extend(
                (match.start(), match.end(), "ip") for match in _IPV4.finditer(text) if match[0] not in _KEEP_IP
            )
            if "/" in text:
                found.extend(
                    (match.start(1), match.end(1), "host")
                    for match in _SLASH_IP.finditer(text)
                    if _named_host(match[1])
                )
    if ":" in text or "-" in text:
        found.extend((match.start(), match.end(), "mac") for match in _MAC.finditer(text))
    if ":" in text:
        found.extend((match.start(), match.end(), "ip") for match in _IPV6.finditer(text) if _is_ipv6(match[0]))
    for hints, pattern in _USER:
        if not any(hint in lower for hint in hints):
            continue
        for match in pattern.finditer(text):
            for number in range(1, pattern.groups + 1):
                if _person(match[number]):
                    found.append((match.start(number), match.end(number), "user"))
    if any(hint in lower for hint in _HOST_HINTS):
        found.extend(
            (match.start(1), match.end(1), "host") for match in _HOST_KEY.finditer(text) if _named_host(match[1])
        )
    if len(found) < 2:
        return found
    return _without_overlaps(found)


def _without_overlaps(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    import bisect

    chosen: list[tuple[int, int, str]] = []
    for start, end, kind in found:
        place = bisect.bisect(chosen, (start, end, kind))
        if place and chosen[place - 1][1] > start:
            continue
        if place < len(chosen) and chosen[place][0] < end:
            continue
        chosen.insert(place, (start, end, kind))
    return chosen


def _person(name: str) -> bool:
    return name.lower().rstrip(".") not in _SYSTEM_USERS and any(char.isalpha() for char in name)


def _is_ipv6(text: str) -> bool:
    text = text.partition("%")[0]
    if text.count(":") < 2 or text in _KEEP_IP or not any(char.isdigit() for char in text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _known_tld(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last in _GENERIC_TLDS or last in _COUNTRY_TLDS


def _is_host(name: str) -> bool:
    lower = name.lower()
    labels = lower.split(".")
    if (
        not (_known_tld(lower) or (labels[-1] in _WORD_TLDS and len(labels) > 2 and name == lower))
        or lower in _LOCAL_HOSTS
        or labels[0] in _PACKAGE_ROOTS
    ):
        return False
    # "Foo.Test", "System.IO", "Config.app": a capital after a small letter is code, not DNS.
    return not any(a.islower() and b.isupper() for a, b in itertools.pairwise(name))


def _named_host(name: str) -> bool:
    # A bare word ("host: unknown", "peer: closed") is more likely prose than a name.
    return (
        name.lower() not in _LOCAL_HOSTS
        and any(char.isalpha() for char in name)
        and any(char in "-.0123456789" for char in name[:-1])
    )
