"""What `logllm plugin test` and `diff` do: run a plugin on known records and compare what comes out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from logllm.cli.plugin_compare import compared
from logllm.cli.plugin_lines import records_of, written_time
from logllm.cli.plugin_run import DEFAULT_TAG, filtered, log_lines
from logllm.cli.plugin_trial import Stopped, Trial
from logllm.cli.render_text import neutral
from logllm.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.config import PluginConfig

__all__ = ["FIXTURE_TIME", "Fixture", "check", "different"]

FIXTURE_TIME = "1700000000.000000000"
"""The records' time where a fixture names none, and what the plugin is told the time is."""

_IN, _OUT = ".in.ndjson", ".out.ndjson"
_MOST_LINES = 40


class Fixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fixture's `NAME.toml`.

    Args:
        tag: The records' tag.
        time: Their time, as `--time` writes it.
        config: The plugin's configuration, in place of that in `plugin.toml`.
    """

    tag: str = DEFAULT_TAG
    time: Annotated[str, msgspec.Meta(max_length=32)] = FIXTURE_TIME
    config: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> Fixture:
        """Raises ConfigError: one line, the file, the place in it, and what was expected there."""
        from logllm.filters.manifest import read_toml

        if not path.is_file():
            return cls()
        try:
            return msgspec.convert(read_toml(path), cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Difference:
    """What differs, a line each, at most 40 of them and how many more; and how many records were given."""

    lines: list[str]
    records: int


def check(folder: Path, tell: Callable[[str], None], *, update: bool = False) -> bool:
    """Run a project's fixtures; True where everything is as expected.

    Args:
        update: What comes out becomes what is expected. A plugin that fails still fails.

    Raises:
        ConfigError: A file of the project is wrong.
        PluginError: It is not built, or has no fixtures.
        PluginLoadError: The plugin cannot be used.
    """
    from msgspec.structs import replace

    from logllm.filters.manifest import Manifest

    manifest = Manifest.load(folder)
    wasm = manifest.wasm(folder)
    if not wasm.is_file():
        raise PluginError(f"{wasm}: not built; expected `logllm plugin build` before `test`")
    given = sorted((folder / "fixtures").glob(f"*{_IN}"))
    if not given:
        raise PluginError(f"{folder / 'fixtures'}: no fixtures; expected NAME{_IN} and NAME{_OUT}")
    failed = 0
    for path in given:
        name = path.name.removesuffix(_IN)
        fixture = Fixture.load(path.with_name(f"{name}.toml"))
        config = manifest.plugin(wasm)
        if fixture.config is not None:
            config = replace(config, config=fixture.config)
        expected = path.with_name(f"{name}{_OUT}")
        found = _run_one(config, fixture, path, expected, update=update)
        failed += bool(found.lines)
        tell(f"{'FAILED' if found.lines else 'ok'}  {name}: {_amount(found.records)}")
        for line in found.lines:
            tell(f"    {line}")
    tell(f"{failed} of {len(given)} failed" if failed else f"{len(given)} passed")
    return not failed


def _amount(records: int) -> str:
    return f"{records} record{'' if records == 1 else 's'}"


def _run_one(config: PluginConfig, fixture: Fixture, given: Path, expected: Path, *, update: bool) -> Difference:
    if not update and not expected.is_file():
        raise ConfigError(f"{expected}: no such file; expected the records that come out, or `--update` to write it")
    records = records_of(given)
    out, failures = _output(config, records, fixture.tag, written_time(fixture.time), fixed=True)
    if update and not failures:
        expected.write_bytes(b"".join(line + b"\n" for line in out))
    differences = compared(records_of(expected) if expected.is_file() else [], out)
    return Difference([*failures, *_some(differences)] if not update else failures, len(records))


def different(config: PluginConfig, given: Path, expected: Path, tag: str, written: str | None) -> Difference:
    """How what a plugin makes of records differs from what is expected.

    Raises:
        ConfigError: A file or the time is wrong.
        PluginLoadError: The plugin cannot be used.
    """
    records, should = records_of(given), records_of(expected)
    out, failures = _output(config, records, tag, written_time(written), fixed=written is not None)
    return Difference([*failures, *_some(compared(should, out))], len(records))


def _output(
    config: PluginConfig, records: list[bytes], tag: str, when: tuple[int, int], *, fixed: bool
) -> tuple[list[bytes], list[str]]:
    """What comes out, and a line for each failure."""
    now_ns = when[0] * 1_000_000_000 + when[1]
    tell = log_lines(config.name or Path(config.path).stem)
    with Trial(config, tell=tell, clock_ns=(lambda: now_ns) if fixed else None) as trial:
        try:
            out = filtered(trial, list(enumerate(records, 1)), tag, when)
        except Stopped as stopped:
            out = stopped.out
        failures = [
            neutral(f"record {failure.index + 1} of the input: the plugin failed: {failure.reason}: {failure.text}")
            for failure in trial.failures
        ]
    return out, failures


def _some(lines: Any) -> list[str]:
    kept = list(itertools.islice(lines, _MOST_LINES + 1))
    if len(kept) <= _MOST_LINES:
        return kept
    more = sum(1 for _ in lines) + 1
    return [*kept[:_MOST_LINES], f"and {more} more"]
