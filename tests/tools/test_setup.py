from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`tools/setup.py` with its log in a folder of this test."""
    spec = importlib.util.spec_from_file_location("tools_setup", TOOLS / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOG", tmp_path / "setup.log")
    return module


def test_the_compile_is_shown_as_a_percentage_whatever_builds_it(setup: ModuleType) -> None:
    activity = setup.Activity()

    said = []
    for line in (
        "Collecting llama-cpp-python==0.3.36\n",
        "  Downloading llama_cpp_python-0.3.36.tar.gz (76.6 MB)\n",
        "Progress 19150000 of 76600000\n",
        "  *** Configuring CMake...\n",
        "  [35/140] Building CXX object vendor/llama.cpp/src/llama.cpp.o\n",
        "  [ 71%] Building CXX object vendor/llama.cpp/src/llama.cpp.o\n",
        "  some compiler warning [1/2\n",
    ):
        activity.read(line)
        said.append(activity.text)

    assert said == [
        "finding llama-cpp-python==0.3.36",
        "downloading llama_cpp_python-0.3.36.tar.gz",
        "downloading llama_cpp_python-0.3.36.tar.gz, 25 %",
        "configuring the compiler",
        "compiling, 35 of 140 files (25 %)",
        "compiling, 71 %",
        "compiling, 71 %",
    ]


def test_a_step_that_fails_shows_its_last_lines_and_names_the_log(
    setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    talks = "import sys\nfor n in range(50): print('line', n)\nsys.exit(3)"

    done = setup.Step("2/3 a step").run([sys.executable, "-c", talks])

    shown = capsys.readouterr().out
    assert done is False
    assert "2/3 a step: FAILED" in shown
    assert "    line 20\n" in shown
    assert "    line 19\n" not in shown
    assert f"all of them in {setup.LOG}" in shown
    assert "line 0\n" in setup.LOG.read_text()


def test_a_step_that_succeeds_is_one_line_more_and_no_output(
    setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    done = setup.Step("1/3 a step").run([sys.executable, "-c", "print('chatter')"])

    assert done is True
    assert capsys.readouterr().out == "1/3 a step ...\n1/3 a step: done (0 s)\n"


def find_python(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(TOOLS / "find_python.sh")], capture_output=True, text=True, env=env, check=False, timeout=60
    )


def test_the_python_asked_for_is_used_or_refused_by_its_name() -> None:
    base = sys.executable if sys.prefix == sys.base_prefix else str(Path(sys.base_prefix) / "bin" / "python3")

    good = find_python(PATH=os.environ["PATH"], LOGLLM_PYTHON=base)
    bad = find_python(PATH=os.environ["PATH"], LOGLLM_PYTHON="false")

    assert good.stdout == f"{base}\n"
    assert bad.returncode == 1
    assert bad.stderr == "LOGLLM_PYTHON=false: expected a Python 3.11, 3.12 or 3.13 with venv and ensurepip\n"


def test_a_python_that_cannot_make_an_environment_is_named_with_what_is_missing(tmp_path: Path) -> None:
    # Debian without python3-venv: the interpreter runs, ensurepip is not there.
    for name in ("sh", "which"):
        (tmp_path / name).symlink_to(next(p for d in ("/bin", "/usr/bin") if (p := Path(d) / name).exists()))
    python = tmp_path / "python3.11"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n')
    python.chmod(0o755)

    found = find_python(PATH=str(tmp_path))

    assert found.returncode == 1
    assert "python3.11 cannot make a virtual environment" in found.stderr
    assert "python3-venv" in found.stderr
