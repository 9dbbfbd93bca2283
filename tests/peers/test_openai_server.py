"""logllm explains with llama-cpp-python's own server, as if it were on another machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logllm.errors import ExplainError
from logllm.events import IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.model.client import ChatClient
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.cli.test_llm_command import served
from tests.explain.conftest import incident, model_path

__all__ = ["incident", "model_path"]

pytestmark = pytest.mark.model

KEY = "sk-peer-0123456789"
# What takes seconds takes minutes where many share the cores.
PATIENT = ExplainConfig(deadline_s=300.0)


@pytest.fixture(scope="module")
def url(model_path: Path) -> Iterator[str]:
    pytest.importorskip("fastapi", reason="llama-cpp-python's server needs fastapi: make setup")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        "--model",
        str(model_path),
        "--n_ctx",
        "2048",
        "--n_threads",
        "1",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api_key", KEY]
    # OpenMP's threads spin while they wait for each other, for minutes where others have the cores.
    environment = os.environ | {"GOMP_SPINCOUNT": "1000"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            ends = time.monotonic() + 60
            while time.monotonic() < ends and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            assert process.poll() is None, "llama_cpp.server ended at once"
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def test_an_incident_is_explained_and_checked(
    url: str, incident: Callable[..., IncidentEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_API_KEY", KEY)
    explainer = Explainer(url, Catalogue.load(), Redactor(), ExplanationCache(), config=PATIENT)

    found = explainer.explain(incident())
    explainer.close()

    assert found.error is None
    assert found.status == "ok"
    assert found.runbook == "ssh-brute-force"
    assert found.evidence
    assert set(found.evidence) <= {"E1", "E2", "E3"}
    assert found.steps


def test_a_wrong_key_is_a_failed_explanation_with_its_reason_and_the_facts_stand(
    url: str, incident: Callable[..., IncidentEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_API_KEY", "sk-wrong")
    explainer = Explainer(url, Catalogue.load(), Redactor(), ExplanationCache(), config=PATIENT)

    found = explainer.explain(incident())
    explainer.close()

    assert found.status == "failed"
    assert "wrong or missing key" in (found.error or "")
    assert found.runbook == "ssh-brute-force"


def test_its_stream_is_read_and_its_lack_of_a_chats_count_is_told(url: str) -> None:
    client = ChatClient(url, KEY)
    messages = [{"role": "user", "content": "Say one word."}]

    pieces = list(client.stream(messages, max_tokens=5))

    assert len(pieces) > 1
    assert client.count_tokens("disk full") > 0
    with pytest.raises(ExplainError):
        client.count_chat_tokens(messages)


def test_our_service_passes_on_to_it_and_learns_its_form_of_schemas(url: str) -> None:
    schema = {"type": "object", "properties": {"full": {"enum": ["yes", "no"]}}, "required": ["full"]}
    with served("--model", url, "--no-key", key=KEY) as running:
        client = ChatClient(running.url, "")

        answer = client.chat([{"role": "user", "content": "ENOSPC: is the disk full?"}], schema, max_tokens=20)

    assert json.loads(answer.text)["full"] in ("yes", "no")


def test_an_incident_is_explained_by_our_own_service(
    model_path: Path, incident: Callable[..., IncidentEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_API_KEY", KEY)
    with served("--model", str(model_path), key=KEY) as running:
        explainer = Explainer(running.url, Catalogue.load(), Redactor(), ExplanationCache(), config=PATIENT)
        found = explainer.explain(incident())
        explainer.close()

    assert found.error is None
    assert (found.status, found.runbook) == ("ok", "ssh-brute-force")
