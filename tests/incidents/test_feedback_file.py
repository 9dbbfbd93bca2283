"""`learned.toml`: what is in it, what merges make of it, and what the disk does to it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from logllm.errors import ConfigError, StateError
from logllm.incidents.learned import MOST_ANSWERS, Lesson, latest, parsed, written
from logllm.incidents.learned_file import LearnedFile
from logllm.incidents.learned_times import Hours

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOISE = Lesson("shop", "t1", "rate", "noise", WHEN, text="cannot reach <host>", by="ann")
REAL = Lesson("shop", "t2", "new", "real", WHEN, every_record=True)

texts = some.text(max_size=40).map(lambda text: text.encode("utf-8", "replace").decode())
names = texts.filter(bool)
times = some.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=some.just(UTC)).map(
    lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)
)
lessons = some.builds(
    Lesson,
    service=texts,
    template=names,
    kind=names,
    verdict=some.sampled_from(["expected", "noise", "real"]),
    when=times,
    text=texts,
    by=texts,
    note=texts,
    level=some.sampled_from(["unspecified", "warn", "fatal"]),
    until=some.none() | times,
    up_to=some.none() | some.floats(0, allow_nan=False),
    days=some.lists(some.sampled_from(["mon", "sun"]), max_size=2),
    hours=some.sampled_from(["", "22:00-04:00"]),
    always=some.booleans(),
)


@given(some.lists(lessons, max_size=8))
def test_what_is_written_is_read_back_and_written_the_same(given_: list[Lesson]) -> None:
    text = written(given_)

    assert parsed(text, "learned.toml") == latest(given_)
    assert written(parsed(text, "learned.toml")) == text
    assert written(reversed(latest(given_))) == text


def test_an_answer_is_a_table_with_what_was_said_and_nothing_that_goes_without_saying() -> None:
    (table,) = tomllib.loads(written([NOISE]))["answers"]

    assert table == {
        "service": "shop",
        "template": "t1",
        "kind": "rate",
        "verdict": "noise",
        "when": WHEN,
        "text": "cannot reach <host>",
        "by": "ann",
    }


def test_text_of_a_log_stays_within_its_line() -> None:
    text = written([replace(NOISE, text='a\n[[answers]]\r\u2028"\\\x00\x7f\u202e')])

    assert len(text.splitlines()) == len(written([NOISE]).splitlines())
    assert "\u202e" not in text


def test_of_two_answers_for_the_same_thing_the_later_one_holds_in_whatever_order_they_stand() -> None:
    later = replace(NOISE, verdict="real", when=WHEN + timedelta(seconds=1))

    assert latest([NOISE, later]) == latest([later, NOISE]) == [later]


def test_of_two_answers_of_the_same_moment_the_one_that_tells_more_holds() -> None:
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=2)))
    three = [replace(NOISE, verdict=verdict, when=when) for verdict, when in (("real", elsewhere), ("noise", WHEN))]

    assert latest(three) == latest(three[::-1]) == [three[0]]


def test_both_sides_of_a_conflict_are_read() -> None:
    ours, theirs = written([NOISE]), written([REAL, replace(NOISE, verdict="expected", when=WHEN + timedelta(days=1))])
    text = f"<<<<<<< HEAD\n{ours}||||||| base\nnot = 'toml\n=======\n{theirs}>>>>>>> other\n"

    assert [(each.template, each.verdict) for each in parsed(text, "f")] == [("t1", "expected"), ("t2", "real")]


def test_a_conflict_within_a_table_gives_the_later_of_its_two_sides() -> None:
    text = written([NOISE, REAL]).replace(
        'verdict = "noise"\nwhen = 2026-03-01T12:00:00.000Z\n',
        '<<<<<<< HEAD\nverdict = "noise"\nwhen = 2026-03-01T12:00:00.000Z\n'
        '=======\nverdict = "real"\nwhen = 2026-03-01T12:00:01.000Z\n>>>>>>> theirs\n',
    )

    later = replace(NOISE, verdict="real", when=WHEN + timedelta(seconds=1))
    assert parsed(text, "f") == [later, REAL]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[answers]]\nservice = "a"\n', "missing required field `template` - at `$.answers[0]`"),
        (written([NOISE]) + 'mood = "bad"\n', "unknown field `mood` - at `$.answers[0]`"),
        ("[answer]\n", "unknown field `answer`"),
        (written([NOISE]).replace('"noise"', '"nosie"'), "Invalid enum value 'nosie' - at `$.answers[0].verdict`"),
        (written([NOISE]) + 'days = ["mo"]\n', "'mo' is no day"),
        (written([NOISE]) + 'hours = "25:00-26:00"\n', "expected some as 22:00-04:00 - at `$.answers[0]`"),
        (written([NOISE]) + 'hours = "01:00-02:00"\nzone = "Nowhere/Else"\n', "expected a name as Europe/Berlin"),
        ("=======\n", "not TOML"),
        ("answers = 5", "Expected `array`, got `int` - at `$.answers`"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_says_where(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(text, "conf/learned.toml")

    assert str(error.value).startswith("conf/learned.toml: ")
    assert expected in str(error.value)


@given(some.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = ""
    try:
        parsed(f"<<<<<<< a\n{text}\n=======\n{text}\n>>>>>>> b", "f")
    except ConfigError as error:
        said = str(error)

    assert "\n" not in said


def test_a_new_file_is_its_owners_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    LearnedFile(path).change(lambda _: [NOISE])
    mode = path.stat().st_mode & 0o777
    path.chmod(0o640)
    LearnedFile(path).change(lambda before: [*before, REAL])

    assert mode == 0o600
    assert path.stat().st_mode & 0o777 == 0o640
    assert LearnedFile(path).lessons == [NOISE, REAL]
    assert os.listdir(tmp_path) == ["learned.toml"]  # noqa: PTH208


def test_a_link_is_followed_to_the_file_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "data" / "learned.toml"
    link.symlink_to(tmp_path / "repository" / "learned.toml")

    LearnedFile(link).change(lambda _: [NOISE])

    assert link.is_symlink()
    assert LearnedFile(tmp_path / "repository" / "learned.toml").lessons == [NOISE]


def test_it_is_read_again_when_somebody_else_has_changed_it_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    ours = LearnedFile(path)
    assert not ours.refresh()

    LearnedFile(path).change(lambda _: [NOISE])

    assert ours.refresh()
    assert ours.lessons == [NOISE]
    assert not ours.refresh()
    path.unlink()
    assert ours.refresh()
    assert ours.lessons == []


def test_a_file_that_has_become_useless_leaves_the_answers_as_they_were_and_is_never_written_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "learned.toml"
    file = LearnedFile(path)
    file.change(lambda _: [NOISE])
    file.refresh()
    path.write_text("[[answers]\n")

    with pytest.raises(ConfigError):
        file.refresh()
    again = file.refresh()
    with pytest.raises(ConfigError):
        file.change(lambda _: [REAL])

    assert not again
    assert file.lessons == [NOISE]
    assert path.read_text() == "[[answers]\n"


def test_answers_given_at_once_by_threads_and_processes_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    program = (
        "import sys; from pathlib import Path; from msgspec.structs import replace;"
        "from logllm.incidents.learned_file import LearnedFile;"
        "from tests.incidents.test_feedback_file import NOISE;"
        "file = LearnedFile(Path(sys.argv[1]));"
        "[file.change(lambda b: [*b, replace(NOISE, template=f'{sys.argv[2]}-{n}')]) for n in range(10)]"
    )

    def run(name: str) -> None:
        subprocess.run([sys.executable, "-c", program, str(path), name], check=True, cwd=Path(__file__).parents[2])

    others = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    mine = LearnedFile(path)
    for other in others:
        other.start()
    threads = [
        threading.Thread(target=lambda n=n: mine.change(lambda b: [*b, replace(NOISE, template=f"c-{n}")]))
        for n in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in (*threads, *others):
        thread.join()

    assert {lesson.template for lesson in LearnedFile(path).lessons} == {f"{a}-{n}" for a in "abc" for n in range(10)}


def test_whoever_waited_for_the_file_finds_what_was_put_in_its_place_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    file = LearnedFile(path)
    file.change(lambda _: [])
    held = os.open(path, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    waiting = threading.Thread(target=lambda: file.change(lambda before: [*before, REAL]))
    waiting.start()
    ends_s = time.monotonic() + 20
    while _times_open(path) < 2:
        assert time.monotonic() < ends_s

    (tmp_path / "other.toml").write_text(written([NOISE]))
    (tmp_path / "other.toml").replace(path)
    os.close(held)
    waiting.join()

    assert LearnedFile(path).lessons == [NOISE, REAL]


def _times_open(path: Path) -> int:
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += link.readlink() == path
    return found


def test_a_full_disk_leaves_the_file_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    file = LearnedFile(path)
    file.change(lambda _: [NOISE])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), hard))
    try:
        with pytest.raises(StateError, match=os.strerror(errno.EFBIG)):
            file.change(lambda lessons: [*lessons, *(replace(NOISE, template=str(n)) for n in range(100))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["learned.toml"]


def test_more_answers_than_anyone_reviews_are_refused(tmp_path: Path) -> None:
    many = [replace(NOISE, template=str(n), text="") for n in range(MOST_ANSWERS + 1)]

    for file in (LearnedFile(tmp_path / "learned.toml"), LearnedFile(None)):
        with pytest.raises(StateError, match="5,000 answers are the most"):
            file.change(lambda _: many)
        assert file.lessons == []


@pytest.mark.parametrize(
    ("days", "hours", "zone", "moment", "within"),
    [
        ([], "", "UTC", "2026-01-05T00:00Z", True),
        (["mon"], "", "UTC", "2026-01-05T23:59Z", True),
        (["mon"], "", "UTC", "2026-01-06T00:00Z", False),
        (["mon"], "", "Asia/Tokyo", "2026-01-05T15:00Z", False),
        (["fri"], "22:00-04:00", "UTC", "2026-01-03T03:59Z", True),
        (["fri"], "22:00-04:00", "UTC", "2026-01-02T03:00Z", False),
        ([], "02:00-03:00", "Europe/Berlin", "2026-07-01T00:30Z", True),
        ([], "02:00-03:00", "Europe/Berlin", "2026-01-01T01:30Z", True),
        ([], "02:00-03:00", "Europe/Berlin", "2026-01-01T00:30Z", False),
    ],
)
def test_hours_go_by_the_clock_of_their_place(
    days: list[str], hours: str, zone: str, moment: str, within: bool
) -> None:
    now_ns = int(datetime.fromisoformat(moment).timestamp()) * 10**9

    assert (now_ns in Hours(days, hours, zone)) is within


@pytest.mark.parametrize(
    "odd",
    [
        replace(NOISE, until=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        replace(NOISE, verdict="expected", up_to=float("nan")),
        replace(NOISE, hours="99"),
        replace(NOISE, note="x" * 2_001),
    ],
    ids=["time", "number", "hours", "length"],
)
def test_an_answer_that_could_not_be_read_again_is_not_written(tmp_path: Path, odd: Lesson) -> None:
    file = LearnedFile(tmp_path / "learned.toml")
    file.change(lambda _: [REAL])

    with pytest.raises(ConfigError, match="answer: "):
        file.change(lambda before: [*before, odd])

    assert LearnedFile(tmp_path / "learned.toml").lessons == [REAL]
