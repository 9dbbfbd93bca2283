"""A language's page, followed as a newcomer would: its files written, its commands run, from an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["PAGES", "follow", "pieces"]

PAGES = Path(__file__).parents[2] / "docs" / "plugins"

# What fetches a toolchain is not run: whoever runs the tests has it, or they are skipped.
_FETCHES = re.compile(r"(pip|npm) install\b")


def pieces(page: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a page: language, text, and the file that the sentence before tells to put it in, or ""."""
    found = []
    for match in re.finditer(r"(?P<before>[^\n]*)\n\n```(?P<language>[a-z]+)\n(?P<text>.*?)```", page, re.DOTALL):
        named = re.search(r"[Pp]ut this in `([^`]+)`", match["before"])
        found.append((match["language"], match["text"], named[1] if named else ""))
    return found


def follow(name: str, folder: Path) -> list[str]:
    """Do what a page says, in a folder; what each block of commands printed. AssertionError where one failed."""
    tools = folder / ".tools"
    tools.mkdir()
    (tools / "logllm").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m logllm.cli "$@"\n')
    (tools / "logllm").chmod(0o755)
    source = Path(__file__).parents[2] / "pipeline"
    paths = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(source), "COLUMNS": "120"}
    said = []
    for language, text, path in pieces((PAGES / name).read_text(encoding="utf-8")):
        if path:
            (folder / path).write_text(text, encoding="utf-8")
        if language == "sh":
            lines = [line for line in text.splitlines() if not _FETCHES.match(line)]
            run = subprocess.run(
                ["sh", "-e", "-c", "\n".join(lines)],
                cwd=folder,
                env={**os.environ, **paths},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert run.returncode == 0, f"{text}{run.stdout}{run.stderr}"
            said.append(run.stdout)
    return said
