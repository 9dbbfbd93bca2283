"""What people say of incidents, on its way into `learned.toml` and from there to the pipeline."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logllm.errors import ConfigError, LogllmError, StateError
from logllm.events import Severity
from logllm.incidents.learned_file import LearnedFile
from logllm.incidents.learned_from import grown, lessons_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.config import Config
    from logllm.events import Explanation, IncidentEvent
    from logllm.incidents.learned import Lesson, Teaching
    from logllm.pipeline import Pipeline

__all__ = ["HELD_FILE", "LEARNED_FILE", "Learning", "held_in"]

LEARNED_FILE = "learned.toml"
HELD_FILE = "held.json"
"""How many anomalies each answer has held back, for other processes to read."""

_COUNT_EVERY_S = 5.0

_SAID: dict[Teaching, str] = {
    "expected": "as much of it is not told again, clearly more is",
    "noise": "it is not told again",
    "real": "it is told whenever it comes",
}

_log = logging.getLogger("logllm.service")


class Learning:
    """The answers of one run: taken from links and buttons, read again when somebody changes the file.

    Args:
        data_dir: Where they are kept, unless `[detect] learned` names a file; None: in memory.
        find: The latest event of an incident by its id, and its explanation; None where it is not known.
        judge: Keeps what an incident was called, by its id; for later incidents like it.

    Raises:
        ConfigError: The file cannot be used.
    """

    def __init__(
        self,
        config: Config,
        data_dir: Path | None,
        find: Callable[[str], tuple[IncidentEvent, Explanation | None] | None],
        clock: Callable[[], float] = time.time,
        *,
        judge: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._find = find
        self._judge = judge
        self._clock = clock
        self._held_path = None if data_dir is None else data_dir / HELD_FILE
        self._counted: dict[str, int] = {}
        self._counted_s = 0.0
        self.notices: list[str] = []
        self.file = LearnedFile(self._path(config, data_dir))

    def _path(self, config: Config, data_dir: Path | None) -> Path | None:
        usual = None if data_dir is None else data_dir / LEARNED_FILE
        if config.detect.learned is None:
            return usual
        chosen = Path(config.detect.learned)
        if usual is None:
            return chosen
        # Commands are given the data folder alone, and find the file by this link.
        if usual.is_symlink():
            with suppress(OSError):
                usual.unlink()
        if usual.exists():
            if not chosen.exists() or not usual.samefile(chosen):
                self.notices.append(f"{usual}: not read, as [detect] learned names {chosen}; move its answers there")
        else:
            with suppress(OSError):
                usual.symlink_to(chosen.resolve())
        return chosen

    def attach(self, pipeline: Pipeline) -> None:
        """Have a pipeline go by the answers."""
        pipeline.feedback.use(self.file.lessons)

    def refresh(self, pipeline: Pipeline, notice: Callable[[str], None]) -> None:
        """Look whether the answers have changed, and have the pipeline go by them. Costs a look at the file.

        For the pipeline's thread, before it judges.

        Args:
            notice: Told what is wrong with the file; the answers then stay as they were.
        """
        try:
            if self.file.refresh():
                pipeline.feedback.use(self.file.lessons)
        except ConfigError as error:
            notice(f"{error}; going on with the answers as they were")
        self._show_counts(pipeline)

    def learn(self, incident: str, verdict: Teaching, who: str) -> str:
        """Keep an answer; it is on the disk when this returns, in words, what it does.

        Raises:
            StateError: It could not be kept.
        """
        found = self._find(incident)
        if found is None:
            return "nothing is learned of it"
        event, _ = found
        when = datetime.fromtimestamp(self._clock(), UTC)
        try:
            lessons = lessons_of(event, verdict, who, when)
            self.file.change(lambda before: [*_without(before, {each.about for each in lessons}), *lessons])
        except LogllmError as error:
            _log.error("%s: answer not learned: %s", incident, error)
            raise StateError("the answer is noted, but could not be learned: see the log of the service") from error
        # What is told from now on is in the file; this is only for those who read of it later.
        with suppress(StateError):
            self._judge(event.id, verdict)
        fatal = any(lesson.level_number >= Severity.FATAL for lesson in lessons)
        but = "; what is fatal is told all the same" if fatal and verdict != "real" else ""
        return f"{_SAID[verdict]}{but}"

    def goes_on(self, event: IncidentEvent) -> None:
        """An incident has changed or ended: what was expected of it so far is as large as it has become."""
        if not grown(self.file.lessons, event):
            return
        try:
            self.file.change(lambda before: _grown_by(before, event))
        except LogllmError as error:
            _log.error("%s: %s", event.id, error)

    def _show_counts(self, pipeline: Pipeline, *, now: bool = False) -> None:
        held = pipeline.feedback.held
        moment = time.monotonic()
        if self._held_path is None or held == self._counted or (not now and moment - self._counted_s < _COUNT_EVERY_S):
            return
        self._counted, self._counted_s = dict(held), moment
        temporary = self._held_path.with_name(f".{HELD_FILE}.new")
        # They are also in the saved state: this copy is for looking at.
        with suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(held))
            temporary.replace(self._held_path)

    def close(self, pipeline: Pipeline) -> None:
        """Write down how much was held back."""
        self._show_counts(pipeline, now=True)


def _without(lessons: list[Lesson], about: set[tuple[str, str, str]]) -> list[Lesson]:
    return [lesson for lesson in lessons if lesson.about not in about]


def _grown_by(lessons: list[Lesson], event: IncidentEvent) -> list[Lesson]:
    more = grown(lessons, event)
    return [*_without(lessons, {each.about for each in more}), *more]


def held_in(data_dir: Path) -> dict[str, int]:
    """How many anomalies each answer has held back, by its id; empty where none has."""
    try:
        return msgspec.json.decode((data_dir / HELD_FILE).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}
