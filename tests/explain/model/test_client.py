from __future__ import annotations

import socket
import threading
import time

import pytest

from logllm.errors import ExplainError
from logllm.explain.model.client import ChatClient
from tests.explain.fakes import ChatServer

MESSAGES = [{"role": "user", "content": "why?"}]
SCHEMA = {"type": "object"}


@pytest.mark.parametrize("mode", ["ok", "plain"])
def test_an_answer_comes_streamed_or_whole(mode: str) -> None:
    with ChatServer('{"a": "bc"}', mode, prompt_tokens=12) as server:
        answer = ChatClient(f"{server.url}/v1", "key", "m").chat(MESSAGES, SCHEMA, max_tokens=7, stop=["."])

        assert answer.text == '{"a": "bc"}'
        assert answer.ended
        assert answer.prompt_tokens == 12
        assert server.keys == ["Bearer key"]
        sent = server.requests[0]
        assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
        assert (sent["max_tokens"], sent["stop"], sent["temperature"], sent["model"]) == (7, ["."], 0, "m")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("400", r"refused the request \(400: said the fake\)"),
        ("401", r"wrong or missing key \(401"),
        ("404", r"no such model or no chat API there \(404"),
        ("429", r"too many requests \(429"),
        ("500", r"the server failed \(500"),
        ("302", r"unexpected status \(302"),
        ("garbage", "no JSON"),
        ("reset", "the connection broke"),
        ("cut", "the connection broke before the answer was whole"),
        ("huge", "longer than 100000 bytes"),
    ],
)
def test_what_a_server_does_wrong_is_an_explain_error_with_its_reason(mode: str, reason: str) -> None:
    with ChatServer('{"a": 1}', mode) as server, pytest.raises(ExplainError, match=reason):
        ChatClient(f"{server.url}/v1", max_bytes=100_000).chat(MESSAGES, SCHEMA)


@pytest.mark.parametrize("mode", ["hang", "hang_body", "drip"])
def test_the_deadline_holds_however_the_server_stalls(mode: str) -> None:
    with ChatServer("{}", mode) as server:
        began = time.monotonic()
        with pytest.raises(ExplainError, match=r"no answer in 0\.3 s"):
            ChatClient(f"{server.url}/v1").chat(MESSAGES, SCHEMA, deadline_s=0.3)

        assert time.monotonic() - began < 5.0


def test_a_header_that_never_ends_does_not_hold_the_client() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(400):
                if ended.wait(0.02):
                    return
                try:
                    peer.sendall(b"X-A: b\r\n"[:1])
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(ExplainError, match=r"no answer in 0\.3 s"):
            ChatClient(f"http://127.0.0.1:{listener.getsockname()[1]}/v1").chat(MESSAGES, SCHEMA, deadline_s=0.3)
    finally:
        ended.set()
        thread.join()
        listener.close()


def test_nobody_listening_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(ExplainError, match="nothing listens there"):
        ChatClient(f"http://127.0.0.1:{port}/v1").chat(MESSAGES, SCHEMA)


def test_a_server_that_read_less_than_it_was_sent_is_found_out() -> None:
    long = [{"role": "user", "content": "line of a log\n" * 500}]

    with ChatServer("{}", prompt_tokens=512) as server, pytest.raises(ExplainError, match="cut the prompt"):
        ChatClient(f"{server.url}/v1").chat(long, SCHEMA)
    with ChatServer("{}", prompt_tokens=2500) as server:
        assert ChatClient(f"{server.url}/v1").chat(long, SCHEMA).text == "{}"


def test_an_empty_answer_and_one_without_choices_are_errors() -> None:
    with ChatServer("  ") as server, pytest.raises(ExplainError, match="said nothing"):
        ChatClient(f"{server.url}/v1").chat(MESSAGES, SCHEMA)
    with ChatServer("x", "404") as server, pytest.raises(ExplainError, match="404"):
        ChatClient(f"{server.url}/v1").count_tokens("text")


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ExplainError, match="Expected an http or https URL"):
        ChatClient("ftp://x/v1")
