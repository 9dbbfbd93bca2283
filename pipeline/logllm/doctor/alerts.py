"""Whether people can be told: destinations, routes, owners, actions."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from logllm.doctor.addresses import reaches
from logllm.doctor.finding import fail, ok, skipped, warn
from logllm.doctor.secrets import examine_secrets
from logllm.egress import masked
from logllm.errors import ConfigError
from logllm.notify.routing.routes import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from logllm.config import Config
    from logllm.doctor.finding import Finding

__all__ = ["examine_alerts", "reach", "reach_destinations"]

_PORTS = {"http": 80, "https": 443}


def examine_alerts(config: Config, now: datetime) -> Iterator[Finding]:
    """What the configuration says of alerts and actions, and whether it can be used."""
    notify = config.notify
    for destination in notify.destinations:
        yield from examine_secrets(f"destination {destination.name}", destination, now)
    try:
        notify.check(config.egress)
        config.actions.check()
        Routing.load(notify, [destination.name for destination in notify.destinations])
    except ConfigError as error:
        yield fail("notify", str(error), "correct it: the service does not start")
        return
    if not notify.destinations:
        yield skipped("notify", "no destination is configured: incidents are printed and kept, nobody is told")
        return
    names = ", ".join(destination.name for destination in notify.destinations)
    yield ok("notify", f"destinations and routes can be used: {names}")
    if config.data_dir is None:
        yield warn("notify", "without a data_dir a restart forgets alerts that wait", "set data_dir")


def reach_destinations(config: Config) -> Iterator[Finding]:
    """Whether destinations take a connection; nothing is sent."""
    for destination in config.notify.destinations:
        try:
            address = destination.address()
        except ConfigError:
            continue  # told already
        for found in reach(f"destination {destination.name}", address):
            yield (
                found
                if found.level == "ok"
                else warn(found.about, found.found, "messages wait in the outbox meanwhile")
            )


def reach(about: str, url: str) -> Iterator[Finding]:
    """Whether the host of a URL takes a connection; nothing for schemes that are not HTTP."""
    parts = urlsplit(url)
    if parts.scheme in _PORTS and parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        yield reaches(f"{about}, {masked(url)}", f"{host}:{parts.port or _PORTS[parts.scheme]}")
