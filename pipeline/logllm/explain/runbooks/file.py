"""Runbooks: Markdown files a person writes, read strictly, searched without any model.

A file is TOML between two `+++` lines (`id`, `title`, `signals`, `risk`, `owner`, `[[actions]]`), then the sections
`## What it is`, `## Check` and `## Do`; the last two hold list items, commands stand in backticks or fences.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError
from logllm.explain.runbooks.actions import Risk, RunbookAction, fault_in, line_in_actions

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Risk", "Runbook", "commands_of", "parse_runbook", "read_folders"]

_MAX_FILE_BYTES = 262_144
_MAX_RUNBOOKS = 2_000
_MAX_SIGNALS = 120
_MAX_ITEMS = 40
_MAX_ITEM_CHARS = 2_000
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ITEM = re.compile(r"(?:[-*+]|\d{1,3}[.)])\s+(.*)")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_SECTIONS = ("What it is", "Check", "Do")


class Runbook(msgspec.Struct, frozen=True):
    """What is known of one kind of trouble.

    `signals` are example phrases of log lines; `what` is the text under "What it is", `checks` and `steps` the items
    under "Check" and "Do", a fence's lines joined to its item in backticks; `body` is all Markdown after the `+++`.
    """

    id: str
    title: str
    signals: list[str]
    steps: list[str]
    checks: list[str]
    owner: str
    risk: Risk
    body: str
    what: str = ""
    path: str = ""
    actions: list[RunbookAction] = []


class _FrontMatter(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    signals: list[str]
    risk: Risk = "low"
    owner: str = ""
    actions: list[RunbookAction] = []


def commands_of(runbook: Runbook) -> list[str]:
    """Every command the runbook names in backticks, in order."""
    return [command for item in (*runbook.checks, *runbook.steps) for command in re.findall(r"`([^`\n]+)`", item)]


def parse_runbook(text: str, path: str = "<text>") -> Runbook:
    """Read one file's text.

    Raises:
        ConfigError: naming file, line and what was expected.
    """
    lines = text.replace("\r\n", "\n").removeprefix("\ufeff").split("\n")
    if lines[0].strip() != "+++":
        raise _wrong(path, 1, "`+++` opening the front matter", lines[0])
    try:
        end = next(number for number in range(1, len(lines)) if lines[number].strip() == "+++")
    except StopIteration:
        raise ConfigError(
            f"{path}:{len(lines)}: Expected a second `+++` closing the front matter, got end of file"
        ) from None
    front = _front_matter(lines[1:end], path)
    sections = _split_sections(lines, end + 1, path)
    what = " ".join(line.strip() for _, line in sections["What it is"] if line.strip())
    if not what:
        raise _wrong(
            path,
            sections["What it is"][0][0] if sections["What it is"] else end + 1,
            "text under `## What it is`",
            "nothing",
        )
    return Runbook(
        id=front.id,
        title=front.title,
        signals=front.signals,
        steps=_items(sections["Do"], path, "Do", len(lines)),
        checks=_items(sections["Check"], path, "Check", len(lines)),
        owner=front.owner,
        risk=front.risk,
        body="\n".join(lines[end + 1 :]).strip(),
        what=what,
        path=path,
        actions=front.actions,
    )


def _wrong(path: str, line: int, expected: str, got: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: Expected {expected}, got {got.strip()[:60] or 'an empty line'!r}")


def _front_matter(lines: list[str], path: str) -> _FrontMatter:
    try:
        front = msgspec.toml.decode("\n".join(lines), type=_FrontMatter)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}:{_line_of(str(error), lines)}: {error}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        at = re.search(r"line (\d+)", str(error))
        raise ConfigError(f"{path}:{int(at[1]) + 1 if at else 2}: Expected TOML: {error}") from None
    if not _ID.fullmatch(front.id):
        raise _wrong(path, _line_of("$.id", lines), "`id` of lower-case letters, digits and `-`, at most 64", front.id)
    if not 0 < len(front.title.strip()) <= 160:
        raise _wrong(path, _line_of("$.title", lines), "`title` of 1 to 160 characters", front.title)
    if not 0 < len(front.signals) <= _MAX_SIGNALS or any(
        not 0 < len(signal.strip()) <= 300 for signal in front.signals
    ):
        raise _wrong(
            path,
            _line_of("$.signals", lines),
            "`signals`, 1 to 120 phrases of at most 300 characters",
            str(front.signals),
        )
    fault = fault_in(front.actions)
    if fault is not None:
        line = line_in_actions(lines, fault.action, fault.key)
        raise _wrong(path, line, f"{fault.expected} at `$.actions[{fault.action}]`", fault.got)
    return front


def _line_of(message: str, lines: list[str]) -> int:
    """The file's line of the key a msgspec message points at, else the front matter's first."""
    action = re.search(r"\$\.actions\[(\d+)\](?:\.(\w+))?", message)
    if action:
        field = re.search(r"field `(\w+)`", message)
        return line_in_actions(lines, int(action[1]), action[2] or (field[1] if field else "id"))
    key = re.search(r"\$\.(\w+)|field `(\w+)`", message)
    if key:
        name = key[1] or key[2]
        for number, line in enumerate(lines, start=2):
            if re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
                return number
    return 2


def _split_sections(lines: list[str], start: int, path: str) -> dict[str, list[tuple[int, str]]]:
    """The lines of each section with their numbers, from 1. Other sections are allowed and only shown."""
    sections: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] | None = None
    fenced = False
    for number in range(start, len(lines)):
        line = lines[number]
        if _FENCE.match(line):
            fenced = not fenced
        if not fenced and line.startswith("## "):
            name = line[3:].strip()
            if name in sections:
                raise _wrong(path, number + 1, f"one section `## {name}`", "a second")
            current = sections.setdefault(name, [])
            continue
        if current is not None:
            current.append((number + 1, line))
    for name in _SECTIONS:
        if name not in sections:
            raise ConfigError(f"{path}:{len(lines)}: Expected a section `## {name}`, got none")
    return sections


def _items(lines: list[tuple[int, str]], path: str, section: str, end: int) -> list[str]:
    items: list[str] = []
    in_fence = False
    for number, line in lines:
        if _FENCE.match(line):
            in_fence = not in_fence
            continue
        bare = line.strip()
        if not bare:
            continue
        item = None if in_fence else _ITEM.match(bare)
        if item and len(line) - len(line.lstrip()) < 2:
            items.append(item[1].strip())
        elif not items:
            raise _wrong(path, number, f"a list item (`- ...`) first under `## {section}`", bare)
        elif in_fence:
            items[-1] += f" `{bare.replace('`', chr(39))}`"
        else:
            items[-1] += f" {bare}"
        if len(items) > _MAX_ITEMS or len(items[-1]) > _MAX_ITEM_CHARS:
            raise _wrong(
                path, number, f"at most {_MAX_ITEMS} items of {_MAX_ITEM_CHARS} characters under `## {section}`", "more"
            )
    if not items:
        raise ConfigError(f"{path}:{lines[0][0] if lines else end}: Expected list items under `## {section}`, got none")
    return items


def read_folders(folders: Sequence[str | Path] = (), *, shipped: bool = True) -> list[Runbook]:
    """Our catalogue and the user's folders, in that order; a later file with the same `id` replaces an earlier one.

    Raises:
        ConfigError: for a folder that is not there, a bad file, or one `id` twice in one folder.
    """
    found: dict[str, Runbook] = {}
    ours = Path(str(resources.files("logllm.explain.runbooks"))) / "catalogue"
    every = [ours] if shipped else []
    every.extend(Path(folder).expanduser() for folder in folders)
    for folder in every:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: Expected a folder of runbooks (*.md), got none there")
        here: dict[str, Path] = {}
        for path in sorted(folder.glob("*.md")):
            if path.name.lower() == "readme.md":
                continue
            runbook = _read(path)
            if folder is ours and any(action.mode != "suggest" for action in runbook.actions):
                raise ConfigError(f'{path}:2: Expected `mode = "suggest"` for the actions of a runbook that ships')
            if runbook.id in here:
                raise ConfigError(
                    f"{path}:2: Expected an `id` of its own, got {runbook.id!r}, which is {here[runbook.id].name}'s"
                )
            here[runbook.id] = path
            found[runbook.id] = runbook
            if len(found) > _MAX_RUNBOOKS:
                raise ConfigError(f"{folder}: Expected at most {_MAX_RUNBOOKS} runbooks, got more")
    return list(found.values())


def _read(path: Path) -> Runbook:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: Expected a readable file, got {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}:1: Expected at most {_MAX_FILE_BYTES} bytes, got more")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: Expected UTF-8, got byte 0x{data[error.start]:02x}") from None
    return parse_runbook(text, str(path))
