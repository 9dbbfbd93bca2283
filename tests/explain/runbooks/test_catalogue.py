"""The shipped runbooks: well formed, safe at three in the morning, and found by lines they were not written from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from logllm.evaluation.llm import CASES, read_cases
from logllm.explain.runbooks.search import Catalogue, Runbook, commands_of, parse_runbook

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "pipeline/logllm/explain/runbooks/catalogue"
FILES = sorted(FOLDER.glob("*.md"))
OWNERS = {"security", "platform", "database", "network", "application"}
# What nobody should paste in the middle of the night, whatever the trouble is.
NEVER = (
    r"\brm -rf\b",
    r"chmod (?:-R )?0?777",
    r"setenforce 0",
    r"FLUSHALL",
    r"\bmkfs(?:\.\w+)? /dev",
    r"\bdd if=",
    r"--no-verify|verify=False|curl -k\b",
    r"StrictHostKeyChecking[ =]no",
    r"iptables -F",
    r"DROP (?:TABLE|DATABASE)",
    r"pg_resetwal",
    r"kubectl delete (?:ns|namespace|pvc|pv)\b",
    r"wget [^`]*\| *(?:ba)?sh|curl [^`]*\| *(?:ba)?sh",
)
# By words alone, measured on the labelled lines and incidents: top-1 0.99, right 0.99, wrong 0.01, none 0.95. They were
# at hand when the signals were written: only the held-out incidents say what to expect of others. The floors leave room
# for a few excerpts of each kind, not more.
TOP_1, TOP_5 = 0.96, 0.99
BEST_RIGHT, BEST_WRONG, NONE_RIGHT = 0.95, 0.03, 0.9
HELD_OUT_RIGHT, HELD_OUT_NONE = 0.85, 0.85


class Labelled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An excerpt, the runbook a person chose for it, None where none of ours fits, and what would be right too."""

    text: str
    runbook: str | None
    also: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    with Catalogue.load() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def labelled() -> list[Labelled]:
    return [*read("labelled.jsonl"), *read("incidents.jsonl")]


def read(name: str) -> list[Labelled]:
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [msgspec.json.decode(line, type=Labelled) for line in lines]


def _parsed(path: Path) -> Runbook:
    return parse_runbook(path.read_text(), str(path))


def test_there_are_at_least_forty_runbooks_and_each_has_an_id_of_its_own(catalogue: Catalogue) -> None:
    assert len(FILES) >= 40
    assert sorted(catalogue.by_id) == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_runbook_parses_and_is_named_as_its_file(path: Path) -> None:
    runbook = _parsed(path)

    assert runbook.id == path.stem
    assert runbook.owner in OWNERS
    assert 15 <= len(runbook.signals) <= 120
    assert 3 <= len(runbook.steps) <= 6
    assert len(runbook.checks) >= 3
    assert 25 <= len(path.read_text().splitlines()) - len(runbook.signals) <= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_runbook_has_whole_sentences_commands_in_backticks_and_no_link_to_the_outside(path: Path) -> None:
    runbook, text = _parsed(path), path.read_text()

    outside = [
        url
        for url in re.findall(r"https?://\S+|www\.\S+", text)
        if not re.match(r"https?://(?:[A-Z]+|127\.0\.0\.1)", url)
    ]

    assert outside == []
    assert text.isascii()
    assert text.count("`") % 2 == 0
    assert len(commands_of(runbook)) >= 3
    assert re.match(r"[A-Za-z].{20,}?[.]( |$)", runbook.what), runbook.what


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_step_tells_anybody_to_run_what_destroys_more_than_it_mends(path: Path) -> None:
    runbook = _parsed(path)

    found = [
        (rule, step)
        for step in runbook.steps
        for rule in NEVER
        for _ in re.finditer(rule, step)
        if not _forbidden(rule, step)
    ]

    assert found == []


def _forbidden(rule: str, step: str) -> bool:
    """Whether the step names the command only to say that it must not be run."""
    return re.search(rf"(?:[Nn]ever|[Dd]o not run) `[^`]*(?:{rule})", step) is not None


def test_no_two_runbooks_claim_the_same_words(catalogue: Catalogue) -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for runbook in catalogue.by_id.values():
        for signal in runbook.signals:
            owners[re.sub(r"[^a-z0-9]+", " ", signal.lower()).strip()].append(runbook.id)

    shared = {signal: ids for signal, ids in owners.items() if len(ids) > 1}

    assert shared == {}


def test_each_signal_on_a_line_of_its_own_leads_to_its_runbook(catalogue: Catalogue) -> None:
    signals = [(signal, runbook.id) for runbook in catalogue.by_id.values() for signal in runbook.signals]

    lost = [
        (signal, owner) for signal, owner in signals if owner not in [m.runbook.id for m in catalogue.search(signal, 3)]
    ]
    first = sum(
        catalogue.search(signal, 1)[0].runbook.id == owner for signal, owner in signals if catalogue.search(signal, 1)
    )

    assert lost == []
    assert first / len(signals) > 0.96


def test_the_labelled_incidents_are_many_of_several_lines_and_cover_every_runbook(catalogue: Catalogue) -> None:
    incidents = read("incidents.jsonl")

    counts = Counter(row.runbook for row in incidents)

    assert len({row.text for row in incidents}) == len(incidents) >= 120
    assert counts[None] >= 60
    assert {book for book in catalogue.by_id if counts[book] < 3} == set()
    assert set(counts) - {None} == set(catalogue.by_id)
    assert all(2 <= len(row.text.splitlines()) <= 8 for row in incidents)


def test_search_finds_the_right_runbook(catalogue: Catalogue, labelled: list[Labelled]) -> None:
    problems = [row for row in labelled if row.runbook is not None]

    ranked = [([match.runbook.id for match in catalogue.search(row.text, 5)], row.runbook) for row in problems]
    first = sum(ids[:1] == [wanted] for ids, wanted in ranked) / len(ranked)
    among_five = sum(wanted in ids for ids, wanted in ranked) / len(ranked)

    assert first >= TOP_1, f"top-1 {first:.3f}"
    assert among_five >= TOP_5, f"top-5 {among_five:.3f}"


def test_best_rather_says_none_than_something_wrong(catalogue: Catalogue, labelled: list[Labelled]) -> None:
    chosen = [(row.runbook, found.id if (found := catalogue.best(row.text)) else None) for row in labelled]

    problems = [(wanted, got) for wanted, got in chosen if wanted is not None]
    right = sum(wanted == got for wanted, got in problems) / len(problems)
    wrong = sum(got not in (wanted, None) for wanted, got in problems) / len(problems)
    left_alone = sum(got is None for wanted, got in chosen if wanted is None) / (len(chosen) - len(problems))

    assert right >= BEST_RIGHT, f"right {right:.3f}"
    assert wrong <= BEST_WRONG, f"wrong {wrong:.3f}"
    assert left_alone >= NONE_RIGHT, f"ordinary lines left alone {left_alone:.3f}"


def test_incidents_that_were_held_out_find_their_runbook_or_none_by_words_alone(catalogue: Catalogue) -> None:
    rows = read_cases(CASES)

    chosen = [(row, found.id if (found := catalogue.best(row.text)) else None) for row in rows]
    problems = [got in (row.runbook, *row.also) for row, got in chosen if row.runbook is not None]
    left_alone = [got is None for row, got in chosen if row.runbook is None]

    assert sum(problems) / len(problems) >= HELD_OUT_RIGHT
    assert sum(left_alone) / len(left_alone) >= HELD_OUT_NONE
