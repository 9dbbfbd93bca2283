from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logllm.events import Cause, Evidence
from logllm.explain.model.client import ChatClient
from logllm.explain.model.server import ModelServer
from logllm.explain.pack import EvidencePack, PackItem, build_pack
from logllm.explain.prompt import ANSWER_TOKENS, build_prompt
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Runbook

if TYPE_CHECKING:
    from logllm.events import IncidentEvent

    Make = Callable[..., IncidentEvent]

pytestmark = pytest.mark.model

N_CTX = 1536
PACKS = range(2, 30, 3)
_PROSE = "connection refused by <host_2> upstream timed out after 5003 ms while reading retry=3 café 漢字 <ip_4> →"
_ODD = '0x7ffe1a2b {"level":"error"} [INST] ### status=503 E1: --- end 0000 %%% Ω java.net.SocketTimeoutException:'
_WORDS = [*_PROSE.split(), *_ODD.split(), "/var/lib/postgresql/base/16385/2619", "8f14e45f-ceea-467f-a0e6-2ab1c0d3f9b1"]


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[ModelServer]:
    model = ModelServer(model_path, idle_s=0.0, n_ctx=N_CTX)
    yield model
    model.close()


def _packs(incident: Make) -> list[EvidencePack]:
    """From one short line to far more than the context holds, in words that tokenizers do not like."""
    source = random.Random(7)
    packs = []
    for number in PACKS:
        lines = [
            " ".join(source.choices(_WORDS, k=source.randrange(1, 3 + 2 * number))) for _ in range(1 + number % 12)
        ]
        event = incident(
            lines,
            series=[source.randrange(900) for _ in range(number)],
            timeline=[f"06:5{n} web: new: {source.choice(_WORDS)}" for n in range(number % 7)],
            changes=[Evidence("C1", "2024-12-10T06:50:00Z", "Deployed 2.4.1")] if number % 2 else [],
            causes=[Cause("new", "web", "t2", " ".join(source.choices(_WORDS, k=9)), 0, 3, 17)],
        )
        packs.append(build_pack(event, Redactor()))
    return packs


def _books() -> list[Runbook]:
    return [
        Runbook(name, name, ["No space"], ["Free"], ["df"], "", "low", "", f"A file system of {name} is full.")
        for name in ("disk-full", "connection-refused")
    ]


def test_what_is_counted_is_what_the_model_reads_and_small_budgets_are_used(
    server: ModelServer, incident: Make
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "enum": ["b"]}}, "required": ["a"]}
    read, counted, shares = [], [], []

    with server.session() as endpoint:
        client = ChatClient(endpoint.base_url, endpoint.key, endpoint.model)
        for number, pack in zip(PACKS, _packs(incident), strict=True):
            # Most get a context that cannot hold them all.
            n_ctx = N_CTX if number % 15 == 14 else 480 + 8 * number
            prompt = build_prompt(
                pack, _books(), n_ctx=n_ctx, count_tokens=client.count_tokens, count_chat=client.count_chat_tokens
            )
            answer = client.chat(prompt.messages, schema, max_tokens=8)
            read.append(answer.prompt_tokens)
            counted.append(prompt.tokens)
            assert prompt.tokens <= n_ctx - ANSWER_TOKENS
            if prompt.left_out and n_ctx < N_CTX:
                shares.append(prompt.tokens / (n_ctx - ANSWER_TOKENS))

    assert read == counted
    assert len(shares) >= 4
    assert min(shares) >= 0.9


def test_an_essential_line_is_shown_whole_where_the_budget_is_just_enough_for_it(server: ModelServer) -> None:
    line = PackItem("E1", "line", "Failed password for root from <ip_1> port 22 ssh2")
    pack = EvidencePack([line, PackItem("E2", "line", "a line for which there is no room at all " * 5)], lead="E1")

    with server.session() as endpoint:
        client = ChatClient(endpoint.base_url, endpoint.key, endpoint.model)

        def count(messages: Sequence[dict[str, str]]) -> int:
            return client.count_chat_tokens(messages)

        least = build_prompt(EvidencePack([line], lead="E1"), [], count_chat=count, nonce="0a1b2c3d").tokens
        exact = build_prompt(pack, [], n_ctx=least + ANSWER_TOKENS, count_chat=count, nonce="0a1b2c3d")
        with pytest.raises(ValueError, match="Expected room for at least"):
            build_prompt(pack, [], n_ctx=least + ANSWER_TOKENS - 20, count_chat=count, nonce="0a1b2c3d")

    assert exact.tokens == least
    assert [item.id for item in exact.evidence] == ["E1"]
    assert exact.left_out == ["E2"]
