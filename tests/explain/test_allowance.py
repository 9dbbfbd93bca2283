from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from logllm.errors import ConfigError
from logllm.explain.allowance import FILE, Allowance, Usage, usage_in
from logllm.explain.config import ExplainConfig

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ExplainConfig(tokens_per_hour=1000)


class Clock:
    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_each_severity_has_its_share_of_the_hour() -> None:
    allowance = Allowance(CONFIG, clock=Clock())

    allowance.spend(400, 100)

    assert allowance.dry_s("info") > 0
    assert allowance.dry_s("warning") == 0
    allowance.spend(300, 0)
    assert allowance.dry_s("warning") > 0
    assert allowance.dry_s("critical") == 0
    allowance.spend(200, 0)
    assert allowance.dry_s("critical") > 0
    allowance.close()


def test_it_says_when_enough_of_the_hour_will_be_over() -> None:
    clock = Clock()
    allowance = Allowance(CONFIG, clock=clock)
    allowance.spend(600, 0)
    clock.now_s += 600
    allowance.spend(600, 0)

    dry_s = allowance.dry_s("critical")

    assert dry_s == 3000
    clock.now_s += dry_s + 1
    assert allowance.dry_s("critical") == 0
    assert allowance.dry_s("info") == 599
    allowance.close()


def test_a_clock_set_back_does_not_use_up_the_hour() -> None:
    clock = Clock()
    allowance = Allowance(CONFIG, clock=clock)
    allowance.spend(5000, 0)

    clock.now_s -= 86_400

    assert allowance.dry_s("critical") == 0
    allowance.close()


def test_no_tokens_an_hour_is_never_any() -> None:
    allowance = Allowance(ExplainConfig(tokens_per_hour=0), clock=Clock())

    assert allowance.dry_s("critical") == 3600
    allowance.close()


def test_the_account_outlives_a_restart_and_is_read_beside_the_service(tmp_path: Path) -> None:
    clock = Clock()
    allowance = Allowance(CONFIG, tmp_path / FILE, clock=clock)
    allowance.spend(500, 60)
    allowance.spare(560)
    clock.now_s += 7200
    allowance.close()

    again = Allowance(CONFIG, tmp_path / FILE, clock=clock)
    again.spend(100, 20)
    again.spare(560)

    assert again.usage() == Usage(1_000_000.0, 600, 80, 1120, asked=2, spared=2, hour=120, per_hour=1000)
    assert usage_in(tmp_path, clock) == Usage(1_000_000.0, 600, 80, 1120, asked=2, spared=2, hour=120)
    again.close()


def test_a_folder_without_an_account_has_none(tmp_path: Path) -> None:
    assert usage_in(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"x" * 4096)
    assert usage_in(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(("severity", "waits"), [("critical", 0.0), ("warning", 3600.0), ("info", 3600.0)])
def test_critical_incidents_do_not_wait_for_a_window_unless_told_to(severity: str, waits: float) -> None:
    usual = Allowance(CONFIG, opens_in_s=lambda now_s: 3600.0)
    strict = Allowance(ExplainConfig(critical_any_time=False), opens_in_s=lambda now_s: 3600.0)

    assert usual.shut_s(severity) == waits
    assert strict.shut_s(severity) == 3600.0
    usual.close()
    strict.close()


def test_windows_are_those_of_the_configuration() -> None:
    monday_noon = Clock(1_764_590_400.0)
    allowance = Allowance(ExplainConfig(windows=["mon-fri 22:00-06:00"]), clock=monday_noon)

    assert allowance.shut_s("warning") == 10 * 3600
    assert allowance.shut_s("critical") == 0
    allowance.close()
    with pytest.raises(ConfigError, match=r"\[explain\] windows: 'at night', expected a window such as"):
        Allowance(ExplainConfig(windows=["at night"]))
