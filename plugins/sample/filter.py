"""Keeps every record at or above warning, the first ones of each kind, and one in `rate` of the rest.

A kind is a message without its digits: "took 17 ms" and "took 250 ms" are one. Which records are kept depends on
nothing but the records and their order.
"""

import re

import logllm

DEFAULTS = {"rate": 10, "keep_first": 5, "fields": ["message", "msg", "log"]}
LEVELS = ("level", "severity", "severity_text", "log.level", "lvl", "loglevel")
SEVERE = {
    "warn", "warning", "error", "err", "severe", "critical", "crit", "fatal", "alert", "emerg", "emergency", "panic"
}  # fmt: skip
# In a message that says its level itself. Not "errors": "0 errors" is good news.
SEVERE_WORD = re.compile(r"\b(?:warn(?:ing)?|error|err|severe|crit(?:ical)?|fatal|alert|emerg(?:ency)?|panic)\b", re.I)
PINO_WARNING = 40  # levels as numbers are those of pino and bunyan: 30 is info, 50 error
MOST_CHARACTERS = 200
MOST_KINDS = 10_000

_NO_DIGITS = str.maketrans("", "", "0123456789")
_rate = _keep_first = 1
_fields = []
# How many of each kind there were. When there are too many kinds, those of the generation before last are forgotten;
# one that comes again is a new one, so its first records are kept again.
_counts = {}
_counts_before = {}


def init(config):
    global _rate, _keep_first, _fields
    unknown = sorted(config.keys() - DEFAULTS.keys())
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no such setting; expected some of {', '.join(DEFAULTS)}")
    chosen = {**DEFAULTS, **config}
    _rate = _whole(chosen, "rate", 1)
    _keep_first = _whole(chosen, "keep_first", 0)
    _fields = chosen["fields"]
    if not isinstance(_fields, list) or not _fields or not all(isinstance(name, str) for name in _fields):
        raise ValueError("fields: expected a list of names")
    logllm.log(f"keeps the first {_keep_first} of a kind, then one in {_rate}", "debug")


def _whole(config, name, least):
    value = config[name]
    if type(value) is not int or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, not {value!r}")
    return value


def filter(record):
    text = _message(record)
    if _is_severe(record, text):
        return record
    count = _counted(text[:MOST_CHARACTERS].translate(_NO_DIGITS))
    if count <= _keep_first or (count - _keep_first) % _rate == 0:
        return record
    return None


def _message(record):
    for name in _fields:
        found = record.get(name)
        if isinstance(found, str):
            return found
    # No message: what fields it has says what kind it is.
    return " ".join(record)


def _is_severe(record, text):
    for name in LEVELS:
        level = record.get(name)
        if isinstance(level, str):
            return level.strip().lower() in SEVERE
        if isinstance(level, (int, float)) and not isinstance(level, bool):
            return level >= PINO_WARNING
    return SEVERE_WORD.search(text) is not None


def _counted(kind):
    global _counts, _counts_before
    count = _counts.get(kind)
    if count is None:
        if len(_counts) >= MOST_KINDS:
            _counts, _counts_before = {}, _counts
        count = _counts_before.pop(kind, 0)
    count += 1
    _counts[kind] = count
    return count
