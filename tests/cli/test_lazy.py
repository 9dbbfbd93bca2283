"""Commands are imported when they are run; what help says of them stands beside their names."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from logllm.cli.evaluate import evaluate
from logllm.cli.lazy import LazyGroup
from logllm.cli.main import main


@pytest.mark.parametrize("group", [main, evaluate])
def test_each_command_is_where_it_is_said_to_be_and_goes_by_its_name(group: LazyGroup) -> None:
    context = click.Context(group)

    for name in group.list_commands(context):
        command = group.get_command(context, name)

        assert command is not None
        assert command.name == name
        assert command.help


@pytest.mark.parametrize("group", [main, evaluate])
def test_help_names_each_command_on_a_line_of_its_own(group: LazyGroup) -> None:
    said = CliRunner().invoke(group, ["--help"]).stdout

    for name, at in group.at.items():
        assert any(line.split(maxsplit=1) == [name, at.help] for line in said.splitlines()), name


def test_an_unknown_command_is_an_error() -> None:
    result = CliRunner().invoke(main, ["nonsense"])

    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.output
