from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.notify.routing.times import TimeInterval, TimeIntervalConfig

BERLIN = "Europe/Berlin"
BUSINESS = TimeIntervalConfig(days=["mon-fri"], from_="09:00", to="18:00", zone=BERLIN)
NIGHT = TimeIntervalConfig(from_="22:00", to="06:00", zone=BERLIN)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def interval(*configs: TimeIntervalConfig) -> TimeInterval:
    return TimeInterval(configs, "notify.times.x")


@pytest.mark.parametrize(
    ("config", "when", "holds"),
    [
        (BUSINESS, "2026-12-01T09:00:00+01:00", True),
        (BUSINESS, "2026-12-01T08:59:59.999+01:00", False),
        (BUSINESS, "2026-12-01T17:59:59+01:00", True),
        (BUSINESS, "2026-12-01T18:00:00+01:00", False),
        (BUSINESS, "2026-12-05T12:00:00+01:00", False),  # a Saturday
        (BUSINESS, "2026-07-01T07:00:00+00:00", True),  # 09:00 in summer
        (BUSINESS, "2026-12-01T07:30:00+00:00", False),  # 08:30 in winter
        (NIGHT, "2026-12-01T23:00:00+01:00", True),
        (NIGHT, "2026-12-01T00:00:00+01:00", True),
        (NIGHT, "2026-12-01T05:59:00+01:00", True),
        (NIGHT, "2026-12-01T06:00:00+01:00", False),
        (NIGHT, "2026-12-01T21:59:00+01:00", False),
        (TimeIntervalConfig(), "2026-12-01T00:00:00+00:00", True),
        (TimeIntervalConfig(days=["sat", "sun"]), "2026-12-05T00:00:00+00:00", True),
        (TimeIntervalConfig(days=["sat-mon"]), "2026-12-07T23:59:00+00:00", True),
        (TimeIntervalConfig(days=["sat-mon"]), "2026-12-08T00:00:00+00:00", False),
        (TimeIntervalConfig(days=["Mon-Mon"]), "2026-12-07T10:00:00+00:00", True),
        (TimeIntervalConfig(days=["Mon-Mon"]), "2026-12-08T10:00:00+00:00", False),
        (TimeIntervalConfig(months=["nov-feb"]), "2027-02-28T10:00:00+00:00", True),
        (TimeIntervalConfig(months=["nov-feb"]), "2027-03-01T00:00:00+00:00", False),
        (TimeIntervalConfig(dates=["2026-12-24"]), "2026-12-24T12:00:00+00:00", True),
        (TimeIntervalConfig(dates=["2026-12-24"]), "2027-12-24T12:00:00+00:00", False),
        (TimeIntervalConfig(dates=["12-24"]), "2027-12-24T12:00:00+00:00", True),
        (TimeIntervalConfig(dates=["2026-12-24/2027-01-01"]), "2027-01-01T23:59:00+00:00", True),
        (TimeIntervalConfig(dates=["2026-12-24/2027-01-01"]), "2027-01-02T00:00:00+00:00", False),
        (TimeIntervalConfig(dates=["12-24/01-01"]), "2031-12-31T12:00:00+00:00", True),
        (TimeIntervalConfig(dates=["12-24/01-01"]), "2031-01-02T12:00:00+00:00", False),
        (TimeIntervalConfig(dates=["02-29"]), "2028-02-29T12:00:00+00:00", True),
        (TimeIntervalConfig(days=["mon"], dates=["2026-12-24"]), "2026-12-24T12:00:00+00:00", False),
        (TimeIntervalConfig(zone="Pacific/Kiritimati", dates=["2027-01-01"]), "2026-12-31T10:00:00+00:00", True),
    ],
)
def test_it_holds_by_the_clock_and_calendar_of_its_zone(config: TimeIntervalConfig, when: str, holds: bool) -> None:
    assert interval(config).holds(at(when)) is holds


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2026-12-04T23:00:00+01:00", True),  # Friday's
        ("2026-12-05T03:00:00+01:00", True),  # still Friday's
        ("2026-12-05T23:00:00+01:00", False),
        ("2026-12-07T03:00:00+01:00", False),  # it would be Sunday's
        ("2026-12-07T22:00:00+01:00", True),
    ],
)
def test_what_goes_over_midnight_belongs_to_the_day_on_which_it_begins(when: str, holds: bool) -> None:
    config = TimeIntervalConfig(days=["mon-fri"], from_="22:00", to="06:00", zone=BERLIN)

    assert interval(config).holds(at(when)) is holds


@pytest.mark.parametrize(
    ("from_", "to", "first", "end"),
    [
        # 2026-03-29: at 02:00 clocks go to 03:00.
        ("01:00", "04:00", "2026-03-29T00:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        ("02:30", "06:00", "2026-03-29T01:00:00+00:00", "2026-03-29T04:00:00+00:00"),
        ("01:00", "02:30", "2026-03-29T00:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("02:30", "03:15", "2026-03-29T01:00:00+00:00", "2026-03-29T01:15:00+00:00"),
        ("22:00", "02:30", "2026-03-28T21:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        # 2026-10-25: at 03:00 clocks go back to 02:00.
        ("01:00", "04:00", "2026-10-24T23:00:00+00:00", "2026-10-25T03:00:00+00:00"),
        ("02:00", "03:00", "2026-10-25T00:00:00+00:00", "2026-10-25T02:00:00+00:00"),
        ("02:30", "06:00", "2026-10-25T00:30:00+00:00", "2026-10-25T05:00:00+00:00"),
        ("01:00", "02:30", "2026-10-24T23:00:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("22:00", "02:30", "2026-10-24T20:00:00+00:00", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_on_the_days_when_clocks_change_it_holds_once_and_without_a_hole(
    from_: str, to: str, first: str, end: str
) -> None:
    tested = interval(TimeIntervalConfig(from_=from_, to=to, zone=BERLIN))

    around = range(int(at(first)) - 7_200, int(at(end)) + 7_200, 60)
    holding = [second for second in around if tested.holds(second)]

    assert holding == list(range(int(at(first)), int(at(end)), 60))
    assert tested.next_change_s(at(first) - 60) == at(first)
    assert tested.next_change_s(at(first)) == at(end)


def test_a_span_that_clocks_leap_over_is_left_out_that_day() -> None:
    tested = interval(TimeIntervalConfig(from_="02:10", to="02:50", zone=BERLIN))

    change = tested.next_change_s(at("2026-03-28T12:00:00+01:00"))

    assert change == at("2026-03-30T02:10:00+02:00")


def test_midnight_may_be_what_clocks_leap_over() -> None:
    # Beirut: 2024-03-31 begins at 01:00, which is 22:00 UTC.
    saturday = TimeIntervalConfig(dates=["2024-03-30"], zone="Asia/Beirut")
    sunday = TimeIntervalConfig(dates=["2024-03-31"], zone="Asia/Beirut")

    end = interval(saturday).next_change_s(at("2024-03-30T12:00:00+00:00"))

    assert end == at("2024-03-30T22:00:00+00:00")
    assert interval(sunday).next_change_s(at("2024-03-30T12:00:00+00:00")) == end


@pytest.mark.parametrize(
    ("config", "now", "change"),
    [
        (BUSINESS, "2026-12-04T17:00:00+01:00", "2026-12-04T18:00:00+01:00"),
        (BUSINESS, "2026-12-04T18:00:00+01:00", "2026-12-07T09:00:00+01:00"),
        (NIGHT, "2026-12-04T03:00:00+01:00", "2026-12-04T06:00:00+01:00"),
        (TimeIntervalConfig(days=["sat-sun"]), "2026-12-05T03:00:00+00:00", "2026-12-07T00:00:00+00:00"),
        (TimeIntervalConfig(months=["jun"]), "2026-12-05T03:00:00+00:00", "2027-06-01T00:00:00+00:00"),
        (TimeIntervalConfig(dates=["2026-12-24"]), "2026-12-25T00:00:00+00:00", None),
        (TimeIntervalConfig(dates=["2028-02-29"]), "2026-12-25T00:00:00+00:00", None),
        (TimeIntervalConfig(), "2026-12-25T00:00:00+00:00", None),
    ],
)
def test_the_next_change_is_told(config: TimeIntervalConfig, now: str, change: str | None) -> None:
    found = interval(config).next_change_s(at(now))

    assert found == (None if change is None else at(change))


def test_several_under_one_name_hold_when_one_of_them_does() -> None:
    tested = interval(
        TimeIntervalConfig(days=["sat-sun"], zone=BERLIN), TimeIntervalConfig(from_="18:00", to="09:00", zone=BERLIN)
    )

    friday_evening = at("2026-12-04T19:00:00+01:00")

    assert tested.holds(friday_evening)
    assert tested.holds(at("2026-12-05T12:00:00+01:00"))
    assert not tested.holds(at("2026-12-04T12:00:00+01:00"))
    assert tested.next_change_s(friday_evening) == at("2026-12-07T09:00:00+01:00")


CONFIGS = st.builds(
    TimeIntervalConfig,
    days=st.lists(st.sampled_from(["mon", "tue-thu", "fri-sun", "sat"]), max_size=2),
    from_=st.integers(0, 23).map("{:02d}:30".format),
    to=st.integers(1, 24).map("{:02d}:00".format),
    zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    months=st.lists(st.sampled_from(["mar", "oct-apr"]), max_size=1),
)


@given(st.lists(CONFIGS, min_size=1, max_size=3), st.integers(1_767_225_600, 1_830_297_600))
def test_until_the_next_change_nothing_changes(configs: list[TimeIntervalConfig], now_s: int) -> None:
    tested = interval(*configs)
    before = tested.holds(now_s)

    change = tested.next_change_s(now_s)

    until = now_s + 400 * 86_400 if change is None else change
    between = [now_s + (until - now_s) * step / 50 for step in range(50)]
    assert {tested.holds(moment) for moment in between} == {before}
    if change is not None:
        assert tested.holds(change) is not before
        assert tested.holds(change - 0.001) is before


@given(CONFIGS, st.integers(0, 366 * 24 * 4))
def test_away_from_changes_of_the_clock_it_is_what_the_wall_clock_says(
    config: TimeIntervalConfig, quarter: int
) -> None:
    zone = zoneinfo.ZoneInfo(config.zone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + quarter * timedelta(minutes=15)
    local = now.astimezone(zone)
    offsets = {(now + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-48, 49)}
    if len(offsets) > 1:
        return
    plain = msgspec.structs.replace(config, from_="00:00", to="24:00")

    clock = f"{local:%H:%M}"
    if config.from_ < config.to:
        expected = interval(plain).holds(now.timestamp()) and config.from_ <= clock < config.to
    else:
        started = now if clock >= config.from_ else now - timedelta(days=1)
        expected = interval(plain).holds(started.timestamp()) and not config.to <= clock < config.from_

    assert interval(config).holds(now.timestamp()) is expected


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (TimeIntervalConfig(days=["monday"]), "notify.times.x.days: 'monday', expected mon to sun, or two of them as"),
        (TimeIntervalConfig(days=["mon-"]), "'mon-', expected mon to sun"),
        (TimeIntervalConfig(months=["13"]), "notify.times.x.months: '13', expected jan to dec"),
        (TimeIntervalConfig(from_="9:00"), "notify.times.x.from: '9:00', expected a time from 00:00 to 24:00"),
        (TimeIntervalConfig(to="24:01"), "notify.times.x.to: '24:01', expected a time"),
        (TimeIntervalConfig(to="18:00\n"), "expected a time"),
        (TimeIntervalConfig(from_="09:00", to="09:00"), "from 09:00 to 09:00 is no time at all"),
        (TimeIntervalConfig(from_="24:00", to="09:00"), "from 24:00 to 09:00 is no time at all"),
        (TimeIntervalConfig(dates=["2026-02-30"]), "notify.times.x.dates: '2026-02-30', expected a date as 2026-12-24"),
        (TimeIntervalConfig(dates=["2026-W01-1"]), "expected a date"),
        (TimeIntervalConfig(dates=["20261224"]), "expected a date"),
        (TimeIntervalConfig(dates=["2026-12-24/01-01"]), "expected a date"),
        (TimeIntervalConfig(dates=["2026-12-24/2026-12-23"]), "ends before it begins"),
        (TimeIntervalConfig(dates=["12-24"] * 367), "367 dates, expected at most 366"),
        (
            TimeIntervalConfig(zone="Europe/Berlim"),
            "notify.times.x.zone: no time zone 'Europe/Berlim', expected one as",
        ),
        (TimeIntervalConfig(zone="../../etc/passwd"), "no time zone '../../etc/passwd'"),
        (TimeIntervalConfig(zone="/etc/passwd"), "no time zone '/etc/passwd'"),
        (TimeIntervalConfig(zone="Europe"), "no time zone 'Europe'"),
        (TimeIntervalConfig(zone=""), "no time zone ''"),
        (TimeIntervalConfig(zone="a\0b"), "no time zone 'a"),
        (TimeIntervalConfig(zone="x" * 100_000), "no time zone 'xxx"),
    ],
)
def test_what_is_no_time_is_refused_with_what_was_expected(config: TimeIntervalConfig, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        interval(config)

    assert told in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("count", [0, 65])
def test_there_are_one_to_64_under_a_name(count: int) -> None:
    with pytest.raises(ConfigError, match=f"notify.times.x: {count} intervals, expected 1 to 64"):
        interval(*[BUSINESS] * count)


def test_without_data_on_time_zones_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tzdata" in {module.partition(".")[0] for module in _installed()}:
        pytest.skip("the package tzdata is installed, so there is always data on time zones")
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        with pytest.raises(ConfigError, match=r"no data on time zones; expected the package tzdata \(pip install"):
            interval(BUSINESS)

        assert interval(TimeIntervalConfig()).holds(0.0)
    finally:
        zoneinfo.reset_tzpath()


def _installed() -> set[str]:
    from importlib.metadata import packages_distributions

    return set(packages_distributions())
