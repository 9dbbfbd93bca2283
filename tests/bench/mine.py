"""How fast messages find their template, as a ratio to `json.loads` on the same lines in the same run.

    python tests/bench/mine.py [RECORDS]

Reads the labelled logs beside the checkout (../shared/data/loghub); without them it mines lines made up here.
Lines come in chunks of 5,000. `known`: every text has been seen, numbers vary. `mix`: eight systems in turn, every
digit and every hexadecimal identifier random, from a cold start. Each figure is the best of three runs.
"""

from __future__ import annotations

import csv
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from logllm.templates.masks import mask
from logllm.templates.miner import Miner

_DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "loghub"
_CHUNK = 5_000
_RECORD_BYTES = 190
_HEX_TOKEN = re.compile(r"(?<![\w-])(?=[a-f-]*\d)[0-9a-f-]{12,}(?![\w-])")
_VARIABLE = re.compile(r"\S*\d\S*")


def _lines() -> list[str]:
    lines: list[str] = []
    for path in sorted(_DATA.glob("*/*_structured.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            lines += [row["Content"] for row in csv.DictReader(file)]
    if not lines:
        lines = [
            f"worker {n} {word} shard {n % 7} of request {n:016x}" for n in range(500) for word in ("took", "left")
        ]
    return lines


def _randomised(line: str, source: random.Random) -> str:
    def hexadecimal(found: re.Match[str]) -> str:
        return "".join(c if c == "-" else source.choice("0123456789abcdef") for c in found[0])

    line = _HEX_TOKEN.sub(hexadecimal, line)
    return "".join(source.choice("0123456789") if c.isdecimal() else c for c in line)


def _digits_changed(line: str, source: random.Random) -> str:
    return line.translate({48 + d: 48 + source.randrange(10) for d in range(10)})


def _seconds(run: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
    return best


def _mine(miner: Miner, chunks: list[list[str]]) -> None:
    for chunk in chunks:
        miner.ids(chunk)


def main(records: int = 200_000) -> dict[str, float]:
    """Print records a second and the ratio to `json.loads`; returns the ratios by name."""
    source = random.Random(1)
    lines = _lines()
    picked = [source.choice(lines) for _ in range(records)]
    mixed = [_randomised(line, source) for line in picked]
    known = [_digits_changed(line, source) for line in picked]
    encoded = []
    for line in picked:
        record = {"log": line, "level": "info", "host": "node-17", "ts": 1763840000.123}
        pad = _RECORD_BYTES - len(json.dumps(record)) - 10
        encoded.append(json.dumps({**record, "pad": "x" * max(pad, 0)}))
    warm = Miner()
    warm.ids(picked)
    warm.ids(known)
    mixed_chunks = [mixed[at : at + _CHUNK] for at in range(0, records, _CHUNK)]
    known_chunks = [known[at : at + _CHUNK] for at in range(0, records, _CHUNK)]
    some = records // 10
    seconds = {
        "json.loads": _seconds(lambda: [json.loads(line) for line in encoded]) / records,
        "known": _seconds(lambda: _mine(warm, known_chunks)) / records,
        "mix": _seconds(lambda: _mine(Miner(), mixed_chunks)) / records,
        "mask every line": _seconds(lambda: [mask(line) for line in mixed[:some]]) / some,
        "one regex every line": _seconds(lambda: [_VARIABLE.sub("<*>", line) for line in mixed[:some]]) / some,
    }
    ratios = {name: seconds["json.loads"] / each for name, each in seconds.items()}
    for name, each in seconds.items():
        print(f"{name:22} {1 / each:12,.0f} records/s {each * 1e6:8.2f} us {ratios[name]:7.1f} x json.loads")
    return ratios


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
