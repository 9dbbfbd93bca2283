"""Addresses, hosts and people in a line: what gets a pseudonym that can be put back."""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["name_spans"]

# A pattern that begins with a class of characters is sought much faster than one that begins with a look behind: so the
# look behind comes after the first character.
_IPV4 = re.compile(r"\d(?<![\d.vV]\d)\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d|\.\d)")
_THREE_DOTS = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?<![0-9A-Za-z:.].)(?:(?<=:)|[0-9A-Fa-f]"
    r"{0,3}:)[0-9A-Fa-f:]{1,40}(?:%[0-9A-Za-z]{1,15})?(?![0-9A-Za-z:])"
)
_MAC = re.compile(
    r"[0-9A-Fa-f](?<![0-9A-Fa-f:-].)[0-9A-Fa-f]([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])"
)
_MAC_MARKS = 5
_IPV6_COLONS = 7
"""Of an address that leaves nothing out."""
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
            r"(?i)(?<![a-z0-9])(?:user(?:_?name|_?id)?|ruser|logname|login|account|acct|principal)(?:\\?[\"'])?\s"
            r"{0,2}[=:]\s{0,2}(?:\\?[\"'])?" + _NAME,
        ),
        ("user role", rf"(?i)\b(?:user|role) [\"'`]{_NAME}[\"'`]"),
        ("sudo", rf"\bsudo(?:\[\d++\])?:\s++{_NAME} : "),
        ("(to", rf"\(to {_NAME}\) {_NAME} on "),
        ("/home/ /users/", rf"(?:/home|/Users)/{_NAME}"),
    )
)
# Java prints an address as name/address.
_SLASH_IP = re.compile(r"/(?=\d{1,3}\.\d{1,3}\.\d{1,3}\.)")
_NAME_BEFORE = re.compile(r"(?<![\w./-])[A-Za-z0-9][A-Za-z0-9-]{0,62}\Z")
_MAX_LABEL_CHARS = 63
_HOST_HINTS = ("host", "node", "peer", "server")
_HOST_KEY = re.compile(
    r"(?i)[rhnps](?<![a-z0-9].)(?:(?<=r)host|(?<=h)ost(?:name)?|(?<=n)ode_?name|(?<=p)eer|(?<=s)erver_?name)(?:\\?[\"'])?\s"
    r"{0,2}[=:]\s{0,2}(?:\\?[\"'])?([A-Za-z0-9][A-Za-z0-9.-]{0,252}+)"
)
_FQDN = re.compile(
    r"[A-Za-z0-9](?<![\w.@/\\$-].)[A-Za-z0-9-]{0,62}\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]"
    r"{0,62})\.){0,8}[A-Za-z]{2,24}(?![\w(]|-\w|\.\w|/\w{1,40}\.(?:java|py|go|rs|js))"
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


def name_spans(text: str, lower: str) -> Iterator[tuple[int, int, str]]:
    """Where addresses, hosts and people stand, with their kind; names before addresses, as some hold one."""
    if "@" in text:
        yield from ((match.start(), match.end(), "email") for match in _EMAIL.finditer(text))
        yield from ((match.start(1), match.end(1), "user") for match in _AT_ADDRESS.finditer(text) if _person(match[1]))
    if "." in text:
        # Providers put the address into the name (81.2.69.160.dsl.example.net).
        yield from ((match.start(), match.end(), "host") for match in _FQDN.finditer(text) if _is_host(match[0]))
        if "://" in text:
            yield from (
                (match.start(1), match.end(1), "host")
                for match in _FQDN_IN_URL.finditer(text)
                if _known_tld(match[1].lower())
            )
        if _THREE_DOTS.search(text):
            yield from ((match.start(), match.end(), "ip") for match in _IPV4.finditer(text) if _is_ipv4(match[0]))
            if "/" in text:
                for slash in _SLASH_IP.finditer(text):
                    at = slash.start()
                    before = _NAME_BEFORE.search(text, max(0, at - _MAX_LABEL_CHARS - 1), at)
                    if before and _named_host(before[0]):
                        yield before.start(), before.end(), "host"
    colons = text.count(":")
    if colons >= _MAC_MARKS or text.count("-") >= _MAC_MARKS:
        yield from ((match.start(), match.end(), "mac") for match in _MAC.finditer(text))
    if colons >= _IPV6_COLONS or "::" in text:
        yield from ((match.start(), match.end(), "ip") for match in _IPV6.finditer(text) if _is_ipv6(match[0]))
    for hints, pattern in _USER:
        if not any(hint in lower for hint in hints):
            continue
        for match in pattern.finditer(text):
            for number in range(1, pattern.groups + 1):
                if _person(match[number]):
                    yield match.start(number), match.end(number), "user"
    if any(hint in lower for hint in _HOST_HINTS):
        yield from (
            (match.start(1), match.end(1), "host") for match in _HOST_KEY.finditer(text) if _named_host(match[1])
        )


def _person(name: str) -> bool:
    return name.lower().rstrip(".") not in _SYSTEM_USERS and any(char.isalpha() for char in name)


def _is_ipv4(text: str) -> bool:
    return text not in _KEEP_IP and all(part == str(int(part)) and int(part) < 256 for part in text.split("."))


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
