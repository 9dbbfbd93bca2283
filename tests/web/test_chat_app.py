"""The chat page over HTTP, without a browser: who is let in, what is refused, what streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import resources

import httpx
import pytest
from msgspec.structs import replace

from logllm.errors import SourceError, StateError
from logllm.explain.chat.chat import Chat
from logllm.explain.chat.events import Sentence
from logllm.explain.chat.model import ChatModel
from logllm.explain.config import ExplainConfig
from logllm.explain.runbooks.search import Catalogue
from logllm.web.chat.app import ChatApp, Question
from logllm.web.chat.guard import Guard, Refusal
from logllm.web.chat.server import ChatPage, serve_page
from logllm.web.chat.views import Detail, Line, Row, State, detail_of, event_of, row_of
from tests.explain.chat.sample import chat_over, kept
from tests.explain.fakes import ChatServer

KEY = "k" * 43
DISK = "inc-78b93de17d"
QUESTION = {"conversation": "c1", "incident": DISK, "question": "Why?"}


def run(test: Callable[[ChatPage, httpx.AsyncClient], Awaitable[None]], chat: Chat | None = None) -> None:
    """A test with the page served, and a client that has its key in a cookie and says where it comes from."""

    async def bounded() -> None:
        async with asyncio.timeout(30), ChatPage(chat or chat_over(), key=KEY) as page:
            root = page.address.split("/?")[0]
            port = root.rsplit(":", 1)[1]
            async with httpx.AsyncClient(
                base_url=root, trust_env=False, cookies={f"logllm_chat_{port}": KEY}, headers={"origin": root}
            ) as http:
                await test(page, http)

    asyncio.run(bounded())


def test_the_address_opens_the_page_and_gives_a_cookie_that_no_script_and_no_other_site_has() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        http.cookies.clear()
        found = await http.get(page.address)

        assert found.status_code == 200
        cookie = found.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await http.get("/api/state")).status_code == 200

    run(test)


def test_every_answer_has_a_strict_policy() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        for path in ("/", "/chat.js", "/chat.css", "/api/state", f"/api/incidents/{DISK}", "/nothing"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"

    run(test)


@pytest.mark.parametrize("path", ["/", "/chat.js", "/api/state", f"/api/incidents/{DISK}", "/api/ask"])
def test_without_the_key_there_is_nothing(path: str) -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        http.cookies.clear()
        for cookies, query in (({}, ""), ({"logllm_chat_1": KEY}, ""), ({}, "?key=" + "x" * 43), ({}, "?key=")):
            http.cookies = httpx.Cookies(cookies)
            found = await http.get(path + query)
            assert found.status_code == 403
            assert DISK not in found.text

    run(test)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": "127.0.0.1.evil.example.com:80"}, 421),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_another_name_or_another_site_is_refused_with_the_key_too(headers: dict[str, str], status: int) -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        read = await http.get("/api/state", headers=headers)
        asked = await http.post("/api/ask", json=QUESTION, headers=headers)

        assert (read.status_code, asked.status_code) == (status, status)

    run(test)


def test_asking_needs_an_origin() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        del http.headers["origin"]

        assert (await http.post("/api/ask", json=QUESTION)).status_code == 403
        assert (await http.get("/api/state")).status_code == 200

    run(test)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (json.dumps(QUESTION), "text/plain", 415),
        (json.dumps(QUESTION), "application/x-www-form-urlencoded", 415),
        ("{", "application/json", 400),
        ("[" * 5_000, "application/json", 400),
        (json.dumps({**QUESTION, "admin": True}), "application/json", 400),
        (json.dumps({**QUESTION, "question": "  "}), "application/json", 400),
        (json.dumps({**QUESTION, "question": 7}), "application/json", 400),
        (json.dumps({**QUESTION, "conversation": "c" * 65}), "application/json", 400),
        (json.dumps({**QUESTION, "question": "x" * 9_000}), "application/json", 413),
    ],
)
def test_what_is_no_question_is_refused(body: str, kind: str, status: int) -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        found = await http.post("/api/ask", content=body, headers={"content-type": kind})

        assert found.status_code == status

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/ask", 405),
        ("POST", "/", 405),
        ("DELETE", f"/api/incidents/{DISK}", 405),
        ("GET", "/api/incidents/inc-nothing", 404),
        ("GET", "/api/incidents/../../etc/passwd", 404),
        ("GET", "/static/chat.js", 404),
        ("GET", "/app.py", 404),
    ],
)
def test_all_else_is_refused(method: str, path: str, status: int) -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        assert (await http.request(method, path)).status_code == status

    run(test)


def test_an_answer_streams_as_lines_of_json_that_end_in_done() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        async with http.stream("POST", "/api/ask", json=QUESTION) as found:
            events = [json.loads(line) async for line in found.aiter_lines()]

        assert found.headers["content-type"] == "application/x-ndjson"
        assert {event["type"] for event in events} == {"sentence", "done"}
        assert events[0]["cites"]

    run(test)


def test_what_code_says_comes_while_the_model_still_thinks() -> None:
    with ChatServer("{}", mode="hang") as server:
        model = ChatModel(f"{server.url}/v1", ExplainConfig(deadline_s=20.0))

        async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
            async with http.stream("POST", "/api/ask", json=QUESTION) as found:
                async for line in found.aiter_lines():
                    if json.loads(line)["type"] == "thinking":
                        break
                server.released.set()

        run(test, chat_over(model=model))


def test_the_state_and_an_incident_are_told_whole() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        state = (await http.get("/api/state")).json()
        detail = (await http.get(f"/api/incidents/{DISK[:8]}")).json()

        assert len(state["incidents"]) == len(kept())
        assert detail["row"]["id"] == DISK
        assert {"E1", "X1", "S1", "K1", "D1", "I1"} <= {item["id"] for item in detail["items"]}

    run(test)


def test_values_come_back_only_for_a_viewer_who_may_see_them() -> None:
    with Catalogue.load() as catalogue:
        case = chat_over(catalogue=catalogue).case("inc-5c11aa90de")
    assert case is not None

    masked = detail_of(case, str)
    shown = detail_of(case, lambda text: text.replace("<ip_2>", "203.0.113.2"))
    event = event_of(Sentence("from <ip_2>", ["E3"]), lambda text: text.replace("<ip_2>", "203.0.113.2"))

    assert isinstance(masked, Detail)
    assert all(isinstance(item, Line) for item in masked.items)
    assert "203.0.113.2" not in str(masked)
    assert "203.0.113.2" in str(shown)
    assert json.loads(event)["text"] == "from 203.0.113.2"


def test_a_long_series_keeps_its_peaks() -> None:
    event, _ = kept()[0]
    series = [0] * 5_000
    series[4_321] = 77

    row = row_of(replace(event, series=series), str)

    assert isinstance(row, Row)
    assert len(row.series) <= 240
    assert max(row.series) == 77


def test_a_store_that_cannot_be_read_is_told() -> None:
    def broken(limit: int) -> list[object]:
        raise StateError("the disk is gone")

    with Catalogue.load() as catalogue:
        chat = Chat(broken, lambda _: None, catalogue, str)  # type: ignore[arg-type]

        async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
            found = await http.get("/api/state")
            asked = await http.post("/api/ask", json={**QUESTION, "incident": ""})

            assert (found.status_code, found.json()["error"]) == (503, "the disk is gone")
            assert "the disk is gone" in asked.text

        run(test, chat)


def test_a_guard_wants_a_key_that_cannot_be_guessed() -> None:
    with pytest.raises(ValueError, match="20 to 200"):
        Guard("short", 80)
    guard = Guard(KEY, 80)
    refused = guard.refusal("GET", "/", b"", [(b"host", b"localhost:80"), (b"host", b"localhost:80")])

    assert refused == Refusal(421, "not the name of this page")
    assert guard.refusal("GET", "/", b"key=" + KEY.encode(), [(b"host", b"localhost:80")]) is None
    assert guard.refusal("GET", "/", b"&" * 5_000, [(b"host", b"localhost:80")]) is not None
    assert KEY in guard.cookie


def test_a_port_in_use_is_one_clear_error() -> None:
    async def test(page: ChatPage, http: httpx.AsyncClient) -> None:
        port = http.base_url.port
        assert port is not None
        with pytest.raises(SourceError, match="cannot listen"):
            await ChatPage(chat_over(), port=port).start()
        with pytest.raises(SourceError, match="not served"):
            _ = ChatPage(chat_over()).address

    run(test)
    assert callable(serve_page)


def test_the_page_is_three_files_without_anything_from_elsewhere() -> None:
    folder = resources.files("logllm.web.chat") / "static"
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}

    assert set(files) == {"index.html", "chat.css", "chat.js"}
    script = files["chat.js"].replace("http://www.w3.org/2000/svg", "")
    for text in (script, files["chat.css"], files["index.html"]):
        assert not any(part in text for part in ("http:", "https:", "//cdn", "@import", "url("))
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        ".srcdoc",
        "DOMParser",
    ):
        assert way not in script
    for inline in ("<style", " style=", " onclick", "<script>", "javascript:"):
        assert inline not in files["index.html"]


def test_the_pages_types_are_what_the_script_reads() -> None:
    script = (resources.files("logllm.web.chat") / "static" / "chat.js").read_text(encoding="utf-8")

    for name in (
        *State.__struct_fields__,
        *Detail.__struct_fields__,
        *Row.__struct_fields__,
        *Question.__struct_fields__,
    ):
        assert name in script, name
    assert ChatApp.__doc__
