"""The chat page in a real Chromium: asked, answered, cited, attacked, by keyboard and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from playwright.sync_api import expect

from logllm.events import Evidence, IncidentEvent
from logllm.explain.chat.chat import Chat
from logllm.explain.chat.model import ChatModel
from logllm.explain.config import ExplainConfig
from logllm.explain.model.server import ModelServer
from logllm.explain.runbooks.search import Catalogue
from tests.explain import conftest as explaining
from tests.explain.chat.sample import Kept, chat_over, kept
from tests.explain.fakes import ChatServer
from tests.web.chat_browser import chromium, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Open = Callable[..., Page]

DISK = "inc-78b93de17d"
TRUE = "The checkpoint request failed after no space was left on the device."
FALSE = "The network cable of the router was unplugged by a cleaner."
WAIT_MS = 15_000
XSS = [
    "<script>window.owned = 1</script>",
    '<img src=x onerror="window.owned = 1">',
    "<svg onload=window.owned=1>",
    '"><svg/onload=window.owned=1>',
    '<iframe srcdoc="<script>parent.owned=1</script>"></iframe>',
    "javascript:window.owned=1",
    '<a href="javascript:window.owned=1">click</a>',
    "http://evil.example.com/x?<b>bold</b>",
    "[click](javascript:window.owned=1) ![x](http://evil.example.com/p.png)",
    "<style>*{display:none}</style>",
    "<base href=http://evil.example.com/>",
    "<meta http-equiv=refresh content=0;url=http://evil.example.com/>",
    "<form action=http://evil.example.com/><button>ok</button></form>",
    "{{constructor.constructor('window.owned=1')()}} ${window.owned=1}",
    "<math><mtext></mtext><script>window.owned=1</script></math>",
    "`<img src=x onerror=window.owned=1>`",
    "&lt;script&gt;window.owned=1&lt;/script&gt; &#60;b&#62;",
    "\u202egnp.exe \u200bzero\u2066width\u2069 \x1b[31mred\x07 \x00nul \U000e0041tag",
    "</textarea></p></div><h1 id=incident-title>forged</h1>",
    "a" * 5_000,
]


model_path = explaining.model_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens an address in a window of its own; fails for what the page's console complains of."""
    contexts = []
    complaints: list[str] = []
    expected: list[str] = []

    def open_(address: str, but: str = "", **how: object) -> Page:
        expected.extend([but] if but else [])
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 800}, **how})  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        expect(page.locator("#status")).not_to_be_empty()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in complaints if not any(part in text for part in expected)] == []


def ask(page: Page, question: str) -> None:
    """Ask and wait for the whole answer."""
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_selector(".turn")
    page.wait_for_selector("#stop", state="hidden")


def hostile() -> list[Kept]:
    """One incident whose every text is an attack."""
    event = IncidentEvent(
        id="inc-0badc0de00",
        event="open",
        time="2026-03-10T14:26:00.000Z",
        severity="critical",
        service=XSS[0],
        kinds=["new"],
        title=f"{XSS[1]} {XSS[17]}",
        expected=XSS[2],
        seen=XSS[3],
        template=XSS[4],
        count=3,
        runbook="disk-full",
        evidence=[Evidence(f"E{n}", "2026-03-10T14:26:00.000Z", text, "", XSS[6], n) for n, text in enumerate(XSS, 1)],
        started="2026-03-10T14:26:00.000Z",
        templates=XSS,
        facts=XSS,
        series=[1, 2, 3],
        changes=[Evidence("C1", XSS[1], XSS[6])],
        timeline=XSS,
    )
    return [(event, None)]


def test_an_incident_is_picked_asked_about_and_a_citation_leads_to_its_line(opened: Open) -> None:
    with (
        ChatServer(f"{TRUE} {FALSE}") as server,
        served(chat_over(model=ChatModel(f"{server.url}/v1#tiny", ExplainConfig()))) as at,
    ):
        page = opened(at)
        page.click(f"[data-id={DISK}]")
        page.wait_for_selector("#item-E4")

        ask(page, "Is the checkpoint affected?")
        model = page.locator(".sentence.model")
        model.wait_for()

        assert model.inner_text().startswith(TRUE)
        assert "1 sentence of the model was not shown" in page.inner_text(".not-shown")
        assert re.search(r"tiny, [\d,]+ tokens?, \d+\.\d s", page.inner_text(".cost"))
        assert FALSE not in page.inner_text("body")
        model.get_by_text("E4", exact=True).click()
        lit = page.locator(".item.lit")
        lit.wait_for()
        assert lit.get_attribute("id") == "item-E4"
        assert "checkpoint request failed" in lit.inner_text()
        assert page.evaluate("document.activeElement.id") == "item-E4"
        expect(lit).to_be_in_viewport()


def test_the_key_leaves_the_address_and_the_page_goes_on_without_it(opened: Open) -> None:
    with served(chat_over()) as at:
        page = opened(at)

        assert "key" not in page.url
        page.reload()
        page.wait_for_selector(".row")
        cookies = page.context.cookies()

    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Strict")]
    assert page.evaluate("document.cookie") == ""


def test_suggested_questions_are_buttons_that_ask(opened: Open) -> None:
    with served(chat_over()) as at:
        page = opened(at)
        page.get_by_role("button", name="Why did it happen?").click()
        page.wait_for_selector(".sentence .cite")

        assert page.inner_text(".asked") == "Why did it happen?"
        assert page.get_by_role("group", name="Suggested questions").get_by_role("button").count() == 4


def test_nothing_that_a_log_says_becomes_markup_or_a_link(opened: Open) -> None:
    with ChatServer(f"{XSS[1]} was seen. {XSS[5]} failed.") as server:
        chat = chat_over(hostile(), ChatModel(f"{server.url}/v1", ExplainConfig()))
        with served(chat) as at:
            page = opened(at)
            page.wait_for_selector("#item-E20")
            for question in ("show lines about script svg img", "What happened?", "Why?", "E18 E6", *XSS[:4]):
                page.evaluate("document.querySelectorAll('.turn').forEach(node => node.remove())")
                ask(page, question)

            body = page.inner_text("body")
            assert page.evaluate("window.owned") is None
            assert (
                page.locator("main script, main img, main iframe, main style, main base, main form form").count() == 0
            )
            assert page.evaluate("document.querySelectorAll('[onerror], [onload], [style]').length") == 0
            links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
            assert all(href.startswith("#") for href in links)
            assert page.locator("#incident-title").count() == 1
            for text in ("<script>window.owned = 1</script>", "javascript:window.owned=1", "http://evil.example.com/x"):
                assert text in body
            assert not set(body) & set("\u202e\u200b\u2066\x1b\x07\x00\U000e0041")
            assert "\\u202e" in body
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_is_used_with_the_keyboard_alone(opened: Open) -> None:
    with served(chat_over()) as at:
        page = opened(at)
        page.wait_for_selector(".item")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.dataset.id")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"[data-id={name}][aria-current=true]")

        page.keyboard.press("/")
        page.keyboard.type("Why did it happen?")
        page.keyboard.press("Enter")
        page.wait_for_selector(".sentence .cite")
        page.wait_for_selector("#stop", state="hidden")
        page.focus(".cite")
        page.keyboard.press("Enter")

        assert page.locator(".lit").count() == 1
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, a, textarea, [role=img]')].filter(node => !(node.textContent.trim()"
            " || node.getAttribute('aria-label') || document.querySelector(`label[for=${node.id || 'none'}]`))).length"
        )
        assert unnamed == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(scheme: str, opened: Open) -> None:
    rows = [*hostile(), *kept()]
    with served(chat_over(rows)) as at:
        page = opened(at, viewport={"width": 375, "height": 740}, color_scheme=scheme)
        page.wait_for_selector("#item-E20")
        ask(page, "E1 E6 E20")

        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        field = page.locator("#question").bounding_box()
        assert field is not None
        assert field["y"] + field["height"] <= 740
        contrast = page.evaluate(CONTRAST)
        assert contrast >= 4.5


CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const shown = ".cite, .chip, .when, .text, .where, .asked, .sentence, #status, button";
  return Math.min(...[...document.querySelectorAll(shown)]
    .filter((node) => node.offsetParent)
    .map((node) => {
      const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
      return (pair[0] + 0.05) / (pair[1] + 0.05);
    }));
}"""


def test_without_incidents_the_page_says_what_is_still_learned(opened: Open) -> None:
    with served(chat_over([]), learning="2 h more for rates", missing="no language model") as at:
        page = opened(at)

        assert page.inner_text("#no-incidents") == "No incident yet. Still learning: 2 h more for rates."
        assert "no language model" in page.inner_text("#status")
        ask(page, "what happened?")
        assert "No incident is kept here" in page.inner_text("#talk")


def test_an_answer_can_be_stopped(opened: Open) -> None:
    with ChatServer("{}", mode="hang") as server:
        chat = chat_over(model=ChatModel(f"{server.url}/v1", ExplainConfig(deadline_s=15.0)))
        with served(chat) as at:
            page = opened(at)
            page.wait_for_selector(".item")
            page.fill("#question", "Why?")
            page.press("#question", "Enter")
            page.wait_for_selector(".thinking")
            page.click("#stop")
            page.wait_for_selector("#stop", state="hidden")

            assert "Stopped." in page.inner_text(".turn")
            assert page.locator(".sentence.code").count() > 0
            server.released.set()


def test_new_incidents_appear_by_themselves_and_the_end_of_the_server_is_told(opened: Open) -> None:
    rows = kept()[:2]
    complaints_of_the_browser = "Failed to load resource"
    get = {event.id: (event, explanation) for event, explanation in rows}
    chat = Chat(lambda limit: rows[:limit], get.get, Catalogue([]), str)
    with served(chat) as at:
        page = opened(at, but=complaints_of_the_browser)
        page.clock.install()
        page.reload()
        expect(page.locator(".row")).to_have_count(2)
        rows.append((replace(rows[0][0], id="inc-0123456789"), None))
        page.clock.run_for(16_000)
        expect(page.locator(".row")).to_have_count(3)
    page.clock.run_for(16_000)

    expect(page.locator("#status")).to_contain_text("has ended")


@pytest.mark.model
def test_the_real_model_answers_in_the_page(model_path: Path, opened: Open) -> None:
    model = ChatModel("real", ExplainConfig(), server=ModelServer(model_path, name="smollm2-135m"))
    try:
        with served(chat_over(model=model)) as at:
            page = opened(at)
            page.click(f"[data-id={DISK}]")
            page.wait_for_selector("#item-E4")
            page.context.set_default_timeout(90_000)
            ask(page, "Why did it happen?")

            assert "smollm2-135m" in page.inner_text(".cost")
            assert page.locator(".sentence.code .cite").count() > 0
            cited = page.evaluate(
                "[...document.querySelectorAll('.turn .cite')].map(a => a.getAttribute('href').slice(1))"
            )
            assert all(page.locator(f"#{name}").count() == 1 for name in cited)
    finally:
        model.close()
