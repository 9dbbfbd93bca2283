"""Run each benchmark of tests/bench in a process of its own: `python tools/bench.py [NAME...]`.

A benchmark is a file with a docstring and a `main()` that prints its table.
"""

# ruff: noqa: S603 - the commands are ours
from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CALL = "import runpy, sys; got = runpy.run_path(sys.argv[1])['main'](); sys.exit(got if isinstance(got, int) else 0)"


def benchmarks(wanted: list[str]) -> list[tuple[Path, str]]:
    """The benchmarks' files with the first line of their docstrings, those `wanted` or all."""
    found = []
    for path in sorted((ROOT / "tests" / "bench").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        has_main = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
        if has_main and (not wanted or path.stem in wanted):
            found.append((path, (ast.get_docstring(tree) or "").partition("\n")[0]))
    return found


def main(wanted: list[str]) -> int:
    """The number of benchmarks that failed, at most 100."""
    found = benchmarks(wanted)
    if not found:
        print(f"no benchmark {' '.join(wanted)} in tests/bench".replace("  ", " "))
        return 1
    failed = 0
    for path, title in found:
        print(f"\n== {path.stem}: {title}", flush=True)
        status = subprocess.run([sys.executable, "-c", _CALL, str(path)], cwd=ROOT, check=False).returncode
        if status != 0:
            failed += 1
            print(f"{path.stem}: FAILED with exit code {status}", flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
