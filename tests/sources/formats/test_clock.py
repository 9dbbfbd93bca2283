"""Times of all notations, against the slow and obvious way, and what texts leave out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.events import rfc3339
from logllm.sources.formats.calendar import days_from_civil
from logllm.sources.formats.clock import Clock
from logllm.sources.formats.line_format import Reading, zone_named
from logllm.sources.formats.notations import NOTATIONS

REFERENCE = datetime(2026, 11, 22, 21, tzinfo=UTC)


def ns(when: datetime) -> int:
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def read(name: str, *texts: str, reference: datetime = REFERENCE, tz: str = "UTC") -> list[str | None]:
    times, ok = Clock(NOTATIONS[name], Reading(ns(reference), zone=zone_named(tz))).read(texts)
    return [rfc3339(int(time)) if good else None for time, good in zip(times, ok, strict=True)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("iso", "2005-06-03-15.42.50.675872", "2005-06-03T15:42:50.675Z"),
        ("iso", "2015-07-29 17:41:44,747", "2015-07-29T17:41:44.747Z"),
        ("iso", "2015-07-29T17:41:44:747", "2015-07-29T17:41:44.747Z"),
        ("iso", "2015/07/29 7:41:44", "2015-07-29T07:41:44.000Z"),
        ("iso", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000Z"),
        ("iso", "2024-01-02T03:04:05+01:00", "2024-01-02T02:04:05.000Z"),
        ("iso", "2024-01-02 03:04:05.5 -0730", "2024-01-02T10:34:05.500Z"),
        ("iso", "2024-01-02 03:04:05 EST", "2024-01-02T08:04:05.000Z"),
        ("iso", "2024-01-02 03:04", "2024-01-02T03:04:00.000Z"),
        ("iso", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("compact", "20171223-22:15:29:606", "2017-12-23T22:15:29.606Z"),
        ("compact", "20171223-2:5:9:6", "2017-12-23T02:05:09.006Z"),
        ("basic", "20240102T030405.123Z", "2024-01-02T03:04:05.123Z"),
        ("packed", "081109 203615", "2008-11-09T20:36:15.000Z"),
        ("packed_clock", "240102  3:04:05", "2024-01-02T03:04:05.000Z"),
        ("ctime", "Sun Dec 04 04:47:44 2005", "2005-12-04T04:47:44.000Z"),
        ("ctime", "Sun Dec  4 04:47:44.25 UTC 2005", "2005-12-04T04:47:44.250Z"),
        ("month_year", "Jan 02, 2024 12:04:05 AM", "2024-01-02T00:04:05.000Z"),
        ("month_year", "Jan 02, 2024 12:04:05 PM", "2024-01-02T12:04:05.000Z"),
        ("clf", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36.000Z"),
        ("day_month", "02 Jan 2024 03:04:05.123", "2024-01-02T03:04:05.123Z"),
        ("day_month", "Tue, 02 Jan 2024 03:04:05 +0000", "2024-01-02T03:04:05.000Z"),
        ("mdy4", "1/2/2024 3:04:05 PM", "2024-01-02T15:04:05.000Z"),
        ("dmy4", "31.12.2024 23:04:05", "2024-12-31T23:04:05.000Z"),
        ("ymd2", "17/06/09 20:10:40", "2017-06-09T20:10:40.000Z"),
        ("epoch", "1117838570", "2005-06-03T22:42:50.000Z"),
        ("epoch", "1117838570.25", "2005-06-03T22:42:50.250Z"),
        ("epoch", "1117838570123", "2005-06-03T22:42:50.123Z"),
        ("epoch", "1117838570123456789", "2005-06-03T22:42:50.123Z"),
        ("syslog", "Jun  4 15:16:01", "2026-06-04T15:16:01.000Z"),
        ("syslog", "Dec 31 23:59:59", "2025-12-31T23:59:59.000Z"),
        ("syslog", "Feb 29 12:00:00", "2024-02-29T12:00:00.000Z"),
        ("klog", "0102 15:04:05.000123", "2026-01-02T15:04:05.000Z"),
        ("md", "03-17 16:13:38.811", "2026-03-17T16:13:38.811Z"),
        ("clock", "20:59:59", "2026-11-22T20:59:59.000Z"),
        ("clock", "23:59:59", "2026-11-21T23:59:59.000Z"),
    ],
)
def test_a_time_is_read(name: str, text: str, expected: str) -> None:
    assert read(name, text) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("iso", "2024-13-02 03:04:05"),
        ("iso", "2024-02-30 03:04:05"),
        ("iso", "2024-01-02 24:04:05"),
        ("iso", "2024-01-02 03:61:05"),
        ("iso", "hello"),
        ("iso", ""),
        ("iso", "２０２４-01-02 03:04:05"),
        ("syslog", "Jun 31 00:00:00"),
        ("month_year", "Jan 02, 2024 13:04:05 PM"),
        ("epoch", "12345678901"),
        ("clock", "25:00:00"),
    ],
)
def test_what_is_no_time_is_told_and_spoils_no_other(name: str, text: str) -> None:
    good = {"iso": "2024-01-02 03:04:05", "epoch": "1117838570", "clock": "01:00:00"}.get(name)
    texts = (text,) if good is None else (good, text, good)

    found = read(name, *texts)

    assert found[len(texts) // 2] is None
    assert all(found[:1] + found[2:]) or good is None


@settings(max_examples=60)
@given(
    st.lists(st.datetimes(datetime(1990, 1, 2), datetime(2060, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(
        ["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%d/%b/%Y:%H:%M:%S +0000", "%Y-%m-%d %H:%M:%S,%f EST"]
    ),
)
def test_columns_are_read_as_the_standard_library_reads_each_text(times: list[datetime], form: str) -> None:
    texts = [time.strftime(form) for time in times]
    offset = timedelta(hours=5) if form.endswith("EST") else timedelta()
    exact = "%f" in form
    expected = [ns((time if exact else time.replace(microsecond=0)).replace(tzinfo=UTC) + offset) for time in times]

    found, ok = Clock(NOTATIONS["clf" if "%b" in form else "iso"], Reading(ns(REFERENCE))).read(texts)

    assert ok.all()
    assert found.tolist() == expected


@settings(max_examples=100)
@given(st.lists(st.text("0123456789:-/. TZ+,JanFebPM", max_size=30), max_size=8), st.sampled_from(sorted(NOTATIONS)))
def test_a_column_reads_as_its_texts_do_one_by_one(texts: list[str], name: str) -> None:
    notation = NOTATIONS[name]
    valid = [notation.read(text) is not None for text in texts]

    times, ok = Clock(notation, Reading(ns(REFERENCE))).read(texts)

    assert len(times) == len(texts)
    # A 29th of February may still turn out not to exist in its year.
    assert all(good <= might for good, might in zip(ok.tolist(), valid, strict=True))


@given(st.dates(datetime(1, 1, 1).date(), datetime(9999, 12, 31).date()))
def test_civil_days_are_those_of_the_standard_library(date: object) -> None:
    from datetime import date as Date  # noqa: N812 - the strategy gives dates

    assert isinstance(date, Date)
    days, exists = days_from_civil(*(np.array([part], np.int64) for part in (date.year, date.month, date.day)))

    assert exists[0]
    assert int(days[0]) == date.toordinal() - 719_163


def test_december_to_january_goes_on_in_the_next_year() -> None:
    found = read("syslog", "Nov 30 10:00:00", "Dec 31 23:59:59", "Jan  1 00:00:00", "Feb  2 00:00:00")

    assert [text[:4] for text in found if text] == ["2025", "2025", "2026", "2026"]


def test_a_late_december_record_after_new_year_goes_back() -> None:
    found = read("syslog", "Dec 31 23:59:58", "Jan  1 00:00:00", "Dec 31 23:59:59", "Jan  1 00:00:01")

    assert [text[:4] for text in found if text] == ["2025", "2026", "2025", "2026"]


def test_no_time_without_a_year_lies_after_the_reference() -> None:
    found = read("syslog", "Jun 20 10:00:00", "Nov 20 10:00:00", "Dec 20 10:00:00", "Jan 20 10:00:00")

    assert all(text is not None and text <= "2026-11-23" for text in found)


def test_a_quiet_summer_of_a_file_that_is_followed_is_no_new_year() -> None:
    reading = Reading(ns(datetime(2026, 2, 1, tzinfo=UTC)))
    clock = Clock(NOTATIONS["syslog"], reading)
    reading.settle(*clock.read(["Jan 31 10:00:00"]))

    reading.reference_ns = ns(datetime(2026, 10, 1, tzinfo=UTC))
    times, _ = clock.read(["Sep 30 10:00:00"])

    assert rfc3339(int(times[0])) == "2026-09-30T10:00:00.000Z"


def test_midnights_are_counted_where_there_is_no_date() -> None:
    found = read("clock", "22:00:00", "23:59:59", "00:00:01", "12:00:00", reference=REFERENCE + timedelta(days=3))

    assert found == [
        "2026-11-24T22:00:00.000Z",
        "2026-11-24T23:59:59.000Z",
        "2026-11-25T00:00:01.000Z",
        "2026-11-25T12:00:00.000Z",
    ]


def test_a_zone_is_applied_to_times_that_name_none_and_only_to_those() -> None:
    found = read("iso", "2024-01-15 12:00:00", "2024-07-15 12:00:00", "2024-07-15 12:00:00Z", tz="Europe/Berlin")

    assert found == ["2024-01-15T11:00:00.000Z", "2024-07-15T10:00:00.000Z", "2024-07-15T12:00:00.000Z"]


def test_a_change_of_the_written_offset_is_followed() -> None:
    texts = [f"2024-10-27T02:30:00{zone}" for zone in ("+02:00", "+01:00", "+02:00", "-05:00", "+00:30", "+05:45", "Z")]

    found, ok = Clock(NOTATIONS["iso"], Reading(ns(REFERENCE))).read(texts)

    assert ok.all()
    assert found.tolist() == [ns(datetime.fromisoformat(text).astimezone(timezone.utc)) for text in texts]  # noqa: UP017


def test_an_unknown_zone_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match="Europe/Atlantis"):
        zone_named("Europe/Atlantis")


def test_times_that_cannot_be_are_replaced_by_the_last_good_one() -> None:
    reading = Reading(7_000_000_000_000_000_000)
    times = np.array([0, 700_000_000, 5, 800_000_000, -1], np.int64) * 1_000_000_000
    ok = np.array([True, True, False, True, True])

    settled = (reading.settle(times, ok) // 1_000_000_000).tolist()
    later = (reading.settle(np.zeros(2, np.int64), np.zeros(2, np.bool_)) // 1_000_000_000).tolist()

    assert settled == [700_000_000, 700_000_000, 700_000_000, 800_000_000, 800_000_000]
    assert later == [800_000_000, 800_000_000]
