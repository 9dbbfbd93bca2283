"""`logllm eval`: figures on labelled data, as text and as one JSON object."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logllm.cli.evaluate import evaluate
from logllm.errors import ConfigError

ODD = {700, 800}


def called(*arguments: str | Path) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A thousand requests of three steps; two fail, and the name of one would write to the terminal."""
    path = tmp_path / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["when", "request", "message"])
        for number in range(1_000):
            texts = ["begin", "cannot write: disk full" if number in ODD else "wrote 17 rows", "end"]
            writer.writerows([1_700_000_000 + 10 * number + at, name(number), text] for at, text in enumerate(texts))
    return path


def name(number: int) -> str:
    return f"r{number}" if number != 800 else "r800\x1b[2J"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["request", "anomaly"])
        writer.writerows([name(number), "Anomaly" if number in ODD | {900} else "Normal"] for number in range(1_000))
    return path


def test_sessions_as_json_are_one_object_with_the_oracle_apart(events: Path, labels: Path) -> None:
    result = called("sessions", events, labels, "--session", "request", "--json")

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["f1"] == pytest.approx(0.8)
    assert (said["precision"], said["recall"]) == (1.0, pytest.approx(2 / 3))
    assert (said["sessions"], said["flagged"], said["anomalous"], said["warm_up"]) == (500, 2, 3, 500)
    assert said["oracle"]["f1"] >= said["f1"]
    assert said["with_warm_up"]["sessions"] == 1_000
    assert "odd" not in said


def test_sessions_for_a_person_say_what_was_judged_and_no_name_writes_to_the_terminal(
    events: Path, labels: Path
) -> None:
    result = called("sessions", events, labels, "--session", "request", "--time", "when", "--odd", "--warm-up", "400")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "F1 0.800   precision 1.000   recall 0.667"
    assert lines[1] == "2 flagged of 600 sessions judged, 3 of which are anomalous, after 400 to warm up"
    assert lines[2].startswith("the best threshold, chosen with the labels: F1 0.800 (2 flagged)")
    assert lines[-2] == "r700"
    assert lines[-1].startswith("r800")
    assert "\x1b" not in result.stdout


def test_sessions_of_a_column_that_is_not_there_are_refused(events: Path, labels: Path) -> None:
    result = called("sessions", events, labels, "--session", "span")

    assert isinstance(result.exception, ConfigError)
    assert "no column 'span', expected one of when, request, message" in str(result.exception)


def test_each_command_is_listed_and_others_are_refused() -> None:
    listed, refused = called("--help"), called("words")

    assert [line.split()[0] for line in listed.stdout.splitlines()[-4:]] == ["lines", "llm", "series", "sessions"]
    assert refused.exit_code == 2
    assert "No such command 'words'" in refused.output


@pytest.fixture
def lines_file(tmp_path: Path) -> Path:
    """Three problems of one kind among ordinary lines."""
    path = tmp_path / "lines.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Label", "Content", "Level"])
        for number in range(60):
            bad = number % 20 == 10
            writer.writerow(["DISK" if bad else "-", "disk failed" if bad else "ok", "FATAL" if bad else "INFO"])
    return path


def test_lines_as_json_are_one_object(lines_file: Path) -> None:
    result = called("lines", lines_file, "--label", "Label", "--level", "Level", "--json")

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["lines"], said["problems"], said["flagged"], said["f1"], said["asked"]) == (60, 3, 3, 1.0, 1)
    assert "questions" not in said


def test_lines_for_a_person_show_what_was_asked(lines_file: Path) -> None:
    result = called("lines", lines_file, "--label", "Label", "--level", "Level", "--details")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("F1 1.000   precision 1.000   recall 1.000\n3 flagged of 60 lines")
    assert "line 11: real  disk failed" in result.stdout


def test_labels_of_ones_own_may_be_normal(lines_file: Path) -> None:
    result = called("lines", lines_file, "--label", "Label", "--normal", "-", "--normal", "Disk", "--json")

    assert json.loads(result.stdout)["problems"] == 0


@pytest.fixture
def series_file(tmp_path: Path) -> Path:
    """Three days of a value a minute that hardly changes, but for ten minutes of the last one."""
    path = tmp_path / "series.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "value", "label"])
        for minute in range(3 * 1_440):
            bad = 4_000 <= minute < 4_010
            writer.writerow([1_700_000_000 + 60 * minute, 900.0 if bad else 10.0 + minute % 7 / 10, int(bad)])
    return path


def test_series_as_json_are_one_object_with_the_oracle_apart(series_file: Path) -> None:
    result = called("series", series_file, "--json")

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["points"], said["windows"], said["skipped"]) == (4_320, 1, 0)
    assert said["figures"]["recall"] == 1.0
    assert said["oracle"]["f1"] >= said["figures"]["f1"]


def test_series_for_a_person_say_what_was_found_and_how_late(series_file: Path, tmp_path: Path) -> None:
    windows = tmp_path / "windows.json"
    windows.write_text('[["2023-11-17 16:53:20", "2023-11-17 17:03:20"]]')

    result = called("series", series_file, "--labels", windows)

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "recall 1.000" in lines[0]
    assert lines[1].startswith("1 of 1 windows found, 0 s after their begin on average")
    assert lines[-1] == "4,320 points in 3.0 days"
