"""What the tests of the chat page in a real browser share: Chromium, and the page served in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logllm.web.chat.server import ChatPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser

    from logllm.explain.chat.chat import Chat

__all__ = ["CHROMIUM", "chromium", "served"]

CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium. Where there is none the test is skipped, saying so, but not in CI."""
    if not Path(CHROMIUM).exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(
    chat: Chat, *, learning: str | None = None, missing: str | None = None, put_back: Callable[[str], str] = str
) -> Iterator[str]:
    """The page in an event loop of its own; yields its address."""
    addresses: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with ChatPage(chat, learning=learning, missing=missing, put_back=put_back) as page:
            addresses.append(page.address)
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="chat-page")
    thread.start()
    try:
        assert ready.wait(20)
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
