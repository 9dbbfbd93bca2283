"""Which runbook: how often BM25, words, the model and both are right, or answer "none" where none fits.

    python tests/bench/runbooks.py [--held-out] [MODEL...]

Per set of excerpts (`labelled.jsonl`: lines, `incidents.jsonl`: incidents; those that ship: incidents that nothing
was fitted on; `--held-out` measures those alone) and per model that is here. BM25 alone is measured twice: always its
first, and only from the score on that answers "none" as often as words do. Nothing else should use the machine:
seconds are the model's alone, for the excerpts that words leave open.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.errors import LogllmError
from logllm.evaluation.llm import CASES
from logllm.explain.model.client import ChatClient
from logllm.explain.model.models import ModelStore
from logllm.explain.model.server import ModelServer
from logllm.explain.runbooks.choice import (
    CANDIDATES,
    NEUTRAL,
    TITLE_TOKENS,
    choose,
    decided,
    question_of,
    scored_text,
    title_of,
)
from logllm.explain.runbooks.search import Catalogue, Match

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = Path(__file__).parents[1] / "explain" / "runbooks"
_BOTH = "words and the model"
_MODELS = ("smollm2-135m", "gemma3-270m")


class _Excerpt(NamedTuple):
    text: str
    right: frozenset[str]


class _Answers(NamedTuple):
    """What each way answers for one excerpt: an id, or None; and which it ranks first, whatever it answers."""

    right: frozenset[str]
    by_way: dict[str, str | None]
    first: dict[str, str]
    bm25: float


def main() -> int:
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    sets = ["heldout"] if "--held-out" in sys.argv[1:] else ["labelled", "incidents", "heldout"]
    done = 0
    with Catalogue.load() as catalogue:
        for name in wanted or _MODELS:
            try:
                path = ModelStore().path(name)
            except LogllmError as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            server = ModelServer(path, idle_s=0.0)
            with server.session() as endpoint:
                client = ChatClient(endpoint.base_url, endpoint.key, endpoint.model, deadline_s=120.0)
                titles = [title_of(book) for book in catalogue.by_id.values()]
                usual = dict(zip(titles, _scores(client, NEUTRAL, titles), strict=True))
                for each in sets:
                    _measure(f"{name}, {each}", _read(each), catalogue, client, usual)
            server.close()
            done += 1
    return 0 if done else 1


def _read(name: str) -> list[_Excerpt]:
    path = CASES if name == "heldout" else _FOLDER / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        _Excerpt(row["text"], frozenset([row["runbook"], *row.get("also", ())] if row["runbook"] else ()))
        for row in rows
    ]


def _scores(client: ChatClient, lines: str, titles: Sequence[str]) -> list[float]:
    return [
        score
        for first in range(0, len(titles), 30)
        for score in client.score(question_of(lines), titles[first : first + 30], max_tokens=TITLE_TOKENS)
    ]


def _measure(
    name: str, excerpts: Sequence[_Excerpt], catalogue: Catalogue, client: ChatClient, usual: dict[str, float]
) -> None:
    words_s = model_s = 0.0
    asked = 0
    answers = []
    for excerpt in excerpts:
        began = time.perf_counter()
        every = catalogue.search(excerpt.text, len(catalogue))
        words_s += time.perf_counter() - began
        matches = every[:CANDIDATES]
        plain = max(every, key=lambda match: match.bm25, default=None)
        words = choose(matches)
        both = words
        alone = words.ranked[0].runbook if words.ranked else None
        if not decided(matches):
            began = time.perf_counter()
            gains = _gains(client, excerpt.text, matches, usual)
            model_s += time.perf_counter() - began
            asked += 1
            both = choose(matches, gains)
            alone = matches[gains.index(max(gains))].runbook
        by_way = {
            "BM25 alone, always its first": plain.runbook.id if plain else None,
            "words": words.runbook.id if words.runbook else None,
            "the model's first of the words' four": alone.id if alone and words.runbook else None,
            _BOTH: both.runbook.id if both.runbook else None,
        }
        first = {way: choice.ranked[0].runbook.id for way, choice in (("words", words), (_BOTH, both)) if choice.ranked}
        answers.append(_Answers(excerpt.right, by_way, first, plain.bm25 if plain else 0.0))
    _add_threshold(answers)
    problems = sum(bool(answer.right) for answer in answers)
    print(
        f"\n{name}: {problems} with a runbook, {len(answers) - problems} without; "
        f"{1e3 * words_s / len(answers):.1f} ms by words, "
        f"{asked} left open, {model_s / max(1, asked):.2f} s each by the model"
    )
    for way in answers[0].by_way:
        right = sum(answer.by_way[way] in answer.right for answer in answers if answer.right)
        wrong = sum(answer.by_way[way] not in (None, *answer.right) for answer in answers if answer.right)
        none = sum(answer.by_way[way] is None for answer in answers if not answer.right)
        ranked = sum(answer.first.get(way, answer.by_way[way]) in answer.right for answer in answers if answer.right)
        print(
            f"  {way:38} first {ranked / problems:.3f}  right {right / problems:.3f}  wrong {wrong / problems:.3f}  "
            f"none {none / max(1, len(answers) - problems):.3f}"
        )


def _gains(client: ChatClient, text: str, matches: Sequence[Match], usual: dict[str, float]) -> list[float]:
    titles = [title_of(match.runbook) for match in matches]
    scores = _scores(client, scored_text(text.splitlines()), titles)
    return [score - usual[title] for score, title in zip(scores, titles, strict=True)]


def _add_threshold(answers: list[_Answers]) -> None:
    """BM25 with the lowest threshold that answers "none" as often as words do."""
    none = sum(answer.by_way["words"] is None for answer in answers if not answer.right)
    without = sorted(answer.bm25 for answer in answers if not answer.right)
    least = without[none - 1] if none else 0.0
    for answer in answers:
        first = answer.by_way["BM25 alone, always its first"]
        answer.by_way["BM25 alone, none below a threshold"] = first if answer.bm25 > least else None


if __name__ == "__main__":
    sys.exit(main())
