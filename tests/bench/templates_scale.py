"""What a million templates cost, and whether random texts fill memory.

    python tests/bench/templates_scale.py [TEMPLATES] [RANDOM_LINES]

First part: as many different texts of eight words as asked for (a million), none like another, from a hundred
services; the resident memory with them, how long a snapshot takes to make, to pack and to write, and to take back.
Second part: as many lines of random words as asked for (ten million), from one service, while another says what it
always says; the resident memory at each tenth.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from logllm.templates.miner import Miner

_WORDS = 20_000
_CHUNK = 5_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _vocabulary(source: random.Random) -> list[str]:
    return ["".join(source.choices(_LETTERS, k=source.randint(3, 11))) for _ in range(_WORDS)]


def many(templates: int) -> None:
    """Fill a miner with templates that stay apart, save it and take it back."""
    source = random.Random(1)
    words = _vocabulary(source)
    before = _resident_mb()
    miner = Miner(max_templates=templates + 1, max_new=templates)
    begun = time.perf_counter()
    for at in range(0, templates, _CHUNK):
        services = np.arange(at, at + _CHUNK, dtype=np.int32) % 100
        miner.ids([" ".join(source.choices(words, k=8)) for _ in range(_CHUNK)], services=services)
    filled_s = time.perf_counter() - begun
    print(f"{len(miner):,} templates in {filled_s:.1f} s; resident {before:.0f} MB before, {_resident_mb():.0f} MB now")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        state = miner.state()
        made_s = time.perf_counter() - begun
        packed = msgspec.msgpack.encode(state)
        packed_s = time.perf_counter() - begun
        path = Path(folder) / "state.msgpack"
        with path.open("wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        written_s = time.perf_counter() - begun
    print(
        f"state {made_s:.2f} s, packed by {packed_s:.2f} s, written by {written_s:.2f} s, {len(packed) / 1e6:.0f} MB; "
        f"resident {_resident_mb():.0f} MB with the snapshot"
    )
    del state
    template = miner.template(templates // 2)
    del miner
    gc.collect()  # it and its edits know each other
    begun = time.perf_counter()
    restored = Miner.restore(msgspec.msgpack.decode(packed))
    print(f"restored in {time.perf_counter() - begun:.2f} s")
    del packed
    assert restored.template(templates // 2) == template
    print(f"resident {_resident_mb():.0f} MB with the restored one")
    begun = time.perf_counter()
    for n in range(1_000):
        restored.named(f"rule {n % 500}")
        restored.template(restored.named(f"rule {n % 500}"))
    print(f"named and its template: {(time.perf_counter() - begun) * 1e3:.1f} us each")
    begun = time.perf_counter()
    restored.ids([" ".join(source.choices(words, k=8)) for _ in range(_CHUNK)])
    print(f"{_CHUNK:,} new texts in a full miner: {time.perf_counter() - begun:.2f} s")


def flood(lines: int) -> None:
    """Feed random words and watch the resident memory."""
    source = random.Random(2)
    words = [*_vocabulary(source), *_vocabulary(source)]
    miner = Miner()
    services = np.arange(_CHUNK, dtype=np.int32) % 2
    begun = time.perf_counter()
    for at in range(0, lines, _CHUNK):
        texts = [" ".join(source.choices(words, k=source.randint(1, 9))) for _ in range(_CHUNK // 2)]
        calm = [f"calm step {n} done" for n in range(_CHUNK // 2)]
        miner.ids([text for pair in zip(texts, calm, strict=True) for text in pair], services=services)
        miner.drain_changes()
        if (at + _CHUNK) % max(lines // 10, _CHUNK) < _CHUNK:
            print(
                f"{at + _CHUNK:12,} lines {time.perf_counter() - begun:7.0f} s resident {_resident_mb():6.0f} MB "
                f"{len(miner):8,} templates of {miner.size:8,} ever"
            )


if __name__ == "__main__":
    asked = [int(argument) for argument in sys.argv[1:3]]
    if not asked or asked[0]:
        many(asked[0] if asked else 1_000_000)
    if len(asked) > 1:
        flood(asked[1])
