"""Values: what each type takes, where they come from, how they get into a command."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.actions.parameters import Parameter, argv_of, body_of, fault_of, preview_of, resolve, settled
from logllm.errors import ActionError
from tests.actions.hostile import LINES, SERVICES
from tests.actions.rig import UNIT

NAME = Parameter("name", "string", pattern="[a-z]+(-[a-z]+)*")
DIGITS = Parameter("digits", "string", pattern=r"\d+\w*")
COUNT = Parameter("count", "integer", max=10)
BELOW = Parameter("below", "integer", min=-5, max=5)
PAUSE = Parameter("pause", "duration", min=1, max=7200)
LEVEL = Parameter("level", "enum", choices=["debug", "info"])
FLAG = Parameter("flag", "enum", choices=["--fast", "slow"], leading_dash=True)
ANY = Parameter("any", "string", pattern=".*", leading_dash=False)
SERVICE = Parameter("service", "service")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (UNIT, "payments"),
        (NAME, "a-b"),
        (DIGITS, "7x"),
        (COUNT, "0"),
        (COUNT, "10"),
        (BELOW, "-5"),
        (PAUSE, "30s"),
        (PAUSE, "2h"),
        (PAUSE, "1000ms"),
        (LEVEL, "info"),
        (FLAG, "--fast"),
        (ANY, "a; b $(c) 'd'"),
        (SERVICE, "payments@eu-1.service"),
    ],
)
def test_a_value_of_its_type_is_taken(parameter: Parameter, value: str) -> None:
    assert fault_of(parameter, value) == ""


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (UNIT, "orders", "one of payments, checkout"),
        (NAME, "a-", "all of it to match"),
        (NAME, "a\n", "no control"),
        (NAME, "a b", "all of it to match"),
        (DIGITS, "٣", "all of it to match"),
        (DIGITS, "7é", "all of it to match"),
        (COUNT, "11", "at most 10"),
        (COUNT, "-1", "at least 0"),
        (COUNT, "1.0", "a whole number"),
        (COUNT, "1e3", "a whole number"),
        (COUNT, "07", "a whole number"),
        (COUNT, "٣", "a whole number"),
        (COUNT, "1_0", "a whole number"),
        (COUNT, "9" * 30, "a whole number"),
        (BELOW, "-6", "at least -5"),
        (PAUSE, "3h", "at most 7200"),
        (PAUSE, "500ms", "at least 1"),
        (PAUSE, "30", "a duration"),
        (PAUSE, "-30s", "a duration"),
        (PAUSE, "30s ", "a duration"),
        (LEVEL, "INFO", "one of debug, info"),
        (LEVEL, "debug,info", "one of"),
        (Parameter("x", "enum", choices=["--fast"]), "--fast", "no leading `-`"),
        (ANY, "-x", "no leading `-`"),
        (ANY, "", "1 to 256"),
        (ANY, "a" * 257, "1 to 256"),
        (ANY, "a\0b", "no control"),
        (ANY, "a\tb", "no control"),
        (ANY, "a\x85b", "no control"),
        (ANY, "a\u2028b", "no control"),
        (ANY, "a\u202eb", "no control"),
        (ANY, "a\u200bb", "no control"),
        (ANY, "a\ud800b", "no control"),
        (SERVICE, "pay ments", "a service's name"),
        (SERVICE, "-x", "no leading `-`"),
        (SERVICE, ".x", "a service's name"),
        (SERVICE, "a/b", "a service's name"),
    ],
)
def test_another_value_is_refused_with_what_was_expected(parameter: Parameter, value: str, expected: str) -> None:
    fault = fault_of(parameter, value)

    assert expected in fault
    assert fault.startswith(f"parameter {parameter.name}: expected")
    assert len(fault) < 300


@pytest.mark.parametrize("service", SERVICES)
def test_no_hostile_service_gets_through_a_list_or_a_pattern(service: str) -> None:
    by_pattern = Parameter("unit", "service", pattern=r"payments|checkout[a-z]*", source="service")

    for parameter in (UNIT, by_pattern):
        values = resolve([parameter], service=service, given={})

        assert values.known == {}
        assert list(values.missing) == ["unit"]


@pytest.mark.parametrize("line", LINES)
def test_no_hostile_line_is_a_service(line: str) -> None:
    assert fault_of(SERVICE, line) != ""


def test_values_come_from_the_person_the_service_or_the_declaration() -> None:
    fixed = Parameter("level", "enum", choices=["debug"], default="debug", source="fixed")
    several = [UNIT, fixed, Parameter("count", "integer", default=3), NAME]

    alone = resolve(several, service="payments", given={})
    told = resolve(several, service="payments", given={"unit": "checkout", "count": "4", "name": "x"})

    assert alone.known == {"unit": "payments", "level": "debug", "count": "3"}
    assert alone.missing == {"name": "parameter name: not given"}
    assert told.known == {"unit": "checkout", "level": "debug", "count": "4", "name": "x"}
    assert told.missing == {}


@pytest.mark.parametrize(
    ("name", "value"), [("level", "info"), ("other", "x"), ("unit", "orders"), ("unit", ""), ("", "x")]
)
def test_what_a_person_gives_wrong_is_refused(name: str, value: str) -> None:
    fixed = Parameter("level", "enum", choices=["debug", "info"], default="debug", source="fixed")

    with pytest.raises(ActionError, match="parameter "):
        resolve([UNIT, fixed], service="payments", given={name: value})


def test_a_default_counts_where_there_is_no_service_and_never_for_a_hostile_one() -> None:
    unit = Parameter("unit", "service", choices=["payments"], default="payments", source="service")

    assert resolve([unit], service="", given={}).known == {"unit": "payments"}
    assert resolve([unit], service="--help", given={}).known == {}


def test_what_was_settled_is_looked_at_again() -> None:
    fixed = Parameter("level", "enum", choices=["debug"], default="debug", source="fixed")

    assert settled([UNIT, fixed], {"unit": "payments", "level": "other"}, {}).known == {
        "unit": "payments",
        "level": "debug",
    }
    for wrong in ({"unit": "--help"}, {"other": "x"}):
        with pytest.raises(ActionError):
            settled([UNIT], wrong, {})


@given(st.lists(st.text(max_size=20), max_size=4), st.text(min_size=1, max_size=60))
def test_a_value_is_part_of_one_argument_and_is_not_read_again(fixed: list[str], value: str) -> None:
    escaped = [argument.replace("{", "{{").replace("}", "}}") for argument in fixed]

    argv = argv_of(["/bin/x", *escaped, "--unit={unit}.service", "{unit}"], {"unit": value, "other": "never"})

    assert argv == ["/bin/x", *fixed, f"--unit={value}.service", value]


@pytest.mark.parametrize("argv", [[], ["x"], ["./x"], ["/bin/{unit}"], ["{unit}"], ["/bin/x", "{other}"], ["/b", "{"]])
def test_a_program_is_never_a_value_and_nothing_stays_open(argv: list[str]) -> None:
    with pytest.raises(ActionError):
        argv_of(argv, {"unit": "/bin/y"})


def test_a_preview_is_quoted_as_a_shell_would_need_it() -> None:
    assert preview_of(["/bin/x", "{a}", "{b}"], {"a": "y; z"}) == "/bin/x 'y; z' '{b}'"


def test_a_body_stays_the_json_that_was_declared() -> None:
    body: dict[str, str | int | float | bool | list[str | int | float | bool] | dict[str, str | int | float | bool]]
    body = {"n": "{count}", "text": "{unit}: {count}", "list": ["{unit}", 1], "in": {"a": "{unit}", "b": True}}
    hostile = '","admin":true,"x":"{count}'

    made = json.loads(body_of(body, {"count": "7", "unit": hostile}, ["count"]))

    assert made == {"n": 7, "text": f"{hostile}: 7", "list": [hostile, 1], "in": {"a": hostile, "b": True}}
    with pytest.raises(ActionError, match="parameter unit"):
        body_of(body, {"count": "7"}, ["count"])
