"""A group whose commands are imported when they are run, each with its line of help written down beside its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["At", "LazyGroup"]


class At(NamedTuple):
    """Where a command is: its module below `logllm.cli`, its name there; and what help says of it."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """Its help imports none of its commands."""

    at: ClassVar[Mapping[str, At]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Sorted names."""
        return sorted(self.at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None where there is none of this name."""
        at = self.at.get(cmd_name)
        if at is None:
            return None
        command = getattr(import_module(f"logllm.cli.{at.module}"), at.attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - a test imports them all
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.at[name].help) for name in self.list_commands(ctx)])
