"""What few answers teach on labelled lines: BGL's 2,000 lines beside the checkout, whole, in parts and without levels.

    python tests/bench/lines.py [ANSWERS]

Reads ../shared/data/bgl/BGL_2k.labelled.csv; says so where it is absent. Prints precision, recall, F1 and answers for
the whole file, its halves in time, every run of seven eighths of it, random halves of its templates, and with other
problems: as many of its fatal templates chosen at random.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm.evaluation.lines import LabelledLine, LinesResult, labelled_lines, play
from logllm.events import Severity
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from collections.abc import Iterable

BGL = Path(__file__).parents[2] / ".." / "shared" / "data" / "bgl" / "BGL_2k.labelled.csv"
ANSWERS = 130
_ROUNDS = 30
_SEED = 1


def bgl(*, levels: bool = True) -> list[LabelledLine] | None:
    """The lines, or None where the file is not beside the checkout."""
    if not BGL.is_file():
        return None
    level = "Level" if levels else None
    return labelled_lines(BGL, label="Label", level=level, time="Timestamp", service="Component")


def by_template(lines: list[LabelledLine]) -> dict[int, list[LabelledLine]]:
    """The lines of each template as the miner knows them at the end."""
    miner = Miner()
    given = [int(miner.ids([line.text])[0]) for line in lines]
    found: dict[int, list[LabelledLine]] = {}
    for line, index in zip(lines, given, strict=True):
        found.setdefault(miner.canonical(index), []).append(line)
    return found


def half_of_templates(lines: list[LabelledLine], seed: int) -> list[LabelledLine]:
    """The lines of a random half of the templates."""
    templates = by_template(lines)
    chosen = random.Random(seed).sample(sorted(templates), len(templates) // 2)
    kept = {line.number for index in chosen for line in templates[index]}
    return [line for line in lines if line.number in kept]


def other_problems(lines: list[LabelledLine], seed: int) -> list[LabelledLine]:
    """A quarter of the fatal templates, chosen at random, are the problems."""
    templates = by_template(lines)
    fatal = [index for index in sorted(templates) if templates[index][0].severity >= Severity.FATAL]
    chosen = random.Random(seed).sample(fatal, len(fatal) // 4)
    problems = {line.number for index in chosen for line in templates[index]}
    return [replace(line, is_problem=line.number in problems) for line in lines]


def _show(name: str, results: Iterable[LinesResult]) -> None:
    found = [each for each in results if each.problems >= 10]
    print(
        f"{name:28} F1 {mean(each.f1 for each in found):.3f} (least {min(each.f1 for each in found):.3f})  "
        f"P {mean(each.precision for each in found):.3f}  R {mean(each.recall for each in found):.3f}  "
        f"answers {max(each.asked for each in found):3} at most  of {len(found)}"
    )


def main(answers: int = ANSWERS) -> int:
    """Print the table. Returns 0 also where there is nothing to measure."""
    for levels in (True, False):
        lines = bgl(levels=levels)
        if lines is None:
            print(f"not beside the checkout: {BGL}")
            return 0
        print(f"\n{'levels as they are' if levels else 'no levels'}")
        whole = play(lines, answers=answers)
        _show("whole", [whole])
        print(f"{'':28} {whole.alerts} alerts, {whole.alerts_per_day} a day, {whole.missed} templates missed")
        n = len(lines)
        _show("halves in time", [play(part, answers=answers) for part in (lines[: n // 2], lines[n // 2 :])])
        eighths = [lines[: n * k // 8] + lines[n * (k + 1) // 8 :] for k in range(8)]
        _show("without one eighth", [play(part, answers=answers) for part in eighths])
        seeds = range(_SEED, _SEED + _ROUNDS)
        _show("half of the templates", [play(half_of_templates(lines, seed), answers=answers) for seed in seeds])
        if levels:
            _show("other problems", [play(other_problems(lines, seed), answers=answers) for seed in seeds])
        for few in (10, 30, 60):
            _show(f"{few} answers", [play(lines, answers=few)])
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(each) for each in sys.argv[1:])))
