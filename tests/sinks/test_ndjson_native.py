from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from tests.sinks.odd_blocks import OddBlocks

HERE = Path(__file__).parent / "native"
TRANSCODE = Path(__file__).parents[2] / "pipeline" / "logllm" / "sinks" / "transcode"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-sanitize-recover=all")


def test_damaged_entries_make_the_transcoder_touch_nothing_it_should_not(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("needs gcc on x86-64, for its sanitizers")
    command = [compiler, "-DNATIVE", "-O1", "-g", "-march=x86-64-v2", *SANITIZE, f"-I{HERE}", f"-I{TRANSCODE}"]
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
    entries = [entry for seed in range(3000) for entry in OddBlocks(seed).entries()]
    starts = accumulate(map(len, entries[:-1]), initial=0)
    (tmp_path / "entries").write_bytes(b"".join(entries))
    (tmp_path / "starts").write_bytes(b"".join(start.to_bytes(4, sys.byteorder) for start in starts))

    done = subprocess.run(
        [tmp_path / "fuzz", "1", "100000", tmp_path / "entries", tmp_path / "starts"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert min(map(int, done.stdout.split())) > 20
