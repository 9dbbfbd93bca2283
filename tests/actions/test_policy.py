"""How far an action goes, as a table; and what keeps an approved one from beginning."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from logllm.actions.config import ActionsConfig
from logllm.actions.declare import Declaration, Limit, Webhook
from logllm.actions.parameters import Parameter, Values
from logllm.actions.policy import judge_beginning, judge_offer, unable
from logllm.actions.request import Recent, Request
from logllm.egress import EgressConfig
from tests.actions.rig import NOW_S, config, restart

ALL = Values({"unit": "payments"}, {})
AUTO = restart("/bin/x", mode="auto", idempotent=True, dry_run=["/bin/y"])
OPEN = config("/bin/x", "/bin/y")
NEVER = Recent(0, 0, None)


def judged(
    declaration: Declaration,
    settings: ActionsConfig = OPEN,
    *,
    values: Values = ALL,
    severity: Literal["info", "warning", "critical"] = "critical",
    is_own_runbook: bool = True,
    egress: EgressConfig | None = None,
) -> tuple[str, str]:
    return judge_offer(
        declaration, values, settings, egress or EgressConfig(), severity=severity, is_own_runbook=is_own_runbook
    )


@pytest.mark.parametrize(
    ("declaration", "settings", "mode", "why"),
    [
        (AUTO, OPEN, "auto", ""),
        (AUTO, config("/bin/x", "/bin/y", max_mode="approve"), "approve", "max_mode"),
        (AUTO, config("/bin/x", "/bin/y", max_mode="suggest"), "suggest", "max_mode"),
        (AUTO, ActionsConfig(), "suggest", "enabled is false"),
        (AUTO, ActionsConfig(enabled=True), "suggest", "/bin/x is not in"),
        (AUTO, config("/bin/x"), "suggest", "/bin/y is not in"),
        (AUTO, config("/bin/y"), "suggest", "/bin/x is not in"),
        (AUTO, replace(OPEN, allow_programs=["/bin"]), "suggest", "not in"),
        (replace(AUTO, idempotent=False), OPEN, "approve", "idempotent"),
        (replace(AUTO, dry_run=[]), OPEN, "approve", "dry run"),
        (replace(AUTO, mode="approve"), OPEN, "approve", ""),
        (replace(AUTO, mode="approve"), ActionsConfig(), "suggest", "enabled is false"),
        (replace(AUTO, mode="suggest"), OPEN, "suggest", ""),
        (replace(AUTO, mode="suggest"), ActionsConfig(), "suggest", ""),
        (replace(AUTO, when=()), OPEN, "approve", "the incident is critical"),
    ],
)
def test_the_least_of_what_is_declared_and_configured_counts(
    declaration: Declaration, settings: ActionsConfig, mode: str, why: str
) -> None:
    found, told = judged(declaration, settings)

    assert found == mode
    assert why in told
    assert bool(told) is bool(why)


@pytest.mark.parametrize(
    ("when", "severity", "mode"),
    [
        (("critical",), "critical", "auto"),
        (("critical",), "warning", "approve"),
        (("warning",), "critical", "auto"),
        (("warning",), "warning", "auto"),
        (("warning",), "info", "approve"),
        (("critical", "warning"), "warning", "auto"),
        (("info",), "info", "auto"),
    ],
)
def test_what_is_not_grave_enough_waits_for_a_person(
    when: tuple[Literal["info", "warning", "critical"], ...],
    severity: Literal["info", "warning", "critical"],
    mode: str,
) -> None:
    assert judged(replace(AUTO, when=when), severity=severity)[0] == mode


def test_a_runbook_that_only_the_model_chose_runs_nothing_by_itself() -> None:
    assert judged(AUTO, is_own_runbook=False) == ("approve", "the runbook was not found by the incident's own lines")


def test_a_value_that_is_missing_is_a_persons_business() -> None:
    values = Values({}, {"unit": "parameter unit: expected one of payments, checkout, got '--help'"})

    assert judged(AUTO, values=values) == ("approve", values.missing["unit"])


def test_a_webhook_goes_to_hosts_that_are_named_or_to_this_machine() -> None:
    far = restart("/bin/x", run=[], webhook=Webhook("https://deploy.test/hooks/s3cret"))
    near = restart("/bin/x", run=[], webhook=Webhook("http://127.0.0.1:9/s3cret"))

    assert judged(near)[0] == "approve"
    assert judged(far, egress=EgressConfig(allow=["deploy.test"]))[0] == "approve"
    assert judged(far)[0] == "suggest"
    assert "s3cret" not in unable(far, OPEN, EgressConfig())


def asked(declaration: Declaration, mode: Literal["approve", "auto"]) -> Request:
    return Request(
        id="act-1",
        runbook="refused",
        action=declaration.id,
        title=declaration.title,
        mode=mode,
        risk=declaration.risk,
        incident="inc-1",
        severity="critical",
        digest=declaration.digest,
        command=declaration.run,
        parameters=declaration.parameters,
        created_s=NOW_S,
        expires_s=NOW_S + 3600,
    )


@pytest.mark.parametrize(
    ("mode", "limit", "recent", "told"),
    [
        ("auto", None, NEVER, ""),
        ("auto", None, Recent(1, 1, NOW_S - 301), ""),
        ("auto", None, Recent(1, 1, NOW_S - 299), "299 s ago"),
        ("auto", None, Recent(1, 1, NOW_S + 50), "0 s ago"),
        ("auto", None, Recent(3, 3, NOW_S - 301), "at most 3 an hour"),
        ("auto", None, Recent(0, 10, NOW_S - 4_000), "at most 10 a day"),
        ("auto", Limit(per_hour=1, cooldown_s=0), Recent(1, 1, NOW_S - 1), "at most 1 an hour"),
        ("auto", Limit(per_hour=9, cooldown_s=0), Recent(8, 8, NOW_S), ""),
        ("approve", None, Recent(50, 50, NOW_S), ""),
        ("approve", Limit(), Recent(3, 3, NOW_S - 301), "at most 3 an hour"),
    ],
)
def test_an_action_has_its_limits(
    mode: Literal["approve", "auto"], limit: Limit | None, recent: Recent, told: str
) -> None:
    declaration = replace(AUTO, limit=limit)

    why = judge_beginning(asked(declaration, mode), declaration, OPEN, EgressConfig(), recent, NOW_S)

    assert told in why
    assert bool(why) is bool(told)


@pytest.mark.parametrize(
    ("now", "settings", "mode", "told"),
    [
        (None, OPEN, "auto", "changed or taken away"),
        (replace(AUTO, run=["/bin/x", "stop"]), OPEN, "auto", "changed or taken away"),
        (replace(AUTO, parameters=[Parameter("unit", "service")]), OPEN, "approve", "changed or taken away"),
        (AUTO, ActionsConfig(), "approve", "enabled is false"),
        (AUTO, config("/bin/x"), "approve", "/bin/y is not in"),
        (AUTO, config("/bin/x", "/bin/y", max_mode="approve"), "auto", "no longer run as auto"),
        (AUTO, config("/bin/x", "/bin/y", max_mode="suggest"), "approve", "no longer run as approve"),
    ],
)
def test_what_was_approved_under_other_rules_does_not_begin(
    now: Declaration | None, settings: ActionsConfig, mode: Literal["approve", "auto"], told: str
) -> None:
    assert told in judge_beginning(asked(AUTO, mode), now, settings, EgressConfig(), NEVER, NOW_S)
