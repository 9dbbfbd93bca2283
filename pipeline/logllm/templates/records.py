"""Messages that are records themselves: JSON objects and `key=value` lines.

Their template is made of their fields' names and of the values of those that tell what happened (`level`, `event`,
`msg`); every other value varies, whatever it looks like. So there is one template for a set of fields and what it
tells, never one for each combination of values. The order of fields counts: one place in a program writes one order.

Bounds: objects four deep, 64 fields, lists as one value. What is deeper or more is one `<*>`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from logllm.templates.masks import WILD, Masked, mask, mask_token
from logllm.templates.node import flat, per_token
from logllm.templates.words import TELLING

__all__ = ["Record", "abridged", "masked_record", "record_of"]

_MAX_FIELDS = 64
_MAX_DEPTH = 4
_MOST_BYTES = 256 * 1024
_MAX_VALUE_CHARS = 80
_MAX_TELLING_CHARS = 400
_LEAST_FIELDS = 3
_SPACE = "\x04"  # stands for a space inside a quoted value while a line is cut at white space

# Inside a string, what stands for an escaped quote and backslash, so that every quote is an end of a string.
_ESCAPED_QUOTE, _ESCAPED_BACKSLASH = "\x05", "\x07"
_JSON_PARTS = re.compile(r'("[^"]*")(\s*:)?|([{}\[\]])|([^\s{}\[\],:"]+)|([\s,:]+)')
_FIELD = re.compile(r"([A-Za-z_@][\w.\-/@]*)=(.*?)([,;]?)", re.DOTALL)
_SINGLE = re.compile(r"(?<==)'[^'=]*'(?![^\s,;])")
# A name of one of these types is a value: the object is a map.
_VARIABLE_NAMES = frozenset(("<num>", "<ip>", "<uuid>", "<hex>", "<time>", "<email>", "<mac>", "<path>", "<url>"))


class Record(NamedTuple):
    """What the template of a record depends on, and nothing else: its text without the values that vary, its fields'
    names that have digits."""

    stripped: str
    names: list[str]


def record_of(message: str) -> Record | None:
    """None where a message is neither one JSON object nor a line of at least three `key=value` and little else.

    Cost: about what `json.loads` takes for the same text.

    >>> record_of('{"event":"login","user":"bob"}').stripped
    '{"event":"login","user":""}'
    >>> record_of("level=info user=bob p99=5").stripped, record_of("took n=5 ms")
    ('level=info user= p99=', None)
    """
    if message[:1] == "{":
        return _json(message) if message[-1] == "}" else None
    parts = _line_parts(message)
    if parts is None:
        return None
    kept, names = [], []
    for whole, name, _, end in parts:
        if not name:
            kept.append(whole)
            continue
        telling = name.lower() in TELLING
        kept.append(whole if telling else f"{name}={end}")
        if not name.isalpha() and any(map(str.isdigit, name)):
            names.append(name)
    return Record(" ".join(kept), names)


def masked_record(message: str) -> Masked | None:
    """As `mask`, for a record; None where the message is none."""
    if message[:1] == "{":
        return None if record_of(message) is None else _Json(_plain(message)).masked()
    parts = _line_parts(message)
    return None if parts is None else _line(parts)


def _plain(message: str) -> str:
    if "\\" not in message:
        return message
    return message.replace("\\\\", _ESCAPED_BACKSLASH).replace('\\"', _ESCAPED_QUOTE)


def _escaped(text: str) -> str:
    return text.replace(_ESCAPED_QUOTE, '\\"').replace(_ESCAPED_BACKSLASH, "\\\\")


def _json(message: str) -> Record | None:
    parts = _plain(message).split('"')
    if len(parts) < 3 or not len(parts) % 2:
        return None
    names: list[str] = []
    name = ""
    fields = 0
    for at in range(1, len(parts), 2):
        string = parts[at]
        if parts[at + 1].lstrip()[:1] == ":":
            name = string
            fields += 1
            if not name.isalpha() and any(map(str.isdigit, name)):
                names.append(name)
        elif name.lower() not in TELLING:
            parts[at] = ""
    return Record('"'.join(parts), names) if fields else None


def _line_parts(message: str) -> list[tuple[str, str, str, str]] | None:
    """The fields of a line and what stands between: as a whole, the name ("" where it is no field), value, comma."""
    if message.count("=") < _LEAST_FIELDS or "=" not in message.split(None, 1)[0]:
        return None
    text = _plain(message)
    if '"' in text:
        pieces = text.split('"')
        if not len(pieces) % 2:
            return None
        for at in range(1, len(pieces), 2):
            if pieces[at - 1][-1:] == "=":
                pieces[at] = pieces[at].replace(" ", _SPACE)
        text = '"'.join(pieces)
    if "='" in text:
        text = _SINGLE.sub(lambda found: found[0].replace(" ", _SPACE), text)
    parts = []
    fields = 0
    for token in text.split():
        found = _FIELD.fullmatch(token)
        token = _escaped(token.replace(_SPACE, " "))
        if found is None:
            parts.append((token, "", "", ""))
        else:
            parts.append((token, found[1], found[2], found[3]))
            fields += 1
    return parts if parts[0][1] and fields >= _LEAST_FIELDS and (len(parts) - fields) * 3 <= fields else None


def _kind(value: str) -> str:
    """What is shown for a value that varies: its type, `<*>` for text."""
    shape, shown = mask_token(_escaped(value.strip("\"'"))) if " " not in value else ("", ())
    return shown[0] if shape == WILD and len(shown) == 1 and shown[0][:1] == "<" else WILD


def _line(parts: list[tuple[str, str, str, str]]) -> Masked:
    shape: list[str] = []
    shown: list[tuple[str, ...]] = []
    fields = 0
    for whole, name, value, end in parts:
        fields += bool(name)
        if fields > _MAX_FIELDS:
            shape.append(WILD)
            shown.append((WILD,))
            break
        if name and name.lower() not in TELLING:
            shape.append(f"{name}={WILD}{end}")
            shown.append((_kind(value.replace(_SPACE, " ")),))
        else:
            tokens, shows = mask(whole)
            shape += tokens
            shown += shows
    return tuple(shape), tuple(shown)


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
        tokens = tuple(_escaped("".join(self._shape)).split())
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
            tokens, shown = mask(_escaped(string[1:-1]))
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
        if not isinstance(data, dict):
            return None
        line = msgspec.json.encode(_shortened(data, 1, ""))
        # Short ones are not written anew: be like them.
        return (msgspec.json.format(line, indent=0) if '": ' in message else line).decode()
    parts = _line_parts(message[:_MOST_BYTES]) if "\n" not in message else None
    if parts is None:
        return None
    return " ".join([whole if len(whole) <= _MAX_VALUE_CHARS else _cut(whole, name) for whole, name, _, _ in parts])


def _cut(field: str, name: str) -> str:
    """A long field's begin, without the quotes that then would not close."""
    most = _MAX_TELLING_CHARS if name.lower() in TELLING else _MAX_VALUE_CHARS
    cut = field[:most].replace('"', "").replace("\\", "")
    return cut if name.lower() in TELLING else cut.partition(" ")[0]


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
