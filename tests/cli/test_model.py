from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from logllm.cli.model import _lines, model
from logllm.errors import ModelError
from tests.explain.fakes import FileServer

GGUF = b"GGUF\x03\x00\x00\x00" + b"weights" * 5000
NAME = "hf:acme/tiny-GGUF/tiny.gguf"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGLLM_MODELS", str(tmp_path))
    return tmp_path


def test_pull_list_and_rm(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    with FileServer({"/acme/tiny-GGUF/resolve/main/tiny.gguf": GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        pulled = runner.invoke(model, ["pull", NAME], catch_exceptions=False)

    assert pulled.exit_code == 0
    path = Path(pulled.stdout.strip())
    assert path.read_bytes() == GGUF
    assert f"{NAME}: 0 MB of 0 MB (100 %)" in pulled.stderr
    listed = runner.invoke(model, ["list"])
    assert NAME in listed.stdout
    assert str(path) in listed.stdout
    assert runner.invoke(model, ["path", NAME]).stdout.strip() == str(path)
    assert "removed" in runner.invoke(model, ["rm", NAME]).stdout
    assert not path.exists()


def test_an_empty_folder_says_how_to_get_a_model_and_available_lists_the_catalogue(models: Path) -> None:
    runner = CliRunner()

    empty = runner.invoke(model, ["list"])
    available = runner.invoke(model, ["list", "--available"])

    assert empty.stdout == ""
    assert "logllm model pull" in empty.stderr
    assert "smollm2-135m" in available.stdout
    assert "(not here)" in available.stdout


def test_a_model_that_is_not_here_or_unknown_is_a_model_error(models: Path) -> None:
    runner = CliRunner()

    for arguments, reason in (
        (["path"], "is not here"),
        (["pull", "gpt-9"], "Expected one of"),
        (["rm", "smollm2-135m"], "Expected the name"),
    ):
        result = runner.invoke(model, arguments)

        assert isinstance(result.exception, ModelError)
        assert reason in str(result.exception)


def test_without_a_terminal_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    show = _lines("tiny", clock=lambda: now[0])

    for done in range(0, 101, 10):
        now[0] += 1.0
        show(done * 1_000_000, 100_000_000)

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tiny: 0 MB of 100 MB (0 %)"
    assert lines[-1] == "tiny: 100 MB of 100 MB (100 %)"
    assert len(lines) == 5
