"""`[notify]`: who is told of incidents, and how."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from logllm.egress import EgressConfig, host_of
from logllm.errors import ConfigError
from logllm.notify.alertmanager import AlertmanagerConfig
from logllm.notify.apprise import AppriseConfig
from logllm.notify.dispatch.inhibit import InhibitRule
from logllm.notify.pagerduty import PagerDutyConfig
from logllm.notify.reveal import RevealedKind
from logllm.notify.routing.route_config import RoutingConfig
from logllm.notify.slack import SlackConfig
from logllm.notify.webhook import WebhookConfig

__all__ = ["DestinationConfig", "NotifyConfig"]

DestinationConfig = SlackConfig | WebhookConfig | AlertmanagerConfig | PagerDutyConfig | AppriseConfig
"""`[[notify.destinations]]`: `type` says which."""

_USER = re.compile(r"[UW][A-Z0-9]{1,30}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


class NotifyConfig(RoutingConfig, frozen=True, forbid_unknown_fields=True):
    """Destinations, and how incidents come to them. Without a destination nobody is told.

    Args:
        destinations: `[[notify.destinations]]`.
        inhibit: `[[notify.inhibit]]`.
        reveal: `[notify.reveal]`: by a destination's name which pseudonyms are put back into what it is told, of `ip`,
            `host`, `email`, `mac`, `user` and `phone`. It is then on whoever reads there.
        burst: So many messages a minute may disturb a destination; what is more becomes one digest.
        longest_s: What could not be delivered for so long becomes a dead letter.
        public_url: Where people reach our HTTP port, for links that answer; empty: messages have none.
        links_s: Such links are good for so long.
        approvers: Slack's ids (U...) of those who may answer for actions by its buttons; empty: whoever sees them.
    """

    destinations: list[DestinationConfig] = msgspec.field(default_factory=list)
    inhibit: list[InhibitRule] = msgspec.field(default_factory=list)
    reveal: dict[str, list[RevealedKind]] = msgspec.field(default_factory=dict)
    burst: Annotated[int, msgspec.Meta(ge=1, le=60)] = 5
    longest_s: Annotated[float, msgspec.Meta(ge=60, le=30 * 86_400)] = 86_400.0
    public_url: str = ""
    links_s: Annotated[float, msgspec.Meta(ge=60, le=90 * 86_400)] = 604_800.0
    approvers: list[str] = msgspec.field(default_factory=list)

    def check(self, egress: EgressConfig) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        names = [destination.name for destination in self.destinations]
        for destination in self.destinations:
            where = f"notify.destinations: {destination.name!r}"
            if not _NAME.fullmatch(destination.name):
                raise ConfigError(f"{where}: expected a `name` of letters, digits, `-`, `_` and `.`")
            if names.count(destination.name) > 1:
                raise ConfigError(f"{where}: there are two, expected a `name` of its own for each")
            destination.check()
            for address in _addresses(destination):
                egress.check(address, where)
        for name in self.reveal:
            if name not in names:
                raise ConfigError(f"notify.reveal: {name[:64]!r}: there is no destination of that name")
        for user in self.approvers:
            if not _USER.fullmatch(user):
                raise ConfigError(f"notify.approvers: {user[:40]!r}: expected Slack's id of a user, as U0123ABCD")
        if self.public_url:
            host_of(self.public_url, "notify.public_url")
            if not self.public_url.startswith(("http://", "https://")):
                raise ConfigError(f"notify.public_url: {self.public_url!r}: expected http://... or https://...")


def _addresses(destination: DestinationConfig) -> list[str]:
    """Everywhere its messages go. A proxy reads where they go to, and over `http://` all that they say."""
    if isinstance(destination, AppriseConfig):
        return destination.addresses()
    return [destination.address(), *([destination.proxy] if destination.proxy else [])]
