"""What runs the harnesses: a table and 0, or what was found and 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.fuzz import fuzz

TOOL = Path(__file__).parents[2] / "tools" / "fuzz.py"


def run(*arguments: str, keep: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments, "--keep", str(keep)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_harness_is_run_as_often_as_was_asked_for_and_keeps_its_seeds(tmp_path: Path) -> None:
    done = run("--blind", "--runs", "300", "handshake", "receiver=200", keep=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 executions, 0 findings" in done.stdout
    assert list((tmp_path / "handshake" / "corpus").glob("seed-*"))
    assert not (tmp_path / "handshake" / "current").exists()


def test_an_unknown_harness_is_named_with_those_there_are(tmp_path: Path) -> None:
    done = run("--blind", "nonsense", keep=tmp_path)

    assert done.returncode == 2
    assert "no harness 'nonsense', expected NAME or NAME=RUNS of " in done.stdout


def test_a_process_that_raises_is_a_finding_with_its_input_kept(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text("open('crash-1', 'wb').write(b'x')\nraise ValueError('found')\n", encoding="utf-8")

    result = fuzz("any", 10, mode="blind", keep=tmp_path, child=child)

    assert result.findings == [str(tmp_path / "any" / "crash-1")]
    assert result.row().split()[-1] == "1"


def test_a_process_that_is_ended_by_the_alarm_is_a_finding_too(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import os, signal\n"
        "open('current', 'wb').write(b'\\3\\0\\0\\0abcrest of a longer one')\n"
        "os.kill(os.getpid(), signal.SIGALRM)\n",
        encoding="utf-8",
    )

    result = fuzz("any", 10, mode="blind", keep=tmp_path, child=child)

    (kept,) = result.findings
    assert Path(kept).name.startswith("timeout-")
    assert Path(kept).read_bytes() == b"abc"
