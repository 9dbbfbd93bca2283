"""How bad a template sounds, for logs whose lines carry no level.

Syslog's files, and much else, hold no severity. A small list of word stems, matched as whole words on the template's
constant text, stands in for it: it raises an unmarked line to WARN or ERROR, never above, and a line that says its
own level keeps it. It ranks; it does not alert by itself.
"""

from __future__ import annotations

import re

from logllm.events import Severity

__all__ = ["sounds_like"]

_ERROR = re.compile(
    r"""\b(?:
        error|errors|exception|traceback|fatal|panic|segfault|segmentation\ fault|core\ dumped|corrupt\w*|
        out\ of\ memory|oom|no\ space\ left|read-only\ file\ system|i/o\ error|break-?in|attack|intrusion|
        crash\w*|abort(?:ed|ing)?|unrecoverable|uncorrect\w*|emergency|violat\w*|deadlock
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_WARN = re.compile(
    r"""\b(?:
        fail\w*|invalid|denied|refused|rejected|illegal|unable|cannot|can't|could\ not|couldn't|not\ permitted|
        unauthori[sz]ed|forbidden|time-?out|timed\ out|unreachable|unknown|unexpected|expired|lost|dropp(?:ed|ing)|
        killed|died|dead|warn(?:ing)?|overflow|exceed(?:ed|s)?|exhausted|interrupted|disconnect\w*|reset\ by|missing|
        bad|broken|retry(?:ing)?|stale|degraded|threshold|throttl\w*|too\ many|not\ found|giving\ up
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_HARMLESS = re.compile(
    r"\b(?:no|0|zero|without) (?:\w+ )?(?:errors?|failures?|warnings?)\b|\berrors?[=:] ?0\b"
    r"|\bfail(?:ed|ures)?[=:] ?0\b|\b(?:errors?|exceptions?) (?:support|handl\w+|correction|reporting|recovery)\b",
    re.IGNORECASE,
)


def sounds_like(text: str) -> Severity:
    """ERROR, WARN or UNSPECIFIED, from the words of a template.

    >>> sounds_like("Failed password for <*> from <*>").name, sounds_like("no errors found").name
    ('WARN', 'UNSPECIFIED')
    """
    text = _HARMLESS.sub(" ", text[:2000].replace("_", " "))
    if _ERROR.search(text):
        return Severity.ERROR
    if _WARN.search(text):
        return Severity.WARN
    return Severity.UNSPECIFIED
