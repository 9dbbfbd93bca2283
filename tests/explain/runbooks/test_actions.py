"""Actions in a runbook's front matter: what is read, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.explain.runbooks.file import Runbook, parse_runbook, read_folders

HEAD = """+++
id = "disk-full"
title = "Disk full"
signals = ["No space left on device"]
"""
TAIL = """+++
## What it is
A file system is full.
## Check
- `df -h`
## Do
- Free some.
"""
ACTION = """
[[actions]]
id = "restart"
title = "Restart the unit"
run = ["/usr/bin/systemctl", "restart", "{unit}.service", "--job={{x}}", "--wait={wait}"]
dry_run = ["/usr/bin/systemctl", "is-enabled", "{unit}"]
mode = "auto"
idempotent = true
when = ["warning"]
timeout_s = 30
risk = "low"
limit = {per_hour = 1, per_day = 2, cooldown_s = 60}
parameters = [
  {name = "unit", type = "service", from = "service", choices = ["payments", "checkout"]},
  {name = "wait", type = "integer", min = 0, max = 60, default = 5},
]
"""
HOOK = """
[[actions]]
id = "scale"
title = "Scale it"
webhook = {url = "https://deploy.test/hooks/s3cret", body = {ref = "main", inputs = {service = "{unit}", n = 3}}}
parameters = [{name = "unit", type = "string", pattern = "[a-z-]+"}]
"""


def parsed(actions: str) -> Runbook:
    return parse_runbook(HEAD + actions + TAIL)


def test_a_runbook_declares_none_unless_it_does() -> None:
    assert parsed("").actions == []


def test_actions_are_read_with_their_parameters_and_limits() -> None:
    restart, scale = parsed(ACTION + HOOK).actions

    assert restart.run[0] == "/usr/bin/systemctl"
    assert (restart.mode, restart.idempotent, restart.when, restart.timeout_s) == ("auto", True, ("warning",), 30.0)
    assert restart.limit is not None
    assert (restart.limit.per_hour, restart.limit.per_day, restart.limit.cooldown_s) == (1, 2, 60.0)
    assert [(each.name, each.type, each.source, each.default) for each in restart.parameters] == [
        ("unit", "service", "service", None),
        ("wait", "integer", "operator", 5),
    ]
    assert (scale.mode, scale.risk, scale.limit, scale.when) == ("suggest", "medium", None, ("critical",))
    assert scale.webhook is not None
    assert scale.webhook.body == {"ref": "main", "inputs": {"service": "{unit}", "n": 3}}


def test_the_address_of_a_webhook_is_not_shown() -> None:
    runbook = parsed(HOOK)

    assert "s3cret" not in repr(runbook)
    with pytest.raises(ConfigError) as refused:
        parsed(HOOK.replace("https://deploy.test/hooks/s3cret", "https://deploy.test/{unit}/s3cret"))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('id = "restart"', 'id = "Re start"', 7, "lower-case letters"),
        ('title = "Restart the unit"', 'title = ""', 8, "1 to 160 printable"),
        ('title = "Restart the unit"', 'title = "a\\u202eb"', 8, "printable"),
        ('title = "Restart the unit"', 'tittle = "x"', 8, "unknown field `tittle`"),
        ('"/usr/bin/systemctl", "restart"', '"systemctl", "restart"', 9, "absolute path"),
        ('"/usr/bin/systemctl", "restart"', '"/usr/bin/../bin/systemctl", "x"', 9, "absolute path"),
        ('"/usr/bin/systemctl", "restart"', '"/usr/bin/{unit}", "restart"', 9, "without placeholders"),
        ('"/usr/bin/systemctl", "restart"', '"/bin/sh", "-c"', 9, "no shell"),
        ('"/usr/bin/systemctl", "restart"', '"/usr/bin/env", "bash", "-c", "x {unit}"', 9, "no placeholder behind"),
        ('"{unit}.service"', '"{other}"', 9, "a parameter `other`"),
        ('"{unit}.service"', '"{unit"', 9, "braces"),
        ('"{unit}.service"', '"{unit!r}"', 9, "braces"),
        ('"{unit}.service"', '"{}"', 9, "braces"),
        ('"{unit}.service"', '"a\\u0000b"', 9, "NUL"),
        ('run = ["/usr/bin/systemctl"', 'run = "x" #', 9, "Expected `array`"),
        ('run = ["/usr/bin/systemctl", "restart"', 'run = [] # ["', 7, "one of `run` and `webhook`"),
        ('dry_run = ["/usr/bin/systemctl"', 'dry_run = ["./check"', 10, "absolute path"),
        ("dry_run =", "# dry_run =", 11, "`dry_run` for"),
        ("idempotent = true", "idempotent = false", 11, "`idempotent = true`"),
        ('mode = "auto"', 'mode = "always"', 11, "Invalid enum value 'always'"),
        ('when = ["warning"]', "when = []", 13, "at least one severity"),
        ("timeout_s = 30", "timeout_s = 0", 14, "`float` > 0"),
        ("per_hour = 1", "per_hour = 0", 16, "`int` >= 1"),
        ("per_hour = 1", "per_week = 1", 16, "unknown field `per_week`"),
        ('choices = ["payments", "checkout"]', 'default = "x"', 17, "`pattern` or `choices`"),
        ('choices = ["payments", "checkout"]', 'pattern = "(["', 17, "a regular expression"),
        ('choices = ["payments", "checkout"]', 'choices = ["a"], min = 1', 17, "no `min`"),
        ('choices = ["payments", "checkout"]', 'choices = [""]', 17, "choices of 1 to"),
        ('type = "service", from = "service"', 'type = "integer", from = "service"', 17, "`min` and `max` alone"),
        ('name = "wait"', 'name = "unit"', 17, "different names"),
        ('name = "wait"', 'name = "Wait-s"', 17, "`name` of"),
        ('name = "wait"', 'name = "pause"', 9, "a parameter `wait`"),
        ("min = 0, max = 60", "min = 61, max = 60", 17, "`min` below `max`"),
        (", default = 5", "", 17, "a default for parameter `wait`"),
        ('"--wait={wait}"', '"--wait"', 17, "`{wait}` in what is run"),
        ("default = 5", 'from = "fixed"', 17, "`default` with"),
        ("default = 5", 'from = "model"', 17, "Invalid enum value 'model'"),
        ('type = "integer", min = 0, max = 60, default = 5', 'type = "string", default = "x"', 17, "`pattern` or"),
        ('type = "integer", min = 0, max = 60, default = 5', 'type = "enum", default = "x"', 17, "`choices`"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(old: str, new: str, line: int, told: str) -> None:
    assert old in ACTION
    wrong = ACTION.replace(old, new, 1)

    with pytest.raises(ConfigError) as refused:
        parsed(wrong)

    assert told in str(refused.value)
    assert int(str(refused.value).split(":")[1]) == line


def test_the_line_is_of_the_action_that_is_wrong() -> None:
    second = ACTION.replace('id = "restart"', 'id = "again"').replace("idempotent = true", "idempotent = false")

    with pytest.raises(ConfigError, match=r"^<text>:27: .*at `\$\.actions\[1\]`"):
        parsed(ACTION + second)
    with pytest.raises(ConfigError, match=r"^<text>:23: Expected an `id` of its own"):
        parsed(ACTION + ACTION)
    with pytest.raises(ConfigError, match="at most 8 actions"):
        parsed("".join(ACTION.replace('"restart"', f'"restart-{number}"', 1) for number in range(9)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("https://deploy.test", "ftp://deploy.test", "`url` as http"),
        ("https://deploy.test", "https:///x y", "`url` as http"),
        ('ref = "main"', '"{unit}" = "main"', "keys without placeholders"),
        ('n = 3', '"{unit}" = 3', "keys without placeholders"),
        ('ref = "main"', 'ref = "{branch}"', "a parameter `branch`"),
        ('ref = "main"', 'ref = "{"', "braces"),
        ('service = "{unit}"', 'service = "payments"', "`{unit}` in what is run"),
        ("webhook =", 'run = ["/bin/true"]\nwebhook =', "one of `run` and `webhook`"),
        ("webhook = {url", 'webhook = {method = "TRACE", url', "Invalid enum value 'TRACE'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_webhook_is_told(old: str, new: str, told: str) -> None:
    assert old in HOOK

    with pytest.raises(ConfigError) as refused:
        parsed(HOOK.replace(old, new, 1))

    assert told in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_table_of_its_own_is_found_by_its_header() -> None:
    tables = """
[[actions]]
id = "scale"
title = "Scale it"
[actions.webhook]
url = "nowhere"
"""
    with pytest.raises(ConfigError, match=r"^<text>:9: Expected `url` as http"):
        parsed(tables)


def test_what_ships_declares_nothing_that_runs() -> None:
    for runbook in read_folders():
        assert {action.mode for action in runbook.actions} <= {"suggest"}


def test_a_runbook_of_the_operators_may_declare_what_runs(tmp_path: Path) -> None:
    (tmp_path / "disk.md").write_text(HEAD + ACTION + TAIL)

    mine = {runbook.id: runbook for runbook in read_folders([tmp_path])}["disk-full"]

    assert [action.mode for action in mine.actions] == ["auto"]


@given(st.text(max_size=200))
def test_any_text_as_actions_is_read_or_refused(text: str) -> None:
    for given_text in (f"\n[[actions]]\n{text}\n", ACTION.replace("restart the", text), f"\nactions = {text}\n"):
        try:
            parsed(given_text)
            message = "<text>:"
        except ConfigError as error:
            message = str(error)
        assert message.startswith("<text>:")
