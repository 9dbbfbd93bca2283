"""The actions that a runbook's front matter declares, `[[actions]]`: what they are, and what is wrong with one.

What stands here is what a person wrote. Whether, when and with which values one runs is decided elsewhere.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ActionFault",
    "Risk",
    "RunbookAction",
    "RunbookLimit",
    "RunbookParameter",
    "RunbookWebhook",
    "fault_in",
    "line_in_actions",
]

Risk = Literal["low", "medium", "high"]

Scalar = str | int | float | bool
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Cooldown = Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=3_600)]

_MAX_ACTIONS = 8
_MAX_ARGUMENTS = 64
_MAX_ARGUMENT_CHARS = 1_000
_MAX_PARAMETERS = 16
_MAX_CHOICES = 64
_MAX_VALUE_CHARS = 256
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PIECE = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]{0,31})\}|[{}]")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish", "busybox"})


class RunbookParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typed value of an action.

    Args:
        source: In the file `from`. "operator": given with the approval, or the default; "service": the incident's
            service; "fixed": the default, and nothing else.
        pattern: A regular expression for the whole value, ASCII classes.
        min: For integers, and for durations in seconds.
        leading_dash: A string may begin with `-`, which most programs take for an option.
    """

    name: str
    type: Literal["string", "integer", "enum", "service", "duration"]
    pattern: str = ""
    choices: list[str] = []
    min: int | float | None = None
    max: int | float | None = None
    default: str | int | None = None
    source: Literal["operator", "service", "fixed"] = msgspec.field(default="operator", name="from")
    leading_dash: bool = False


class RunbookLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an action may run."""

    per_hour: Count = 3
    per_day: Count = 10
    cooldown_s: Cooldown = 300.0


class RunbookWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request instead of a program. Placeholders stand in the body's texts alone; the address may be a secret."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: dict[str, Scalar | list[Scalar] | dict[str, Scalar]] = {}

    def __repr__(self) -> str:
        return f"RunbookWebhook(method={self.method!r})"


class RunbookAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action. Exactly one of `run` and `webhook` is given.

    Args:
        run: Program and arguments; `{name}` in an argument stands for a parameter, `{{` and `}}` for braces.
        mode: "suggest": people read it; "approve": it runs when a person says so; "auto": it runs by itself.
        idempotent: A second run does no harm.
        dry_run: Program and arguments that run before, and must end with 0.
        when: Run by itself from the least grave of these on.
        timeout_s: None: as configured.
    """

    id: str
    title: str
    run: list[str] = []
    webhook: RunbookWebhook | None = None
    parameters: list[RunbookParameter] = []
    mode: Literal["suggest", "approve", "auto"] = "suggest"
    idempotent: bool = False
    dry_run: list[str] = []
    limit: RunbookLimit | None = None
    when: tuple[Literal["info", "warning", "critical"], ...] = ("critical",)
    timeout_s: Timeout | None = None
    risk: Risk = "medium"


class ActionFault(NamedTuple):
    """What is wrong: which action, under which key, what was expected and what stands there."""

    action: int
    key: str
    expected: str
    got: str


def fault_in(actions: Sequence[RunbookAction]) -> ActionFault | None:
    """The first thing that is wrong with a runbook's actions, or None."""
    if len(actions) > _MAX_ACTIONS:
        return ActionFault(_MAX_ACTIONS, "id", f"at most {_MAX_ACTIONS} actions", "more")
    seen: set[str] = set()
    for number, action in enumerate(actions):
        for key, expected, got in _faults(action):
            return ActionFault(number, key, expected, got)
        if action.id in seen:
            return ActionFault(number, "id", "an `id` of its own in the runbook", action.id)
        seen.add(action.id)
    return None


def line_in_actions(lines: Sequence[str], action: int, key: str) -> int:
    """The file's line of a key of one of the actions: of its `[[actions]]` where the key is not found, else 2."""
    begins = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*actions\s*\]\]", line)]
    if action >= len(begins):
        return 2
    end = begins[action + 1] if action + 1 < len(begins) else len(lines)
    for number in range(begins[action], end):
        if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=|\s*\[+\s*actions\.{re.escape(key)}\s*\]", lines[number]):
            return number + 2
    return begins[action] + 2


def _faults(action: RunbookAction) -> Iterator[tuple[str, str, str]]:
    if not _ID.fullmatch(action.id):
        yield "id", "`id` of lower-case letters, digits and `-`, at most 64", action.id
    if not 0 < len(action.title.strip()) <= 160 or not action.title.isprintable():
        yield "title", "`title` of 1 to 160 printable characters", action.title
    if bool(action.run) == (action.webhook is not None):
        yield "run" if action.run else "id", "one of `run` and `webhook`", "both" if action.run else "neither"
    names: set[str] = set()
    for parameter in action.parameters:
        if parameter.name in names:
            yield "parameters", "parameters of different names", parameter.name
        names.add(parameter.name)
        for expected, got in _parameter_faults(parameter):
            yield "parameters", f"{expected} for parameter `{parameter.name[:40]}`", got
    if len(names) > _MAX_PARAMETERS:
        yield "parameters", f"at most {_MAX_PARAMETERS} parameters", str(len(names))
    used: set[str] = set()
    for key, argv in (("run", action.run), ("dry_run", action.dry_run)):
        if argv:
            for expected, got in _argv_faults(argv, names):
                yield key, expected, got
            used |= {name for argument in argv for name in _names(argument)}
    if action.webhook is not None:
        for expected, got in _webhook_faults(action.webhook, names):
            yield "webhook", expected, got
        used |= {name for text in _texts(action.webhook) for name in _names(text)}
    for name in sorted(names - used):
        yield "parameters", f"`{{{name}}}` in what is run", "none"
    if not action.when:
        yield "when", "at least one severity", "none"
    if action.mode == "auto":
        yield from _auto_faults(action)


def _auto_faults(action: RunbookAction) -> Iterator[tuple[str, str, str]]:
    if not action.idempotent:
        yield "mode", '`idempotent = true` for `mode = "auto"`', "an action that may do harm twice"
    if not action.dry_run:
        yield "mode", '`dry_run` for `mode = "auto"`', "none"
    for parameter in action.parameters:
        if parameter.source == "operator" and parameter.default is None:
            yield "parameters", f"a default for parameter `{parameter.name}`: nobody is asked", "none"


def _argv_faults(argv: Sequence[str], names: set[str]) -> Iterator[tuple[str, str]]:
    program = PurePosixPath(argv[0])
    if not program.is_absolute() or ".." in program.parts or argv[0].endswith("/"):
        yield "a program by its absolute path", argv[0]
    if any(char in argv[0] for char in "{}"):
        yield "a program without placeholders", argv[0]
    if program.name in _SHELLS:
        yield "a program that is no shell: put the commands into a script", argv[0]
    if len(argv) > _MAX_ARGUMENTS:
        yield f"at most {_MAX_ARGUMENTS} arguments", str(len(argv))
    shell = ""
    for argument in argv[1:]:
        if len(argument) > _MAX_ARGUMENT_CHARS or "\0" in argument:
            yield f"arguments of at most {_MAX_ARGUMENT_CHARS} characters without NUL", argument
        yield from _text_faults(argument, names)
        # What a shell reads as its script must not hold values.
        if shell and _names(argument):
            yield f"no placeholder behind `{shell}`", argument
        if PurePosixPath(argument).name in _SHELLS:
            shell = argument


def _webhook_faults(webhook: RunbookWebhook, names: set[str]) -> Iterator[tuple[str, str]]:
    # The address may be a secret: it is not repeated.
    if (
        not re.match(r"https?://[^/]", webhook.url)
        or not webhook.url.isprintable()
        or re.search(r"[\s{}]", webhook.url)
    ):
        yield "`url` as http://HOST[:PORT]/... or https://..., without placeholders", "another"
    keys = [*webhook.body, *(key for value in webhook.body.values() if isinstance(value, dict) for key in value)]
    if any(_PIECE.search(key) for key in keys):
        yield "keys without placeholders in `body`", "one with braces"
    for text in _texts(webhook):
        yield from _text_faults(text, names)


def _parameter_faults(parameter: RunbookParameter) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(parameter.name):
        yield "`name` of lower-case letters, digits and `_`, at most 32", parameter.name
    if parameter.type in ("integer", "duration") and (parameter.pattern or parameter.choices):
        yield "`min` and `max` alone", "a pattern or choices"
    if parameter.type not in ("integer", "duration") and (parameter.min is not None or parameter.max is not None):
        yield "no `min` and `max`", "one"
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        yield "`min` below `max`", f"{parameter.min} and {parameter.max}"
    if parameter.type == "enum" and not parameter.choices:
        yield "`choices`", "none"
    # A string that may be anything is decided on by nobody.
    if (parameter.type == "string" or parameter.source == "service") and not (parameter.pattern or parameter.choices):
        yield "`pattern` or `choices`", "none"
    if parameter.source == "service" and parameter.type not in ("service", "string", "enum"):
        yield 'type "service", "string" or "enum" with `from = "service"`', parameter.type
    if parameter.source == "fixed" and parameter.default is None:
        yield '`default` with `from = "fixed"`', "none"
    if len(parameter.choices) > _MAX_CHOICES or any(
        not 0 < len(each) <= _MAX_VALUE_CHARS for each in parameter.choices
    ):
        yield f"at most {_MAX_CHOICES} choices of 1 to {_MAX_VALUE_CHARS} characters", "others"
    try:
        re.compile(parameter.pattern, re.ASCII)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        yield f"a regular expression ({error})", parameter.pattern


def _text_faults(text: str, names: set[str]) -> Iterator[tuple[str, str]]:
    for piece in _PIECE.finditer(text):
        if piece[0] in ("{", "}"):
            yield "`{name}` of a parameter, or `{{` and `}}` for braces", text
        elif piece[1] and piece[1] not in names:
            yield f"a parameter `{piece[1]}`", "none"


def _names(text: str) -> set[str]:
    return {piece[1] for piece in _PIECE.finditer(text) if piece[1]}


def _texts(webhook: RunbookWebhook) -> Iterator[str]:
    for value in webhook.body.values():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        yield from (text for text in inner if isinstance(text, str))
