from __future__ import annotations

import os
from pathlib import Path

import pytest

from logllm.filters.config import Limits
from logllm.filters.life import saved
from logllm.filters.life.saved import Kept, Saved


def test_tenants_that_senders_make_up_do_not_fill_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_FILES", 5)
    files = Saved(tmp_path, "guest")

    for number in range(20):
        kept = Kept("guest", f"tenant {number}", b"state")
        assert files.save(kept, Kept("guest", kept.tenant))
        path = files.path(kept.tenant)
        assert path is not None
        os.utime(path, (number, number))

    left = [number for number in range(20) if files.load(f"tenant {number}", Limits()).state]
    assert left == [15, 16, 17, 18, 19]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_tenant_that_is_known_makes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_FILES", 2)
    files = Saved(tmp_path, "guest")
    nothing = [Kept("guest", name) for name in ("a", "b")]
    for one in nothing:
        files.save(Kept("guest", one.tenant, b"1"), one)

    files.save(Kept("guest", "a", b"2"), nothing[0])

    assert [files.load(name, Limits()).state for name in ("a", "b")] == [b"2", b"1"]
