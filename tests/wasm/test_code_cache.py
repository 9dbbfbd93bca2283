from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logllm.wasm import code_cache, engine

CODE = b"""(module (memory (export "memory") 1) (func (export "f") (result i32) (i32.const 42)))"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A code cache of this test's own."""
    code_cache._say_once.cache_clear()
    path = tmp_path / "code"
    monkeypatch.setenv("LOGLLM_CODE_CACHE", str(path))
    return path


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_module_is_compiled_once_and_then_taken_from_the_cache(folder: Path) -> None:
    engine.module(CODE)
    (kept,) = files(folder)
    written = kept.read_bytes()
    os.utime(kept, (1, 1))

    again = engine.module(CODE)

    assert engine.functions(again) == {"f": ([], ["i32"])}
    assert files(folder) == [kept]
    assert kept.read_bytes() == written
    assert kept.stat().st_mtime > 1  # it is marked as used
    assert kept.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_other_code_and_another_stack_are_other_files(folder: Path) -> None:
    engine.module(CODE)
    engine.module(CODE + b" ")
    engine.module(CODE, 65_536)

    assert len(files(folder)) == 3


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "nearly whole", "zeros"])
def test_a_damaged_file_is_compiled_anew_and_replaced(folder: Path, damage: str) -> None:
    engine.module(CODE)
    (kept,) = files(folder)
    whole = kept.read_bytes()
    damaged = {
        "empty": b"",
        "garbage": b"\x90" * 5000,
        "half": whole[: len(whole) // 2],
        "nearly whole": whole[:-1],
        "zeros": bytes(len(whole)),
    }
    kept.write_bytes(damaged[damage])

    found = engine.module(CODE)

    assert engine.functions(found) == {"f": ([], ["i32"])}
    assert kept.read_bytes() == whole


def test_every_cut_of_a_file_is_noticed(folder: Path) -> None:
    engine.module(CODE)
    (kept,) = files(folder)
    whole = kept.read_bytes()

    for size in range(0, len(whole), len(whole) // 40):
        kept.write_bytes(whole[:size])
        engine.module(CODE)
        assert kept.read_bytes() == whole


def test_code_that_another_may_have_written_is_not_run(folder: Path) -> None:
    engine.module(CODE)
    (kept,) = files(folder)
    kept.write_bytes(b"never read")
    kept.chmod(0o666)

    engine.module(CODE)

    assert kept.read_bytes() != b"never read"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_cache_is_not_followed(folder: Path, tmp_path: Path) -> None:
    engine.module(CODE)
    (kept,) = files(folder)
    elsewhere = tmp_path / "elsewhere"
    kept.rename(elsewhere)
    kept.symlink_to(elsewhere)

    engine.module(CODE)

    assert not kept.is_symlink()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o750, 0o701, 0o1777])
def test_a_folder_that_others_can_enter_is_not_used(folder: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir()
    folder.chmod(mode)

    engine.module(CODE)

    assert code_cache.code_dir() is None
    assert files(folder) == []
    assert "expected a folder of mode 700, our own" in caplog.text


def test_a_folder_below_one_that_anyone_can_change_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code_cache._say_once.cache_clear()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("LOGLLM_CODE_CACHE", str(shared / "code"))

    engine.module(CODE)

    assert code_cache.code_dir() is None
    assert list((shared / "code").iterdir()) == []
    assert "others may put another in its place" in caplog.text


def test_a_folder_that_is_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(0o700)
    folder.symlink_to(real)

    engine.module(CODE)

    assert list(real.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a folder of another owner")
def test_a_folder_of_another_owner_is_not_used(folder: Path) -> None:
    folder.mkdir(0o700)
    os.chown(folder, 12_345, 12_345)

    assert code_cache.code_dir() is None


def test_no_cache_is_kept_where_it_is_switched_off_or_cannot_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    code_cache._say_once.cache_clear()
    file = tmp_path / "file"
    file.touch()

    monkeypatch.setenv("LOGLLM_CODE_CACHE", "")
    off = code_cache.code_dir()
    monkeypatch.setenv("LOGLLM_CODE_CACHE", str(file / "below"))
    impossible = code_cache.code_dir()
    monkeypatch.setenv("LOGLLM_CODE_CACHE", "~no_such_user_at_all/code")
    homeless = code_cache.code_dir()

    assert (off, impossible, homeless) == (None, None, None)
    assert len(caplog.messages) == 2
    assert engine.functions(engine.module(CODE))


def test_without_a_name_the_cache_is_below_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOGLLM_CODE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert code_cache.code_dir() == tmp_path / "logllm" / "code"


def test_a_full_disk_costs_the_cache_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    assert engine.functions(engine.module(CODE))
    assert files(folder) == []


def test_old_files_make_room_and_what_was_left_half_written_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "KEPT_FILES", 3)
    folder.mkdir(0o700)
    left, being_written, foreign = folder / ".new-left", folder / ".new-now", folder / "README"
    for path in (left, being_written, foreign):
        path.touch()
    os.utime(left, (1, 1))
    os.utime(foreign, (1, 1))
    for age in range(5):
        (folder / f"{age}.cwasm").touch()
        os.utime(folder / f"{age}.cwasm", (100 - age, 100 - age))

    engine.module(CODE)

    left_over = {path.name for path in files(folder)}
    assert {"README", ".new-now", "0.cwasm", "1.cwasm"} < left_over
    assert len(left_over) == 5


def test_processes_that_write_at_once_leave_one_whole_file(folder: Path) -> None:
    script = "import sys; from logllm.wasm import engine; engine.module(sys.stdin.buffer.read()); print('done')"
    root = Path(__file__).parents[2] / "pipeline"
    env = {"PYTHONPATH": str(root), "LOGLLM_CODE_CACHE": str(folder), "HOME": str(folder.parent)}
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        for _ in range(3)
    ]
    try:
        outputs = [child.communicate(CODE, timeout=120)[0] for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()

    (kept,) = files(folder)
    before = kept.read_bytes()
    engine.module(CODE)

    assert outputs == [b"done\n"] * 3
    assert kept.read_bytes() == before
