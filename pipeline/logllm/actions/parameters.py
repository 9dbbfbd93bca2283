"""Typed parameters: where their values come from, which are refused, and how they get into a command.

A value comes from the person who approves, from the incident's service, or from the declaration. Nothing else of an
incident is looked at, and nothing that a model said.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from logllm.errors import ActionError

__all__ = ["Parameter", "Values", "argv_of", "body_of", "fault_of", "preview_of", "resolve", "settled"]

Scalar = str | int | float | bool

_MAX_CHARS = 256
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,127}")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PIECE = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]{0,31})\}|[{}]")


class Parameter(msgspec.Struct, frozen=True):
    """A parameter as it is declared; `source` is the file's `from`."""

    name: str
    type: Literal["string", "integer", "enum", "service", "duration"]
    pattern: str = ""
    choices: list[str] = []
    min: int | float | None = None
    max: int | float | None = None
    default: str | int | None = None
    source: Literal["operator", "service", "fixed"] = msgspec.field(default="operator", name="from")
    leading_dash: bool = False


class Values(NamedTuple):
    """Values by name, all checked; and why each that is missing is."""

    known: dict[str, str]
    missing: dict[str, str]


def fault_of(parameter: Parameter, value: str) -> str:
    """Why a value is refused, empty where it is not. Never a part of it counts: all of it must fit.

    >>> unit = Parameter("unit", "service", pattern="[a-z]+")
    >>> fault_of(unit, "payments")
    ''
    >>> fault_of(unit, "payments; rm -rf /")
    "parameter unit: expected a service's name, got 'payments; rm -rf /'"
    """
    expected = _expected(parameter, value)
    return f"parameter {parameter.name}: expected {expected}, got {value[:60]!a}" if expected else ""


def _expected(parameter: Parameter, value: str) -> str:
    if not 0 < len(value) <= _MAX_CHARS:
        return f"1 to {_MAX_CHARS} characters"
    if not value.isprintable():
        return "no control or invisible characters"
    if parameter.type == "integer":
        return _expected_number(parameter, float(value) if _INTEGER.fullmatch(value) else None, "a whole number")
    if parameter.type == "duration":
        found = _DURATION.fullmatch(value)
        seconds = float(found[1]) * _UNITS_S[found[2]] if found else None
        return _expected_number(parameter, seconds, "a duration such as 30s, 5m or 2h")
    if value.startswith("-") and not parameter.leading_dash:
        return "no leading `-`"
    if parameter.type == "service" and not _SERVICE.fullmatch(value):
        return "a service's name"
    if parameter.choices and value not in parameter.choices:
        return f"one of {', '.join(parameter.choices)}"
    if parameter.type == "enum" and not parameter.choices:
        return "choices"
    if parameter.pattern and not re.fullmatch(parameter.pattern, value, re.ASCII):
        return f"all of it to match {parameter.pattern}"
    return ""


def _expected_number(parameter: Parameter, number: float | None, kind: str) -> str:
    if number is None:
        return kind
    # A negative number reads like an option: it must have been thought of.
    least = 0 if parameter.min is None else parameter.min
    if number < least:
        return f"at least {least:g}"
    if parameter.max is not None and number > parameter.max:
        return f"at most {parameter.max:g}"
    return ""


def resolve(parameters: Iterable[Parameter], *, service: str, given: Mapping[str, str]) -> Values:
    """The values of an action's parameters.

    Args:
        service: The incident's service; empty where it has none, then a default counts.
        given: What the person who approves says.

    Raises:
        ActionError: What is given fits no parameter, or is refused by its type.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    for name, value in given.items():
        parameter = by_name.get(name)
        if parameter is None or parameter.source == "fixed":
            open_to = ", ".join(each.name for each in by_name.values() if each.source != "fixed") or "none"
            raise ActionError(f"parameter {name[:40]!a}: cannot be given, expected one of: {open_to}")
        fault = fault_of(parameter, value)
        if fault:
            raise ActionError(fault)
    known: dict[str, str] = {}
    missing: dict[str, str] = {}
    for parameter in by_name.values():
        value = given.get(parameter.name, "")
        if not value and parameter.source == "service":
            value = service
        if not value and parameter.default is not None:
            value = str(parameter.default)
        fault = fault_of(parameter, value) if value else f"parameter {parameter.name}: not given"
        if fault:
            missing[parameter.name] = fault
        else:
            known[parameter.name] = value
    return Values(known, missing)


def settled(parameters: Sequence[Parameter], known: Mapping[str, str], given: Mapping[str, str]) -> Values:
    """Values that were known before, looked at again, and over them what the person who approves says.

    Raises:
        ActionError: as `resolve`.
    """
    fixed = {parameter.name for parameter in parameters if parameter.source == "fixed"}
    before = {name: value for name, value in known.items() if name not in fixed}
    return resolve(parameters, service="", given={**before, **given})


def argv_of(argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The arguments with values put in: as many as were declared, the program as it was declared.

    >>> argv_of(["/bin/echo", "{a}.service", "{{a}}"], {"a": "{b} x"})
    ['/bin/echo', '{b} x.service', '{a}']

    Raises:
        ActionError: A value is missing, or a program is none.
    """
    if not argv or not argv[0].startswith("/") or _PIECE.search(argv[0]):
        raise ActionError("expected a program by its absolute path, without placeholders")
    return [argv[0], *(_filled(argument, values) for argument in argv[1:])]


def preview_of(argv: Sequence[str], values: Mapping[str, str]) -> str:
    """The command as a person would type it; what is missing stands as its placeholder."""
    shown = {name: values.get(name, f"{{{name}}}") for argument in argv for name in _names(argument)}
    return shlex.join(_filled(argument, shown) for argument in argv)


def body_of(
    body: Mapping[str, Scalar | list[Scalar] | dict[str, Scalar]], values: Mapping[str, str], integers: Iterable[str]
) -> bytes:
    """A webhook's JSON with values put into its texts; a text that is only an integer's placeholder becomes a number.

    Raises:
        ActionError: A value is missing.
    """
    numbers = {f"{{{name}}}": name for name in integers}

    def put(value: Scalar) -> Scalar:
        if not isinstance(value, str):
            return value
        return int(values[numbers[value]]) if numbers.get(value) in values else _filled(value, values)

    filled: dict[str, Scalar | list[Scalar] | dict[str, Scalar]] = {}
    for key, value in body.items():
        if isinstance(value, list):
            filled[key] = [put(each) for each in value]
        elif isinstance(value, dict):
            filled[key] = {name: put(each) for name, each in value.items()}
        else:
            filled[key] = put(value)
    return msgspec.json.encode(filled)


def _names(text: str) -> list[str]:
    return [piece[1] for piece in _PIECE.finditer(text) if piece[1]]


def _filled(text: str, values: Mapping[str, str]) -> str:
    def put(piece: re.Match[str]) -> str:
        if piece[0] in ("{{", "}}"):
            return piece[0][0]
        if piece[1] not in values:
            raise ActionError(f"parameter {piece[1] or piece[0]}: not given")
        return values[piece[1]]

    # In one pass: what a value holds is not read again.
    return _PIECE.sub(put, text)
