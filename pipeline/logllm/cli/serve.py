"""`logllm serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from logllm.cli.options import configured, run_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.config import Config
    from logllm.service.outlet import Outlet

__all__ = ["serve"]


@click.command()
@click.option("--listen", help="Where Fluent Bit's forward output connects.  [default: 127.0.0.1:24224]")
@click.option("--http", "http_listen", help="/healthz, /readyz and /metrics.  [default: 127.0.0.1:24280]")
@click.option("--unix", "unix_path", help="A unix socket to listen on too.", type=click.Path())
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    help="Where records go on to: file:PATH, forward://HOST:PORT, forwards://HOST:PORT (TLS), unix:PATH, "
    "otlp+http://HOST:PORT, loki+http://HOST:PORT (and https), stdout; repeatable. A chunk is acknowledged when all "
    "have it.",
)
@click.option("--reduce", is_flag=True, help="Send on what is new, rare, severe or odd, and a sample of the rest.")
@click.option(
    "--slack-webhook",
    envvar="LOGLLM_SLACK_WEBHOOK",
    help="Tell incidents to Slack, by this incoming webhook; better given as LOGLLM_SLACK_WEBHOOK.",
)
@click.option(
    "--webhook",
    "webhooks",
    multiple=True,
    help="Tell incidents to this address, as JSON (docs/webhook.md), signed where LOGLLM_WEBHOOK_SECRET is set; "
    "repeatable.",
)
@click.option("--shared-key-file", type=click.Path(), help="Senders must know the key that this file holds.")
@click.option("--users-file", type=click.Path(), help="And one of its `name password` lines.")
@click.option("--tls-cert", type=click.Path(), help="Take TLS connections, with this certificate (PEM).")
@click.option("--tls-key", type=click.Path(), help="Its private key (PEM).")
@click.option("--tls-client-ca", type=click.Path(), help="Senders must have a certificate signed by one of these.")
@run_options
def serve(
    listen: str | None,
    http_listen: str | None,
    unix_path: str | None,
    sinks: tuple[str, ...],
    reduce: bool,
    slack_webhook: str | None,
    webhooks: tuple[str, ...],
    shared_key_file: str | None,
    users_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
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
    what was received is judged, written and acknowledged, what was learned is saved. SIGHUP reads the configuration
    again: no connection is closed, and one that cannot be used is refused, with the reason, and changes nothing.
    """
    import asyncio
    import logging.handlers
    import sys

    from msgspec.structs import replace

    from logllm.cli.destinations import with_destinations
    from logllm.cli.output import outlet
    from logllm.explain.redact.logs import RedactingFormatter
    from logllm.explain.redact.redactor import Redactor

    given: dict[str, str | None] = {
        "listen": listen,
        "unix_path": unix_path,
        "shared_key_file": shared_key_file,
        "users_file": users_file,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
    }

    def read() -> Config:
        config = configured(config_path, data_dir, alerts_per_day, no_llm, model, runbooks, filters)
        forward = replace(config.forward, **{key: value for key, value in given.items() if value is not None})
        config = with_destinations(replace(config, forward=forward), sinks, slack_webhook, webhooks)
        if reduce:
            config = replace(config, reduce=replace(config.reduce, enabled=True))
        if http_listen is not None:
            config = replace(config, http=replace(config.http, listen=http_listen))
        return config

    config = read()
    shown = logging.StreamHandler(sys.stderr)
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Of its own, so that a number in our log is never taken for the pseudonym of an incident; it remembers nothing.
    shown.setFormatter(RedactingFormatter(Redactor(max_values=0).mask, form))
    # Held until the addresses are known: a program that starts us reads them from the first line.
    held = logging.handlers.MemoryHandler(1000, flushLevel=logging.CRITICAL + 1, target=shown)
    logging.basicConfig(level=logging.INFO, handlers=[held])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def listening(line: str) -> None:
        click.echo(f"logllm: {line}", err=True)
        held.flush()
        held.flushLevel = logging.NOTSET

    try:
        number = asyncio.run(
            _serve(config, read, outlet(as_json=as_json or not sys.stdout.isatty(), lasting=True), listening)
        )
    finally:
        held.flush()
    if number:
        raise SystemExit(128 + number)


async def _serve(config: Config, read: Callable[[], Config], outlet: Outlet, listening: Callable[[str], None]) -> int:
    """Run until a signal; returns its number, 0 for SIGTERM, which is how a service is ended in order."""
    import asyncio
    import signal

    from logllm.service.reload import Reloader
    from logllm.service.serve import Serve
    from logllm.service.systemd import Notifier
    from logllm.web.answers import answer_pages
    from logllm.web.app import HttpServer

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for known in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(known, stop, int(known))
    # Before there is anything to reload, and when it ends, a request to do so must not end it.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with (
        Serve(config, outlet) as service,
        HttpServer(
            config.http.listen,
            service.health,
            service.ready,
            service.metrics,
            {
                "/plugins": service.plugins,
                "/senders": service.senders,
                "/destinations": service.alerts.notifying.status,
            },
            answer_pages(service.alerts.notifying.answering),
        ) as http,
    ):
        forward, web = service.address, http.address
        listening(f"forward on {_shown(forward)}, http on {_shown(web)}")
        service.announce()
        notifier = Notifier.from_environment()
        reloader = Reloader(service, read, notifier)
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        watchdog = asyncio.create_task(notifier.watch())
        notifier.ready()
        ends: list[asyncio.Future[Any]] = [stopped, asyncio.ensure_future(service.failed.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ends[1].cancel()
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        notifier.stopping()
        watchdog.cancel()
        await reloader.close()
    if service.failure is not None:
        raise service.failure
    number = stopped.result()
    return 0 if number == signal.SIGTERM else number


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
