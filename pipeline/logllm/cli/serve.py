"""`logllm serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from logllm.cli.options import configured, run_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.config import Config
    from logllm.service.run import Outlet

__all__ = ["serve"]


@click.command()
@click.option("--listen", help="Where Fluent Bit's forward output connects.  [default: 127.0.0.1:24224]")
@click.option("--http", "http_listen", help="/healthz, /readyz and /metrics.  [default: 127.0.0.1:24280]")
@run_options
def serve(
    listen: str | None,
    http_listen: str | None,
    config_path: str | None,
    data_dir: str | None,
    alerts_per_day: float | None,
    no_llm: bool,
    model: str | None,
    runbooks: tuple[str, ...],
    filters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Take records over Fluent Bit's forward protocol and tell what is odd.

    Port 0 picks a free one; the first line on standard error names what is listened to. SIGTERM and Ctrl-C drain:
    what was received is acknowledged and judged, what was learned is saved.
    """
    import asyncio
    import logging.handlers
    import sys

    from msgspec.structs import replace

    from logllm.cli.output import outlet

    config = configured(config_path, data_dir, alerts_per_day, no_llm, model, runbooks, filters)
    if listen is not None:
        config = replace(config, forward=replace(config.forward, listen=listen))
    if http_listen is not None:
        config = replace(config, http=replace(config.http, listen=http_listen))
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Held until the addresses are known: a program that starts us reads them from the first line.
    held = logging.handlers.MemoryHandler(1000, flushLevel=logging.CRITICAL + 1, target=shown)
    logging.basicConfig(level=logging.INFO, handlers=[held])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def listening(line: str) -> None:
        click.echo(f"logllm: {line}", err=True)
        held.flush()
        held.flushLevel = logging.NOTSET

    try:
        number = asyncio.run(_serve(config, outlet(as_json=as_json or not sys.stdout.isatty()), listening))
    finally:
        held.flush()
    if number:
        raise SystemExit(128 + number)


async def _serve(config: Config, outlet: Outlet, listening: Callable[[str], None]) -> int:
    """Run until a signal; returns its number, 0 for SIGTERM, which is how a service is ended in order."""
    import asyncio
    import signal

    from logllm.service.serve import Serve
    from logllm.web.app import HttpServer

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for known in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(known, stop, int(known))
    async with (
        Serve(config, outlet) as service,
        HttpServer(config.http.listen, service.health, service.ready, service.metrics, service.plugins) as http,
    ):
        forward, web = service.address, http.address
        listening(f"forward on {_shown(forward)}, http on {_shown(web)}")
        service.announce()
        ends: list[asyncio.Future[Any]] = [stopped, asyncio.ensure_future(service.failed.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ends[1].cancel()
    if service.failure is not None:
        raise service.failure
    number = stopped.result()
    return 0 if number == signal.SIGTERM else number


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
