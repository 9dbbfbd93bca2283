"""Write docs/guarantees.md: each promise, how far it goes, and the tests that hold it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guarantees.md"

sys.path.insert(0, str(ROOT / "pipeline"))

if TYPE_CHECKING:
    from logllm.guarantees.promise import Promise

_HEAD = """<!-- Written by tools/guarantees.py from pipeline/logllm/guarantees/registry.py: change it there. -->

# Guarantees

What logllm promises, how far each promise goes, and the tests that hold it. You need not take our word for it:

    logllm guarantees --verify

runs a short form of each check on your own machine, in about a minute: it starts services of its own on free ports of
127.0.0.1 and in temporary folders, sends to them, kills them, and says what it saw. It needs neither root nor the
repository. `--folder DIR` puts the temporary folders on the disk that your sinks are on, `--only ID` checks one
promise, `--json` is for programs. The exit code is 1 where a promise is broken; what this machine does not let be
checked is said.
"""


def page(promises: tuple[Promise, ...]) -> str:
    """The whole page."""
    rows = ["| promise | in short |", "|---|---|"]
    rows += [f"| [{each.id}](#{each.id}) | {_first_words(each.sentence)} |" for each in promises]
    return "\n".join([_HEAD, *rows, "", *map(_section, promises)])


def _first_words(sentence: str) -> str:
    for mark in (":", ";", ", so that"):
        sentence = sentence.partition(mark)[0]
    return sentence.removesuffix(".")


def _section(promise: Promise) -> str:
    lines = [f"## {promise.id}", "", f"**{promise.sentence}**"]
    if promise.limits:
        lines[-1] += f" {promise.limits}"
    lines += ["", "Held by", ""]
    for test in promise.tests:
        path, _, name = test.partition("::")
        lines.append(f"- [{path.removeprefix('tests/')}](../{path}): `{name}`")
    if promise.short:
        lines += ["", f"The check on your machine: {promise.short[0].lower()}{promise.short[1:]}"]
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the page."""
    from logllm.guarantees.registry import PROMISES

    PAGE.write_text(page(PROMISES), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
