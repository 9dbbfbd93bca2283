"""New templates: what is told at once, what when it has come often enough, what is a release, what never."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from logllm.detectors.keys import Keys
from logllm.detectors.lexicon import sounds_like
from logllm.detectors.names import GONE, FirstSight, Names
from logllm.detectors.news import MAX_PROBATION, PROBATION, News
from logllm.detectors.novelty import LEARNING_RELEASE, LEARNING_WINDOWS, MIN_RELEASE, RELEASE_QUIET, Novelty
from logllm.events import Anomaly, Severity
from tests.detectors.counts import slices_of

WARN, ERROR, FATAL, INFO = int(Severity.WARN), int(Severity.ERROR), int(Severity.FATAL), int(Severity.INFO)
GROWN = LEARNING_RELEASE + 100


class _Source:
    """One service's keys with given severities, judged window by window."""

    def __init__(self, severities: list[int], services: list[str] | None = None) -> None:
        self.severities = severities
        self.keys = Keys()
        count = len(severities)
        names = services or ["app"] * count
        distinct = sorted(set(names), key=names.index)
        codes = np.array([distinct.index(name) for name in names], np.int32)
        numbers, _ = self.keys.number(codes, distinct, np.arange(count, dtype=np.int32))
        self.keys.tally(numbers, np.zeros(count, np.int64), np.zeros(count, np.uint8))
        self.novelty = Novelty()
        self.news = News(self.keys, self.novelty, self.severities.__getitem__, 5.0)

    def watch_for_a_day(self) -> None:
        """Each service has been known for long, and brings nothing."""
        for service in range(len(self.keys.services)):
            self.novelty.judge(0, service, [])

    def window(self, window: int, counts: dict[int, int], new: list[int], *, learning: bool = False) -> list[Anomaly]:
        row = np.zeros((1, len(self.severities)))
        for key, count in counts.items():
            row[0, key] = count
        (each,) = slices_of(row, first=window)
        return self.news.judge(each, 0, new, learning=learning)


def test_a_new_error_is_told_at_once() -> None:
    source = _Source([INFO, ERROR])
    source.watch_for_a_day()

    (found,) = source.window(GROWN, {1: 1}, [1])

    assert (found.kind, found.key, found.seen, found.severity) == ("new", 1, 1.0, ERROR)


def test_a_harmless_new_template_is_no_news() -> None:
    source = _Source([INFO])
    source.watch_for_a_day()

    assert source.window(GROWN, {0: 1_000}, [0]) == []


def test_a_new_warning_is_told_when_it_has_come_often_enough_and_once() -> None:
    source = _Source([WARN])
    source.watch_for_a_day()

    told = [source.window(GROWN + minute, {0: 3}, [0] if minute == 0 else []) for minute in range(10)]

    assert [bool(found) for found in told] == [False, False, False, True, False, False, False, False, False, False]
    (found,) = told[3]
    assert (found.seen, found.span) == (12.0, 4)


def test_a_new_warning_that_does_not_come_again_is_forgotten() -> None:
    source = _Source([WARN])
    source.watch_for_a_day()
    source.window(GROWN, {0: 9}, [0])

    assert source.window(GROWN + PROBATION, {0: 50}, []) == []
    assert source.news.state() == {}


def test_what_else_is_new_in_the_service_is_told_along() -> None:
    source = _Source([WARN, ERROR, WARN], ["app", "app", "other"])
    source.watch_for_a_day()
    source.window(GROWN, {0: 1, 2: 1}, [0, 2])

    found = source.window(GROWN + 1, {1: 2}, [1])

    assert [(each.key, each.seen) for each in found] == [(1, 2.0), (0, 1.0)]


def test_many_new_ones_at_once_are_a_release_and_its_harmless_ones_are_not_told_one_by_one() -> None:
    source = _Source([INFO] * 12)
    source.watch_for_a_day()

    found = source.window(GROWN, dict.fromkeys(range(12), 5), list(range(12)))
    late = source.window(GROWN + 5, {}, [])

    assert [(each.kind, each.seen, each.severity) for each in found] == [("release", 12.0, INFO)]
    assert late == []
    assert source.novelty.releasing(0, GROWN + RELEASE_QUIET)
    assert not source.novelty.releasing(0, GROWN + RELEASE_QUIET + 1)


def test_a_bad_one_among_a_release_is_told_all_the_same() -> None:
    source = _Source([INFO] * 11 + [ERROR])
    source.watch_for_a_day()

    found = source.window(GROWN, dict.fromkeys(range(12), 1), list(range(12)))

    assert sorted(each.kind for each in found) == ["new", "release"]


def test_in_the_first_hour_nothing_is_told_but_what_is_fatal() -> None:
    source = _Source([ERROR, FATAL, INFO])

    found = source.window(5, {0: 500, 1: 1, 2: 3}, [0, 1, 2], learning=True)

    assert [(each.key, each.severity) for each in found] == [(1, FATAL)]


def test_where_bad_new_ones_come_every_hour_one_more_must_come_in_numbers() -> None:
    source = _Source([ERROR] * 60)
    source.watch_for_a_day()
    for key in range(50):
        source.window(GROWN + 30 * key, {key: 1}, [key])

    few = source.window(GROWN + 1_500, {50: 9}, [50])
    many = source.window(GROWN + 1_501, {50: 3, 51: 10}, [51])

    assert few == []
    assert {each.key for each in many} >= {50, 51}


def test_when_time_goes_back_old_news_make_no_release() -> None:
    source = _Source([INFO] * 8)
    source.watch_for_a_day()
    few = source.novelty.judge(GROWN, 0, [(key, INFO) for key in range(4)])

    found = source.novelty.judge(10, 0, [(key, INFO) for key in range(4, 8)])

    assert (few, found) == ([], [])
    assert not source.novelty.releasing(0, 10)


def test_the_watch_for_new_ones_is_bounded() -> None:
    count = MAX_PROBATION + 500
    source = _Source([WARN] * count)
    source.watch_for_a_day()

    source.window(GROWN, dict.fromkeys(range(count), 1), list(range(count)))

    assert len(source.news.state()) == MAX_PROBATION
    assert len(msgpack.packb(source.novelty.state())) < 5_000


@pytest.mark.parametrize(
    ("counts", "fresh", "told"),
    [
        ({0: 3, 1: 3}, set(), [26.0]),
        ({1: 3}, set(), []),
        ({1: 3}, {0}, [23.0]),
        ({0: 3}, set(), []),
        ({0: 3}, {1}, [23.0]),
    ],
    ids=["both-new", "joined-by-an-old-one", "joined-by-a-fresh-one", "into-an-old-one", "into-a-fresh-one"],
)
def test_a_merged_key_is_news_only_where_both_are(counts: dict[int, int], fresh: set[int], told: list[float]) -> None:
    source = _Source([WARN, WARN])
    source.watch_for_a_day()
    source.window(GROWN, counts, list(counts))

    source.news.merge(0, 1, fresh)
    found = source.window(GROWN + 1, {1: 20}, [])

    assert [each.seen for each in found] == told


def test_a_restored_watch_goes_on_as_the_saved_one() -> None:
    saved, restored = _Source([WARN, ERROR]), _Source([WARN, ERROR])
    saved.watch_for_a_day()
    saved.window(GROWN, {0: 6}, [0])

    restored.novelty.restore(msgpack.unpackb(msgpack.packb(saved.novelty.state())))
    restored.news.restore(msgpack.unpackb(msgpack.packb(saved.news.state())))

    for minute, counts, new in ((1, {0: 5}, []), (2, {1: 1}, [1])):
        assert restored.window(GROWN + minute, counts, new) == saved.window(GROWN + minute, counts, new) != []


def test_releases_and_news_wait_until_the_service_itself_is_known() -> None:
    novelty = Novelty()

    first = novelty.judge(1_000, 3, [(key, ERROR) for key in range(20)])
    soon = novelty.judge(1_000 + LEARNING_WINDOWS - 1, 3, [(20, ERROR)])
    later = novelty.judge(1_000 + LEARNING_WINDOWS, 3, [(21, ERROR)])

    assert (first, soon) == ([], [])
    assert [item.kind for item in later] == ["new"]
    assert MIN_RELEASE < 20


def test_a_key_is_first_sight_in_the_window_that_counts_it_and_only_where_its_template_is_new() -> None:
    first = FirstSight()
    templates = np.array([4, 4, 7], np.int32)
    first.expect([0, 1, 2], templates)
    (early,) = slices_of(np.zeros((2, 3)), first=10)
    (counts,) = slices_of(np.array([[0, 3, 0], [2, 3, 0]]), first=12)

    before, counted, again = first.counted(early), first.counted(counts), first.counted(counts)

    assert (before, counted, again) == ({}, {13: [0]}, {})
    assert first.waiting == {2}


def test_a_template_under_the_number_of_one_that_is_gone_is_first_sight() -> None:
    first = FirstSight()
    templates = np.array([4, 4], np.int32)
    first.expect([0], templates)
    (counts,) = slices_of(np.array([[1, 1]]))
    first.counted(counts)

    first.forget_templates([4, 900])
    first.expect([1], templates)

    assert first.waiting == {1}


def _settled(first: FirstSight, width: int, keys: list[int]) -> None:
    counts = np.zeros((1, width))
    counts[0, keys] = 1
    (each,) = slices_of(counts)
    first.counted(each)


def test_a_template_that_joins_a_known_one_is_no_first_sight_and_two_new_ones_are_one() -> None:
    templates = np.array([4, 5, 6, 7], np.int32)
    first = FirstSight()
    first.expect([0], templates)
    _settled(first, 4, [0])
    first.expect([1, 2, 3], templates)
    restored = FirstSight()
    restored.restore(msgpack.unpackb(msgpack.packb(first.state())), 12)

    restored.merge_templates(5, 4)
    joined_the_known = restored.waiting
    restored.merge_templates(6, 11)
    restored.merge_templates(7, 11)

    assert joined_the_known == {2, 3}
    assert restored.waiting == {2}
    restored.merge(2, 3)
    assert restored.waiting == {3}
    restored.expect([4], np.array([4, 5, 6, 7, 11], np.int32))
    assert restored.waiting == {3}


def test_a_template_no_key_stood_for_yet_does_not_settle_the_one_it_joins() -> None:
    first = FirstSight()
    first.expect([0], np.array([4], np.int32))

    first.merge_templates(4, 9)
    first.merge_templates(8, 9)

    assert first.waiting == {0}


def test_a_key_keeps_its_first_name_and_its_sound_when_its_template_is_forgotten() -> None:
    texts = {0: ("id0", "disk failure on <*>"), 1: ("id1", "all is well")}
    keys = Keys()
    numbers, new = keys.number(np.zeros(2, np.int32), ["a"], np.array([0, 1], np.int32))
    keys.tally(numbers, np.zeros(2, np.int64), np.array([0, 13], np.uint8))

    def template(index: int) -> tuple[str, str]:
        if index not in texts:
            raise IndexError(index)
        return texts[index]

    names = Names(keys, template)
    names.listen(new)
    del texts[0]
    restored = Names(keys, template)
    restored.restore(msgpack.unpackb(msgpack.packb(names.state())))

    for each in (names, restored):
        assert each.of(0) == ("id0", "disk failure on <*>")
        assert each.of(1) == ("id1", "all is well")
        assert [each.severity(0), each.severity(1)] == [WARN, WARN]
        assert each.bad.tolist() == [False, False]
    texts.clear()
    assert Names(keys, template).of(1) == GONE


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("FATAL PANIC critical emergency attack", Severity.ERROR),
        ("Failed password for <*> from <ip>", Severity.WARN),
        ("java.lang.NullPointerException: Exception in thread", Severity.ERROR),
        ("finished with 0 errors", Severity.UNSPECIFIED),
        ("connection_refused by peer", Severity.WARN),
        ("user logged in", Severity.UNSPECIFIED),
        ("terror and infatuation", Severity.UNSPECIFIED),
        ("", Severity.UNSPECIFIED),
        ("x" * 1_000_000 + " error", Severity.UNSPECIFIED),
    ],
)
def test_no_words_make_a_line_sound_worse_than_an_error(text: str, level: Severity) -> None:
    assert sounds_like(text) is level
