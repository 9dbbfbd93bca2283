"""Options that several commands share, and how they change the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from logllm.config import Config

__all__ = ["configured", "run_options"]

_RUN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file; options here win over it."),
    click.option("--data-dir", type=click.Path(), help="Keep incidents and what was learned here, over restarts."),
    click.option(
        "--alerts-per-day",
        type=click.FloatRange(min=0.0, min_open=True),
        help="How many incidents a day you are willing to look at.  [default: 5]",
    ),
    click.option("--no-llm", is_flag=True, help="Facts and runbooks only; start no language model."),
    click.option(
        "--model", help="A name from `logllm model list`, a .gguf file, or the URL of an OpenAI-compatible server."
    ),
    click.option(
        "--runbooks", multiple=True, type=click.Path(), help="A folder with runbooks of your own; repeatable."
    ),
    click.option(
        "--filter",
        "filters",
        multiple=True,
        help="A .wasm plugin, or the name of one that ships, that each record goes through; repeatable, in this order.",
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output."),
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options to a command."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def configured(
    config_path: str | None,
    data_dir: str | None,
    alerts_per_day: float | None,
    no_llm: bool,
    model: str | None,
    runbooks: tuple[str, ...],
    filters: tuple[str, ...],
) -> Config:
    """The configuration that the file and the options make together. Raises ConfigError."""
    from msgspec.structs import replace

    from logllm.config import Config
    from logllm.errors import ConfigError

    config = Config() if config_path is None else Config.load(config_path)
    if no_llm and model:
        raise ConfigError("--no-llm and --model: give one of them")
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    if alerts_per_day is not None:
        config = replace(config, detect=replace(config.detect, alerts_per_day=alerts_per_day))
    explain = config.explain
    if no_llm:
        explain = replace(explain, model="")
    elif model:
        explain = replace(explain, model=model)
    if runbooks:
        explain = replace(explain, runbooks=[*explain.runbooks, *runbooks])
    if filters:
        from logllm.filters.config import PluginConfig

        config = replace(config, plugins=[*config.plugins, *(PluginConfig(path=path) for path in filters)])
    return replace(config, explain=explain)
