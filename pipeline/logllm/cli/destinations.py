"""Where options and the environment send things: to this machine, or where the configuration allows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm.notify.slack import SlackConfig
from logllm.notify.webhook import WebhookConfig
from logllm.sinks.config import sink_named
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.http_config import HttpSinkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.config import Config
    from logllm.notify.config import DestinationConfig
    from logllm.sinks.config import SinkConfig

__all__ = ["with_destinations"]

_SIGNS = "LOGLLM_WEBHOOK_SECRET"


def with_destinations(
    config: Config, sinks: Sequence[str], slack_webhook: str | None, webhooks: Sequence[str]
) -> Config:
    """The configuration with what options name as well.

    Raises:
        ConfigError: They name nothing, or a machine that the configuration does not allow.
    """
    named = [sink_named(spec) for spec in sinks]
    for sink in named:
        address = _address(sink)
        if address:
            sink.check()
            config.egress.check(address, "--sink")
    added: list[DestinationConfig] = []
    if slack_webhook:
        config.egress.check(slack_webhook, "--slack-webhook")
        added.append(SlackConfig(url=slack_webhook))
    for number, url in enumerate(webhooks, 1):
        config.egress.check(url, "--webhook")
        name = "webhook" if number == 1 else f"webhook-{number}"
        added.append(WebhookConfig(name, url=url, secret_env=_SIGNS if _SIGNS in os.environ else ""))
    notify = replace(config.notify, destinations=[*config.notify.destinations, *added])
    return replace(config, sinks=[*config.sinks, *named], notify=notify)


def _address(sink: SinkConfig) -> str:
    if isinstance(sink, ForwardSinkConfig):
        return "" if sink.address.startswith("unix:") else sink.address
    return sink.address() if isinstance(sink, HttpSinkConfig) else ""
