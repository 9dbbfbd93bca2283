"""`logllm plugin`: make, try and hand on filters in WebAssembly. `logllm plugins`: which there are, how they fare."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["plugin", "plugins"]

_LANGUAGES = ("assemblyscript", "c", "go", "javascript", "python", "rust", "zig")

_HOW_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--function",
        help="The function of a module with Fluent Bit's ABI, where it has more than one that can be meant.",
    ),
    click.option(
        "--event-format", type=click.Choice(["json", "msgpack"]), help="How it takes a record.  [default: json]"
    ),
    click.option("--config", metavar="JSON", help="The plugin's own configuration, a JSON object."),
    click.option(
        "--grant",
        "grants",
        multiple=True,
        metavar="NAME",
        help="What it may use: clock, random, kv, metric, anomaly, ask; repeatable. It may always log.",
    ),
)

_RUN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    *_HOW_OPTIONS,
    click.option("--tag", default=None, help="The records' tag.  [default: app.log]"),
    click.option("--time", "written", metavar="S.N", help="The records' time, all nine digits kept.  [default: now]"),
    click.option("--fs", multiple=True, metavar="HOST[:GUEST]", help="A folder it may read; repeatable."),
    click.option(
        "--on-error",
        default="keep",
        type=click.Choice(["keep", "drop", "stop"]),
        help="What becomes of a record it fails at.  [default: keep]",
    ),
    click.option("--memory-mb", type=click.IntRange(1, 4096), help="The most memory it may have.  [default: 64]"),
    click.option("--time-ms", type=click.IntRange(1), help="The longest that one call may take.  [default: 500]"),
)


def _with(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


@click.group(short_help="Make, try, test and hand on filters in WebAssembly.")
def plugin() -> None:
    """Filters in WebAssembly: try, make, build, test, measure, hand on.

    \b
    logllm plugin run redact < records.ndjson
    logllm plugin new my-filter --lang rust
    """


@plugin.command()
@click.argument("file")
@_with(_RUN_OPTIONS)
def run(file: str, tag: str | None, written: str | None, **options: Any) -> None:
    """Filter JSON records, one a line, from standard input to standard output.

    FILE is a .wasm file, or the name of a plugin that ships. What it fails at, and lines that are no JSON object, are
    named on standard error; then the exit code is 1 in the end. It is 2 where the file cannot be used.
    """
    from logllm.cli.plugin_run import DEFAULT_TAG, configured
    from logllm.cli.plugin_run import run as run_plugin

    config = configured(file, **options)
    code = run_plugin(config, DEFAULT_TAG if tag is None else tag, written, sys.stdin.buffer, sys.stdout.buffer)
    if code:
        raise SystemExit(code)


@plugin.command()
@click.argument("name")
@click.option(
    "--lang",
    "language",
    required=True,
    type=click.Choice(_LANGUAGES, case_sensitive=False),
    help="The language to write it in.",
)
@click.option("--sdk", type=click.Path(path_type=Path), help="The language's SDK, where it is not the one that ships.")
def new(name: str, language: str, sdk: Path | None) -> None:
    """Make the plugin project NAME in a folder of that name."""
    from logllm.cli.plugin_build import recipe_for, toolchain
    from logllm.cli.plugin_new import create
    from logllm.filters.manifest import Manifest
    from logllm.filters.shipped import sdk as folder_of

    target = create(name, folder_of(language) if sdk is None else sdk, Path())
    manifest = Manifest.load(target)
    recipe = recipe_for(target, manifest, sdk)
    click.echo(f"{target}: a plugin in {language}. What comes next:\n")
    if toolchain(target, manifest, recipe, sdk) is None:
        click.echo(f"  the toolchain, which is not here yet: {recipe.hint}")
    click.echo(f"  logllm plugin build {target}")
    click.echo(f"  logllm plugin test {target}")
    click.echo(f"  logllm tail --once app.log --filter {target}/{name}.wasm")


_folder = click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))


@plugin.command()
@_folder
@click.option("--sdk", type=click.Path(path_type=Path), help="The language's SDK, where it is not the one that ships.")
def build(folder: Path, sdk: Path | None) -> None:
    """Build the project in FOLDER (default: here) with the first toolchain that is there."""
    from logllm.cli.plugin_build import build as build_plugin
    from logllm.cli.plugin_build import recipe_for, toolchain
    from logllm.errors import PluginError
    from logllm.filters.manifest import Manifest

    manifest = Manifest.load(folder)
    recipe = recipe_for(folder, manifest, sdk)
    way = toolchain(folder, manifest, recipe, sdk)
    if way is None:
        raise PluginError(f"{manifest.name}: no toolchain for {manifest.language} here; get one with: {recipe.hint}")
    built = build_plugin(folder, manifest, way, sdk=sdk, tell=lambda text: click.echo(text, nl=False, err=True))
    wants = f", wants {', '.join(built.wants)}" if built.wants else ""
    click.echo(f"{built.path}: {built.size_bytes:,} bytes, {built.abi}{wants}, built in {built.seconds:.1f} s")


@plugin.command()
@_folder
@click.option("--update", is_flag=True, help="Write what comes out as what is expected.")
def test(folder: Path, update: bool) -> None:
    """Run the fixtures of the project in FOLDER (default: here) and show what differs.

    fixtures/NAME.in.ndjson goes in, fixtures/NAME.out.ndjson is expected; fixtures/NAME.toml may set tag, time and
    config. The exit code is 1 where anything differs or fails.
    """
    from logllm.cli.plugin_fixtures import check

    if not check(folder, click.echo, update=update):
        raise SystemExit(1)


@plugin.command()
@click.argument("target", default=".", type=click.Path())
@click.option("--records", type=click.Path(path_type=Path), help="Records to filter, one JSON object a line.")
@_with(_HOW_OPTIONS)
def bench(target: str, records: Path | None, **options: Any) -> None:
    """Measure a project's folder, a .wasm file or a plugin that ships: records/s, CPU, first call, memory.

    A project is run as its plugin.toml says, where no option says otherwise.
    """
    from logllm.cli.plugin_bench import measure, table
    from logllm.cli.plugin_run import configured

    said = configured(target, **options)
    for line in table(measure(target, records, said)):
        click.echo(line)


@plugin.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def inspect(file: str, as_json: bool) -> None:
    """Tell what a .wasm file is and wants, without running it."""
    from logllm.cli.plugin_inspect import lines, look
    from logllm.cli.render_text import neutral

    found = look(file)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(found))
        return
    for line in lines(found):
        click.echo(neutral(line))


@plugin.command()
@click.argument("file")
@click.option("--input", "given", required=True, type=click.Path(path_type=Path), help="Records, one a line.")
@click.option("--expected", required=True, type=click.Path(path_type=Path), help="What Fluent Bit made of them.")
@_with(_RUN_OPTIONS)
def diff(file: str, given: Path, expected: Path, tag: str | None, written: str | None, **options: Any) -> None:
    """Run a plugin and compare what comes out with the records Fluent Bit gave, in order, as JSON values.

    The exit code is 1 where anything differs or the plugin fails.
    """
    from logllm.cli.plugin_fixtures import different
    from logllm.cli.plugin_run import DEFAULT_TAG, configured

    config = configured(file, **options)
    found = different(config, given, expected, DEFAULT_TAG if tag is None else tag, written)
    for line in found.lines:
        click.echo(line)
    if found.lines:
        raise SystemExit(1)
    click.echo(f"no difference: {found.records} records")


@plugin.command()
@_folder
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file.  [default: NAME-VERSION.zip]")
def pack(folder: Path, output: Path | None) -> None:
    """Pack the built project in FOLDER (default: here) into one file to hand on."""
    import hashlib

    from logllm.errors import PluginError
    from logllm.filters.manifest import Manifest
    from logllm.filters.package import pack as packed

    manifest = Manifest.load(folder)
    content = packed(folder)
    target = output or Path(f"{manifest.name}-{manifest.version}.zip")
    try:
        target.write_bytes(content)
    except OSError as error:
        raise PluginError(f"{target}: cannot be written: {error.strerror or error}") from error
    click.echo(f"{target}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


@plugin.command()
@click.argument("file", type=click.Path(path_type=Path))
def verify(file: Path) -> None:
    """Check a packed plugin: every digest, no file more, a module that loads. Nothing of it is run."""
    from logllm.cli.render_text import neutral
    from logllm.errors import PluginLoadError
    from logllm.filters.package import verify as verified

    try:
        found = verified(file)
    except PluginLoadError as error:
        click.echo(neutral(str(error)), err=True)
        raise SystemExit(1) from None
    wants = f", wants {', '.join(found.wants)}" if found.wants else ""
    click.echo(neutral(f"ok: {found.name} {found.version}, {found.license}, {found.abi}{wants}"))


@click.command(short_help="List plugins, and how those that run fare.")
@click.option("-c", "--config", "config_path", type=click.Path(), help="Try the plugins this file names.")
@click.option("--url", help="The running service to ask.  [default: the file's, or http://127.0.0.1:24280]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def plugins(config_path: str | None, url: str | None, as_json: bool) -> None:
    """List plugins: those that ship; with -c those of a configuration; and how those of a running service fare."""
    from logllm.cli.plugin_list import collect, show

    found = collect(config_path, url)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(found))
    else:
        show(found, shipped=config_path is None and url is None)
    if any(one.error for one in found.configured):
        raise SystemExit(1)
