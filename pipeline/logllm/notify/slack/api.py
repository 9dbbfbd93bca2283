"""The one place where slack_sdk is used: its WebClient, over our own HTTP with its deadline and without redirects."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from logllm.errors import DeliveryError, NotifyError
from logllm.notify.slack.failures import code_of, failure, from_transport
from logllm.wire.http import HttpClient, retry_after_s

if TYPE_CHECKING:
    from urllib.request import Request

    from slack_sdk import WebClient
    from slack_sdk.web import SlackResponse

    from logllm.egress import Sent

__all__ = ["Place", "SlackApi"]

_MOST_BYTES = 1 << 20  # Slack sends the whole message back


class Place(msgspec.Struct, frozen=True):
    """Where a message is: `CHANNEL:TS` as a text."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.ts}"

    @classmethod
    def read(cls, ref: str) -> Place | None:
        """The place that a text names; None where it is none.

        >>> Place.read("C061:1700000000.000100")
        Place(channel='C061', ts='1700000000.000100')
        >>> Place.read("") is None, Place.read("C061:now") is None
        (True, True)
        """
        channel, _, ts = ref.partition(":")
        digits = ts.replace(".", "", 1)
        known = channel.isascii() and channel.isalnum() and digits.isascii() and digits.isdigit()
        return cls(channel, ts) if known and len(ref) <= 100 else None


class _Answer(msgspec.Struct):
    ok: bool = False
    error: str = ""
    channel: str = ""
    ts: str = ""


class SlackApi:
    """`chat.postMessage` and `chat.update`.

    Args:
        shown: The destination, as messages may show it.
        url: Slack's API, which ends with a slash.
        token: Of the bot.
        sent: See `HttpClient`.

    Raises:
        ConfigError: The URL or the proxy is none.
    """

    def __init__(
        self,
        shown: str,
        url: str,
        token: str,
        *,
        deadline_s: float,
        proxy: str = "",
        sent: Sent | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        http = HttpClient(url, deadline_s=deadline_s, max_bytes=_MOST_BYTES, proxy=proxy, sent=sent)
        self._shown = f"{shown} ({http.shown})"
        self._clock = clock
        self._client = _web_client(url, token, http)

    def post(self, channel: str, arguments: Mapping[str, Any]) -> Place | None:
        """A new message; returns where it is, None where the answer does not say. Raises NotifyError."""
        return self._call(self._client.chat_postMessage, channel=channel, **arguments)

    def update(self, place: Place, arguments: Mapping[str, Any]) -> None:
        """Change a message. Raises NotifyError."""
        self._call(self._client.chat_update, channel=place.channel, ts=place.ts, **arguments)

    def _call(self, method: Callable[..., SlackResponse], **arguments: Any) -> Place | None:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            answer = method(**arguments)
        except SlackApiError as error:
            said = error.response
            wait_s = retry_after_s(said.headers, self._clock())
            raise failure(self._shown, said.status_code, code_of(said["error"]), wait_s) from None
        except SlackClientError as error:
            # Its texts may hold what was sent.
            raise NotifyError(f"{self._shown}: slack_sdk gave up: {type(error).__name__}") from None
        except DeliveryError as error:
            raise from_transport(error) from None
        return Place.read(f"{answer['channel']}:{answer['ts']}")


def _web_client(url: str, token: str, http: HttpClient) -> WebClient:
    from slack_sdk import WebClient

    class OurClient(WebClient):
        # urllib would follow a redirect with the token in hand, read without an end, and obey the environment.
        def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
            parts = urlsplit(url)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            body = req.data if isinstance(req.data, bytes) else b""
            headers = {name.title(): value for name, value in req.header_items() if name != "User-agent"}
            answer = http.request(body, headers, path=path)
            try:
                read = msgspec.json.decode(answer.body, type=_Answer)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                read = _Answer(error="unreadable")
            # Written anew: what is odd about an answer is not slack_sdk's to find out.
            return {
                "status": answer.status,
                "headers": dict(answer.headers),
                "body": msgspec.json.encode(read).decode(),
            }

    return OurClient(token, base_url=url, retry_handlers=[], logger=_silent())


def _silent() -> logging.Logger:
    """slack_sdk logs whole messages, and errors that we raise anyway."""
    logger = logging.getLogger("logllm.notify.slack.sdk")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    return logger
