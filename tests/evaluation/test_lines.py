"""Labelled lines played through with an operator who answers few questions."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from logllm.errors import ConfigError, SourceError
from logllm.evaluation.lines import LabelledLine, LinesResult, evaluate_lines, labelled_lines, play
from logllm.events import Severity
from logllm.incidents.learned_near import AGREE, ALERT_CHANCE, Near
from tests.bench import lines as bench

FATAL, ERROR, INFO = int(Severity.FATAL), int(Severity.ERROR), int(Severity.INFO)


def lines(*rows: tuple[str, bool] | tuple[str, bool, int], step_s: float = 60.0) -> list[LabelledLine]:
    """(text, is a problem, severity: FATAL where not said), a minute apart."""
    return [
        LabelledLine(number, text, is_problem, severity[0] if severity else FATAL, "app", 1e9 + number * step_s)
        for number, (text, is_problem, *severity) in zip(count(1), rows)
    ]


def test_the_line_asked_of_counts_as_alerted_and_its_answer_holds_from_the_next_one_on() -> None:
    found = play(lines(("disk broken", True), ("disk broken", True), ("fan slow", False), ("fan slow", False)))

    assert found.flagged_lines == [1, 2, 3]
    assert [(each.line, each.is_problem) for each in found.questions] == [(1, True), (3, False)]
    assert (found.precision, found.recall, found.f1) == (0.6667, 1.0, 0.8)
    assert (found.lines, found.problems, found.flagged, found.asked, found.missed) == (4, 2, 3, 2, 0)


def test_without_answers_left_each_line_of_such_a_template_is_alerted() -> None:
    found = play(lines(*[("fan slow", False)] * 5), answers=0)

    assert found.flagged_lines == [1, 2, 3, 4, 5]
    assert (found.asked, found.alerts, found.f1) == (0, 5, 0.0)


def test_no_more_questions_are_asked_than_may_be() -> None:
    found = play(lines(("disk broken", True), ("fan slow", False), ("fan slow", False)), answers=1)

    assert [each.line for each in found.questions] == [1]
    assert found.flagged_lines == [1, 2, 3]


def test_what_sounds_harmless_is_never_asked_of() -> None:
    found = play(lines(("started up", True, INFO), ("started up", True, INFO), ("job done", False, 0)))

    assert found.questions == []
    assert (found.recall, found.missed) == (0.0, 1)


def test_where_lines_say_no_severity_their_words_do() -> None:
    found = play(lines(("out of memory, aborting", True, 0), ("hello", False, 0)))

    assert found.flagged_lines == [1]


def test_new_templates_like_several_harmless_ones_are_alerted_no_more() -> None:
    words = ["red", "green", "blue", "white", "black", "grey", "pink", "brown"]
    found = play(lines(*[(f"register {word} holds nothing........5", False) for word in words]))

    assert len(found.questions) < len(words)
    assert found.flagged == len(found.questions) >= AGREE


def test_a_label_that_is_not_asked_for_changes_no_decision() -> None:
    rows = [("disk broken", True), ("fan slow", False), ("disk broken", False), ("fan slow", True)]
    honest = play(lines(*rows))
    lied = play(lines(*rows[:2], ("disk broken", True), ("fan slow", False)))

    assert honest.flagged_lines == lied.flagged_lines
    assert honest.questions == lied.questions


def test_a_known_problem_within_a_quarter_of_an_hour_is_the_same_alert() -> None:
    rows = [("disk broken", True)] * 4

    assert play(lines(*rows, step_s=900.0)).alerts == 1
    assert play(lines(*rows, step_s=901.0)).alerts == 4
    assert play(lines(*rows, step_s=901.0)).alerts_per_day == round(4 / (3 * 901 / 86_400), 4)


def test_the_delay_is_from_the_first_problem_line_of_a_template_to_the_first_that_is_alerted() -> None:
    rows = [("disk broken", True, INFO), ("disk broken", True, INFO), ("disk broken", True, FATAL)]

    assert play(lines(*rows, step_s=10.0)).delay_s == 20.0


def test_lines_without_times_have_no_delay_and_no_alerts_a_day() -> None:
    found = play([LabelledLine(1, "disk broken", True, FATAL), LabelledLine(2, "disk broken", True, FATAL)])

    assert (found.delay_s, found.alerts_per_day, found.f1) == (None, None, 1.0)


def test_nothing_at_all_is_no_error() -> None:
    assert play([]) == LinesResult(0, 0, 0, 0.0, 0.0, 0.0, 0, 0, None, None, 0)


def test_an_answer_goes_over_to_what_its_template_becomes() -> None:
    names = ("anna", "bert", "carl", "dora", "emil", "fred", "gina", "hans", "ines", "jana", "kurt", "lena")
    valves = [f"valve {name} does not close as it should" for name in names]
    rows = [(valves[0], False, INFO), *((text, False, FATAL) for text in valves[1:]), (valves[0], False, FATAL)]

    found = play(lines(*rows), answers=1)

    assert [each.line for each in found.questions] == [2]
    assert len(rows) not in found.flagged_lines


@given(some.lists(some.tuples(some.sampled_from(["disk broken", "fan slow", "net lost", "ok"]), some.booleans())))
def test_the_figures_are_those_of_the_lines_flagged(rows: list[tuple[str, bool]]) -> None:
    given_ = lines(*rows)
    found = play(given_, answers=2)
    flagged = [line for line in given_ if line.number in set(found.flagged_lines)]
    hits = sum(line.is_problem for line in flagged)

    assert found.flagged == len(flagged)
    assert found.precision == (round(hits / len(flagged), 4) if flagged else 0.0)
    assert found.recall == (round(hits / found.problems, 4) if found.problems else 0.0)
    assert found.asked <= min(2, found.alerts)


def csv(folder: Path, text: str) -> Path:
    path = folder / "lines.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_in_order_of_its_times(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "Label,When,Level,Part,Content\nX,2026-01-01T00:01:00Z,FATAL,a,late\n-,1767225600,info,b,early\n"
        '0,2026-01-01 00:00:30,odd,,"between, with a comma"\n',
    )

    found = labelled_lines(path, label="Label", level="Level", time="When", service="Part")

    assert [(line.number, line.text, line.is_problem) for line in found] == [
        (2, "early", False),
        (3, "between, with a comma", False),
        (1, "late", True),
    ]
    assert [line.severity for line in found] == [INFO, 0, FATAL]
    assert [line.time_s for line in found] == [1767225600.0, 1767225630.0, 1767225660.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "Lable"}, "no column 'Lable', expected one of Label, When, Content"),
        ({"label": "Label", "time": "When"}, "line 2, column 'When': 'yesterday' is no time"),
    ],
)
def test_what_does_not_fit_the_file_is_an_error_that_says_where(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    path = csv(tmp_path, "Label,When,Content\n-,yesterday,a\n")

    with pytest.raises(ConfigError, match=str(path)) as error:
        evaluate_lines(path, **options)  # type: ignore[arg-type]

    assert said in str(error.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        evaluate_lines(tmp_path / "none.csv", label="Label")


def test_before_anyone_has_answered_the_severity_alone_decides() -> None:
    near = Near()
    chances = [near.chance("anything", severity, "") for severity in (FATAL, ERROR, int(Severity.WARN), INFO, 0)]

    assert [chance >= ALERT_CHANCE for chance in chances] == [True, True, True, False, False]
    assert chances == sorted(chances[:3], reverse=True) + chances[3:]
    assert not near.harmless("anything", INFO, "")


def test_two_harmless_answers_do_not_hold_back_a_third_template_but_three_do_a_fourth() -> None:
    near = Near()
    for number, word in enumerate(("alpha", "beta")):
        near.learn(str(number), f"lost packet of {word}", FATAL, "net", is_real=False)
    two = near.harmless("lost packet of gamma", FATAL, "net")
    near.learn("2", "lost packet of delta", FATAL, "net", is_real=False)

    assert not two
    assert near.harmless("lost packet of gamma", FATAL, "net")
    assert not near.harmless("memory is corrupt", FATAL, "net")


def test_one_real_answer_among_harmless_ones_keeps_their_like_alerted() -> None:
    near = Near()
    for number in range(5):
        near.learn(str(number), f"lost packet of kind {'abcde'[number] * 3}", FATAL, "net", is_real=number == 0)

    assert near.chance("lost packet of kind fff", FATAL, "net") >= ALERT_CHANCE


def test_another_answer_of_the_same_name_takes_the_place_of_the_first() -> None:
    near = Near()
    for _ in range(5):
        near.learn("one", "lost packet", FATAL, "net", is_real=False)

    assert len(near) == 1
    assert not near.harmless("lost packet", FATAL, "net")


@pytest.mark.shared
def test_on_bgl_a_hundred_and_thirty_answers_reach_the_goal_with_and_without_levels() -> None:
    labelled, bare = bench.bgl(), bench.bgl(levels=False)
    if labelled is None or bare is None:
        pytest.skip(f"not beside the checkout: {bench.BGL}")

    found, without = play(labelled, answers=130), play(bare, answers=130)
    halves = [play(part, answers=130) for part in (labelled[:1000], labelled[1000:])]

    assert (found.lines, found.problems) == (2000, 143)
    assert found.f1 >= 0.85
    assert found.asked <= 130
    assert without.f1 >= 0.82
    assert min(half.f1 for half in halves) >= 0.78
