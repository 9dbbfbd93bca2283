"""`templates.toml`: what people have made of templates, kept beside what was learned and read again when it changes."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from logllm.errors import ConfigError
from logllm.shared_file import SharedFile
from logllm.templates.edits import TemplateEdits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.pipeline import Pipeline

__all__ = ["FILE", "EditsFile", "as_toml", "refresh"]

FILE = "templates.toml"

_HEAD = """\
# What people have made of templates. `logllm templates rename|merge|pin` writes this file; edit it as you like:
# a running logllm reads it again within seconds. Ids are those of `logllm templates list`.
"""


class EditsFile:
    """The edits in the data folder.

    Raises:
        ConfigError: By all methods, where the file cannot be used; says where in it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = SharedFile(data_dir / FILE)

    @property
    def path(self) -> Path:
        """Where they are."""
        return self._file.path

    def read(self) -> TemplateEdits:
        """As they stand; none where there is no file."""
        return self._parsed(self._file.read())

    def fresh(self) -> TemplateEdits | None:
        """The edits if the file is another one than when this was last asked. A bad one is told of once."""
        return self.read() if self._file.changed() else None

    def change(self, edit: Callable[[TemplateEdits], TemplateEdits]) -> TemplateEdits:
        """Put other edits in their place; they are on the disk when this returns. Raises StateError too."""
        made: list[TemplateEdits] = []

        def rewritten(text: str) -> str:
            edits = edit(self._parsed(text))
            made.append(TemplateEdits.read(edits.as_data(), str(self.path)))
            return as_toml(edits)

        self._file.change(rewritten)
        return made[-1]

    def _parsed(self, text: str) -> TemplateEdits:
        try:
            return TemplateEdits.read(tomllib.loads(text), str(self.path))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{self.path}: not TOML: {error}") from error


def refresh(file: EditsFile, pipeline: Pipeline, notice: Callable[[str], None]) -> None:
    """Give the pipeline what has changed in the file. One that cannot be used is told of once and changes nothing."""
    try:
        edits = file.fresh()
        if edits is not None:
            pipeline.edit_templates(edits)
    except ConfigError as error:
        notice(f"{error}; templates stay as they are")


def as_toml(edits: TemplateEdits) -> str:
    """The edits as they stand in the file, in an order that makes for small differences.

    >>> edits = TemplateEdits(names={"0123456789ab": 'a "b"'}, pins=("user <user> left",))
    >>> print(as_toml(edits).partition("list`.")[2])
    <BLANKLINE>
    <BLANKLINE>
    pins = [
      "user <user> left",
    ]
    merges = [
    ]
    <BLANKLINE>
    [names]
    0123456789ab = "a \\"b\\""
    <BLANKLINE>
    """
    lines = [_HEAD, "pins = [", *(f"  {_quoted(pin)}," for pin in edits.pins), "]", "merges = ["]
    lines += [f"  [{', '.join(map(_quoted, group))}]," for group in edits.merges]
    lines += ["]", "", "[names]", *(f"{name} = {_quoted(text)}" for name, text in sorted(edits.names.items())), ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c) for c in escaped) + '"'


def _escape(char: str) -> str:
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"
