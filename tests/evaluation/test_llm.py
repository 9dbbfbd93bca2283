from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from logllm.cli.evaluate_llm import llm
from logllm.errors import ConfigError
from logllm.evaluation.llm import CASES, Case, WordsResult, evaluate_model, evaluate_words, read_cases
from logllm.explain.runbooks.search import Catalogue
from tests.explain.fakes import ChatServer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

DISK = "write failed: No space left on device"
QUIET = "GET /index.html 200 in 12 ms"


def a_reply(body: dict[str, Any]) -> str:
    """Picks the runbook of the disk wherever it is offered, and cites a line that is there and one that is not."""
    prompt = body["messages"][-1]["content"]
    answer = {
        "runbook": "disk-full" if "disk-full" in prompt else "none",
        "evidence": ["E1", "E99"],
        "severity": "warning",
        "hypothesis": "The write failed with no space left on device." if DISK in prompt else "All users went home.",
    }
    return json.dumps(answer)


def test_our_own_cases_are_of_runbooks_that_ship() -> None:
    with Catalogue.load() as catalogue:
        cases = read_cases(known=list(catalogue.by_id))

        assert len(cases) >= 180
        assert {case.runbook for case in cases} - {None} == set(catalogue.by_id)
    assert sum(case.runbook is None for case in cases) >= 50
    assert CASES.is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"text": "a", "runbook": "disk-full"}\n{"text": 3, "runbook": null}\n', r":2: Expected `str`, got `int`"),
        ('{"text": "a", "runbook": "disk-fool"}\n', r":1: no runbook 'disk-fool' is known"),
        ('{"text": "a", "runbook": null, "also": ["x"]}\n', r":1: no runbook 'x' is known"),
        ('{"text": " \\n", "runbook": null}\n', r":1: no lines in `text`"),
        ('{"text": "a"}\n', r":1: .*missing required field `runbook`"),
        ('{"text": "a", "runbook": null, "also": [], "more": 1}\n', r":1: .*unknown field `more`"),
        ("not JSON\n", r":1: JSON is malformed"),
        ("\n", "no cases in it"),
    ],
)
def test_a_case_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text)

    with pytest.raises(ConfigError, match=said):
        read_cases(path, known=["disk-full"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl: cannot read"):
        read_cases(tmp_path / "none.jsonl")


def test_words_alone_are_counted_apart_for_those_that_none_fits() -> None:
    cases = [Case(DISK, "disk-full"), Case(DISK, "redis-down", also=["disk-full"]), Case(DISK, None), Case(QUIET, None)]

    with Catalogue.load() as catalogue:
        found = evaluate_words(cases, catalogue)

    assert (found.cases, found.with_runbook, found.words_right, found.words_none_right) == (4, 2, 2, 1)
    assert found.bm25_right == 2
    assert found.bm25_none_right <= 1


def test_a_models_answers_are_counted() -> None:
    cases = [Case(DISK, "disk-full"), Case(QUIET, None), Case(f"{DISK}\n{QUIET}", "redis-down")]
    progress: list[int] = []
    with ChatServer(a_reply) as server:
        found = evaluate_model(f"{server.url}/v1", cases, progress=progress.append)

    assert progress == [1, 2, 3]
    assert (found.cases, found.with_runbook, found.right, found.none_right, found.wrong) == (3, 2, 1, 1, 1)
    assert found.picked == 2
    assert (found.cited, found.cited_known) == (6, 3)
    assert (found.told, found.told_kept) == (3, 2)
    assert found.failed == 0
    assert found.confidence_right is not None
    assert found.tokens > 0
    assert found.memory_bytes == 0


def test_a_model_that_gives_nothing_usable_is_counted_as_failed() -> None:
    with ChatServer("no JSON at all") as server:
        found = evaluate_model(f"{server.url}/v1", [Case(DISK, "disk-full"), Case(QUIET, None)])

    assert (found.failed, found.told, found.cited, found.picked) == (2, 0, 0, 0)
    assert found.right == 1


def test_a_person_reads_a_table_and_a_program_json(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    rows = [{"text": DISK, "runbook": "disk-full"}] * 4 + [{"text": QUIET, "runbook": None}] * 4
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with ChatServer(a_reply) as server:
        arguments = [str(path), "--model", f"{server.url}/v1", "-n", "2"]

        read = CliRunner().invoke(llm, arguments)
        as_json = CliRunner().invoke(llm, [*arguments, "--json"])

    assert read.exit_code == 0, read.output
    assert "1 of 1 (100 %) right; of those that none fits, 1 of 1 (100 %)" in read.output
    assert "evidence ids          2 of 4 (50 %) exist" in read.output
    told = json.loads(as_json.output)
    assert told["words"]["words_right"] == 1
    assert told["models"][0]["cases"] == 2
    assert WordsResult(**told["words"]).words_none_right == 1


@pytest.mark.model
def test_the_real_model_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps({"text": f"{DISK}\n{QUIET}", "runbook": "disk-full"}))

    result = CliRunner().invoke(llm, [str(path), "--json"])

    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["models"][0]
    assert found["model"] == "smollm2-135m"
    assert found["right"] == 1
    assert found["cited"] == found["cited_known"] > 0
    assert found["read_per_s"] > found["written_per_s"] > 0
    assert found["memory_bytes"] > 100_000_000
    assert found["cold_start_s"] > 0
