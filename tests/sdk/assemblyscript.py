"""Where the compiler of AssemblyScript comes from in tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from logllm.filters.shipped import sdk

__all__ = ["install_node_modules"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logllm"


def install_node_modules() -> Path:
    """The template's compiler, installed once into a cache folder; skips where npm cannot."""
    named = os.environ.get("LOGLLM_NODE_MODULES", "")
    if named and (Path(named) / "assemblyscript").is_dir():
        return Path(named)
    wanted = json.loads((sdk("assemblyscript") / "template/package.json").read_text())["devDependencies"]
    kept = CACHE / f"assemblyscript-{wanted['assemblyscript']}"
    if not (kept / "node_modules/assemblyscript").is_dir():
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            pytest.skip("no node or npm on the PATH")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            (Path(scratch) / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
            command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
            made = subprocess.run(command, cwd=scratch, capture_output=True, timeout=300, check=False)
            if made.returncode:
                pytest.skip(f"npm cannot install assemblyscript: {made.stderr.decode()[-200:]}")
            shutil.copytree(scratch, kept, dirs_exist_ok=True, symlinks=True)
    return kept / "node_modules"
