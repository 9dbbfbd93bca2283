"""`logllm incidents expected|noise|real`, `answers` and `forget-answer` on a data folder that no service uses now."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from logllm.cli.incidents import incidents
from logllm.cli.main import main
from logllm.events import Cause, Severity
from logllm.incidents.store import IncidentStore
from tests.incidents.parts import event

IDS = [event(number).id for number in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = IncidentStore(tmp_path / "logllm.db")
    for number, severity in enumerate((Severity.WARN, Severity.FATAL, Severity.ERROR)):
        causes = [
            Cause("rate", "web", f"t{number}", f"message \x1b[31m{number}", 1.0, 10.0, int(severity)),
            Cause("value", "db", "t9", "query took <num>", 1.0, 80.0, int(Severity.WARN)),
        ]
        store.put(replace(event(number), causes=causes))
    store.put(event(7))
    store.close()
    return tmp_path


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["incidents", *map(str, arguments)])


def kept(folder: Path) -> list[dict[str, Any]]:
    path = folder / "learned.toml"
    return list(tomllib.loads(path.read_text()).get("answers", [])) if path.exists() else []


def test_several_incidents_are_answered_at_once_each_for_its_leading_message(folder: Path) -> None:
    done = called("noise", IDS[0], IDS[2], "--by", "ann", "--note", "ticket 7", "--data-dir", folder)

    assert done.exit_code == 0
    assert "2 answers kept" in done.output
    assert "\x1b" not in done.output
    assert [(each["template"], each["kind"], each["by"], each["note"]) for each in kept(folder)] == [
        ("t0", "rate", "ann", "ticket 7"),
        ("t2", "rate", "ann", "ticket 7"),
    ]


@pytest.mark.parametrize("unknown", ["inc-nowhere", "inc-"])
def test_an_incident_that_is_not_there_is_an_error_that_names_those_that_are_and_nothing_is_answered(
    folder: Path, unknown: str
) -> None:
    done = called("noise", IDS[0], unknown, "--data-dir", folder)

    assert done.exit_code == 1
    assert f"{unknown}: no such incident, or more than one begins with it; the latest are {event(7).id}" in done.output
    assert kept(folder) == []


def test_an_incident_that_does_not_say_what_it_consists_of_is_an_error(folder: Path) -> None:
    done = called("real", event(7).id, "--data-dir", folder)

    assert done.exit_code == 1
    assert "nothing can be learned of it" in done.output


def test_where_no_incidents_are_kept_that_is_said(tmp_path: Path) -> None:
    assert "no incidents were kept here" in called("noise", "inc-1", "--data-dir", tmp_path).output
    assert "no such folder" in called("answers", "--data-dir", tmp_path / "none").output


def test_options_say_how_far_an_answer_reaches(folder: Path) -> None:
    called("noise", IDS[0], "--all", "--everywhere", "--any-kind", "--always", "--data-dir", folder)

    assert [(each["service"], each["template"], each["kind"], each["always"]) for each in kept(folder)] == [
        ("*", "t0", "*", True),
        ("*", "t9", "*", True),
    ]


def test_what_is_expected_may_be_bounded_by_hours_size_and_time(folder: Path) -> None:
    schedule = ("--days", "sat,sun", "--hours", "22:00-04:00", "--zone", "Europe/Berlin")
    before = datetime.now(UTC).replace(microsecond=0)  # kept to the millisecond
    called("expected", IDS[0], *schedule, "--up-to", 30, "--for", "7d12h", "--data-dir", folder)
    called("expected", IDS[2], "--any-size", "--until", "2030-01-01T00:00Z", "--data-dir", folder)

    first, second = kept(folder)
    assert (first["days"], first["hours"], first["zone"]) == (["sat", "sun"], "22:00-04:00", "Europe/Berlin")
    assert first["up_to"] == 30.0
    assert timedelta(days=7, hours=12) <= first["until"] - before < timedelta(days=7, hours=13)
    assert second["up_to"] == float("inf")
    assert second["until"] == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--for", "7 days"), "is no time, expected one as 90m, 12h, 7d or 1d12h"),
        (("--for", "999999w999999w"), "--for: too long a time"),
        (("--until", "tomorrow"), "is no time, expected one as 2026-12-01T22:00Z"),
        (("--for", "1d", "--until", "2030-01-01"), "give one of them"),
        (("--until", "0001-01-01T00:00+14:00"), "is no time, expected one as 2026-12-01T22:00Z"),
        (("--up-to", "3", "--any-size"), "give one of them"),
        (("--up-to", "nan"), "nan is no number"),
        (("--days", "sa"), "'sa' is no day"),
        (("--hours", "10pm"), "expected some as 22:00-04:00"),
        (("--hours", "01:00-02:00", "--zone", "Here"), "expected a name as Europe/Berlin"),
    ],
)
def test_an_option_that_makes_no_sense_is_an_error_and_nothing_is_answered(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = called("expected", IDS[0], *arguments, "--data-dir", folder)

    assert done.exit_code == 2
    assert said in done.output
    assert kept(folder) == []


def test_that_fatal_records_are_told_all_the_same_is_said(folder: Path) -> None:
    assert "--always holds them back too" in called("noise", IDS[1], "--data-dir", folder).output
    assert "--always" not in called("noise", IDS[1], "--always", "--data-dir", folder).output


def test_answers_are_listed_for_people_and_for_programs_with_what_they_held_back(folder: Path) -> None:
    called("expected", IDS[0], "--by", "ann", "--data-dir", folder)
    answer = json.loads(called("answers", "--json", "--data-dir", folder).output)
    (folder / "held.json").write_text(json.dumps({answer["id"]: 1200, "near": 2}))

    listed = called("answers", "--data-dir", folder).output
    program = json.loads(called("answers", "--json", "--data-dir", folder).output)

    assert program["held_back"] == 1200
    assert (program["verdict"], program["incident"], program["up_to"]) == ("expected", IDS[0], 15.0)
    assert "held back 1,200" in listed
    assert "2 new messages were like several that are harmless" in listed
    assert "\x1b" not in listed


def test_stats_show_what_each_answer_has_held_back(folder: Path) -> None:
    arguments = ["stats", "--data-dir", str(folder)]
    before = CliRunner().invoke(main, arguments)
    (folder / "held.json").write_text(json.dumps({"ans-1": 1200, "near": 2}))

    people = CliRunner().invoke(main, arguments).output
    program = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)

    assert before.exit_code == 1
    assert "1,202 anomalies held back by answers" in people
    assert program == {"type": "stats", "held_back": {"ans-1": 1200, "near": 2}, "model": None}


def test_an_answer_is_taken_back_by_its_id_or_by_its_incident(folder: Path) -> None:
    called("noise", *IDS, "--data-dir", folder)
    first = json.loads(called("answers", "--json", "--data-dir", folder).output.splitlines()[0])

    by_id = called("forget-answer", first["id"], "--data-dir", folder)
    by_incident = called("forget-answer", IDS[2], "--data-dir", folder)

    assert "1 answer taken back" in by_id.output
    assert "1 answer taken back" in by_incident.output
    assert [each["template"] for each in kept(folder)] == ["t1"]


def test_to_take_back_what_was_never_said_is_an_error_that_names_what_was(folder: Path) -> None:
    none = called("forget-answer", IDS[0], "--data-dir", folder)
    called("noise", IDS[0], "--data-dir", folder)
    other = called("forget-answer", "inc-", "--data-dir", folder)

    assert (none.exit_code, other.exit_code) == (1, 1)
    assert "there are none" in none.output
    assert "there are ans-" in other.output
    assert len(kept(folder)) == 1


def test_a_file_that_somebody_spoilt_is_an_error_and_stays_as_it_is(folder: Path) -> None:
    (folder / "learned.toml").write_text('[[answers]]\nservice = "a"\n')

    done = called("noise", IDS[0], "--data-dir", folder)

    assert done.exit_code == 2
    assert "learned.toml: Object missing required field `template` - at `$.answers[0]`" in done.output
    assert (folder / "learned.toml").read_text() == '[[answers]]\nservice = "a"\n'


def test_the_commands_are_told_of_in_the_help() -> None:
    listed = CliRunner().invoke(incidents, ["--help"]).output

    assert all(name in listed for name in ("expected", "noise", "real", "answers", "forget-answer"))
