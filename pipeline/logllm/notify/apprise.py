"""The `apprise` destination: mail, Teams, Telegram, ntfy and the hundred other ways that Apprise knows.

The one file that knows the library (`pip install 'logllm[apprise]'`); it is loaded when such a destination is built.
Messages are plain text in which nothing mentions or links (`text`), whatever markup a service reads. Apprise tells of a
failure no more than that there was one, so each is tried again. Its logs are turned off: they have addresses in them.
"""

from __future__ import annotations

import inspect
import logging
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec

from logllm.egress import host_of, is_loopback
from logllm.errors import ConfigError, NotifyError, StateError
from logllm.notify.text import body, line, summary
from logllm.wire.secret import secret, visible

if TYPE_CHECKING:
    from logllm.egress import Recorder, Sent
    from logllm.notify.destination import Links
    from logllm.notify.notification import Notification

__all__ = ["AppriseConfig", "AppriseDestination"]

_MOST_URLS = 20
_REMEMBERED = 100
# What Apprise and the libraries below it log has addresses, tokens and messages in it.
_TALKATIVE = (
    "apprise",
    "urllib3",
    "requests",
    "requests_oauthlib",
    "oauthlib",
    "paho",
    "slixmpp",
    "smpplib",
    "tornado",
)


class _Service(Protocol):
    """One address, as it can be sent to."""

    schema: str
    host: str

    def deliver(self, title: str, text: str, notification: Notification) -> bool:
        """Whether it was taken. May take its time, and may raise anything."""


class AppriseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="apprise"):
    """Services by their Apprise address, see https://github.com/caronc/apprise/wiki.

    Args:
        name: As routes call it.
        urls: Like `mailtos://USER:PASSWORD@example.com` or `ntfy://TOPIC`. Several stand or fall together: what one of
            them does not take is tried again there, and holds back what comes after it for all of them. Instead of it
            `urls_file` or `urls_env`, with an address a line.
        urls_file: A file with the addresses; lines that begin with # are passed over.
        urls_env: The environment variable with the addresses.
        deadline_s: For connecting and for each answer, whatever an address says, and for one message as a whole.
        pause_s: The least time between two messages.
    """

    name: str
    urls: list[str] = []
    urls_file: str = ""
    urls_env: str = ""
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 15.0
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Without what may be secret."""
        return visible(self, "urls")

    def __repr__(self) -> str:
        return f"AppriseConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend; loads Apprise."""
        self._services()

    def address(self) -> str:
        """Scheme and host of where it goes; of several the first that is not this machine. Raises ConfigError."""
        found = self.addresses()
        return next((one for one in found if not is_loopback(host_of(one, self.name))), found[0])

    def addresses(self) -> list[str]:
        """Scheme and host of each. A service with one home, as Telegram, has its schema for a host: `tgram://tgram`.

        Raises ConfigError.
        """
        found = [(service.schema, service.host or service.schema) for service in self._services()]
        return [f"{schema}://[{host}]" if ":" in host else f"{schema}://{host}" for schema, host in found]

    def build(self, links: Links, record: Recorder | None = None) -> AppriseDestination:
        """The destination. Raises ConfigError."""
        sent = None if record is None else record("apprise", self.name)
        return AppriseDestination(
            self.name, self._services(), links, deadline_s=self.deadline_s, pause_s=self.pause_s, sent=sent
        )

    def _services(self) -> list[_Service]:
        where = f"destination {self.name!r}"
        lines = secret(where, "urls", "\n".join(self.urls), self.urls_file, self.urls_env).splitlines()
        urls = [url.strip() for url in lines if url.strip() and not url.lstrip().startswith("#")]
        if not 1 <= len(urls) <= _MOST_URLS:
            raise ConfigError(f"{where}: urls: {len(urls)} of them, expected 1 to {_MOST_URLS}")
        return [_service(f"{where}: urls: number {number}", url, self.deadline_s) for number, url in enumerate(urls, 1)]


class AppriseDestination:
    """A destination; see `Destination`.

    Args:
        services: Where every message goes.
        deadline_s: For one message at one of them.
        sent: Told of title and text before Apprise makes of them what a service takes.
    """

    edits = False

    def __init__(
        self,
        name: str,
        services: Sequence[_Service],
        links: Links,
        *,
        deadline_s: float = 15.0,
        pause_s: float = 1.0,
        sent: Sent | None = None,
    ) -> None:
        self._sent = sent
        self.name = name
        self.pause_s = pause_s
        self._services = services
        self._links = links
        self._deadline_s = deadline_s
        # Which services have a message that others did not take.
        self._taken: OrderedDict[str, set[int]] = OrderedDict()
        self._busy: dict[int, threading.Thread] = {}

    def __repr__(self) -> str:
        return f"AppriseDestination({self.name!r}, {[service.schema for service in self._services]!r})"

    def takes(self, notification: Notification) -> bool:
        """Everything."""
        return True

    def send(self, notification: Notification, ref: str) -> str:
        """Send it to each service that has not taken it yet. Raises NotifyError for those that do not."""
        title, text = summary(notification), body(notification, self._links)
        taken = self._taken.setdefault(notification.id, set())
        while len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        failed: list[NotifyError] = []
        for number, service in enumerate(self._services):
            if number in taken:
                continue
            try:
                self._tell(service, title, text)
                self._deliver(number, service, lambda: service.deliver(title, text, notification))  # noqa: B023
            except NotifyError as error:
                failed.append(error)
            else:
                taken.add(number)
        if failed:
            raise failed[0]
        del self._taken[notification.id]
        return ""

    def close(self) -> None:
        """Nothing is held between messages; what hangs ends with the process."""

    def _tell(self, service: _Service, title: str, text: str) -> None:
        if self._sent is None:
            return
        try:
            self._sent(service.host or service.schema, f"{title}\n\n{text}".encode(errors="replace"))
        except StateError as error:
            raise NotifyError(f"{self.name} ({service.schema}): not sent: {error}", kind="refused") from None

    def _deliver(self, number: int, service: _Service, deliver: Callable[[], bool]) -> None:
        shown = f"{self.name} ({service.schema})"
        busy = self._busy.get(number)
        if busy is not None and busy.is_alive():
            raise NotifyError(f"{shown}: still at the message before", kind="timeout")
        outcome: list[bool | str] = []

        def run() -> None:
            try:
                outcome.append(deliver())
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with an address in its words
                outcome.append(type(error).__name__)

        # A thread, since no setting of the library bounds what all of its plugins do.
        thread = threading.Thread(target=run, name=f"apprise {self.name}", daemon=True)
        thread.start()
        thread.join(self._deadline_s)
        if not outcome:
            self._busy[number] = thread
            raise NotifyError(f"{shown}: not done in {self._deadline_s:g} s", kind="timeout")
        if outcome[0] is not True:
            why = f": {outcome[0]}" if isinstance(outcome[0], str) else ""
            raise NotifyError(f"{shown}: not taken{why}; Apprise does not say why", kind="server")


class _Plugin:
    def __init__(self, apprise: Any, plugin: Any, schema: str) -> None:
        self._apprise = apprise
        self._all = apprise.Apprise(asset=plugin.asset)
        self._all.add(plugin)
        self.schema = schema
        # The host of an address is a token where the plugin does not name it a host.
        named = getattr(plugin, "host", "") if "host" in plugin.template_tokens else ""
        self.host = str(getattr(plugin, "smtp_host", "") or named or "").strip("[]").lower()

    def deliver(self, title: str, text: str, notification: Notification) -> bool:
        kinds = self._apprise.NotifyType
        by_severity = {"critical": kinds.FAILURE, "warning": kinds.WARNING, "info": kinds.INFO}
        kind = kinds.SUCCESS if notification.kind == "resolve" else by_severity[notification.severity]
        return bool(self._all.notify(text, title=title, notify_type=kind, body_format=self._apprise.NotifyFormat.TEXT))


def _service(where: str, url: str, deadline_s: float) -> _Service:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(f"{where}: needs Apprise, expected it installed: pip install 'logllm[apprise]'") from error
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    schema = line(url.partition(":")[0].lower(), 30)
    options: dict[str, Any] = {"async_mode": False}
    # Its own bound leaves threads behind that the process would wait for at its end.
    if "service_timeout" in inspect.signature(apprise.AppriseAsset.__init__).parameters:
        options["service_timeout"] = 0
    asset = apprise.AppriseAsset(**options)
    asset.app_id, asset.app_desc = "logllm", "logllm"
    try:
        # The first address loads all plugins, some of which use what Python has deprecated.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plugin: Any = apprise.Apprise.instantiate(url, asset=asset)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with the address in its words
        raise ConfigError(f"{where}: not understood by Apprise: {type(error).__name__}") from None
    if plugin is None:
        shown = f"{schema}:// " if "://" in url else ""
        raise ConfigError(f"{where}: {shown}is no address that Apprise can use, expected SCHEMA://...")
    # Nothing is followed, and no address may make it wait longer.
    plugin.redirects = False
    plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, deadline_s)
    plugin.socket_read_timeout = min(plugin.socket_read_timeout, deadline_s)
    return _Plugin(apprise, plugin, schema)
