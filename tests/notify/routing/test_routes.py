from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.events import IncidentEvent
from logllm.notify.routing.owners import Owners, Team
from logllm.notify.routing.plan import Plan, Step
from logllm.notify.routing.routes import RouteConfig, Routing, RoutingConfig

DESTINATIONS = ["slack-ops", "slack-payments", "slack-shop", "pagerduty", "webhook"]

CONFIG = """
to = ["slack-ops"]
escalate = [{after_s = 1800, to = ["pagerduty"]}]
owners = "owners.toml"

[[routes]]
name = "audit"
match = ['kind=plugin']
to = ["webhook"]
group_by = []
escalate = []
continue = true

[[routes]]
name = "chatter"
match = ['severity=info', 'kind!="silence"']
mute = ["night"]
group_wait_s = 600
repeat_interval_s = 86400

[[routes]]
name = "teams"
match = ['owner!=""']
to = ["@owner"]

  [[routes.routes]]
  name = "teams at risk"
  match = ['severity="critical"', 'kind=~"rate|silence"']
  to = ["@owner", "pagerduty"]
  group_by = ["service", "kind"]
  group_wait_s = 5
  continue = true
  escalate = [{after_s = 300, to = ["@owner"]}, {after_s = 900, to = ["slack-ops"]}]

  [[routes.routes]]
  match = ['services=~".*gateway.*"']
  to = ["slack-shop"]

[[routes]]
name = "batch"
match = ['service=~"batch-.*"']
active = ["business"]
to = ["@owner"]

  [[routes.routes]]
  name = "batch disk"
  match = ['runbook="disk-full"']

[times.business]
days = ["mon-fri"]
from = "09:00"
to = "18:00"
zone = "Europe/Berlin"

[[times.night]]
from = "22:00"
to = "06:00"
zone = "Europe/Berlin"
"""

PAYMENTS = Team(["payments", "pay-*"], ["slack-payments"], [Step(600, ["pagerduty"])])
HOMELESS = Team(["thumbnails"])
OWNERS = Owners(
    {
        "payments": PAYMENTS,
        "shop": Team(["gateway", "cart"], ["slack-shop"], None, "business"),
        "quiet": Team(["quiet"], ["slack-shop"], []),
        "homeless": HOMELESS,
    }
)

DAY = datetime.fromisoformat("2026-12-01T12:00:00+01:00").timestamp()
NIGHT = datetime.fromisoformat("2026-12-01T23:00:00+01:00").timestamp()
WEEKEND = datetime.fromisoformat("2026-12-05T12:00:00+01:00").timestamp()


def configured(text: str = CONFIG) -> RoutingConfig:
    return msgspec.convert(tomllib.loads(text), RoutingConfig)


def routing(text: str = CONFIG, owners: Owners = OWNERS) -> Routing:
    return Routing(configured(text), DESTINATIONS, owners)


def incident(
    service: str = "payments",
    severity: Literal["info", "warning", "critical"] = "warning",
    kinds: str = "rate",
    *,
    services: str = "",
    runbook: str | None = None,
) -> IncidentEvent:
    return IncidentEvent(
        id="inc-1", event="open", time="", severity=severity, service=service, kinds=kinds.split(), title="",
        expected="", seen="", template="", count=1, runbook=runbook, evidence=[], services=services.split(),
        fingerprint="f00",
    )  # fmt: skip


def line(plan: Plan) -> str:
    """A plan as the table shows it: route > destinations > steps > muted."""
    steps = " ".join(f"{step.after_s:g}:{'+'.join(step.to)}" for step in plan.steps)
    return " > ".join((plan.route, "+".join(plan.to), steps or "-", plan.muted or "told"))


TABLE: list[tuple[IncidentEvent, float, list[str]]] = [
    # Nothing matches: the default takes it.
    (incident("unknown"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("unknown", "critical"), NIGHT, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident(""), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("batch"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("Payments"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("xpayments"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("unknown", "info", "silence"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    # The owner, and the owner's escalation.
    (incident("payments"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("payments"), NIGHT, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("pay-eu"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("payments", kinds="new"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("payments", "critical", "new"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("quiet"), DAY, ["teams > slack-shop > - > told"]),
    (incident("cart"), DAY, ["teams > slack-shop > 1800:pagerduty > told"]),
    # An owner without a destination: what the route above names.
    (incident("thumbnails"), DAY, ["teams > slack-ops > 1800:pagerduty > told"]),
    (
        incident("thumbnails", "critical"),
        DAY,
        ["teams at risk > pagerduty > 300:pagerduty 900:slack-ops > told"],
    ),
    # An owner's hours: only what is critical does not wait.
    (incident("cart"), NIGHT, ["teams > slack-shop > 1800:pagerduty > outside business"]),
    (incident("cart"), WEEKEND, ["teams > slack-shop > 1800:pagerduty > outside business"]),
    (incident("cart", "critical", "new"), NIGHT, ["teams > slack-shop > 1800:pagerduty > told"]),
    (incident("cart", "info", "silence"), WEEKEND, ["teams > slack-shop > 1800:pagerduty > outside business"]),
    # A route below; its escalation wins over the owner's.
    (
        incident("payments", "critical"),
        NIGHT,
        ["teams at risk > slack-payments+pagerduty > 300:slack-payments 900:slack-ops > told"],
    ),
    (
        incident("payments", "critical", "new silence"),
        DAY,
        ["teams at risk > slack-payments+pagerduty > 300:slack-payments 900:slack-ops > told"],
    ),
    (
        incident("quiet", "critical"),
        DAY,
        ["teams at risk > slack-shop+pagerduty > 300:slack-shop 900:slack-ops > told"],
    ),
    # Continue, within a route: both below take it, the route itself does not.
    (
        incident("payments", "critical", services="api-gateway payments"),
        DAY,
        [
            "teams at risk > slack-payments+pagerduty > 300:slack-payments 900:slack-ops > told",
            "routes[2].routes[1] > slack-shop > 1800:pagerduty > told",
        ],
    ),
    (
        incident("payments", "warning", services="api-gateway payments"),
        DAY,
        ["routes[2].routes[1] > slack-shop > 1800:pagerduty > told"],
    ),
    # The owner's hours concern what is told by @owner, not a destination that is named.
    (incident("gateway"), WEEKEND, ["routes[2].routes[1] > slack-shop > 1800:pagerduty > told"]),
    # Continue at the top.
    (
        incident("payments", kinds="plugin"),
        DAY,
        ["audit > webhook > - > told", "teams > slack-payments > 600:pagerduty > told"],
    ),
    (
        incident("payments", "critical", "plugin rate", services="gateway"),
        DAY,
        [
            "audit > webhook > - > told",
            "teams at risk > slack-payments+pagerduty > 300:slack-payments 900:slack-ops > told",
            "routes[2].routes[1] > slack-shop > 1800:pagerduty > told",
        ],
    ),
    # It was taken by the route that continues, so the default has no part in it, as in Alertmanager.
    (incident("unknown", kinds="plugin"), DAY, ["audit > webhook > - > told"]),
    (
        incident("unknown", "info", "plugin"),
        NIGHT,
        ["audit > webhook > - > told", "chatter > slack-ops > 1800:pagerduty > night"],
    ),
    # The first that matches takes it: what is left out is as in the default.
    (incident("payments", "info"), DAY, ["chatter > slack-ops > 1800:pagerduty > told"]),
    (incident("unknown", "info"), DAY, ["chatter > slack-ops > 1800:pagerduty > told"]),
    (incident("unknown", "info"), NIGHT, ["chatter > slack-ops > 1800:pagerduty > night"]),
    (incident("cart", "info"), NIGHT, ["chatter > slack-ops > 1800:pagerduty > night"]),
    (incident("payments", "info", "silence"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    (incident("payments", "info", "silence rate"), DAY, ["teams > slack-payments > 600:pagerduty > told"]),
    # Only in some hours, whatever the severity; routes below inherit it.
    (incident("batch-nightly"), DAY, ["batch > slack-ops > 1800:pagerduty > told"]),
    (incident("batch-nightly"), WEEKEND, ["batch > slack-ops > 1800:pagerduty > outside business"]),
    (incident("batch-nightly", "critical"), NIGHT, ["batch > slack-ops > 1800:pagerduty > outside business"]),
    (incident("batch-nightly", runbook="disk-full"), DAY, ["batch disk > slack-ops > 1800:pagerduty > told"]),
    (
        incident("batch-nightly", "critical", runbook="disk-full"),
        WEEKEND,
        ["batch disk > slack-ops > 1800:pagerduty > outside business"],
    ),
    (incident("batch-nightly", runbook="disk-full-2"), DAY, ["batch > slack-ops > 1800:pagerduty > told"]),
    # Hostile names are names.
    (incident('payments"} or {'), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
    (incident("batch-" + "x" * 1_000_000), DAY, ["batch > slack-ops > 1800:pagerduty > told"]),
    (incident("@owner"), DAY, ["default > slack-ops > 1800:pagerduty > told"]),
]


@pytest.mark.parametrize(("event", "now_s", "plans"), TABLE)
def test_an_incident_goes_where_the_table_says(event: IncidentEvent, now_s: float, plans: list[str]) -> None:
    found = routing().plans(event, now_s)

    assert [line(plan) for plan in found] == plans


@pytest.mark.parametrize(("event", "now_s", "plans"), TABLE)
def test_what_is_explained_is_what_is_done(event: IncidentEvent, now_s: float, plans: list[str]) -> None:
    tested = routing()

    hops = tested.explain(tested.labels(event), now_s)

    assert [line(hop.plan) for hop in hops if hop.plan] == plans
    assert all(hop.matched for hop in hops if hop.plan)
    assert all(hop.muted_until_s is not None for hop in hops if hop.plan and hop.plan.muted)


def test_grouping_and_times_are_inherited_where_they_are_left_out() -> None:
    tested = routing()

    (risk,) = tested.plans(incident("payments", "critical"), DAY)
    (chatter,) = tested.plans(incident("x", "info"), DAY)
    (audit,) = tested.plans(incident("x", kinds="plugin"), DAY)

    assert (risk.group_by, risk.group_wait_s, risk.group_interval_s) == (("service", "kind"), 5.0, 300.0)
    assert (chatter.group_by, chatter.group_wait_s, chatter.repeat_interval_s) == (("service",), 600.0, 86_400.0)
    assert audit.group_by == ()


def test_without_any_configuration_everything_goes_to_the_owner_or_else_everywhere() -> None:
    tested = Routing(RoutingConfig(), DESTINATIONS, Owners({"payments": PAYMENTS, "homeless": HOMELESS}))

    (owned,) = tested.plans(incident("payments"), DAY)
    (unowned,) = tested.plans(incident("unknown"), DAY)
    (homeless,) = tested.plans(incident("thumbnails"), DAY)

    assert owned.to == ("slack-payments",)
    assert unowned == homeless == Plan("default", tuple(DESTINATIONS), ("service",), 30.0, 300.0, 14_400.0)


def test_without_a_destination_the_plan_leads_nowhere_and_says_so() -> None:
    tested = Routing(RoutingConfig(), [], Owners())

    (plan,) = tested.plans(incident(), DAY)

    assert plan.to == ()


def test_an_escalation_is_inherited_by_the_routes_below_and_can_be_ended_there() -> None:
    tested = routing(
        """
        escalate = [{after_s = 60, to = ["webhook"]}]
        [[routes]]
        match = ["severity=critical"]
        escalate = [{after_s = 120, to = ["pagerduty"]}]
          [[routes.routes]]
          match = ["kind=rate"]
          to = ["@owner"]
            [[routes.routes.routes]]
            match = ["service=payments"]
          [[routes.routes]]
          match = ["kind=new"]
          escalate = []
        """,
        Owners({"payments": PAYMENTS}),
    )

    told = [tested.plans(incident("payments", "critical", kinds), DAY)[0] for kinds in ("silence", "rate", "new")]

    assert [[(step.after_s, step.to) for step in plan.steps] for plan in told] == [
        [(120, ["pagerduty"])],
        [(120, ["pagerduty"])],
        [],
    ]


def test_the_owners_are_read_from_where_the_configuration_says(tmp_path: Path) -> None:
    path = tmp_path / "owners.toml"
    path.write_text('[teams.payments]\nservices = ["pay*"]\nto = ["webhook"]\n', encoding="utf-8")

    tested = Routing.load(RoutingConfig(owners=str(path)), DESTINATIONS)

    assert tested.owner("payments") == "payments"
    assert tested.plans(incident(), DAY)[0].to == ("webhook",)
    assert Routing.load(RoutingConfig(), DESTINATIONS).owner("payments") == ""


def test_when_a_route_waits_it_says_until_when() -> None:
    tested = routing("""
        [[routes]]
        active = ["business"]
        mute = ["lunch", "january"]
        to = ["slack-ops"]
        [times.business]
        days = ["mon-fri"]
        from = "09:00"
        to = "18:00"
        [times.lunch]
        from = "09:00"
        to = "13:00"
        [times.january]
        months = ["jan"]
    """)
    new_years_eve = datetime.fromisoformat("2026-12-31T20:00:00+00:00").timestamp()

    hop = tested.explain(tested.labels(incident()), new_years_eve)[1]

    assert hop.plan is not None
    assert hop.plan.muted == "outside business"
    assert hop.muted_until_s == datetime.fromisoformat("2027-02-01T13:00:00+00:00").timestamp()


def test_a_route_that_never_tells_again_has_no_end() -> None:
    tested = routing("[[routes]]\nmute = ['ever']\n[times.ever]\n", Owners())

    hop = tested.explain(tested.labels(incident()), DAY)[1]

    assert hop.plan is not None
    assert hop.plan.muted == "ever"
    assert hop.muted_until_s is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('to = ["slack"]', "notify.to: no destination 'slack', expected slack-ops, slack-payments, slack-shop"),
        ('[[routes]]\nto = ["slack"]', "notify.routes[0].to: no destination 'slack', expected slack-ops"),
        ("[[routes]]\nto = []", "notify.routes[0].to: it is empty, expected destinations: slack-ops"),
        ('[[routes]]\n[[routes.routes]]\nto = ["x"]', "notify.routes[0].routes[0].to: no destination 'x'"),
        ('[[routes]]\nmatch = ["service"]', "notify.routes[0].match: matcher 'service': 'service' is none, expected"),
        (
            '[[routes]]\nmatch = ["owner=pay"]',
            "notify.routes[0].match: no team 'pay', expected one of owners.toml: pay",
        ),
        ('[[routes]]\nmute = ["night"]', "notify.routes[0].mute: no time interval 'night', expected none"),
        ('[[routes]]\nactive = ["x"]\n[times.y]', "notify.routes[0].active: no time interval 'x', expected y"),
        ('group_by = ["host"]', "notify.group_by: no label 'host', expected service, services, severity"),
        ('[[routes]]\ngroup_by = ["..."]', "notify.routes[0].group_by: no label '...', expected service"),
        ("escalate = [{after_s = 5, to = []}]", "notify.escalate[0].to: it is empty, expected destinations"),
        ('escalate = [{after_s = 0, to = ["webhook"]}]', "notify.escalate[0].after_s: 0, expected more than 0"),
        ('escalate = [{after_s = nan, to = ["webhook"]}]', "notify.escalate[0].after_s: nan, expected more than 0"),
        ('escalate = [{after_s = inf, to = ["webhook"]}]', "and at most 2592000"),
        (
            '[[routes]]\nescalate = [{after_s = 9, to = ["webhook"]}, {after_s = 9, to = ["webhook"]}]',
            "notify.routes[0].escalate[1].after_s: 9, expected more than 9, the step before it",
        ),
        ("escalate = [" + "{after_s = 9, to = ['webhook']}," * 17 + "]", "notify.escalate: 17 steps, expected at most"),
        ('[[routes]]\nname = "a"\n[[routes]]\nname = "a"', "notify.routes[1].name: 'a' is another route's"),
        ('[[routes]]\nname = "default"', "notify.routes[0].name: 'default' is another route's"),
        ('[[routes]]\nname = "a\\u001b[0m"', "notify.routes[0].name: 'a\\x1b[0m', expected up to 64 letters"),
        ("[[routes]]\n" * 1_001, "notify.routes[999]: more than 1000 routes"),
        ("".join(f"[[{'.'.join(['routes'] * depth)}]]\n" for depth in range(1, 18)), "more than 16 routes within each"),
        ('[times."a\\nb"]', "notify.times: 'a\\nb', expected up to 64 letters"),
        ('[times.night]\nzone = "Europe/Atlantis"', "notify.times.night.zone: no time zone 'Europe/Atlantis'"),
        ('[[times.n]]\n[[times.n]]\nto = "25:00"', "notify.times.n[1].to: '25:00', expected a time"),
        ("[times]\nnight = []", "notify.times.night: 0 intervals, expected 1 to 64"),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_a_route_that_leads_nowhere_is_refused_at_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        routing(text)

    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("team", "told"),
    [
        (Team(["a"], ["slack"]), "owners.toml: teams.t.to: no destination 'slack', expected slack-ops"),
        (Team(["a"], ["@owner"]), "owners.toml: teams.t: @owner stands for this team itself, expected destinations"),
        (Team(["a"], [], [Step(5, ["x"])]), "owners.toml: teams.t.escalate[0].to: no destination 'x'"),
        (Team(["a"], [], [Step(5, ["@owner"])]), "owners.toml: teams.t: @owner stands for this team itself"),
        (
            Team(["a"], [], [Step(-5, ["webhook"])]),
            "owners.toml: teams.t.escalate[0].after_s: -5, expected more than 0",
        ),
        (Team(["a"], [], None, "work"), "owners.toml: teams.t.hours: no time interval 'work', expected none"),
    ],
)
def test_a_team_that_names_what_there_is_not_is_refused(team: Team, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Routing(RoutingConfig(), DESTINATIONS, Owners({"t": team}))

    assert told in str(raised.value)


@pytest.mark.parametrize("value", [-1.0, 1e9, float("nan"), float("inf")])
def test_a_wait_that_is_none_is_refused_in_the_file_and_in_code(value: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"group_wait_s": value}, RoutingConfig)
    with pytest.raises(ConfigError, match=r"notify\.routes\[0\]\.group_wait_s: .*, expected seconds from 0 to 2592000"):
        Routing(RoutingConfig(routes=[RouteConfig(group_wait_s=value)]), DESTINATIONS, OWNERS)


def test_a_route_that_is_below_itself_is_refused() -> None:
    routes: list[RouteConfig] = []
    routes.append(RouteConfig(routes=routes))

    with pytest.raises(ConfigError, match="more than 16 routes within each other"):
        Routing(RoutingConfig(routes=routes), DESTINATIONS, OWNERS)


MATCHERS = st.sampled_from(
    ["severity=critical", 'service=~"p.*"', "owner=payments", 'owner=""', "kind!=new", 'kind=~"rate|new"', "runbook="]
)
TO = st.none() | st.lists(st.sampled_from([*DESTINATIONS, "@owner"]), min_size=1, max_size=3)


def _routes(below: st.SearchStrategy[list[RouteConfig]]) -> st.SearchStrategy[list[RouteConfig]]:
    route = st.builds(
        RouteConfig,
        match=st.lists(MATCHERS, max_size=2),
        to=TO,
        continue_=st.booleans(),
        escalate=st.none() | st.just([]) | TO.filter(bool).map(lambda to: [Step(60, to or [])]),
        mute=st.none() | st.just(["night"]),
        routes=below,
    )
    return st.lists(route, max_size=3)


ROUTINGS = st.builds(
    RoutingConfig,
    to=TO.map(lambda to: to or []),
    routes=st.recursive(st.just([]), _routes, max_leaves=8),
    times=st.just(configured().times),
)
INCIDENTS = st.builds(
    incident,
    st.sampled_from(["payments", "pay-eu", "cart", "quiet", "thumbnails", "unknown", "", "p\0"]),
    st.sampled_from(["info", "warning", "critical"]),
    st.sampled_from(["rate", "new", "rate new", "silence", ""]),
)


@given(ROUTINGS, INCIDENTS, st.integers(0, 4_000_000_000))
def test_every_incident_is_told_somewhere_and_the_same_each_time(
    config: RoutingConfig, event: IncidentEvent, now_s: int
) -> None:
    tested = Routing(config, DESTINATIONS, OWNERS)

    plans = tested.plans(event, now_s)

    assert plans
    assert all(plan.to and set(plan.to) <= set(DESTINATIONS) for plan in plans)
    assert all(step.to and set(step.to) <= set(DESTINATIONS) for plan in plans for step in plan.steps)
    assert len({plan.route for plan in plans}) == len(plans)
    assert plans == tested.plans(event, now_s) == Routing(config, DESTINATIONS, OWNERS).plans(event, now_s)
    assert plans == [hop.plan for hop in tested.explain(tested.labels(event), now_s) if hop.plan]
