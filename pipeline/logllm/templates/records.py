"""Messages that are records themselves: JSON objects and `key=value` lines.

Their template is made of their fields' names and of the values of those that tell what happened (`level`, `event`,
`msg`); every other value varies, whatever it looks like. So there is one template for a set of fields and what it
tells, never one for each combination of values. The order of fields counts: one place in a program writes one order.

Bounds: objects four deep, 64 fields, lists as one value. What is deeper or more is one `<*>`.
"""

from __future__ import annotations

import re

import msgspec

from logllm.templates.masks import WILD, Masked, mask, mask_token
from logllm.templates.node import flat, per_token
from logllm.templates.words import TELLING

__all__ = ["abridged", "is_record", "masked_record", "names_with_digits", "without_values"]

_MAX_FIELDS = 64
_MAX_DEPTH = 4
_MOST_BYTES = 256 * 1024
_MAX_VALUE_CHARS = 80
_MAX_TELLING_CHARS = 400
_LEAST_FIELDS = 3

_STRING = r'"(?:[^"\\]|\\.)*"'
_TELLING = "|".join(sorted(TELLING))
_JSON_VALUES = re.compile(rf'("(?i:{_TELLING})"\s*:\s*{_STRING}|{_STRING}\s*:)|{_STRING}|\[[^\[\]{{}}"]*\]')
_JSON_PARTS = re.compile(rf'({_STRING})(\s*:)?|([{{}}\[\]])|([^\s{{}}\[\],:"]+)|([\s,:]+)')
_FIELD_NAME = r"[A-Za-z_@][\w.\-/@]*"
_VALUE = rf"(?:{_STRING}|'[^']*'|\S*?)(?=[,;]?(?:\s|$))"
_LINE_VALUES = re.compile(rf"((?<!\S)(?i:{_TELLING})={_VALUE})|((?<!\S){_FIELD_NAME}=){_VALUE}")
_LINE_START = re.compile(rf"{_FIELD_NAME}=")
_DIGIT_NAMES = re.compile(r'"([^"\\]*\d[^"\\]*)"\s*:|(?<!\S)([A-Za-z_@][\w.\-/@]*\d[\w.\-/@]*)=')
# A name of one of these types is a value: the object is a map.
_VARIABLE_NAMES = frozenset(("<num>", "<ip>", "<uuid>", "<hex>", "<time>", "<email>", "<mac>", "<path>", "<url>"))


def is_record(message: str) -> bool:
    """Whether a message is one JSON object or a line of at least three `key=value` and little else.

    >>> is_record('{"event":"login","user":"bob"}'), is_record("level=info user=bob n=5"), is_record("took n=5 ms")
    (True, True, False)
    """
    if message[:1] == "{":
        return message[-1] == "}" and '":' in message.replace('" :', '":')
    fields = message.count("=")
    if fields < _LEAST_FIELDS or _LINE_START.match(message) is None:
        return False
    bare = _LINE_VALUES.sub("", message).split()
    return len(bare) * 3 <= fields


def without_values(message: str) -> str:
    """A record without the values that vary. Two records of which this is equal have one template.

    >>> without_values('{"event":"login","user":"bob"}'), without_values("level=info user=bob n=5")
    ('{"event":"login","user":}', 'level=info user= n=')
    """
    if message[:1] == "{":
        return _JSON_VALUES.sub(r"\1", message)
    return _LINE_VALUES.sub(r"\1\2", message)


def names_with_digits(stripped: str) -> list[str]:
    """Of a record without values, the fields' names that have digits; they are part of the template."""
    return [json or line for json, line in _DIGIT_NAMES.findall(stripped)]


def masked_record(message: str) -> Masked | None:
    """As `mask`, for a record; None where the message is none."""
    if not is_record(message):
        return None
    return _Json(message).masked() if message[0] == "{" else _line(message)


def _kind(value: str) -> str:
    """What is shown for a value that varies: its type, `<*>` for text."""
    shape, shown = mask_token(value.strip("\"'")) if " " not in value else ("", ())
    return shown[0] if shape == WILD and len(shown) == 1 and shown[0][:1] == "<" else WILD


def _line(message: str) -> Masked:
    shape: list[str] = []
    shown: list[tuple[str, ...]] = []
    at = 0
    for fields, found in enumerate(_LINE_VALUES.finditer(message)):
        _bare(message[at : found.start()], shape, shown)
        at = found.end()
        if fields >= _MAX_FIELDS:
            shape.append(WILD)
            shown.append((WILD,))
            return tuple(shape), tuple(shown)
        if found[1] is not None:
            _bare(found[1], shape, shown)
        else:
            shape.append(f"{found[2]}{WILD}")
            shown.append((_kind(found[0][len(found[2]) :]),))
    _bare(message[at:], shape, shown)
    return tuple(shape), tuple(shown)


def _bare(text: str, shape: list[str], shown: list[tuple[str, ...]]) -> None:
    tokens, shows = mask(text)
    shape += tokens
    shown += shows


class _Json:
    """One pass over the parts of a JSON object; text that is no JSON comes out as some other text, never an error."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._shape: list[str] = []
        self._shown: list[str] = []
        self._depth = 0
        self._skip = 0  # depth inside what is one value
        self._fields = 0
        self._key = ""
        self._is_map = False

    def masked(self) -> Masked:
        for found in _JSON_PARTS.finditer(self._message):
            string, colon, bracket, word, between = found.groups()
            if bracket is not None:
                self._bracket(bracket)
            elif self._skip:
                continue
            elif string is None:
                if word is None:
                    self._put(between)
                else:
                    self._value(_kind(word))
            elif colon is None:
                self._text(string)
            elif self._name(string, colon):
                break
        tokens = tuple("".join(self._shape).split())
        return tokens, tuple(per_token(tokens, tuple(self._shown)))

    def _put(self, text: str) -> None:
        self._shape.append(text)

    def _value(self, kind: str) -> None:
        self._shape.append(WILD)
        self._shown.append(kind)

    def _bracket(self, bracket: str) -> None:
        if bracket in "{[":
            if self._skip:
                self._skip += 1
            elif bracket == "[" or self._depth >= _MAX_DEPTH:
                self._value(WILD)
                self._skip = 1
            else:
                self._depth += 1
                self._put(bracket)
            return
        if self._skip:
            self._skip -= 1
            if self._skip or not self._is_map:
                return
            self._is_map = False
        self._depth -= 1
        self._put(bracket)

    def _text(self, string: str) -> None:
        if self._key not in TELLING:
            self._value(_kind(string))
        else:
            tokens, shown = mask(string[1:-1])
            self._shape.append(f'"{" ".join(tokens)}"')
            self._shown += flat(shown)

    def _name(self, string: str, colon: str) -> bool:
        """A field's name; whether it is one too many."""
        self._key = string[1:-1].lower()
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            self._value(WILD)
            return True
        if _kind(string) in _VARIABLE_NAMES:
            self._value(WILD)
            self._skip = 1
            self._is_map = True
        else:
            self._put(string + colon)
        return False


def abridged(message: str) -> str | None:
    """A record of several lines, or a long one, as one line that has its fields and the begin of their values.

    None where the message is no record. Objects deeper than four, and those of more than 256 KB, are not.
    """
    if message.lstrip()[:1] == "{" and len(message) <= _MOST_BYTES:
        try:
            data = msgspec.json.decode(message.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return None
        return msgspec.json.encode(_shortened(data, 1, "")).decode() if isinstance(data, dict) else None
    if "\n" not in message and is_record(message[:_MOST_BYTES]):
        return _LINE_VALUES.sub(_cut, message[:_MOST_BYTES])
    return None


def _cut(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1] if len(found[1]) <= _MAX_TELLING_CHARS else found[1][:_MAX_TELLING_CHARS].replace('"', "")
    value = found[0][len(found[2]) :]
    return found[2] + (value if len(value) <= _MAX_VALUE_CHARS else value[:_MAX_VALUE_CHARS].strip('"').split(" ")[0])


def _shortened(value: object, depth: int, key: str) -> object:
    if isinstance(value, str):
        return value[: _MAX_TELLING_CHARS if key.lower() in TELLING else _MAX_VALUE_CHARS]
    if isinstance(value, list):
        return value[:1] and ["…"]
    if isinstance(value, dict):
        if depth > _MAX_DEPTH:
            return {}
        return {name: _shortened(value[name], depth + 1, name) for name in list(value)[:_MAX_FIELDS]}
    return value
