"""`learned.toml` from any text, as a person or a merge leaves it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from logllm.errors import ConfigError
from logllm.incidents.feedback import Feedback
from logllm.incidents.learned import Lesson, latest, parsed, written
from logllm.incidents.learned_file import LearnedFile
from tests.fuzz.inputs import Choices, check_refusal
from tests.incidents.parts import HandMadeKeys, odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

_WINDOWS = (0, 28_333_333, 2 * 28_333_333)
_IDS = ("0123456789ab", "ffffffffffff")


@cache
def _memory() -> int:
    """A file without a place on disk."""
    return os.memfd_create("learned.toml")


def check(data: bytes) -> None:
    """A text is answers, which written down are the same ones and decide on any anomaly, or is refused."""
    choices = Choices(data)
    window = choices.one_of(_WINDOWS)
    file = _memory()
    os.ftruncate(file, 0)
    os.pwrite(file, choices.rest(), 0)
    path = Path(f"/proc/self/fd/{file}")
    try:
        lessons = LearnedFile(path).lessons
    except ConfigError as error:
        check_refusal(error, str(path))
        return
    assert latest(lessons) == lessons
    text = written(lessons)
    again = parsed(text, "written")
    assert [lesson.about for lesson in again] == [lesson.about for lesson in lessons]
    assert written(again) == text
    _decide(lessons, window)


def _decide(lessons: list[Lesson], window: int) -> None:
    keys = HandMadeKeys()
    feedback = Feedback(keys, lambda index: (_IDS[index % 2], f"text {index}"), _index)
    feedback.use(lessons)
    for key in range(len(keys.template)):
        anomaly = odd(window=window, service=int(keys.service[key]), key=key)
        told = feedback.heed([anomaly], window, np.ones((1, len(keys.template))))
        assert [each.window for each in told] == [window] * len(told)
        feedback.is_real(anomaly)


def _index(template: str) -> int | None:
    return _IDS.index(template) if template in _IDS else None


def seeds() -> list[bytes]:
    """What logllm writes itself, what people change in it, what a merge leaves, and what is none."""
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = [
        Lesson("web", _IDS[0], "rate", "noise", when, text="disk <path> full", by="a", note='say "no"\n'),
        Lesson("*", "*", "*", "real", when, severity="critical", every_record=True),
        Lesson("", _IDS[1], "*", "expected", when, up_to=3.5, up_to_given=True, days=["sat"], hours="22:00-04:00"),
    ]
    kept = written(made).encode()
    head = b'[[answers]]\nservice = "web"\ntemplate = "0123456789ab"\nkind = "rate"\nverdict = "noise"\n'
    valid = b"when = 2026-01-01T00:00:00Z\n"
    lines = [
        valid,
        b"when = 2026-01-01 00:00:00\n",
        b"when = 2026-01-01\n",
        b"when = 0001-01-01T00:00:00+14:00\n",
        b"when = 9999-12-31T23:59:59-14:00\n",
        b'when = "2026-01-01T00:00:00Z"\n',
        valid + b"until = 9999-12-31T23:59:59-23:59\n",
        valid + b"up_to = nan\n",
        valid + b"up_to = inf\nalways = true\n",
        valid + b'zone = "../etc"\nhours = "00:00-24:00"\n',
        valid + b'zone = ""\n',
    ]
    texts = [kept, b"", b"\xff", b"answers = 1", b"answers = []", b"[" * 1400, *(head + line for line in lines)]
    texts.append(b"<<<<<<< ours\n" + head + lines[0] + b"=======\n" + head + lines[1] + b">>>>>>> theirs\n")
    return [bytes([number % 3]) + text[: MAX_BYTES - 1] for number, text in enumerate(texts)]
