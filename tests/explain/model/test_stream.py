"""Answers read as they come."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ExplainError
from logllm.explain.model.client import Answer, ChatClient
from logllm.explain.model.replies import EventReader, count_of, loaded, refusal, whole_answer
from tests.explain.fakes import ChatServer

MESSAGES = [{"role": "user", "content": "why?"}]


def all_of(server: ChatServer, **options: object) -> tuple[list[str], Answer]:
    pieces = []
    stream = ChatClient(f"{server.url}/v1").stream(MESSAGES, **options)  # type: ignore[arg-type]
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_text_comes_in_pieces_and_the_whole_of_it_at_the_end() -> None:
    text = "The disk sda1 is full, so no write ends well. " * 200
    with ChatServer(text, prompt_tokens=9) as server:
        pieces, answer = all_of(server, max_tokens=30, temperature=0.5, seed=7, stop=["x"])

        assert len(pieces) > 1
        assert "".join(pieces) == answer.text == text
        assert (answer.ended, answer.prompt_tokens) == (True, 9)
        sent = server.requests[0]
        assert (sent["temperature"], sent["seed"], sent["max_tokens"], sent["stop"]) == (0.5, 7, 30, ["x"])
        assert sent["stream"]
        assert "response_format" not in sent


def test_a_schema_is_passed_on_and_a_server_that_does_not_stream_gives_one_piece() -> None:
    with ChatServer("{}", "plain") as server:
        pieces, _ = all_of(server, schema={"type": "object"})

        assert pieces == ["{}"]
        assert server.requests[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("429", r"too many requests \(429"),
        ("garbage", "no JSON"),
        ("reset", "the connection broke"),
        ("cut", "the connection broke before the answer was whole"),
        ("huge", "longer than 262144 bytes"),
    ],
)
def test_what_a_server_does_wrong_ends_the_stream_with_its_reason(mode: str, reason: str) -> None:
    with ChatServer("x" * 100, mode) as server, pytest.raises(ExplainError, match=reason):
        all_of(server)


@pytest.mark.parametrize("mode", ["hang", "hang_body", "drip"])
def test_the_deadline_holds_however_the_server_stalls(mode: str) -> None:
    with ChatServer("{}", mode) as server, pytest.raises(ExplainError, match=r"no answer in 0\.3 s"):
        all_of(server, deadline_s=0.3)


def test_the_deadline_counts_the_time_in_which_a_piece_is_held() -> None:
    with ChatServer("y" * 50_000) as server:
        stream = ChatClient(f"{server.url}/v1").stream(MESSAGES, deadline_s=0.2)
        next(stream)
        # The timer shuts the socket down; what had been received before may still be read.
        threading.Event().wait(0.3)

        with pytest.raises(ExplainError, match=r"no answer in 0\.2 s"):
            list(stream)


def test_closing_early_breaks_the_connection() -> None:
    with ChatServer("{}", "drip") as server:
        began = time.monotonic()
        stream = ChatClient(f"{server.url}/v1", deadline_s=30.0).stream(MESSAGES)
        stream.close()

        assert time.monotonic() - began < 5.0
    with ChatServer("z" * 5000) as server:
        stream = ChatClient(f"{server.url}/v1").stream(MESSAGES)
        next(stream)
        stream.close()

        with pytest.raises(StopIteration):
            next(stream)


def test_nothing_is_sent_before_the_first_piece_is_asked_for() -> None:
    with ChatServer("{}") as server:
        ChatClient(f"{server.url}/v1").stream(MESSAGES)

        assert server.requests == []


def test_each_body_is_told_before_it_leaves_with_where_it_goes() -> None:
    told: list[tuple[str, bytes]] = []
    with ChatServer("{}") as server:
        client = ChatClient(f"{server.url}/v1", sent=lambda to, body: told.append((to, body)))
        client.chat(MESSAGES, {})
        list(client.stream(MESSAGES))

        assert [to for to, _ in told] == [server.url.removeprefix("http://")] * 2
        assert [json.loads(body) for _, body in told] == server.requests


def test_what_may_not_be_written_down_does_not_leave() -> None:
    def refuse(to: str, body: bytes) -> None:
        raise OSError("no room in the ledger")

    with ChatServer("{}") as server, pytest.raises(ExplainError, match="no room in the ledger"):
        ChatClient(f"{server.url}/v1", sent=refuse).chat(MESSAGES, {})
    assert server.requests == []


def test_a_server_that_counts_no_chats_says_so() -> None:
    with ChatServer("{}", "404") as server, pytest.raises(ExplainError, match="404"):
        ChatClient(f"{server.url}/v1").count_chat_tokens(MESSAGES)
    with ChatServer("{}") as server, pytest.raises(ExplainError, match="no JSON"):
        ChatClient(f"{server.url}/v1").count_chat_tokens(MESSAGES)


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(1, 60), max_size=12))
def test_events_are_read_the_same_however_they_are_cut(texts: list[str], sizes: list[int]) -> None:
    chunks: list[dict[str, object]] = [
        {"choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in texts
    ]
    chunks.append({"choices": [], "usage": {"completion_tokens": len(texts)}})
    raw = b"".join(b"data: %b\r\n\r\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
    reader = EventReader()
    read = ""

    for size in sizes:
        read += reader.feed(raw[:size])
        raw = raw[size:]
    read += reader.feed(raw)
    reader.finish()

    assert read == "".join(texts)
    assert count_of(reader.usage, "completion_tokens") == len(texts)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise_than_on_purpose(raw: bytes) -> None:
    for read in (lambda: EventReader().feed(b"data: " + raw), lambda: loaded(raw), lambda: whole_answer(raw)):
        with contextlib.suppress(ExplainError):
            read()
    assert "500" in refusal(500, raw)


@pytest.mark.parametrize("raw", [b'{"choices": 5}', b'{"choices": [5]}', b'{"choices": [{"message": 5}]}', b"[" * 5000])
def test_objects_that_are_no_answers_are_refused(raw: bytes) -> None:
    with pytest.raises(ExplainError):
        whole_answer(raw)
