"""The state file: whole or not at all, and never overwritten when it cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.checkpoint import STATE_VERSION, load, save, set_aside
from logllm.errors import StateError

MAGIC = b"logllm-state\n"
STATE: dict[str, Any] = {"version": STATE_VERSION, "bytes": b"\0\xff", "rows": [1, 2.5, None, "ü"], "deep": {"a": [{}]}}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "state.msgpack"

    save(path, STATE)

    assert load(path) == STATE
    assert [file.name for file in path.parent.iterdir()] == ["state.msgpack"]


def test_where_there_is_no_file_there_is_no_state(tmp_path: Path) -> None:
    assert load(tmp_path / "state.msgpack") is None


def test_a_save_that_fails_leaves_the_state_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state.msgpack"
    save(path, STATE)
    (tmp_path / "state.msgpack.new").mkdir()

    with pytest.raises(StateError, match="cannot save"):
        save(path, STATE | {"rows": []})

    assert load(path) == STATE


def test_a_save_cut_short_by_a_crash_is_not_taken_for_the_state(tmp_path: Path) -> None:
    path = tmp_path / "state.msgpack"
    save(path, STATE)
    (tmp_path / "state.msgpack.new").write_bytes(MAGIC + b"\x81")

    assert load(path) == STATE
    save(path, STATE | {"rows": [9]})
    assert load(path) == STATE | {"rows": [9]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"something else entirely",
        MAGIC,
        MAGIC + b"\xc1",
        MAGIC + msgspec.msgpack.encode([1, 2]),
        MAGIC + msgspec.msgpack.encode(STATE)[:-3],
        MAGIC + msgspec.msgpack.encode(STATE) + b"\0",
        MAGIC + b"\x81\xa1\xff\x01",
        MAGIC + b"\x91" * 200_000,
    ],
    ids=["empty", "foreign", "bare", "invalid", "array", "cut", "longer", "utf8", "deep"],
)
def test_a_damaged_file_is_refused_and_kept_beside(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "state.msgpack"
    path.write_bytes(body)

    with pytest.raises(StateError, match=r"state\.msgpack.*kept as state\.msgpack\.damaged") as error:
        load(path)

    assert "\n" not in str(error.value)
    assert (tmp_path / "state.msgpack.damaged").read_bytes() == body
    assert load(path) is None


@pytest.mark.parametrize("version", [0, STATE_VERSION + 1, None, "1"])
def test_a_file_of_another_version_is_refused_and_kept_beside(tmp_path: Path, version: object) -> None:
    path = tmp_path / "state.msgpack"
    save(path, STATE | {"version": version})

    with pytest.raises(StateError, match="version"):
        load(path)

    assert (tmp_path / "state.msgpack.damaged").exists()


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_bytes_raise_anything_but_state_error(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, ours: bool
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.msgpack"
    path.write_bytes(MAGIC + body if ours else body)

    with pytest.raises(StateError):
        load(path)


def test_a_folder_in_its_place_and_a_place_below_a_file_are_state_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StateError, match="cannot read"):
        load(tmp_path)
    with pytest.raises(StateError, match="cannot save"):
        save(tmp_path / "file" / "state.msgpack", STATE)


def test_a_file_that_cannot_be_renamed_stays_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.msgpack"
    path.write_bytes(b"?")
    (tmp_path / "state.msgpack.damaged").mkdir()
    (tmp_path / "state.msgpack.damaged" / "full").write_text("x")

    said = set_aside(path)

    assert said.startswith("it stays where it is")
    assert path.exists()


def test_the_file_can_be_read_by_its_owner_after_a_save(tmp_path: Path) -> None:
    path = tmp_path / "state.msgpack"

    save(path, STATE)

    assert os.access(path, os.R_OK)
    assert path.read_bytes().startswith(MAGIC)
