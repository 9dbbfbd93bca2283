"""What masking costs: ordinary lines and such with secrets, as multiples of reading a like line with json.loads.

    python tests/bench/redact.py

Prints microseconds a line, lines a second and the ratio. A masked line is one of an incident's evidence, never each
record, so this is no part of the way of a record. With the labelled logs beside the checkout their systems too.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from logllm.explain.redact.redactor import Redactor
from tests.explain.redact.corpus import positives
from tests.explain.redact.corpus_negatives import negatives

if TYPE_CHECKING:
    from collections.abc import Callable

LOGHUB = Path(__file__).parents[2] / ".." / "shared" / "data" / "loghub"
LINES = 2_000
ROUNDS = 5
LONGEST = 1_000
"""Characters: what is kept of a record for evidence."""


def _least_s(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of some rounds: the others waited for something else."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least


def _show(name: str, lines: list[str]) -> float:
    wrapped = [json.dumps({"time": "2026-01-05T10:00:00Z", "level": "info", "message": line}) for line in lines]
    reading_s = _least_s(lambda: [json.loads(text) for text in wrapped]) / len(lines)

    def mask() -> None:
        redactor = Redactor()
        for line in lines:
            redactor.mask(line)

    masking_s = _least_s(mask) / len(lines)
    print(
        f"{name:22} {1e6 * masking_s:8.1f} us  {1 / masking_s:9,.0f} lines/s  {masking_s / reading_s:6.1f} x json.loads"
    )
    return masking_s / reading_s


def main() -> int:
    """Print the table."""
    print(f"{'lines':22} {'a line':>11}  {'':17}  {'ratio':>8}")
    _show("resemble secrets", negatives(1, LINES))
    short = [one.text for one in positives(1) if len(one.text) <= LONGEST]
    _show("with secrets", short[:LINES])
    _show("private keys", [one.text for one in positives(1) if "PRIVATE KEY-----" in one.text])
    if not LOGHUB.is_dir():
        print(f"not beside the checkout: {LOGHUB}")
        return 0
    for path in sorted(LOGHUB.glob("*/*_2k.log")):
        _show(path.parent.name, path.read_text(encoding="utf-8", errors="replace").splitlines()[:LINES])
    return 0


if __name__ == "__main__":
    sys.exit(main())
