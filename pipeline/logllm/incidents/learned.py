"""What people said, as a file they can read, review and merge: `learned.toml`, a table an answer.

Two answers for the same service, template and kind cannot both hold: the later `when` wins, and of two of the same
moment the one that tells more. That is also the rule for what a merge leaves behind, duplicates and conflict markers:
both sides of a conflict are read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from logllm.errors import ConfigError
from logllm.events import Severity
from logllm.incidents.learned_times import Hours

__all__ = ["ANY", "MOST_ANSWERS", "Lesson", "LevelName", "Teaching", "latest", "parsed", "written"]

ANY = "*"
"""Stands for every service, template or kind."""

MOST_ANSWERS = 5_000
"""More than that nobody reviews, and reading them would take longer than a second."""

Teaching = Literal["expected", "noise", "real"]
LevelName = Literal["unspecified", "trace", "debug", "info", "warn", "error", "fatal"]

_TELLS_MORE: tuple[Teaching, ...] = ("noise", "expected", "real")
_HEAD = """\
# What people said of incidents, one table an answer. logllm writes this file anew with each one, sorted; a comment
# would be lost, `note` is kept. Of two answers for the same service, template and kind the later `when` wins.
"""
_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")

_Name = Annotated[str, Meta(min_length=1, max_length=1_000)]
_Said = Annotated[str, Meta(max_length=2_000)]


class Lesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer, as it is kept.

    Args:
        service, template, kind: What it is about; "*" is any. `template` is the stable id.
        when: It was given; of two, the later one holds.
        text: The template for whoever reads the file, masked.
        level: What the template's records say of themselves.
        until: It holds for incidents before this moment; by event time.
        up_to: For `expected`: more than this many (of what the kind counts, or of its unit) is told after all.
        up_to_given: A person has said so; else it follows the incident for as long as that lasts.
        days, hours, zone: For `expected`: only on these days and hours, as "mon", "22:00-04:00", "Europe/Berlin".
        always: It also holds back what is fatal.
        severity: For `real`: at least this bad.
        every_record: For `real`: each record of the template is the problem, however few.
    """

    service: _Said
    template: _Name
    kind: _Name
    verdict: Teaching
    when: datetime
    text: _Said = ""
    level: LevelName = "unspecified"
    by: _Said = ""
    note: _Said = ""
    incident: _Said = ""
    until: datetime | None = None
    up_to: Annotated[float, Meta(ge=0)] | None = None
    up_to_given: bool = False
    days: list[str] = []
    hours: str = ""
    zone: str = "UTC"
    always: bool = False
    severity: Literal["warning", "critical"] = "warning"
    every_record: bool = False

    @property
    def about(self) -> tuple[str, str, str]:
        """Service, template, kind: there is one answer for each."""
        return self.service, self.template, self.kind

    @property
    def id(self) -> str:
        """By which it is taken back: the same for what it is about, whatever was said."""
        return "ans-" + blake2b("\0".join(self.about).encode(errors="replace"), digest_size=4).hexdigest()

    @property
    def level_number(self) -> int:
        """OpenTelemetry's number of `level`."""
        return int(Severity[self.level.upper()])

    def schedule(self) -> Hours | None:
        """When it holds; None: at any hour. Raises ValueError."""
        return Hours(self.days, self.hours, self.zone) if self.days or self.hours else None

    def holds(self, now_ns: int) -> bool:
        """Whether it is in force at this event time."""
        return self.until is None or now_ns < int(_aware(self.until).timestamp() * 1e9)


def latest(lessons: Iterable[Lesson]) -> list[Lesson]:
    """One answer for each thing, the one that holds, sorted by service, template and kind."""
    kept: dict[tuple[str, str, str], Lesson] = {}
    for lesson in lessons:
        before = kept.get(lesson.about)
        if before is None or _rank(lesson) > _rank(before):
            kept[lesson.about] = lesson
    return [kept[about] for about in sorted(kept)]


def _rank(lesson: Lesson) -> tuple[datetime, int]:
    return _aware(lesson.when), _TELLS_MORE.index(lesson.verdict)


def parsed(text: str, where: str) -> list[Lesson]:
    """The answers in a file's text, as `latest`.

    Args:
        where: What errors call the file.

    Raises:
        ConfigError: It is not TOML, has a key that is not known or a value that does not fit; says where.
    """
    return latest(lesson for side in _sides(text) for lesson in _read(side, where))


def _sides(text: str) -> list[str]:
    """The text as it stands, or both sides of it where a merge has left its markers."""
    lines = text.splitlines()
    if not any(_marker(line) for line in lines):
        return [text]
    ours: list[str] = []
    theirs: list[str] = []
    at = ""
    for line in lines:
        found = _marker(line)
        if found and (at or found == "<<<<<<<"):
            at = "" if found == ">>>>>>>" else found
        elif at == "<<<<<<<":
            ours.append(line)
        elif at == "=======":
            theirs.append(line)
        elif not at:
            ours.append(line)
            theirs.append(line)
    return ["\n".join(ours), "\n".join(theirs)]


def _marker(line: str) -> str:
    # Git ends a marker with the line or with a space and a name.
    return line[:7] if line[:7] in _MARKERS and line[7:8] in ("", " ") else ""


def _read(text: str, where: str) -> list[Lesson]:
    try:
        lessons = msgspec.convert(tomllib.loads(text), _File).answers
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).splitlines())}") from error
    return _checked(lessons, where)


def _checked(lessons: list[Lesson], where: str) -> list[Lesson]:
    for at, lesson in enumerate(lessons):
        try:
            lesson.schedule()
            for when in (lesson.when, lesson.until):
                if when is not None:
                    _aware(when).astimezone(UTC)
        except OverflowError:
            raise ConfigError(f"{where}: a time before the year 1 or after 9999 - at `$.answers[{at}]`") from None
        except ValueError as error:
            raise ConfigError(f"{where}: {error} - at `$.answers[{at}]`") from None
    return lessons


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    answers: Annotated[list[Lesson], Meta(max_length=2 * MOST_ANSWERS)] = []


def written(lessons: Iterable[Lesson]) -> str:
    """The text of a file with these answers; the same answers give the same text.

    Raises:
        ConfigError: One of them could not be read again.
    """
    tables = [_HEAD]
    kept = latest(lessons)
    try:
        msgspec.convert(msgspec.to_builtins(kept), list[Lesson])
    except msgspec.ValidationError as error:
        raise ConfigError(f"answer: {' '.join(str(error).splitlines())}") from error
    for lesson in _checked(kept, "answer"):
        rows = ["[[answers]]"]
        for name in Lesson.__struct_fields__:
            value = getattr(lesson, name)
            if name in _ALWAYS or value != _DEFAULTS[name]:
                rows.append(f"{name} = {_toml(value)}")
        tables.append("\n".join(rows) + "\n")
    return "\n".join(tables)


_ALWAYS = ("service", "template", "kind", "verdict", "when")
_DEFAULTS = {field.name: [] if field.name == "days" else field.default for field in msgspec.structs.fields(Lesson)}


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _aware(value).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, float | int):
        return repr(float(value))
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    escaped = text.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    # Whatever ends a line for somebody would break the table up, or look as if it did.
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped) + '"'


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
