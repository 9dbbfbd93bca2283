from __future__ import annotations

import json
import tomllib
from datetime import datetime
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from logllm.cli.routes import _moment, _others, routes, tree_lines, try_out
from logllm.notify.routing.labels import LABELS
from logllm.notify.routing.owners import Owners
from logllm.notify.routing.plan import Labels
from logllm.notify.routing.routes import Routing, RoutingConfig

NAMES = ["slack-operations", "slack-payments", "slack-storefront", "pagerduty"]
OWNERS = Path(__file__).parents[2] / "samples" / "owners.toml"
CONFIG = """
to = ["slack-operations"]
escalate = [{after_s = 1800, to = ["pagerduty"]}]

[[routes]]
name = "quiet"
match = ["severity=info"]
mute = ["night"]

[[routes]]
name = "releases"
match = ['kind=~"release|new"']
to = ["slack-storefront"]
group_by = ["kind"]
escalate = []
continue = true

[[routes]]
name = "teams"
match = ['owner!=""']
to = ["@owner"]

  [[routes.routes]]
  name = "critical"
  match = ["severity=critical"]
  to = ["@owner", "pagerduty"]
  group_wait_s = 5
  escalate = [{after_s = 900, to = ["@owner"]}, {after_s = 5400, to = ["slack-operations"]}]

[times.business]
days = ["mon-fri"]
from = "09:00"
to = "18:00"
zone = "Europe/Berlin"

[times.night]
from = "22:00"
to = "06:00"
zone = "Europe/Berlin"
"""
NIGHT = datetime.fromisoformat("2026-12-01T03:00:00+01:00")


def routing(text: str = CONFIG) -> Routing:
    return Routing(msgspec.convert(tomllib.loads(text), RoutingConfig), NAMES, Owners.load(OWNERS))


def labels(tested: Routing, service: str, severity: str, *kinds: str) -> Labels:
    return {
        "service": (service,), "services": (service,), "severity": (severity,), "kind": kinds or ("",),
        "owner": (tested.owner(service),),
    }  # fmt: skip


CRITICAL = """\
service payments, severity critical, kind rate new, owner payments, at Tue 2026-12-01 03:00 +01:00

| default: it is for every incident, and a route below takes it
  - quiet: severity="info" does not hold: severity is critical
  + releases: kind=~"release|new" holds; continue: the next ones are looked at too
  | teams: owner!="" holds, and a route below takes it
    + critical: severity="critical" holds; @owner is payments

releases:
  at once: slack-storefront
  grouped by kind: the first at once, others collected for 30 s, then at most every 5 min
  still open and unacknowledged: again every 4 h

critical:
  at once: slack-payments, pagerduty
  after 15 min, unacknowledged: slack-payments
  after 1 h 30 min, unacknowledged: slack-operations
  grouped by service: the first at once, others collected for 5 s, then at most every 5 min
  still open and unacknowledged: again every 4 h
"""

WAITS = """\
service gateway, severity warning, owner storefront, at Tue 2026-12-01 03:00 +01:00

| default: it is for every incident, and a route below takes it
  - quiet: severity="info" does not hold: severity is warning
  - releases: kind=~"release|new" does not hold: kind is ""
  + teams: owner!="" holds, and no route below takes it; @owner is storefront
    - critical: severity="critical" does not hold: severity is warning

teams:
  waits: outside business, until Tue 2026-12-01 09:00 +01:00
  then: slack-storefront
  after 30 min, unacknowledged: pagerduty
  grouped by service: the first at once, others collected for 30 s, then at most every 5 min
  still open and unacknowledged: again every 4 h
"""

NOBODYS = """\
service thumbnails, severity warning, at Tue 2026-12-01 03:00 +01:00

+ default: it is for every incident, and no route below takes it
  - quiet: severity="info" does not hold: severity is warning
  - releases: kind=~"release|new" does not hold: kind is ""
  - teams: owner!="" does not hold: owner is ""

default:
  at once: slack-operations
  after 30 min, unacknowledged: pagerduty
  grouped by service: the first at once, others collected for 30 s, then at most every 5 min
  still open and unacknowledged: again every 4 h
"""

TREE = """\
default: every incident
    to slack-operations
    after 30 min, unacknowledged: pagerduty
    grouped by service
    group_wait 30 s
    group_interval 5 min
    repeat_interval 4 h
  quiet: severity="info"
      not in night
  releases: kind=~"release|new"
      to slack-storefront
      nobody else when nobody acknowledges
      grouped by kind
      continue
  teams: owner!=""
      to @owner
    critical: severity="critical"
        to @owner, pagerduty
        after 15 min, unacknowledged: @owner
        after 1 h 30 min, unacknowledged: slack-operations
        group_wait 5 s

team payments: payments, ledger, checkout-card*
    to slack-payments
    after 15 min, unacknowledged: pagerduty
    after 1 h, unacknowledged: pagerduty, slack-operations

team storefront: gateway, catalogue, checkout-*
    to slack-storefront
    outside business only what is critical is told at once

team platform: kube-*, postgres*, *-exporter
    to slack-operations
    nobody else when nobody acknowledges

time business: not now, until Tue 2026-12-01 09:00 +01:00
time night: now, until Tue 2026-12-01 06:00 +01:00
"""


@pytest.mark.parametrize(
    ("service", "severity", "kinds", "text"),
    [
        ("payments", "critical", ("rate", "new"), CRITICAL),
        ("gateway", "warning", (), WAITS),
        ("thumbnails", "warning", (), NOBODYS),
    ],
)
def test_the_way_of_an_incident_is_shown_with_its_reasons_and_times(
    service: str, severity: str, kinds: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tested = routing()

    told = try_out(tested, labels(tested, service, severity, *kinds), NIGHT, as_json=False)

    assert told
    assert capsys.readouterr().out == text


def test_the_tree_is_shown_with_teams_and_times() -> None:
    lines = list(tree_lines(routing(), NIGHT))

    assert "\n".join(lines) + "\n" == TREE


def test_a_program_reads_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tested = routing()

    try_out(tested, labels(tested, "gateway", "warning"), NIGHT, as_json=True)

    found = json.loads(capsys.readouterr().out)
    assert found["told"] is True
    assert found["at"] == "2026-12-01T03:00:00+01:00"
    assert found["labels"]["owner"] == ["storefront"]
    assert [(hop["route"], hop["matched"]) for hop in found["hops"]] == [
        ("default", True), ("quiet", False), ("releases", False), ("teams", True), ("critical", False),
    ]  # fmt: skip
    assert found["hops"][3]["plan"]["to"] == ["slack-storefront"]
    assert found["hops"][3]["plan"]["muted"] == "outside business"
    assert found["hops"][3]["muted_until_s"] == datetime.fromisoformat("2026-12-01T09:00:00+01:00").timestamp()


def test_nobody_is_told_without_a_destination(capsys: pytest.CaptureFixture[str]) -> None:
    tested = Routing(RoutingConfig(), [], Owners())

    told = try_out(tested, labels(tested, "payments", "critical"), NIGHT, as_json=False)

    shown = capsys.readouterr()
    assert not told
    assert "at once: nobody, there is no destination" in shown.out
    assert shown.err == "logllm: nobody would be told\n"


def test_nobody_is_told_by_a_route_that_waits_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    tested = Routing(
        msgspec.convert(tomllib.loads("[[routes]]\nmute = ['ever']\n[times.ever]\n"), RoutingConfig), NAMES, Owners()
    )

    told = try_out(tested, labels(tested, "payments", "critical"), NIGHT, as_json=False)

    assert not told
    assert "waits: ever, for more than 400 days" in capsys.readouterr().out


def test_what_is_asked_for_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    tested = routing()

    try_out(tested, labels(tested, "a\x1b[2J\r\n\u202eb", "warning"), NIGHT, as_json=False)

    assert capsys.readouterr().out.startswith("service a␛[2J⏎\\u202eb, severity warning")


@pytest.mark.parametrize(
    "text", ["now", "2026-12-01T03:00:00", "2026-12-01", "9999-12-31T23:59:59Z", "x" * 100_000, ""]
)
def test_a_time_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a time with its offset, as 2026-12-01T03:00:00"):
        _moment(text)


@pytest.mark.parametrize("text", ["runbook", "=x", "host=db-1", "x" * 100_000])
def test_a_label_that_no_incident_has_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected NAME=VALUE with one of service, services, severity"):
        _others([text])


def test_other_labels_are_taken_each_with_its_values() -> None:
    found = _others(["runbook=disk-full", "kind=rate", "kind=a=b"])

    assert found == {"runbook": ("disk-full",), "kind": ("rate", "a=b")}
    assert set(found) <= set(LABELS)


FILE = f"""
[notify]
owners = {str(OWNERS)!r}
{CONFIG.replace("[routes", "[notify.routes").replace("[times.", "[notify.times.")}
"""


def test_the_command_reads_the_configuration_and_its_exit_code_says_whether_anybody_is_told(tmp_path: Path) -> None:
    destinations = "".join(
        f'[[notify.destinations]]\ntype = "webhook"\nname = "{name}"\nurl = "http://127.0.0.1:9/"\n' for name in NAMES
    )
    config = tmp_path / "logllm.toml"
    config.write_text(FILE + destinations, encoding="utf-8")
    asked = ["test", "--service", "payments", "--severity", "critical", "--kind", "rate", "--kind", "new"]

    shown = CliRunner().invoke(routes, [*asked, "--at", NIGHT.isoformat(), "-c", str(config)])
    tree = CliRunner().invoke(routes, ["show", "-c", str(config)])
    without = CliRunner().invoke(routes, asked)

    assert (shown.exit_code, shown.stdout) == (0, CRITICAL)
    assert tree.stdout.startswith("default: every incident\n    to slack-operations\n")
    assert (without.exit_code, without.stderr) == (1, "logllm: nobody would be told\n")
