"""What is installed: the wheel has all that the repository has for users."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from logllm.filters.shipped import languages, shipped

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel built from what git knows."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "tests", "samples", "__pycache__", "build", "dist", "node_modules")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_every_plugin_that_ships_is_in_the_wheel(names: list[str]) -> None:
    for name in shipped():
        assert f"logllm/plugins/{name}/{name}.wasm" in names
        assert f"logllm/plugins/{name}/plugin.toml" in names


def test_every_sdk_is_in_the_wheel_whole(names: list[str]) -> None:
    ours = {
        f"logllm/plugins/{path.relative_to(ROOT / 'plugins').as_posix()}"
        for path in (ROOT / "plugins" / "sdk").rglob("*")
        if path.is_file() and "node_modules" not in path.parts and "__pycache__" not in path.parts
    }

    assert len(languages()) == 7
    assert {f"logllm/plugins/sdk/{language}/build.toml" for language in languages()} <= ours
    assert ours - set(names) == set()


def test_no_file_is_in_the_wheel_twice_and_no_test_is(names: list[str]) -> None:
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("tests") or "/fixtures/node_modules" in name] == []
    assert "logllm/sources/scan/scan.wasm" in names
    assert "logllm/web/chat/static/chat.js" in names
    assert "logllm/evaluation/incidents.jsonl" in names
    assert "logllm/explain/runbooks/catalogue/disk-full.md" in names
