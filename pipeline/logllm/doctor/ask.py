"""One question over HTTP, bounded in time and size whatever answers."""

from __future__ import annotations

from typing import NamedTuple

from logllm.errors import SourceError

__all__ = ["Answer", "get"]

_LARGEST_BYTES = 8 << 20
_CONNECT_S = 3.0
_WHOLE_S = 10.0


class Answer(NamedTuple):
    """Status and body, as they came."""

    status: int
    body: bytes


def get(url: str, *, whole_s: float = _WHOLE_S) -> Answer:
    """Ask once, follow nothing, decompress nothing. Not from within an event loop.

    Raises:
        SourceError: Nobody answers, or not with HTTP, or too much, or too slowly.
    """
    import asyncio
    from urllib.parse import urlsplit

    import httpx

    async def ask() -> Answer:
        body = bytearray()
        # No proxy of the environment: the service is on this machine or named by who asks.
        async with (
            asyncio.timeout(whole_s),
            httpx.AsyncClient(timeout=httpx.Timeout(whole_s, connect=_CONNECT_S), trust_env=False) as client,
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
        ):
            async for part in answer.aiter_raw():
                body += part
                if len(body) > _LARGEST_BYTES:
                    raise SourceError(f"{url}: answered more than {_LARGEST_BYTES >> 20} MiB")
        return Answer(answer.status_code, bytes(body))

    try:
        # httpx lets a port by that no socket has.
        _ = urlsplit(url).port
        return asyncio.run(ask())
    except TimeoutError as error:
        raise SourceError(f"{url}: no whole answer within {whole_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
        raise SourceError(f"{url}: no answer: {error or type(error).__name__}") from error
