"""`logllm incidents fixed`, and what people said of incidents kept beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from logllm.cli.main import main
from logllm.events import Cause, Severity
from logllm.incidents.store import IncidentStore
from tests.incidents.parts import event

IDS = [event(number).id for number in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = IncidentStore(tmp_path / "logllm.db")
    for number in range(2):
        cause = Cause("rate", "web", f"t{number}", "message", 1.0, 10.0, int(Severity.WARN))
        store.put(replace(event(number), causes=[cause]))
    store.close()
    return tmp_path


def _called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["incidents", *map(str, arguments)])


def _said(folder: Path) -> list[list[str]]:
    store = IncidentStore(folder / "logllm.db")
    said = [store.said(name) for name in IDS]
    store.close()
    return said


def test_what_helped_is_kept_beside_its_incidents_without_names_and_secrets(folder: Path) -> None:
    done = _called(
        "fixed", *IDS, "--how", "blocked 203.0.113.9, token=s3cr3t-value-81723\n\x1b[2J", "--data-dir", folder
    )

    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert _said(folder) == [["fixed by: blocked <ip>, token=<secret> [2J"]] * 2
    assert b"s3cr3t" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_what_helped_can_be_said_anew_and_taken_back(folder: Path) -> None:
    _called("fixed", IDS[0], "--how", "a restart", "--data-dir", folder)
    _called("fixed", IDS[0], "--how", "raised max_connections", "--data-dir", folder)
    anew = _said(folder)[0]
    shown = _called("show", IDS[0], "--data-dir", folder).output
    _called("fixed", IDS[0], "--how", "", "--data-dir", folder)

    assert anew == ["fixed by: raised max_connections"]
    assert "fixed by: raised max_connections" in shown
    assert _said(folder)[0] == []


@pytest.mark.parametrize(
    ("name", "how", "error"), [("inc-nowhere", "a restart", "no such incident"), (IDS[0], "\x1b\x07", "Expected words")]
)
def test_an_incident_that_is_not_there_and_words_that_are_none_are_errors(
    folder: Path, name: str, how: str, error: str
) -> None:
    done = _called("fixed", name, "--how", how, "--data-dir", folder)

    assert done.exit_code == 1
    assert error in done.output
    assert _said(folder) == [[], []]


def test_an_answer_is_kept_beside_its_incident_too_until_it_is_taken_back(folder: Path) -> None:
    _called("noise", IDS[0], "--data-dir", folder)
    _called("real", IDS[1], "--data-dir", folder)
    before = _said(folder)
    _called("forget-answer", IDS[0], "--data-dir", folder)

    assert before == [["called noise"], ["called real"]]
    assert _said(folder) == [[], ["called real"]]
