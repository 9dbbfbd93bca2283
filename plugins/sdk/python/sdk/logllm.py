"""What a filter may ask of logllm.

Each function but `log` needs its grant in `[run] grants` of plugin.toml, where the build looks for it, and in the
configuration of whoever runs the filter.
"""

import json

import wit_world

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}


def log(message, level="info"):
    """A line in logllm's own log. `print` ends there too."""
    say = getattr(wit_world, "log", None)
    if say is not None:
        say(LEVELS[level], _text(message))


def now():
    """The wall clock, in milliseconds since the epoch. Grant `clock`."""
    return _granted("now", "clock")()


def kv_get(key):
    """The string kept under a key, or None. Grant `kv`."""
    return _granted("kv_get", "kv")(_text(key))


def kv_set(key, value):
    """Keep a string beyond this run; an empty one removes the key. False where there is no room. Grant `kv`."""
    return _granted("kv_set", "kv")(_text(key), _text(value)) == 0


def metric(name, delta=1):
    """Add to a counter of this plugin's own. Grant `metric`."""
    _granted("metric", "metric")(_text(name), int(delta))


def anomaly(rule, text, score=1.0, service="", severity=0):
    """Raise an anomaly: its kind in a few words, what a person should read, how sure from 0 to 1. Grant `anomaly`."""
    raised = {"rule": rule, "text": text, "service": service, "severity": severity}
    _granted("anomaly", "anomaly")(round(min(max(score, 0), 1) * 1000), json.dumps(raised))


def ask(question):
    """Ask the model: a ticket, or None where it cannot be asked now. Grant `ask`.

    The answer comes later, to a function `answer(ticket, text)` of your filter.
    """
    ticket = _granted("ask", "ask")(_text(question))
    return ticket if ticket > 0 else None


def _granted(name, grant):
    function = getattr(wit_world, name, None)
    if function is None:
        raise PermissionError(f'logllm.{name} needs "{grant}" in the grants of plugin.toml, and a new build')
    return function


def _text(value):
    # Halves of surrogate pairs are no text outside of Python.
    return str(value).encode("utf-8", "replace").decode()
