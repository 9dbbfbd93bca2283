from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS
from tests.sources.odd_entries import FILL, Odd

HERE = Path(__file__).parent / "native"
SCAN = Path(__file__).parents[2] / "pipeline" / "logllm" / "sources" / "scan"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-sanitize-recover=all")


def test_damaged_entries_make_the_scan_touch_nothing_it_should_not(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("needs gcc on x86-64, for its sanitizers")
    command = [compiler, "-DNATIVE", "-O1", "-g", "-march=x86-64-v2", *SANITIZE, f"-I{HERE}", f"-I{SCAN}"]
    built = subprocess.run(
        [*command, str(HERE / "fuzz.c"), "-o", str(tmp_path / "fuzz")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "cannot find -lasan" in built.stderr or "libasan" in built.stderr:
        pytest.skip("gcc's sanitizer libraries are not installed")
    assert built.returncode == 0, built.stderr
    groups = (MESSAGE_KEYS, SEVERITY_KEYS, SERVICE_KEYS)
    (tmp_path / "names").write_text("".join("\n".join(group) + "\n\n" for group in groups))
    entries = [entry for seed in range(300) for entry in Odd(seed).entries()]
    (tmp_path / "entries").write_bytes(b"".join(entries) + 20 * FILL)

    done = subprocess.run(
        [tmp_path / "fuzz", "1", "300000", tmp_path / "names", tmp_path / "entries"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert min(map(int, done.stdout.split())) > 1000
