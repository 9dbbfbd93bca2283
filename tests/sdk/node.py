"""Where the compilers that come from npm are, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from logllm.filters.shipped import sdk

__all__ = ["CACHE", "Absent", "install_node_modules", "node_modules"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logllm"


class Absent(Exception):  # noqa: N818 - a reason to skip, no error
    """It cannot be had here; says why."""


def node_modules(language: str) -> Path:
    """The `node_modules` with what a language's template names: LOGLLM_NODE_MODULES, or installed once into the cache.

    Raises:
        Absent: npm is not there, or cannot.
    """
    wanted: dict[str, str] = json.loads((sdk(language) / "template/package.json").read_text())["devDependencies"]
    (name, version), *_ = wanted.items()
    named = os.environ.get("LOGLLM_NODE_MODULES", "")
    if named and (Path(named) / name).is_dir():
        return Path(named)
    kept = CACHE / f"{name}-{version}"
    if not (kept / "node_modules" / name).is_dir():
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise Absent("no node or npm on the PATH")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            (Path(scratch) / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
            command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            made = subprocess.run(command, cwd=scratch, capture_output=True, timeout=300, check=False)
            if made.returncode:
                raise Absent(f"npm cannot install {name}: {made.stderr.decode()[-200:]}")
            shutil.copytree(scratch, kept, dirs_exist_ok=True, symlinks=True)
    return kept / "node_modules"


def install_node_modules(language: str) -> Path:
    """The same; skips the test where they are absent."""
    try:
        return node_modules(language)
    except Absent as reason:
        pytest.skip(str(reason))
