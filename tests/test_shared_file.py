"""A text file that people edit: whatever stands in its place, nobody waits for it and nothing is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from logllm.errors import ConfigError, LogllmError, StateError
from logllm.shared_file import SharedFile


def change_of(path: Path) -> None:
    SharedFile(path, 1_000).change(lambda text: text + "more\n")


def read_of(path: Path) -> None:
    SharedFile(path, 1_000).read()


@pytest.mark.parametrize("use", [read_of, change_of])
@pytest.mark.parametrize("what", ["pipe", "folder", "device", "loop", "too large", "no text"])
def test_what_is_no_file_of_text_is_refused_at_once_and_left_as_it_is(
    tmp_path: Path, what: str, use: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.toml"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what in ("device", "loop"):
        path.symlink_to("/dev/zero" if what == "device" else path)
    else:
        path.write_bytes(b"x" * 1_001 if what == "too large" else b"\xff")
    before = path.lstat()

    with pytest.raises(LogllmError, match=r"a\.toml: ") as caught:
        use(path)

    assert isinstance(caught.value, ConfigError | StateError)
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "a.toml", tmp_path / "a.toml"
    link.symlink_to(target)

    change_of(link)
    change_of(link)

    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "more\nmore\n"


def test_of_several_that_change_it_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    threads = [threading.Thread(target=change_of, args=(path,)) for _ in range(20)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert SharedFile(path).read() == "more\n" * 20


def test_what_a_kill_while_writing_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    change_of(path)
    (tmp_path / ".a.toml.new").write_text("hal", encoding="utf-8")

    change_of(path)

    assert SharedFile(path).read() == "more\nmore\n"
    assert list(tmp_path.iterdir()) == [path]
