"""What is read from a runbook is what is declared here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from msgspec.structs import replace

from logllm.actions.config import ActionsConfig
from logllm.actions.declare import Declaration, Limit, Webhook, declared
from logllm.actions.parameters import Parameter
from logllm.errors import ConfigError
from logllm.explain.runbooks.actions import RunbookAction, RunbookLimit, RunbookParameter, RunbookWebhook
from logllm.explain.runbooks.file import parse_runbook
from tests.actions.rig import restart

BOOK = """+++
id = "refused"
title = "Refused"
signals = ["connection refused"]
[[actions]]
id = "restart"
title = "Restart the unit"
run = ["/usr/bin/systemctl", "restart", "{unit}"]
parameters = [{name = "unit", type = "service", from = "service", choices = ["payments"]}]
mode = "approve"
limit = {per_day = 4}
timeout_s = 5
[[actions]]
id = "hook"
title = "Ask the deployer"
webhook = {url = "http://127.0.0.1:9/s3cret", body = {unit = "payments"}}
+++
## What it is
Nothing listens there.
## Check
- Look.
## Do
- Start it.
"""


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(RunbookAction, Declaration), (RunbookParameter, Parameter), (RunbookLimit, Limit), (RunbookWebhook, Webhook)],
)
def test_both_sides_have_the_same_fields_and_defaults(theirs: type[msgspec.Struct], ours: type[msgspec.Struct]) -> None:
    def fields(struct: type[msgspec.Struct]) -> list[tuple[str, str, object]]:
        return [(each.name, each.encode_name, each.default) for each in msgspec.structs.fields(struct)]

    assert fields(theirs) == fields(ours)


def test_a_runbooks_actions_are_declared_as_they_stand_in_the_file() -> None:
    book = parse_runbook(BOOK)

    unit, hook = declared(book.id, book.actions)

    assert unit.run == ["/usr/bin/systemctl", "restart", "{unit}"]
    assert unit.parameters == [Parameter("unit", "service", choices=["payments"], source="service")]
    assert (unit.mode, unit.limit, unit.timeout_s, hook.mode) == ("approve", Limit(per_day=4), 5.0, "suggest")
    assert hook.webhook == Webhook("http://127.0.0.1:9/s3cret", body={"unit": "payments"})
    assert "s3cret" not in repr(hook)


def test_a_digest_changes_with_anything_in_it() -> None:
    base = restart("/bin/true")
    others = [
        restart("/bin/false"),
        restart("/bin/true", mode="auto"),
        restart("/bin/true", parameters=[Parameter("unit", "service", choices=["payments"])]),
        restart("/bin/true", title="x"),
        restart("/bin/true", limit=Limit()),
    ]

    digests = {each.digest for each in [base, *others]}

    assert base.digest == restart("/bin/true").digest
    assert len(digests) == 1 + len(others)


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("unit", "service", choices=["payments; x"]),
        Parameter("unit", "enum", choices=["--fast"]),
        Parameter("unit", "integer", default="many"),
        Parameter("unit", "integer", default=11, max=10),
        Parameter("unit", "string", pattern="[a-z]+", default="A"),
        Parameter("unit", "duration", default=5),
    ],
)
def test_a_default_or_choice_that_its_type_refuses_is_told(parameter: Parameter) -> None:
    with pytest.raises(ConfigError, match=r"^runbook refused: action restart: parameter unit: expected"):
        declared("refused", [restart("/bin/true", parameters=[parameter])])


@pytest.mark.parametrize("given", [SimpleNamespace(id=3), {"id": "x"}, "run", None, SimpleNamespace(id="x", title=1)])
def test_what_is_no_declaration_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="runbook refused: actions: "):
        declared("refused", [given])


def test_the_pages_examples_are_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()
    book, settings = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)

    runbook = parse_runbook(f"{book}\n## What it is\nx\n## Check\n- y\n## Do\n- z\n")
    actions = msgspec.convert(tomllib.loads(settings)["actions"], ActionsConfig)

    assert [each.mode for each in declared(runbook.id, runbook.actions)] == ["approve", "suggest"]
    assert replace(actions, enabled=False, allow_programs=[], env=[]) == ActionsConfig()
    actions.check()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (ActionsConfig(allow_programs=["systemctl"]), "allow_programs: 'systemctl'"),
        (ActionsConfig(allow_programs=["/usr/../bin/sh"]), "allow_programs"),
        (ActionsConfig(allow_programs=["/usr/bin/"]), "allow_programs"),
        (ActionsConfig(env=["A=B"]), "env: 'A=B'"),
        (ActionsConfig(env=[""]), "env: ''"),
        (ActionsConfig(work_dir="here"), "work_dir: 'here'"),
    ],
)
def test_a_wrong_configuration_is_told(settings: ActionsConfig, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[actions\]") as refused:
        settings.check()

    assert told in str(refused.value)
