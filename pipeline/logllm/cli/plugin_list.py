"""What `logllm plugins` tells: the plugins that ship, those of a configuration, those of a running service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from logllm.cli.render_text import neutral, size
from logllm.errors import ConfigError, LogllmError, SourceError
from logllm.filters.life.status import PluginStatus

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from logllm.config import Config
    from logllm.filters.config import PluginConfig

__all__ = ["Configured", "Listed", "Shipped", "collect", "show"]

DEFAULT_URL = "http://127.0.0.1:24280"

_ANSWER_BYTES = 8 << 20
_TIMEOUT_S = 3.0


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that comes with logllm. `error` says what is wrong with it, "" for nothing."""

    name: str
    path: str
    version: str = ""
    license: str = ""
    language: str = ""
    description: str = ""
    abi: str = ""
    wants: list[str] = []
    size_bytes: int = 0
    error: str = ""


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of a configuration, tried: `error` says why it cannot be used, "" where it can."""

    name: str
    path: str
    stage: str
    match: str
    abi: str = ""
    error: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told.

    Args:
        running: The plugins of the service at `url`; None where none answers.
    """

    shipped: list[Shipped]
    configured: list[Configured]
    url: str
    running: list[PluginStatus] | None


def collect(config_path: str | None, url: str | None) -> Listed:
    """Look at everything.

    Raises:
        ConfigError: The configuration is wrong, or `url` is no HTTP address.
        SourceError: Nobody answers at `url`, or not with the state of plugins. Without `url` that is no error.
    """
    from logllm.config import Config
    from logllm.filters.shipped import shipped

    config = None if config_path is None else Config.load(config_path)
    asked = url or _default_url(config)
    try:
        running = _ask(asked)
    except SourceError:
        if url is not None:
            raise
        running = None
    return Listed(
        shipped=[_shipped(name, path) for name, path in shipped().items()],
        configured=[] if config is None else [_configured(one) for one in config.plugins],
        url=asked,
        running=running,
    )


def _default_url(config: Config | None) -> str:
    if config is None or not config.http.listen.strip() or config.http.listen.endswith(":0"):
        return DEFAULT_URL
    return f"http://{config.http.listen}"


def _shipped(name: str, path: Path) -> Shipped:
    from logllm.filters.loader import about, read
    from logllm.filters.manifest import Manifest

    try:
        manifest = Manifest.load(path.parent)
        found = about(read(path, 256 << 20))
    except LogllmError as error:
        return Shipped(name=name, path=str(path), error=str(error))
    return Shipped(
        name=name,
        path=str(path),
        version=manifest.version,
        license=manifest.license,
        language=manifest.language,
        description=manifest.description,
        abi=found.abi,
        wants=list(found.wants),
        size_bytes=found.size_bytes,
    )


def _configured(config: PluginConfig) -> Configured:
    from logllm.cli.plugin_trial import Trial

    abi = error = ""
    try:
        # Brought to life and ended again: it may refuse its configuration.
        with Trial(config, tell=lambda level, text: None) as trial:
            abi = trial.abi
    except LogllmError as found:
        error = str(found)
    return Configured(name=config.name, path=config.path, stage=config.stage, match=config.match, abi=abi, error=error)


def _ask(url: str) -> list[PluginStatus]:
    import httpx

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url!r}: expected an address such as {DEFAULT_URL}")
    where = f"{url.rstrip('/')}/plugins"
    body = bytearray()
    try:
        # No proxy of the environment: the service is on this machine or named by who asks.
        with (
            httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", where) as answer,
        ):
            if answer.status_code != 200:
                raise SourceError(f"{where}: answered {answer.status_code}; expected the state of its plugins")
            for part in answer.iter_bytes():
                body += part
                if len(body) > _ANSWER_BYTES:
                    raise SourceError(f"{where}: answered more than {_ANSWER_BYTES >> 20} MiB")
        return msgspec.json.decode(bytes(body), type=list[PluginStatus])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{where}: no service answers: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SourceError(f"{where}: answered something else than the state of plugins: {error}") from error


def show(found: Listed, *, shipped: bool) -> None:
    """Tables on standard output, readable from 80 columns on. `shipped`: whether what ships is one of them."""
    from rich.text import Text

    from logllm.cli.render import console_for

    console = console_for(sys.stdout)

    def say(text: str, style: str = "") -> None:
        console.print(Text(neutral(text), style))

    if shipped:
        say("plugins that ship", "bold")
        if found.shipped:
            _print_shipped(console, found.shipped)
        else:
            say("none", "dim")
        say("")
    if found.configured:
        say("configured", "bold")
        _print_configured(console, found.configured)
        for one in found.configured:
            if one.error:
                say(one.error, "red")
        say("")
    if found.running is None:
        say(f"no service answers at {found.url}", "dim")
        return
    say(f"running at {found.url}", "bold")
    if not found.running:
        say("no plugins", "dim")
        return
    _print_running(console, found.running)
    for status in found.running:
        for line, style in _troubles(status):
            say(line, style)


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        number = column in numbers
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _print_shipped(console: Console, shipped: list[Shipped]) -> None:
    from rich.text import Text

    table = _table("name", "version", "abi", "size", "wants", "what it does", numbers=("size",))
    for one in shipped:
        about = one.error or one.description
        cells = [one.name, one.version, one.abi, size(one.size_bytes), ", ".join(one.wants) or "-", about]
        table.add_row(*(Text(neutral(cell)) for cell in cells), style="red" if one.error else "")
    console.print(table)


def _print_configured(console: Console, configured: list[Configured]) -> None:
    from rich.text import Text

    table = _table("path", "name", "stage", "match", "state")
    for one in configured:
        state = "cannot be used" if one.error else f"ok, {one.abi}"
        cells = [one.path, one.name or "-", one.stage, one.match, state]
        table.add_row(*(Text(neutral(cell)) for cell in cells), style="red" if one.error else "")
    console.print(table)


def _print_running(console: Console, running: list[PluginStatus]) -> None:
    from rich.text import Text

    counted = ("calls", "in", "out", "dropped", "failed", "memory")
    table = _table("name", "stage", "state", *counted, numbers=counted)
    for one in running:
        numbers = [one.calls, one.records_in, one.records_out, one.dropped, sum(one.failures.values())]
        state = "bypassed" if one.bypassed else "ok"
        cells = [one.name, one.stage, state, *map(_short, numbers), size(one.memory_bytes)]
        table.add_row(*(Text(neutral(cell)) for cell in cells), style="red" if one.bypassed else "")
    console.print(table)


def _troubles(status: PluginStatus) -> list[tuple[str, str]]:
    """What went wrong with one plugin, a line each with its style."""
    found = []
    if status.failures:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(status.failures.items()))
        found.append((f"{status.name}: failures: {reasons}; {status.failed_records} records", "yellow"))
    if status.last_error:
        found.append((f"{status.name}: last error, {status.last_error_time}: {status.last_error}", "yellow"))
    if status.bypassed:
        passed = status.bypassed_records
        found.append((f"{status.name}: bypassed: it fails too often; {passed} records went by it", "bold red"))
    if status.reload_error:
        found.append((f"{status.name}: its changed file was not taken: {status.reload_error}", "yellow"))
    lost = ", ".join(f"{name} {count}" for name, count in sorted(status.lost.items()) if count)
    if lost:
        found.append((f"{status.name}: over its bounds and lost: {lost}", "yellow"))
    return found


def _short(count: int) -> str:
    """A count in few columns.

    >>> _short(99_999), _short(1_234_567), _short(45_600_000_000)
    ('99,999', '1.23 M', '45.6 G')
    """
    if count < 100_000:
        return f"{count:,}"
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {letter}" if count < 1_000 * unit else f"{count // unit:,} {letter}"
    return str(count)
