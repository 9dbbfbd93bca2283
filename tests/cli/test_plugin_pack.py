"""`logllm plugin pack` and `verify` as a user runs them; what a package is, tests/filters/test_package.py says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from logllm.cli.plugin_new import create
from tests.cli.guests import logllm, wat_sdk


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sdk = wat_sdk(tmp_path)
    made = create("quiet", sdk, tmp_path)
    assert logllm("plugin", "build", made, "--sdk", sdk).exit_code == 0
    monkeypatch.chdir(tmp_path)
    return made


def test_pack_names_the_file_its_size_and_digest_and_verify_says_ok(project: Path, tmp_path: Path) -> None:
    packed = logllm("plugin", "pack", project)
    verified = logllm("plugin", "verify", "quiet-0.1.0.zip")

    content = (tmp_path / "quiet-0.1.0.zip").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert packed.stdout == f"quiet-0.1.0.zip: {len(content):,} bytes, sha256 {digest}\n"
    assert (verified.exit_code, verified.stdout) == (0, "ok: quiet 0.1.0, MIT, fluentbit\n")


def test_pack_goes_where_it_is_told_and_twice_gives_the_same(project: Path, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        assert logllm("plugin", "pack", project, "-o", tmp_path / name).exit_code == 0

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_changed_byte_is_one_line_and_exit_code_one(project: Path, tmp_path: Path) -> None:
    logllm("plugin", "pack", project)
    path = tmp_path / "quiet-0.1.0.zip"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"# quiet", b"# quilt"))

    done = logllm("plugin", "verify", path)

    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    assert "README.md" in line


def test_what_cannot_be_packed_or_written_says_why(project: Path, tmp_path: Path) -> None:
    nowhere = logllm("plugin", "pack", project, "-o", tmp_path / "no" / "such" / "x.zip")
    (project / "quiet.wasm").unlink()
    unbuilt = logllm("plugin", "pack", project)

    assert nowhere.exit_code == 1
    assert "x.zip: cannot be written: No such file or directory" in nowhere.stderr
    assert unbuilt.exit_code == 1
    assert "not built; expected `logllm plugin build` before `pack`" in unbuilt.stderr
