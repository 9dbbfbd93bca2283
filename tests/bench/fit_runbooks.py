"""Fit the weights by which words choose a runbook, and print them: half a minute.

The labelled excerpts were at hand when the catalogue's signals were written, so that with all signals nearly all are
found and nothing is learnt from them. Each is therefore searched in catalogues that lack a part of their signals, drawn
by chance, as an excerpt that nobody thought of would be. Excerpts without a runbook count twice, and every excerpt is
searched once more, at less weight, in a catalogue without its own runbook, where "none" is right. The held-out
incidents are not read.

What is printed below the weights is measured by five folds, split by runbook, in other catalogues with missing signals.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.explain.runbooks.file import read_folders
from logllm.explain.runbooks.search import Catalogue
from logllm.explain.runbooks.weights import WEIGHTS
from tests.explain.runbooks.cases import CASES, UNRELATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FOLDER = Path(__file__).parents[1] / "explain" / "runbooks"
_CANDIDATES = 12
_FOLDS = 5
_CATALOGUES = 3
_MISSING = 0.6
_NONE_WEIGHT = 2.0
_WITHOUT_OWN_WEIGHT = 0.3
_L2 = 0.5
# Fitted as it is, "none" is right far oftener than it must be, and a runbook too seldom.
_RAISED = 1.0


class _Row(NamedTuple):
    text: str
    runbook: str | None
    fold: int


class _Seen(NamedTuple):
    """An excerpt as one catalogue sees it: the signs of its candidates, which is right (-1: none), its weight."""

    ids: list[str]
    signs: NDArray[np.float64]
    right: int
    weight: float
    row: _Row


def main() -> int:
    rows = _rows()
    chance = random.Random(0)
    seen = [each for _ in range(_CATALOGUES) for each in _see(rows, _MISSING, chance)]
    weights = _fit(seen)
    weights[0] += _RAISED
    print("WEIGHTS =", tuple(round(float(weight), 2) for weight in weights))
    by_fold = [_fit([each for each in seen if each.row.fold != fold]) for fold in range(_FOLDS)]
    for missing in (0.0, 0.5, 0.75):
        _report(missing, _see(rows, missing, random.Random(99)), by_fold)
    return 0


def _rows() -> list[_Row]:
    chance = random.Random(1)
    ids = sorted({runbook.id for runbook in read_folders()})
    given: list[tuple[str, str | None]] = [(text, right[0]) for text, right in CASES]
    given.extend((text, None) for text in UNRELATED)
    for name in ("labelled", "incidents"):
        lines = (_FOLDER / f"{name}.jsonl").read_text().splitlines()
        given.extend((row["text"], row["runbook"]) for row in map(json.loads, lines))
    return [
        _Row(text, right, ids.index(right) % _FOLDS if right else chance.randrange(_FOLDS)) for text, right in given
    ]


def _see(rows: Sequence[_Row], missing: float, chance: random.Random) -> list[_Seen]:
    books = [
        msgspec.structs.replace(
            book, signals=[signal for signal in book.signals if chance.random() >= missing] or book.signals[:1]
        )
        for book in read_folders()
    ]
    seen = []
    with Catalogue(books) as catalogue:
        for row in rows:
            found = catalogue.search(row.text, _CANDIDATES)
            ids = [match.runbook.id for match in found]
            signs = np.array([match.signs for match in found]).reshape(len(found), len(WEIGHTS))
            if row.runbook is None:
                seen.append(_Seen(ids, signs, -1, _NONE_WEIGHT, row))
            elif row.runbook in ids:
                right = ids.index(row.runbook)
                seen.append(_Seen(ids, signs, right, 1.0, row))
                others = [place for place in range(len(ids)) if place != right]
                seen.append(_Seen([ids[n] for n in others], signs[others], -1, _WITHOUT_OWN_WEIGHT, row))
            else:
                seen.append(_Seen(ids, signs, -1, 0.0, row))
    return seen


def _fit(seen: Sequence[_Seen]) -> NDArray[np.float64]:
    """Multinomial logistic regression over the candidates and none, whose log-odds are 0; no sign weighs below 0."""

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total = _L2 / 2 * float((weights[1:] ** 2).sum())
        slope = _L2 * weights
        slope[0] = 0.0
        for each in seen:
            if not len(each.signs) or not each.weight:
                continue
            odds = np.append(each.signs @ weights, 0.0)
            shares = np.exp(odds - odds.max())
            shares /= shares.sum()
            total -= each.weight * float(np.log(shares[each.right] + 1e-12))
            wrong = shares.copy()
            wrong[each.right] -= 1.0
            slope += each.weight * (each.signs.T @ wrong[:-1])
        return total, slope

    bounds = [(None, None), *[(0.0, None)] * (len(WEIGHTS) - 1)]
    found = minimize(loss, np.array(WEIGHTS), jac=True, method="L-BFGS-B", bounds=bounds)
    weights: NDArray[np.float64] = found.x
    return weights


def _report(missing: float, seen: Sequence[_Seen], by_fold: Sequence[NDArray[np.float64]]) -> None:
    right = wrong = none = problems = others = 0
    for each in seen:
        if each.weight == _WITHOUT_OWN_WEIGHT:
            continue
        odds = each.signs @ by_fold[each.row.fold] + _RAISED if len(each.signs) else np.array([-1.0])
        best = int(np.argmax(odds))
        answer = each.ids[best] if odds[best] > 0.0 else None
        if each.row.runbook is None:
            others += 1
            none += answer is None
        else:
            problems += 1
            right += answer == each.row.runbook
            wrong += answer not in (None, each.row.runbook)
    print(
        f"{missing:.0%} of the signals missing: right {right / problems:.3f}, wrong {wrong / problems:.3f}, "
        f"none right {none / others:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
