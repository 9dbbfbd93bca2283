"""The pages where people answer, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import httpx
import pytest

from logllm.errors import ActionError, ProtocolError
from logllm.web.answers import answer_pages
from logllm.web.app import HttpServer


class Answers:
    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []

    def opened(self, token: str) -> tuple[str, str]:
        if token == "<evil>&":
            return "<script>alert(1)</script>", "acknowledge"
        if token != "good":
            raise ProtocolError("this link is not ours, or it is too old")
        return "inc-1", "acknowledge"

    def answered(self, subject: str, verb: str, who: str) -> str:
        if self.taken:
            raise ActionError("it has been answered already")
        self.taken.append((subject, verb, who))
        return f"{subject}: acknowledged"

    def slack(self, headers: Mapping[str, str], body: bytes) -> str:
        if headers.get("x-slack-signature") != "v0=right":
            raise ProtocolError("wrong signature")
        self.bodies.append(body)
        return ""


def run(test: Callable[[httpx.AsyncClient, Answers], Awaitable[None]]) -> None:
    async def bounded() -> None:
        answers = Answers()
        server = HttpServer("127.0.0.1:0", dict, list, lambda: b"", {}, answer_pages(answers))
        async with asyncio.timeout(20), server:
            host, port = server.address
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as http:
                await test(http, answers)

    asyncio.run(bounded())


def test_looking_at_a_link_answers_nothing_and_its_button_does() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        looked = await http.get("/answer", params={"token": "good"})
        before = list(answers.taken)
        pressed = await http.post("/answer", data={"token": "good"})

        assert looked.status_code == 200
        assert "inc-1: acknowledge it" in looked.text
        assert before == []
        assert pressed.status_code == 200
        assert answers.taken == [("inc-1", "acknowledge", "somebody by a link")]

    run(test)


def test_a_link_that_is_not_ours_is_refused_with_a_reason() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        for response in (
            await http.get("/answer", params={"token": "x"}),
            await http.get("/answer"),
            await http.post("/answer", content=b"&&&&&&&&&&&&&&&&&&&&"),
            await http.post("/answer", data={"token": "x" * 5000}),
        ):
            assert response.status_code == 403
            assert "too old" in response.text
        assert answers.taken == []

    run(test)


def test_a_second_press_says_what_came_of_the_first() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        await http.post("/answer", data={"token": "good"})
        again = await http.post("/answer", data={"token": "good"})

        assert again.status_code == 409
        assert "answered already" in again.text
        assert len(answers.taken) == 1

    run(test)


def test_what_a_link_names_is_shown_and_never_obeyed() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        response = await http.get("/answer", params={"token": "<evil>&"})

        assert "<script>" not in response.text
        assert 'value="&lt;evil&gt;&amp;"' in response.text
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["referrer-policy"] == "no-referrer"

    run(test)


def test_slack_is_heard_only_with_its_signature() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        wrong = await http.post("/slack/actions", content=b"payload=1", headers={"X-Slack-Signature": "v0=wrong"})
        right = await http.post("/slack/actions", content=b"payload=1", headers={"X-Slack-Signature": "v0=right"})
        got = await http.get("/slack/actions")

        assert (wrong.status_code, right.status_code, got.status_code) == (403, 200, 405)
        assert answers.bodies == [b"payload=1"]

    run(test)


def test_a_body_of_two_megabytes_is_refused() -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        response = await http.post(
            "/slack/actions", content=b"x" * (2 << 20), headers={"X-Slack-Signature": "v0=right"}
        )
        other = await http.put("/answer")

        assert response.status_code == 413
        assert other.status_code == 405
        assert answers.bodies == []

    run(test)


def test_of_many_refused_calls_a_few_are_said(caplog: pytest.LogCaptureFixture) -> None:
    async def test(http: httpx.AsyncClient, answers: Answers) -> None:
        for _ in range(40):
            assert (await http.post("/slack/actions", content=b"payload=")).status_code == 403

    run(test)

    told = [record.getMessage() for record in caplog.records if "/slack/actions" in record.getMessage()]
    assert len(told) == 6
    assert told[-1] == "/slack/actions: refused, for the 32. time: wrong signature"
