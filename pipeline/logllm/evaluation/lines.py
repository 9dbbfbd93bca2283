"""Lines with labels, read as they would have come: what would have been told, and what few answers teach.

How it is played. Lines are taken in order of time. A line is alerted, and so predicted positive, when its template
was answered "real", or when nobody has answered for its template and the chance that it is a problem (`Near`: its
severity or how it sounds, and the answers for templates like it) is ALERT_CHANCE or more. Each alert for a template
without an answer is a question, as long as there are answers left: the operator gives the label of that very line,
and it holds for the template from the next line on. The line that was asked of stays predicted positive, whatever
the answer. What is not alerted is never asked of. No label is read for anything else but the figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from logllm.detectors.lexicon import sounds_like
from logllm.errors import ConfigError
from logllm.evaluation.session_files import read_time
from logllm.events import Severity
from logllm.incidents.learned_near import ALERT_CHANCE, Near
from logllm.sources.csv_rows import csv_rows, listed
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LabelledLine", "LinesResult", "Question", "evaluate_lines", "labelled_lines", "play"]

NORMAL = frozenset({"", "-", "0", "normal", "false", "no", "benign", "none"})
"""Labels, in lower case, of lines that are no problem; every other one is a problem."""

SAME_ALERT_S = 900.0
"""A known problem that comes again within a quarter of an hour is the alert that was told, as for incidents."""

_DAY_S = 86_400.0


class LabelledLine(msgspec.Struct, frozen=True):
    """One line. `time_s` is None where nothing says when it came; `severity` is OpenTelemetry's number, 0: unsaid."""

    number: int
    text: str
    is_problem: bool
    severity: int = 0
    service: str = ""
    time_s: float | None = None


class Question(msgspec.Struct, frozen=True):
    """What the operator was asked: of which line, what its template was, and the answer."""

    line: int
    template: str
    chance: float
    is_problem: bool


class LinesResult(msgspec.Struct, frozen=True):
    """What came of it.

    Args:
        problems: Lines whose label is one of a problem.
        flagged: Lines predicted positive.
        asked: Answers used.
        alerts: Times that somebody would have been told: each question, each further line of a template that nobody
            has answered for, and known problems that come again after SAME_ALERT_S.
        alerts_per_day: None where there are no times.
        delay_s: From the first problem line of a template to the first of them that is flagged; the median over
            the templates of which one was flagged. None where there are no times.
        missed: Templates with problem lines of which none was flagged.
        flagged_lines: Their numbers, from 1 in order of the file.
    """

    lines: int
    problems: int
    flagged: int
    precision: float
    recall: float
    f1: float
    asked: int
    alerts: int
    alerts_per_day: float | None
    delay_s: float | None
    missed: int
    questions: list[Question] = []
    flagged_lines: list[int] = []


def evaluate_lines(
    path: Path | str,
    *,
    label: str,
    message: str = "Content",
    level: str | None = None,
    time: str | None = None,
    service: str | None = None,
    answers: int = 130,
    normal: Iterable[str] = NORMAL,
) -> LinesResult:
    """Play a CSV file with a header through, see the head of this file.

    Args:
        label: The column that says which lines are problems: those whose label is not in `normal`, in any case.
        level: The column of the severity, where there is one; words that name none are read as unsaid.
        time: The column of the time: seconds since the epoch, or ISO 8601. Lines are put in its order; without it
            they are taken as they stand.
        service: The column of what a line came from, where there is one.
        answers: As many questions may be asked at most.

    Raises:
        SourceError: The file cannot be read.
        ConfigError: It has no such column, or a time that is none.
    """
    lines = labelled_lines(path, label=label, message=message, level=level, time=time, service=service, normal=normal)
    return play(lines, answers=answers)


def labelled_lines(
    path: Path | str,
    *,
    label: str,
    message: str = "Content",
    level: str | None = None,
    time: str | None = None,
    service: str | None = None,
    normal: Iterable[str] = NORMAL,
) -> list[LabelledLine]:
    """The lines of a CSV file, in order of time. Raises as `evaluate_lines`."""
    harmless = frozenset(word.lower() for word in normal)
    found: list[LabelledLine] = []
    for number, row in enumerate(_rows(path, [label, message, level, time, service]), 1):
        found.append(
            LabelledLine(
                number,
                row[message].replace("\0", " "),
                row[label].strip().lower() not in harmless,
                int(Severity.parse(row[level])) if level else 0,
                row[service] if service else "",
                _seconds(row[time], f"{path}: line {number + 1}, column {time!r}") if time else None,
            )
        )
    return sorted(found, key=lambda line: line.time_s or 0.0)


def play(lines: Iterable[LabelledLine], *, answers: int = 130) -> LinesResult:
    """Play lines through in the order they are given, with an operator who gives so many answers at most."""
    game = _Game(answers)
    for line in lines:
        game.take(line)
    return game.result()


class _Game:
    def __init__(self, answers: int) -> None:
        self._left = answers
        self._miner = Miner()
        self._near = Near()
        self._answers: dict[int, bool] = {}
        self._told_s: dict[int, float] = {}
        self._first_s: dict[int, float | None] = {}
        self._found_s: dict[int, float | None] = {}
        self._times: list[float] = []
        self._lines = self._problems = self._hits = self._alerts = 0
        self.questions: list[Question] = []
        self.flagged: list[int] = []

    def take(self, line: LabelledLine) -> None:
        template = int(self._miner.ids([line.text])[0])
        for old, new in self._miner.drain_changes().merged:
            self._merge(old, new)
        template = self._miner.canonical(template)
        self._lines += 1
        self._problems += line.is_problem
        if line.time_s is not None:
            self._times.append(line.time_s)
        if line.is_problem:
            self._first_s.setdefault(template, line.time_s)
        if not self._alerted(line, template):
            return
        self.flagged.append(line.number)
        self._hits += line.is_problem
        if line.is_problem:
            self._found_s.setdefault(template, line.time_s)

    def _alerted(self, line: LabelledLine, template: int) -> bool:
        known = self._answers.get(template)
        if known is not None:
            if known:
                self._tell_again(template, line.time_s)
            return known
        text = self._miner.template(template).text
        severity = line.severity or int(sounds_like(text))
        chance = self._near.chance(text, severity, line.service)
        if chance < ALERT_CHANCE:
            return False
        self._alerts += 1
        if line.time_s is not None:
            self._told_s[template] = line.time_s
        if self._left > 0:
            self._left -= 1
            self._answers[template] = line.is_problem
            self._near.learn(str(template), text, severity, line.service, is_real=line.is_problem)
            self.questions.append(Question(line.number, text, round(chance, 4), line.is_problem))
        return True

    def _tell_again(self, template: int, time_s: float | None) -> None:
        before = self._told_s.get(template)
        if time_s is None:
            return
        if before is None or time_s - before > SAME_ALERT_S:
            self._alerts += 1
        self._told_s[template] = time_s

    def _merge(self, old: int, new: int) -> None:
        # Two answers for what turns out to be one template: the later one to be given stands, as in a file of answers.
        later = {each: at for at, each in enumerate(self._answers)}
        given = max((each for each in (old, new) if each in later), key=later.__getitem__, default=None)
        if given is not None:
            answer = self._answers[given]
            for each in (old, new):
                self._answers.pop(each, None)
            self._answers[new] = answer
        if old in self._told_s:
            self._told_s.setdefault(new, self._told_s.pop(old))
        for table in (self._first_s, self._found_s):
            if old in table:
                table.setdefault(new, table.pop(old))

    def result(self) -> LinesResult:
        precision = self._hits / len(self.flagged) if self.flagged else 0.0
        recall = self._hits / self._problems if self._problems else 0.0
        days = (max(self._times) - min(self._times)) / _DAY_S if self._times else 0.0
        delays = [
            found - first
            for template, found in self._found_s.items()
            if found is not None and (first := self._first_s.get(template)) is not None
        ]
        return LinesResult(
            lines=self._lines,
            problems=self._problems,
            flagged=len(self.flagged),
            precision=round(precision, 4),
            recall=round(recall, 4),
            f1=round(2 * precision * recall / (precision + recall), 4) if self._hits else 0.0,
            asked=len(self.questions),
            alerts=self._alerts,
            alerts_per_day=round(self._alerts / days, 4) if days else None,
            delay_s=median(delays) if delays else None,
            missed=len(self._first_s.keys() - self._found_s.keys()),
            questions=self.questions,
            flagged_lines=sorted(self.flagged),
        )


def _rows(path: Path | str, wanted: list[str | None]) -> Iterator[dict[str | None, str]]:
    """Of each row the wanted cells; of two columns of one name the first is read."""
    with csv_rows(path) as rows:
        head = next(rows, [])
        for column in wanted:
            if column is not None and column not in head:
                raise ConfigError(f"{path}: no column {column!r}, expected one of {listed(head)}")
        places = {column: head.index(column) for column in wanted if column is not None}
        for row in rows:
            if row:
                yield {name: row[place] if place < len(row) else "" for name, place in places.items()}


def _seconds(text: str, where: str) -> float:
    seconds = read_time([text])
    if seconds is None:
        raise ConfigError(f"{where}: {text[:40]!r} is no time, expected seconds or ISO 8601")
    return seconds
