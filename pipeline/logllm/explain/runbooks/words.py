"""From log text to words: identifiers split, error names spelled out, stop words gone, endings cut.

Runbooks and log lines pass through the same function, so that `ENOSPC`, `noSpaceLeft` and `no space left on
device` meet.
"""

from __future__ import annotations

import functools
import re

__all__ = ["TROUBLE", "WEAK", "stem", "terms"]

# The words a C library prints for each, so that a runbook written in prose finds the bare symbol.
_ERRNO = {
    "enospc": "no space left on device",
    "enomem": "cannot allocate memory",
    "econnrefused": "connection refused",
    "econnreset": "connection reset by peer",
    "econnaborted": "connection aborted",
    "etimedout": "connection timed out",
    "ehostunreach": "no route to host",
    "enetunreach": "network is unreachable",
    "eacces": "permission denied",
    "eperm": "operation not permitted",
    "enoent": "no such file or directory",
    "emfile": "too many open files",
    "enfile": "too many open files",
    "epipe": "broken pipe",
    "erofs": "read only file system",
    "edquot": "disk quota exceeded",
    "eaddrinuse": "address already in use",
    "eai_again": "temporary failure in name resolution",
    "eai": "temporary failure in name resolution",
    "enotfound": "name resolution host not found",
    "nxdomain": "name resolution no such host",
    "servfail": "name resolution server failure",
    "eio": "input output error",
    "estale": "stale file handle",
    "oomkilled": "out of memory killed",
    "oom": "out of memory",
    "crashloopbackoff": "crash loop back off restarting",
    "imagepullbackoff": "image pull back off",
    "errimagepull": "image pull error",
    "x509": "x509 certificate",
    "401": "401 unauthorized",
    "403": "403 forbidden",
    "429": "429 too many requests",
    "502": "502 bad gateway",
    "503": "503 service unavailable",
    "504": "504 gateway timeout",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STOP = _words(
    "a an and are as at be been but by can did do does for from had has have he her his if in into is it its "
    "me my nor of on onto or our she so such that the their them then there these they this those to was we "
    "were what when where which while who will with would you your user_n ip_n host_n email_n secret_n mac_n"
)

# Words that half of all log lines carry: they may rank a runbook, never decide for one.
WEAK = _words(
    "able access address all already another any app application attempt await back call cannot client close "
    "closed code com complete config configuration connect connection could count current data debug default "
    "detail done due end entry error event exception exit expect fail failed failure fatal file find found get "
    "give got handle high host id info init input int invalid io java key last level line list load local log "
    "long low main max message method min more name need new next no node none not null number object ok one "
    "only open operation option org out output over pass path pid port process python read ready receive "
    "reason request response restart result retry return run running second seconds see send server service "
    "session set size source start state status stop success system target task test thread time trace try "
    "type unable unexpected unknown up update use user using value version wait warn warning worker write yet "
    "zero"
)

_PSEUDONYM = re.compile(r"<(?:ip|host|email|mac|user|phone|secret)_\w{1,16}>|<\*>|<[a-z]{2,8}>")
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?[0-9a-fA-F-]{12,64}(?![0-9A-Za-z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*|(?<![0-9.])[1-5][0-9]{2}(?![0-9.])")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MAX_TEXT = 16_384


@functools.lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """Cut the common English endings; both sides of a comparison pass through it, so it need not be a word.

    >>> [stem(word) for word in ("failures", "failed", "refusing", "denied", "processes", "status")]
    ['failur', 'fail', 'refus', 'deni', 'process', 'status']
    """
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, least in (("ations", 4), ("ation", 4), ("sses", 0), ("ings", 4), ("ing", 4), ("edly", 4), ("ied", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least:
            return word[: -len(ending)] + {"sses": "ss", "ied": "i"}.get(ending, "")
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ed") and len(word) > 5:
        return word[:-2]
    if word.endswith(("y", "ie")) and len(word) > 3:
        return word.rstrip("ye").rstrip("i") + "i"
    if word.endswith("e") and len(word) > 4:
        return word[:-1]
    return word


# A line with one of these that an ordinary line lacks is none, however alike the rest is: "Failed password for".
TROUBLE = frozenset(
    stem(word)
    for word in _words(
        "abort aborted bad cannot corrupt crash crashed critical dead denied died down error errors exceeded exception "
        "exhausted expired fail failed failing failure fatal forbidden full illegal incorrect insufficient invalid "
        "kill killed leak lost missing not panic refused rejected segfault stale stuck suspended timed timeout too "
        "unable unauthorized unavailable unexpected unhealthy unknown unreachable violation wrong"
    )
)


def terms(text: str) -> list[str]:
    """The words of `text` that mean something, lower case, in order, repeats kept.

    Reads the first 16 KiB. Error symbols become their sentence, `camelCase` and `snake_case` are split (a symbol's
    whole form stays too), numbers go except three-digit codes, pseudonyms such as `<ip_1>` go.

    >>> terms("java.io.IOException: ENOSPC while writing /var/lib/kafka/00001.log")[:8]
    ['java', 'io', 'ioexception', 'io', 'exception', 'enospc', 'no', 'space']
    """
    text = _LONG_HEX.sub(" ", _PSEUDONYM.sub(" ", text[:_MAX_TEXT]))
    found: list[str] = []
    for match in _WORD.finditer(text):
        raw = match[0]
        word = raw.lower()
        if word in _STOP or len(word) == 1 or len(word) > 64:
            continue
        if word in _ERRNO:
            found.append(word)
            found.extend(part for part in _ERRNO[word].split() if part not in _STOP and part != word)
            continue
        pieces = [piece.lower() for part in raw.split("_") for piece in _split_camel(part)]
        if len(pieces) > 1:
            found.append(word.replace("_", ""))
            found.extend(piece for piece in pieces if len(piece) > 1 and piece not in _STOP)
        else:
            found.append(word)
    return found


def _split_camel(part: str) -> list[str]:
    if part.islower() or part.isupper() or part.isdigit():
        return [part]
    pieces = _CAMEL.findall(part)
    # "IOException" and "SSLHandshake": the last capital of a run begins the next word.
    joined: list[str] = []
    for piece in pieces:
        if joined and joined[-1].isupper() and len(joined[-1]) == 1 and piece.islower():
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined or [part]
