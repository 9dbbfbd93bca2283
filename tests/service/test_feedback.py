"""Answers on their way from links and commands into the file, and from there to the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.errors import ConfigError, StateError
from logllm.events import Cause, Explanation, IncidentEvent, Severity
from logllm.incidents.feedback import NEAR
from logllm.incidents.learned_file import LearnedFile
from logllm.pipeline import Pipeline
from logllm.service.learning import LEARNED_FILE, Learning, held_in
from tests.incidents.parts import event

CAUSES = [
    Cause("rate", "web", "t1", "cannot reach <host>", 2.0, 40.0, int(Severity.ERROR)),
    Cause("severity", "web", "t1", "cannot reach <host>", 1.0, 45.0, int(Severity.ERROR)),
    Cause("rate", "web", "t2", "queue full", 2.0, 10.0, int(Severity.WARN)),
]


class Known:
    """The incidents that can be answered."""

    def __init__(self, *causes: Cause) -> None:
        self.event = replace(event(1), causes=list(causes or CAUSES))

    def find(self, name: str) -> tuple[IncidentEvent, Explanation | None] | None:
        return (self.event, None) if name == self.event.id else None


def learning(folder: Path | None, known: Known | None = None, *, config: Config | None = None) -> Learning:
    return Learning(config or Config(), folder, (known or Known()).find, lambda: 1_800_000_000.0)


def said(made: Learning) -> list[tuple[str, str, str, float | None]]:
    made.file.refresh()
    return [(each.template, each.kind, each.verdict, each.up_to) for each in made.file.lessons]


def test_an_answer_is_kept_for_each_kind_of_the_leading_template_and_for_no_other(tmp_path: Path) -> None:
    made = learning(tmp_path)

    words = made.learn(event(1).id, "expected", "ann")

    assert said(made) == [("t1", "rate", "expected", 60.0), ("t1", "severity", "expected", 67.5)]
    assert "clearly more is" in words
    assert {each.by for each in made.file.lessons} == {"ann"}


def test_an_answer_is_also_kept_beside_its_incident_and_is_learned_where_that_cannot_be(tmp_path: Path) -> None:
    judged: list[tuple[str, str]] = []

    def judge(name: str, verdict: str) -> None:
        judged.append((name, verdict))
        raise StateError("the disk is full")

    made = Learning(Config(), tmp_path, Known().find, judge=judge)
    made.learn(event(1).id, "noise", "ann")

    assert judged == [(event(1).id, "noise")]
    assert [verdict for _, _, verdict, _ in said(made)] == ["noise", "noise"]


def test_what_is_said_of_a_new_message_holds_for_any_kind_and_for_as_much_as_the_incident_had(tmp_path: Path) -> None:
    known = Known(replace(CAUSES[0], kind="new", seen=3.0), CAUSES[1])
    known.event = replace(known.event, count=90)
    made = learning(tmp_path, known)

    made.learn(known.event.id, "expected", "ann")

    assert said(made) == [("t1", "*", "expected", 135.0)]


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_a_new_message_that_is_real_is_a_problem_with_each_record_and_as_bad_as_it_was(
    tmp_path: Path, severity: Literal["warning", "critical"]
) -> None:
    known = Known(replace(CAUSES[0], kind="new"))
    known.event = replace(known.event, severity=severity)
    made = learning(tmp_path, known)

    made.learn(known.event.id, "real", "ann")
    made.file.refresh()

    assert [(each.severity, each.every_record) for each in made.file.lessons] == [(severity, True)]


def test_a_spike_that_is_real_does_not_make_each_record_of_it_a_problem(tmp_path: Path) -> None:
    made = learning(tmp_path)

    made.learn(event(1).id, "real", "ann")
    made.file.refresh()

    assert not any(each.every_record for each in made.file.lessons)


def test_another_answer_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    made = learning(tmp_path, Known(CAUSES[0]))

    made.learn(event(1).id, "real", "ann")
    made.learn(event(1).id, "noise", "bob")

    assert said(made) == [("t1", "rate", "noise", None)]


def test_that_fatal_records_are_told_in_spite_of_the_answer_is_said(tmp_path: Path) -> None:
    made = learning(tmp_path, Known(replace(CAUSES[0], severity=int(Severity.FATAL))))

    assert "fatal is told all the same" in made.learn(event(1).id, "noise", "ann")
    assert "fatal" not in made.learn(event(1).id, "real", "ann")


def test_of_an_incident_that_is_not_known_nothing_is_learned(tmp_path: Path) -> None:
    made = learning(tmp_path)

    assert made.learn("inc-none", "noise", "ann") == "nothing is learned of it"
    assert not (tmp_path / LEARNED_FILE).exists()


def test_an_incident_of_an_older_logllm_teaches_nothing_and_says_so(tmp_path: Path) -> None:
    known = Known()
    known.event = event(1)

    with pytest.raises(StateError, match="could not be learned"):
        learning(tmp_path, known).learn(event(1).id, "noise", "ann")


def test_what_was_expected_grows_with_its_incident_but_not_beyond_it_nor_where_a_person_gave_the_bound(
    tmp_path: Path,
) -> None:
    known = Known(CAUSES[0])
    made = learning(tmp_path, known)
    made.learn(event(1).id, "expected", "ann")
    made.file.refresh()
    grown = replace(known.event, event="update", causes=[replace(CAUSES[0], seen=100.0)])

    made.goes_on(replace(grown, id="inc-other"))
    before = said(made)
    made.goes_on(grown)
    after = said(made)
    made.file.change(lambda lessons: [replace(each, up_to=10.0, up_to_given=True) for each in lessons])
    made.file.refresh()
    made.goes_on(grown)

    assert before == [("t1", "rate", "expected", 60.0)]
    assert after == [("t1", "rate", "expected", 150.0)]
    assert said(made) == [("t1", "rate", "expected", 10.0)]


def test_a_pipeline_goes_by_the_file_as_it_is_and_keeps_the_old_answers_while_that_is_useless(tmp_path: Path) -> None:
    made, pipeline = learning(tmp_path), Pipeline()
    told: list[str] = []
    LearnedFile(tmp_path / LEARNED_FILE).change(lambda _: [])
    made.learn(event(1).id, "noise", "ann")

    made.refresh(pipeline, told.append)
    heeded = list(pipeline.feedback._lessons)
    (tmp_path / LEARNED_FILE).write_text("nonsense")
    made.refresh(pipeline, told.append)
    made.refresh(pipeline, told.append)

    assert [each.verdict for each in heeded] == ["noise", "noise"]
    assert pipeline.feedback._lessons == heeded
    assert len(told) == 1
    assert "going on with the answers as they were" in told[0]


def test_a_file_that_is_useless_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LEARNED_FILE).write_text("[[answers]]\nmood = 1\n")

    with pytest.raises(ConfigError, match=LEARNED_FILE):
        learning(tmp_path)


def test_a_file_of_the_configuration_is_found_from_the_data_folder_too(tmp_path: Path) -> None:
    data, repository = tmp_path / "data", tmp_path / "repository"
    data.mkdir()
    repository.mkdir()
    (repository / "logllm.toml").write_text('[detect]\nlearned = "answers.toml"\n')
    config = Config.load(repository / "logllm.toml")

    learning(data, config=config).learn(event(1).id, "noise", "ann")
    again = learning(data, config=config)

    assert len(LearnedFile(repository / "answers.toml").lessons) == 2
    assert LearnedFile(data / LEARNED_FILE).lessons == again.file.lessons
    assert again.notices == []


def test_answers_in_the_data_folder_that_the_configuration_passes_over_are_spoken_of(tmp_path: Path) -> None:
    learning(tmp_path).learn(event(1).id, "noise", "ann")
    config = Config(detect=DetectConfig(learned=str(tmp_path / "other.toml")))

    made = learning(tmp_path, config=config)

    assert made.file.lessons == []
    assert "not read" in made.notices[0]


def test_how_much_was_held_back_is_written_down_for_other_processes(tmp_path: Path) -> None:
    made, pipeline = learning(tmp_path), Pipeline()

    pipeline.feedback.held = {"ans-1": 3, NEAR: 1}
    made.close(pipeline)

    assert held_in(tmp_path) == {"ans-1": 3, NEAR: 1}
    assert held_in(tmp_path / "nowhere") == {}
