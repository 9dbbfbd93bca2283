"""Make the environment `.venv` with logllm, its development tools and llama.cpp, and show how far that is.

    python3.11 tools/setup.py

The whole output of pip goes to `.venv/setup.log`; on the screen is one line that is rewritten (a line every 20 s
where the output is no terminal). Standard library only: this runs before anything is installed.

llama.cpp is compiled from source, for some 5 to 15 minutes the first time; pip keeps the result in its cache. Where it
cannot be compiled logllm works without explanations: `.venv/.no-llm` then says why, and with CI=true it is an error.
"""

# ruff: noqa: S603 - the commands are ours
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from collections import deque
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "setup.log"
READY = VENV / ".ready"
NO_LLM = VENV / ".no-llm"

# Half the compile time: only the library is used, none of llama.cpp's own programs.
CMAKE_ARGS = (
    "-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF "
    "-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF"
)
MIN_PIP = (25, 1)  # --group
LINE_EVERY_S = 20

_NINJA = re.compile(r"^\s*\[(\d+)/(\d+)\]")
_MAKE = re.compile(r"^\s*\[\s*(\d+)%\]")
_BYTES = re.compile(r"^\s*Progress (\d+) of (\d+)")
_WORDS = (
    (re.compile(r"^\s*(?:Collecting|Processing) ([^\s]+)"), "finding {}"),
    (re.compile(r"^\s*Downloading (?:.*/)?([^\s/]+)"), "downloading {}"),
    (re.compile(r"^\s*Installing build dependencies"), "getting the build tools"),
    (re.compile(r"^\s*Building (?:wheel|editable) for ([^\s]+)"), "building {}"),
    (re.compile(r"^\s*\*\*\* Configuring CMake"), "configuring the compiler"),
    (re.compile(r"^\s*Installing collected packages"), "installing"),
)


class Activity:
    """What pip is doing now, read off its output line by line.

    >>> now = Activity()
    >>> now.read("  Downloading https://host/llama_cpp_python-0.3.36.tar.gz (76.6 MB)")
    >>> now.read("Progress 1000 of 4000")
    >>> now.text
    'downloading llama_cpp_python-0.3.36.tar.gz, 25 %'
    >>> now.read("  [12/240] Building CXX object src/llama.cpp.o")
    >>> now.text
    'compiling, 12 of 240 files (5 %)'
    """

    def __init__(self) -> None:
        self._doing = ""
        self.text = "starting"

    def read(self, line: str) -> None:
        """Take one line of pip's output."""
        if found := _NINJA.match(line):
            done, total = int(found[1]), max(1, int(found[2]))
            self.text = f"compiling, {done} of {total} files ({100 * done // total} %)"
        elif found := _MAKE.match(line):
            self.text = f"compiling, {found[1]} %"
        elif found := _BYTES.match(line):
            self.text = f"{self._doing}, {100 * int(found[1]) // max(1, int(found[2]))} %"
        else:
            for pattern, words in _WORDS:
                if found := pattern.match(line):
                    self._doing = self.text = words.format(*found.groups())
                    return


def _copy(output: IO[str], log: IO[str], activity: Activity, tail: deque[str]) -> None:
    for line in output:
        log.write(line)
        log.flush()
        activity.read(line)
        if not _BYTES.match(line):
            tail.append(line)


class Step:
    """One child process with a progress line; its output goes to the log."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rewrite = sys.stdout.isatty()
        self._began = time.monotonic()
        self._said = self._began

    def run(self, command: list[str], *, env: dict[str, str] | None = None) -> bool:
        """Whether the command succeeded. Its last 30 lines are shown where it did not."""
        print(f"{self._title} ...", end="" if self._rewrite else "\n", flush=True)
        activity, tail = Activity(), deque[str](maxlen=30)
        with LOG.open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            # A session of its own, so that Ctrl-C ends the compilers with it and not only pip.
            with subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            ) as child:
                assert child.stdout is not None  # noqa: S101 - opened with PIPE above
                reader = threading.Thread(target=_copy, args=(child.stdout, log, activity, tail), daemon=True)
                reader.start()
                try:
                    while reader.is_alive():
                        reader.join(0.5)
                        self._tell(activity.text)
                finally:
                    if reader.is_alive():
                        os.killpg(child.pid, signal.SIGTERM)
                        reader.join()
            status = child.returncode
        self._end("done" if status == 0 else "FAILED")
        if status != 0:
            print("".join(f"    {line}" for line in tail), end="")
            print(f"{self._title}: failed; the last {len(tail)} lines are above, all of them in {LOG}", flush=True)
        return status == 0

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if self._rewrite:
            columns = shutil.get_terminal_size().columns
            print(f"\r\x1b[2K{f'{self._title}: {self._elapsed()}, {text}'[: columns - 1]}", end="", flush=True)
        elif now - self._said >= LINE_EVERY_S:
            self._said = now
            print(f"    {self._elapsed()}, {text}", flush=True)

    def _end(self, word: str) -> None:
        start = "\r\x1b[2K" if self._rewrite else ""
        print(f"{start}{self._title}: {word} ({self._elapsed()})", flush=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def pip(*arguments: str) -> list[str]:
    """The command line of the environment's pip."""
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]


def pip_version() -> tuple[int, int]:
    """Major and minor of the environment's pip; (0, 0) where there is none that runs."""
    asked = subprocess.run(pip("--version"), capture_output=True, text=True, check=False)
    found = re.match(r"pip (\d+)\.(\d+)", asked.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def make_venv() -> bool:
    """Make `.venv` where it is missing, broken, of another folder or of a Python this is not for."""
    wanted = {"version": list(sys.version_info[:2]), "prefix": str(VENV)}
    asks = "import json, sys; print(json.dumps({'version': sys.version_info[:2], 'prefix': sys.prefix}))"
    if PYTHON.exists() and (VENV / "bin" / "pip").exists():
        asked = subprocess.run([str(PYTHON), "-c", asks], capture_output=True, text=True, check=False)
        script = (VENV / "bin" / "pip").read_text(encoding="utf-8", errors="replace").splitlines()[:2]
        if asked.returncode == 0 and json.loads(asked.stdout) == wanted and any(str(VENV) in line for line in script):
            return True
    print(f"making .venv with {sys.executable} ({sys.version.split()[0]})", flush=True)
    venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(VENV)
    return pip_version() > (0, 0)


def install_llm() -> bool:
    """Install the extra `llm`, which compiles llama.cpp where pip has it not in its cache."""
    if shutil.which("g++") is None and shutil.which("clang++") is None and shutil.which("c++") is None:
        print("no C++ compiler found: llama.cpp can only come from pip's cache (apt-get install build-essential)")
    env = dict(os.environ)
    env["CMAKE_ARGS"] = f"{CMAKE_ARGS} {env.get('CMAKE_ARGS', '')}".strip()
    print("llama.cpp writes the explanations; where pip has it not in its cache it is compiled now, for 5 to 15 min")
    if not Step("3/3 llama.cpp").run(
        pip("install", "--verbose", "--progress-bar", "raw", "--editable", ".[llm]"), env=env
    ):
        return False
    # A library built for another processor, or without its libgomp, installs well and fails here.
    return Step("    loading it").run([str(PYTHON), "-c", "import llama_cpp"])


def main() -> int:
    """Do the steps; the exit code."""
    os.environ.pop("PIP_USER", None)
    READY.unlink(missing_ok=True)
    NO_LLM.unlink(missing_ok=True)
    if not make_venv():
        print("no environment could be made in .venv")
        return 1
    LOG.write_text("", encoding="utf-8")
    if pip_version() < MIN_PIP and not Step("1/3 a newer pip").run(pip("install", "--upgrade", "pip>=25.1")):
        return 1
    install = pip("install", "--progress-bar", "raw", "--editable", ".[pyod]", "--group", "dev")
    if not Step("2/3 logllm and its development tools").run(install):
        return 1
    if not install_llm():
        NO_LLM.write_text(f"llama-cpp-python could not be installed, see {LOG}\n", encoding="utf-8")
        print("\n*** llama.cpp is missing: incidents come with facts and no explanation. `make setup` tries again.\n")
        if os.environ.get("CI") == "true":
            return 1
    READY.touch()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here")
        sys.exit(130)
