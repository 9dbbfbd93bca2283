"""One harness under atheris: `python tests/fuzz/child.py NAME [OPTION OF LIBFUZZER...]`.

A process of its own, since libFuzzer ends it. `tools/fuzz.py` starts it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tests.fuzz.inputs import Harness

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write the corpus and the dictionary, then fuzz until the options say it is enough."""
    import atheris

    name, *options = sys.argv[1:]
    sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT)]
    with atheris.instrument_imports(include=["logllm"]):
        harness = cast("Harness", importlib.import_module(f"tests.fuzz.fuzz_{name}"))
        from tests.fuzz.inputs import TOKENS

        folder = Path.cwd()
        (folder / "corpus").mkdir(exist_ok=True)
        for number, seed in enumerate(harness.seeds()):
            (folder / "corpus" / f"seed-{number:03}").write_bytes(seed)
            # What is imported only when it is needed is wanted here, to be instrumented too.
            harness.check(seed)
    escaped = ["".join([f"\\x{byte:02x}" for byte in token]) for token in TOKENS]
    words = "".join([f'"{word}"\n' for word in escaped])
    (folder / "words").write_text(words, encoding="ascii")
    limits = [f"-max_len={harness.MAX_BYTES}", f"-dict={folder / 'words'}", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *limits, *options, str(folder / "corpus")], harness.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
