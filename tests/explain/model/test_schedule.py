from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.explain.model.schedule import Schedule

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str, zone: str = "UTC") -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_without_windows_it_is_always_open() -> None:
    assert Schedule([]).opens_in_s(0.0) == 0.0


def test_office_hours_are_those_of_their_zone() -> None:
    office = Schedule(["mon-fri 07:00-20:00 Europe/Berlin"])

    assert office.opens_in_s(at("2026-07-01T07:00", "Europe/Berlin")) == 0.0
    assert office.opens_in_s(at("2026-07-01T19:59", "Europe/Berlin")) == 0.0
    assert office.opens_in_s(at("2026-07-01T20:00", "Europe/Berlin")) == 11 * 3600
    assert office.opens_in_s(at("2026-07-03T20:00", "Europe/Berlin")) == 59 * 3600  # a Friday
    assert office.opens_in_s(at("2026-07-01T05:00")) == 0.0
    assert office.opens_in_s(at("2026-01-07T05:00")) == 3600


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    night = Schedule(["fri 22:00-06:00"])

    assert night.opens_in_s(at("2026-07-04T05:59")) == 0.0
    assert night.opens_in_s(at("2026-07-03T05:59")) == 16 * 3600 + 60
    assert night.opens_in_s(at("2026-07-04T06:00")) == 6 * 86400 + 16 * 3600


def test_a_window_ends_by_the_wall_clock_on_the_day_clocks_change() -> None:
    night = Schedule(["daily 01:00-04:00 Europe/Berlin"])
    began = at("2026-03-29T01:00", "Europe/Berlin")

    assert night.opens_in_s(began + 2 * 3600 - 1) == 0.0
    assert night.opens_in_s(began + 2 * 3600) > 0


def test_several_windows_and_lists_of_days() -> None:
    both = Schedule(["sat,sun 10:00-12:00", "fri-mon 23:00-24:00"])

    assert both.opens_in_s(at("2026-07-04T11:00")) == 0.0
    assert both.opens_in_s(at("2026-07-06T23:30")) == 0.0
    assert both.opens_in_s(at("2026-07-06T11:00")) == 12 * 3600


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("", "expected a window such as"),
        ("mon 7-20", "expected a window such as"),
        ("someday 07:00-20:00", "expected days such as"),
        ("mon- 07:00-20:00x", "expected a window such as"),
        ("mon 07:60-20:00", "expected times from 00:00 to 24:00"),
        ("mon 25:00-26:00", "expected times from 00:00 to 24:00"),
        ("mon 24:00-07:00", "beginning before 24:00"),
        ("mon 07:00-07:00", "another end"),
        ("mon 07:00-20:00 Mars/Base", "expected a zone such as Europe/Berlin"),
        ("mon 07:00-20:00 ../../etc/passwd", "expected a window such as"),
        ("mon 07:00-20:00 /etc/passwd", "expected a zone such as"),
    ],
)
def test_what_is_no_window_is_refused_with_what_was_expected(window: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        Schedule([window], "llm.windows")

    assert str(error.value).startswith("llm.windows: ")


def test_more_windows_than_anyone_needs_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected at most 64"):
        Schedule(["mon 07:00-20:00"] * 65)


@given(
    begin=st.integers(0, 1439),
    end=st.integers(0, 1440),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    now_s=st.integers(1_700_000_000, 1_800_000_000),
)
def test_it_opens_when_it_says_and_was_shut_until_then(begin: int, end: int, days: set[str], now_s: int) -> None:
    if begin == end:
        end = (end + 1) % 1440
    window = f"{','.join(sorted(days))} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    schedule = Schedule([window])

    wait_s = schedule.opens_in_s(now_s)

    assert schedule.opens_in_s(now_s + wait_s) == 0.0
    if wait_s:
        assert schedule.opens_in_s(now_s + wait_s - 1) == 1.0
    then = dt.datetime.fromtimestamp(now_s, dt.UTC)
    minute = then.hour * 60 + then.minute
    today, yesterday = DAYS[then.weekday()] in days, DAYS[then.weekday() - 1] in days
    inside = (
        today and begin <= minute < end if begin < end else (today and minute >= begin) or (yesterday and minute < end)
    )
    assert (wait_s == 0.0) == inside
