from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from logllm.errors import StateError
from logllm.explain.cache import CachedAnswer, ExplanationCache
from logllm.explain.checks import ModelAnswer


def answer(text: str = "x") -> CachedAnswer:
    return CachedAnswer(ModelAnswer("none", ["E1"], "info", text), {"": -1.5})


def test_an_answer_survives_a_restart(tmp_path: Path) -> None:
    first = ExplanationCache(tmp_path / "logllm.db")
    first.put("k", answer("kept"))
    first.close()

    second = ExplanationCache(tmp_path / "logllm.db")

    assert second.get("k") == answer("kept")
    assert second.get("other") is None
    second.close()
    second.close()


def test_the_oldest_go_first() -> None:
    now = [0.0]
    cache = ExplanationCache(max_rows=3, clock=lambda: now[0])
    for number in range(5):
        now[0] = float(number)
        cache.put(f"k{number}", answer())

    assert len(cache) == 3
    assert cache.get("k1") is None
    assert cache.get("k4") == answer()
    cache.close()


def test_an_entry_of_another_version_counts_as_none(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path / "db")
    cache.put("k", answer())
    database = sqlite3.connect(tmp_path / "db")
    database.execute("UPDATE explanation_cache SET answer = x'93010203'")
    database.commit()
    database.close()

    assert cache.get("k") is None
    cache.close()


def test_a_file_that_is_no_database_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)

    with pytest.raises(StateError, match="db: file is not a database"):
        ExplanationCache(tmp_path / "db")
    with pytest.raises(StateError, match="unable to open"):
        ExplanationCache(tmp_path / "no" / "folder" / "db")
