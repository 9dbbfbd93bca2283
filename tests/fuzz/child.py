"""One harness in a process of its own: `python tests/fuzz/child.py NAME guided|blind RUNS TIMEOUT_S MEMORY_MB`.

Guided is atheris, which watches what code an input reaches and keeps in `corpus/` what reaches something new. Blind
mutates what is kept there and watches nothing: it is five times as quick, and the memory it takes is logllm's own.
`tools/fuzz.py` starts both and reads the `stat::` lines at their end; an input that is a finding is left in a file.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

if TYPE_CHECKING:
    from tests.fuzz.inputs import Harness

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path("corpus")


def harness_of(name: str) -> Harness:
    """The harness, all that it imports late imported, and its seeds in the corpus."""
    harness = cast("Harness", importlib.import_module(f"tests.fuzz.fuzz_{name}"))
    CORPUS.mkdir(exist_ok=True)
    for number, seed in enumerate(harness.seeds()):
        (CORPUS / f"seed-{number:03}").write_bytes(seed)
        harness.check(seed)
    return harness


def guided(name: str, runs: int, timeout_s: int, memory_mb: int) -> None:
    """Fuzz with atheris; it ends this process."""
    import atheris

    with atheris.instrument_imports(include=["logllm"]):
        harness = harness_of(name)
    from tests.fuzz.inputs import TOKENS

    escaped = ["".join([f"\\x{byte:02x}" for byte in token]) for token in TOKENS]
    Path("words").write_text("".join([f'"{word}"\n' for word in escaped]), encoding="ascii")
    options = [f"-runs={runs}", f"-timeout={timeout_s}", f"-rss_limit_mb={memory_mb}", "-print_final_stats=1"]
    options += [f"-max_len={harness.MAX_BYTES}", "-dict=words"]
    atheris.Setup([sys.argv[0], *options, str(CORPUS)], harness.check)
    atheris.Fuzz()


def blind(name: str, runs: int, timeout_s: int, memory_mb: int) -> None:
    """Run mutations of what is in the corpus."""
    harness = harness_of(name)
    from tests.fuzz.inputs import mutated

    kept = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    chance = random.Random(os.urandom(16))
    most, slowest = harness.MAX_BYTES, 0.0
    # The alarm ends the process even inside a library; the input is in the file by then.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    current = os.open("current", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for number in range(runs):
        data = mutated(chance.choice(kept), chance, kept)[:most]
        os.pwrite(current, len(data).to_bytes(4, "little") + data, 0)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        started = time.perf_counter()
        try:
            harness.check(data)
        except Exception:
            _leave("crash", data)
            raise
        slowest = max(slowest, time.perf_counter() - started)
        if number % 1000 == 0 and _peak_mb() > memory_mb:
            _leave("oom", data)
            _stop(f"more than {memory_mb} MB")
    signal.setitimer(signal.ITIMER_REAL, 0)
    Path("current").unlink()
    print(f"stat::number_of_executed_units: {runs}\nstat::peak_rss_mb: {_peak_mb()}")
    print(f"stat::slowest_unit_time_sec: {int(slowest)}")


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _leave(what: str, data: bytes) -> None:
    Path(f"{what}-{hashlib.sha256(data).hexdigest()[:40]}").write_bytes(data)


def _stop(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT)]
    {"guided": guided, "blind": blind}[sys.argv[2]](sys.argv[1], *map(int, sys.argv[3:]))
