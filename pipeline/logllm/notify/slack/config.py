"""A Slack destination as the configuration names it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from logllm.egress import host_of, is_loopback, masked
from logllm.errors import ConfigError
from logllm.wire.secret import secret

if TYPE_CHECKING:
    from logllm.egress import Recorder
    from logllm.notify.destination import Destination, Links

__all__ = ["SlackConfig"]

_MENTION = re.compile(r"<(?:!here|!channel|!everyone|@[UW][A-Z0-9]{1,30}|!subteam\^S[A-Z0-9]{1,30})>")
_CHANNEL = re.compile(r"[#A-Za-z0-9][\w.-]{0,99}")

Seconds = Annotated[float, msgspec.Meta(gt=0, le=300)]


class SlackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="slack"):
    """Slack, by an incoming webhook (`url...`) or by a bot (`token...` and `channel`).

    A bot can do more: one message for each incident is changed as news comes, and has a thread. It needs the scope
    `chat:write` and must be a member of the channel.

    Args:
        name: As routes call it.
        url: The incoming webhook's address, which is a secret: better in a file or a variable.
        url_file: A file with it.
        url_env: The environment variable that holds it.
        token_file: A file with the bot's token.
        token_env: The environment variable that holds it.
        channel: Where the bot writes: a channel's id (C0123ABCD) or its name.
        api_url: Slack's Web API.
        signing_secret_file: A file with the app's signing secret. With it, buttons come back to us through Slack;
            without it they are links, where logllm has an address of its own, or there are none.
        signing_secret_env: The environment variable that holds it.
        mention: Whom a critical incident calls: `<!here>`, `<!channel>`, `<@U...>`, `<!subteam^S...>`, several with a
            blank between them.
        proxy: `http://host:port` of a proxy; the environment's are not used.
        deadline_s: For one request.
    """

    name: str = "slack"
    url: str = ""
    url_file: str = ""
    url_env: str = ""
    token_file: str = ""
    token_env: str = ""
    channel: str = ""
    api_url: str = "https://slack.com/api/"
    signing_secret_file: str = ""
    signing_secret_env: str = ""
    mention: str = ""
    proxy: str = ""
    deadline_s: Seconds = 10.0

    def __repr__(self) -> str:
        shown = [f"name={self.name!r}"]
        shown += [f"{field}={value!r}" for field, value in self._harmless().items() if value]
        return f"SlackConfig({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("name", self.name), *((field, value) for field, value in self._harmless().items() if value)]

    @property
    def is_bot(self) -> bool:
        """By a token rather than by a webhook."""
        return bool(self.token_file or self.token_env)

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend: settings that do not fit, secrets that cannot be read."""
        ways = [field for field in ("url", "url_file", "url_env", "token_file", "token_env") if getattr(self, field)]
        if len(ways) != 1:
            found = " and ".join(ways) or "none"
            raise self._wrong(f"expected one of url, url_file, url_env, token_file and token_env, found {found}")
        if self.is_bot and not _CHANNEL.fullmatch(self.channel):
            raise self._wrong(f"channel: expected a channel's id or name for the bot, found {self.channel!r}")
        if not self.is_bot and self.channel:
            raise self._wrong("channel: an incoming webhook has its own; expected it with token_file or token_env")
        if self.signing_secret_file and self.signing_secret_env:
            raise self._wrong("expected signing_secret_file or signing_secret_env, found both")
        if any(not _MENTION.fullmatch(word) for word in self.mention.split()):
            raise self._wrong(
                f"mention: expected <!here>, <!channel>, <@U...> or <!subteam^S...>, found {self.mention!r}"
            )
        self._http(self.address(), encrypted=self.is_bot)
        if self.is_bot:
            self.token()
        self.signing_secret()

    def address(self) -> str:
        """Where messages go, in full, secrets and all. Raises ConfigError where it cannot be read."""
        if self.is_bot:
            return self.api_url if self.api_url.endswith("/") else f"{self.api_url}/"
        return self.url or self._secret("url", self.url_file, self.url_env)

    def token(self) -> str:
        """The bot's token. Raises ConfigError."""
        return self._secret("token", self.token_file, self.token_env)

    def signing_secret(self) -> str:
        """What Slack signs clicks with; empty where none is configured. Raises ConfigError."""
        if not (self.signing_secret_file or self.signing_secret_env):
            return ""
        return self._secret("signing_secret", self.signing_secret_file, self.signing_secret_env)

    def build(self, links: Links, record: Recorder | None = None) -> Destination:
        """The destination, with nothing sent yet.

        Args:
            links: Addresses for buttons, where Slack does not send clicks to us.
            record: Keeps what is sent.

        Raises:
            ConfigError: As `check`.
        """
        from logllm.notify.slack.buttons import Buttons
        from logllm.notify.slack.message import Composer

        self.check()
        sent = None if record is None else record("slack", self.name)
        composer = Composer(Buttons(links, interactive=bool(self.signing_secret())), self.mention)
        if self.is_bot:
            from logllm.notify.slack.api import SlackApi
            from logllm.notify.slack.bot import SlackBot

            api = SlackApi(
                self.name, self.address(), self.token(), deadline_s=self.deadline_s, proxy=self.proxy, sent=sent
            )
            return SlackBot(self.name, self.channel, api, composer)
        from logllm.notify.slack.webhook import SlackWebhook
        from logllm.wire.http import HttpClient

        client = HttpClient(self.address(), deadline_s=self.deadline_s, proxy=self.proxy, sent=sent)
        return SlackWebhook(self.name, client, composer)

    def _harmless(self) -> dict[str, object]:
        values = {field: getattr(self, field) for field in self.__struct_fields__ if field != "name"}
        for field in ("url", "api_url", "proxy"):
            values[field] = masked(values[field]) if values[field] else ""
        return values

    def _http(self, url: str, *, encrypted: bool) -> None:
        try:
            scheme = urlsplit(url).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("http", "https"):
            raise self._wrong("expected https://HOST/... as its address")
        if encrypted and scheme == "http" and not is_loopback(host_of(url, f"destination {self.name}")):
            raise self._wrong("api_url: expected https://, a token does not go unencrypted to another machine")

    def _secret(self, what: str, file: str, variable: str) -> str:
        value = secret(f"destination {self.name} (slack)", what, "", file, variable)
        if any(not "!" <= char <= "~" for char in value):
            raise self._wrong(f"{what}: expected one line of printable ASCII")
        return value

    def _wrong(self, message: str) -> ConfigError:
        return ConfigError(f"destination {self.name} (slack): {message}")
