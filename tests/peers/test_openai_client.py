"""OpenAI's own Python client and curl against `logllm llm serve` with the real model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from logllm.explain.model.memory import memory_of
from tests.cli.test_llm_command import Running, served
from tests.explain.conftest import model_path

__all__ = ["model_path"]

pytestmark = pytest.mark.model

KEY = "sk-test-0123456789"
NAME = "smollm2-135m"
ASKED: Any = [{"role": "user", "content": "Is the disk full when a log says ENOSPC?"}]
SCHEMA = {"type": "object", "properties": {"full": {"enum": ["yes", "no"]}, "why": {"type": "string"}}}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {**SCHEMA, "required": ["full"]}}}


@pytest.fixture(scope="module")
def service(model_path: Path) -> Iterator[Running]:
    arguments = ("--workers", "2", "--idle", "300")
    with served("--model", str(model_path), *arguments, key=KEY) as running:
        yield running


@pytest.fixture
def client(service: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url, api_key=KEY, max_retries=0, timeout=60) as found:
        yield found


def health(service: Running) -> dict[str, Any]:
    command = ["curl", "-s", "-H", f"Authorization: Bearer {KEY}", service.url.removesuffix("/v1") + "/health"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)
    return found


def test_models_are_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]

    assert names[0] == NAME
    assert f"{NAME}:deterministic" in names
    assert client.models.retrieve(NAME).owned_by == "local"


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=ASKED, max_completion_tokens=12)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.prompt_tokens > 10


def test_a_stream_comes_in_pieces_and_tells_its_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=NAME, messages=ASKED, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)

    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([piece for piece in said if piece]) > 3
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 3


def test_json_keeps_to_its_schema_and_several_samples_are_voted_on(client: openai.OpenAI) -> None:
    one = client.chat.completions.create(model=NAME, messages=ASKED, response_format=FORMAT, max_tokens=60)
    most = client.chat.completions.create(
        model=f"{NAME}:diverse", messages=ASKED, response_format=FORMAT, max_tokens=60
    )

    assert json.loads(one.choices[0].message.content or "")["full"] in ("yes", "no")
    assert json.loads(most.choices[0].message.content or "")["full"] in ("yes", "no")
    vote: Any = (most.model_extra or {})["vote"]
    assert vote["samples"] == 5
    assert 0.2 <= vote["agreement"] <= 1.0


def test_choices_log_probabilities_and_bare_texts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME, messages=ASKED, n=2, seed=5, max_tokens=3, logprobs=True, top_logprobs=2
    )
    text = client.completions.create(model=NAME, prompt="1, 2, 3, 4, 5, 6,", max_tokens=6, temperature=0)

    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content[0].top_logprobs) == 2
    assert text.choices[0].text.startswith(" 7, 8")


def test_the_clients_own_errors_are_raised(client: openai.OpenAI, service: Running) -> None:
    with (
        openai.OpenAI(base_url=service.url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as authentication,
    ):
        stranger.models.list()
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=ASKED)
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "disk full " * 3000}])
    with pytest.raises(openai.BadRequestError, match="no grammar can be made"):
        client.chat.completions.create(
            model=NAME,
            messages=ASKED,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "whatnot"}}},
        )

    assert authentication.value.code == "invalid_api_key"
    assert missing.value.code == "model_not_found"
    assert long.value.code == "context_length_exceeded"


def test_what_the_banner_says_to_type_works(service: Running) -> None:
    begin = next(place for place, line in enumerate(service.banner) if line.startswith("curl "))
    script = "\n".join(service.banner[begin : begin + 2]).replace('"messages"', '"max_tokens": 8, "messages"')
    bash = shutil.which("bash")
    assert bash is not None

    done = subprocess.run(
        [bash, "-c", script], capture_output=True, timeout=60, env={**os.environ, "LOGLLM_API_KEY": KEY}, check=True
    )

    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_curl_without_a_key_learns_that_it_lives_and_no_more(service: Running) -> None:
    root = service.url.removesuffix("/v1")

    said = subprocess.run(["curl", "-s", f"{root}/health"], capture_output=True, timeout=20, check=True)
    refused = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{service.url}/models"],
        capture_output=True,
        timeout=20,
        check=True,
    )

    assert json.loads(said.stdout) == {"status": "ok"}
    assert refused.stdout == b"401"


def test_the_deterministic_profile_says_the_same_on_every_worker_and_after_a_crash(
    client: openai.OpenAI, service: Running
) -> None:
    def ask() -> str | None:
        answer = client.chat.completions.create(model=f"{NAME}:deterministic", messages=ASKED, max_tokens=24)
        return answer.choices[0].message.content

    first = ask()
    client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "Another thing."}], max_tokens=4)
    for worker in health(service)["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)

    assert ask() == first
    assert ask() == first
    assert health(service)["starts"] >= 2


def test_a_worker_killed_in_mid_answer_is_replaced_and_the_answer_comes(
    client: openai.OpenAI, service: Running
) -> None:
    raw = client.chat.completions.with_raw_response
    killed = []

    def kill() -> None:
        for _ in range(400):
            busy = [worker for worker in health(service)["workers"] if worker["state"] == "busy"]
            if busy:
                os.kill(busy[0]["pid"], signal.SIGKILL)
                killed.append(busy[0]["pid"])
                return

    killer = threading.Thread(target=kill)
    killer.start()
    answer = raw.create(model=NAME, messages=ASKED, max_tokens=40, extra_body={"grammar": "root ::= [a-z ]+"})
    killer.join()

    assert killed
    assert answer.parse().choices[0].message.content


def test_a_client_that_leaves_stops_the_writing(client: openai.OpenAI, service: Running) -> None:
    endless = {"grammar": "root ::= [a-z ]+"}
    stream = client.chat.completions.create(
        model=NAME, messages=ASKED, max_tokens=3000, stream=True, extra_body=endless
    )
    next(iter(stream))
    stream.close()
    began = time.monotonic()
    while any(worker["state"] == "busy" for worker in health(service)["workers"]):
        assert time.monotonic() - began < 15, "it still writes for nobody"


def test_nothing_is_left_of_the_model_when_nobody_asks(model_path: Path) -> None:
    with served("--model", str(model_path), "--idle", "0.5", key=KEY) as running:

        def wait_for_none() -> int:
            for _ in range(300):
                if not health(running)["workers"]:
                    break
                time.sleep(0.1)
            found = memory_of(running.process.pid)
            return found.share_bytes if found else 0

        with openai.OpenAI(base_url=running.url, api_key=KEY, max_retries=0, timeout=60) as client:
            memory = []
            for _ in range(2):
                client.chat.completions.create(model=NAME, messages=ASKED, max_tokens=2)
                memory.append(wait_for_none())

        assert health(running)["starts"] == health(running)["idle_ends"] == 2
        assert abs(memory[1] - memory[0]) < 8_000_000


def test_a_full_queue_is_the_clients_rate_limit_error(model_path: Path, tmp_path: Path) -> None:
    config = tmp_path / "logllm.toml"
    config.write_text(f'[llm]\nmodel = "{model_path}"\nqueue = 0\n')
    with (
        served("-c", str(config), key=KEY) as running,
        openai.OpenAI(base_url=running.url, api_key=KEY, max_retries=0, timeout=60) as client,
    ):
        stream = client.chat.completions.create(model=NAME, messages=ASKED, max_tokens=400, stream=True)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model=NAME, messages=ASKED, max_tokens=4)
        stream.close()

    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) >= 1
