"""`logllm alerts`: what waits, what was given up and why, and how it is sent after all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logllm.cli.alerts import alerts
from logllm.cli.main import main
from logllm.database import Database
from logllm.errors import SourceError, StateError
from logllm.events import IncidentEvent
from logllm.notify.notification import Notification
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.webhook import verify
from tests.notify.fake_http import FakeHttp, Reply

NOW_S = 1_770_000_000.0
HOSTILE = "pay\x1b[2J\u202ements \n<!channel> " + "A" * 1_000_000


def message(name: str, title: str = "errors rose", total: int = 1) -> Notification:
    incident = IncidentEvent(
        id=f"inc-{name}",
        event="open",
        time="2026-02-02T10:00:00Z",
        severity="critical",
        service="payments",
        kinds=["rate"],
        title=title,
        expected="0",
        seen="312",
        template="t1",
        count=312,
        runbook=None,
        evidence=[],
    )
    return Notification(
        id=name, kind="open", thread=incident.id, incidents=[incident], total=total, route="payments team"
    )


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """One sent, one dead, one waiting, in the database of a service that runs."""
    database = Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
    found = Outbox(database)
    for name, destination in (("aaa1", "slack"), ("aab2", "slack"), ("bbb3", "hook")):
        found.put(destination, message(name), now_s=NOW_S, covers=[(f"inc-{name}", "open")])
    found.begin("aaa1", NOW_S + 1.0)
    found.sent("aaa1", "ts-1", NOW_S + 1.5)
    found.begin("aab2", NOW_S + 2.0)
    found.dead("aab2", "404: no_service", NOW_S + 2.5)
    yield found
    database.close()


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(alerts, [*arguments, "--data-dir", str(tmp_path)])


@pytest.mark.usefixtures("outbox")
def test_the_list_shows_the_latest_first_and_why_one_was_given_up(tmp_path: Path) -> None:
    done = run(tmp_path, "list")

    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "bbb3  2026-02-02T02:40Z  queued  hook  open  payments: errors rose",
        "aab2  2026-02-02T02:40Z  dead    slack  open  payments: errors rose  (404: no_service)",
        "aaa1  2026-02-02T02:40Z  sent    slack  open  payments: errors rose",
    ]


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--dead"], ["aab2"]),
        (["--queued"], ["bbb3"]),
        (["--destination", "slack"], ["aab2", "aaa1"]),
        (["--queued", "--destination", "slack"], []),
        (["-n", "1"], ["bbb3"]),
    ],
)
def test_the_list_can_be_narrowed(tmp_path: Path, options: list[str], names: list[str]) -> None:
    done = run(tmp_path, "list", *options)

    assert [line[:4] for line in done.output.splitlines()] == names


@pytest.mark.usefixtures("outbox")
def test_scripts_get_one_json_object_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, "list", "--json", "--dead")

    (row,) = [json.loads(line) for line in done.output.splitlines()]
    assert (row["id"], row["state"], row["note"], row["attempts"]) == ("aab2", "dead", "404: no_service", 1)
    assert row["notification"]["incidents"][0]["title"] == "errors rose"


@pytest.mark.usefixtures("outbox")
def test_one_message_is_shown_with_its_tries_its_error_and_its_incidents(tmp_path: Path) -> None:
    done = run(tmp_path, "show", "aab")

    assert done.output.splitlines() == [
        "aab2  2026-02-02T02:40Z  dead    slack  open  payments: errors rose  (404: no_service)",
        "thread      inc-aab2",
        "route       payments team",
        "queued      2026-02-02T02:40:00.000Z",
        "dead        2026-02-02T02:40:02.500Z",
        "tries       1",
        "last error  404: no_service",
        "covers      1 incident event",
        "  inc-aab2  open",
    ]


def test_a_digest_shows_some_of_its_incidents_and_json_all_of_them(tmp_path: Path, outbox: Outbox) -> None:
    covers = [(f"inc-{number}", "open") for number in range(1_200)]
    outbox.put("slack", message("digest", total=1_200), now_s=NOW_S, covers=covers)

    done, as_json = run(tmp_path, "show", "digest"), run(tmp_path, "show", "digest", "--json")

    assert "  slack  open  1,200 incidents\n" in done.output
    assert done.output.splitlines()[-1] == "  and 1,150 more; --json has them all"
    found = json.loads(as_json.output)
    assert [(pair["incident"], pair["event"]) for pair in found["covers"]] == covers
    assert found["message"]["id"] == "digest"


def test_a_dead_letter_waits_again_after_retry(tmp_path: Path, outbox: Outbox) -> None:
    done = run(tmp_path, "retry", "aab2")

    assert done.output == "1 message queued again\n"
    waiting = outbox.next("slack")
    assert waiting is not None
    assert waiting.id == "aab2"
    assert waiting.queued_s > NOW_S


def test_all_dead_letters_wait_again_or_those_of_one_destination(tmp_path: Path, outbox: Outbox) -> None:
    for number in range(60):
        outbox.put("hook", message(f"c{number}"), now_s=NOW_S)
        outbox.dead(f"c{number}", "503", NOW_S)

    hook = run(tmp_path, "retry", "--all-dead", "--destination", "hook")
    rest = run(tmp_path, "retry", "--all-dead")

    assert (hook.output, rest.output) == ("60 messages queued again\n", "1 message queued again\n")
    assert outbox.counts() == {("hook", "queued"): 61, ("slack", "queued"): 1, ("slack", "sent"): 1}


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "zzz"], "zzz: no such message"),
        (["show", "aa"], "more than one begins with it"),
        (["retry", "zzz"], "zzz: no such message"),
        (["retry", "aaa1"], "aaa1: it is sent, only dead letters are sent again"),
        (["retry", "bbb3"], "bbb3: it is queued, only dead letters are sent again"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(tmp_path, *arguments)

    assert isinstance(done.exception, SourceError)
    assert said in str(done.exception)


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    "arguments", [[], ["aab2", "--all-dead"], ["aab2", "--destination", "slack"], ["--destination", "slack"]]
)
def test_retry_wants_one_message_or_all(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, "retry", *arguments)

    assert done.exit_code == 2
    assert "either the ID of one dead letter, or --all-dead" in done.output


@pytest.mark.parametrize("command", [["list"], ["show", "a"], ["retry", "--all-dead"]])
def test_without_a_database_it_says_where_one_was_expected(tmp_path: Path, command: list[str]) -> None:
    done = run(tmp_path, *command)

    assert isinstance(done.exception, SourceError)
    assert "notify.db: no alerts were kept here" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notify.db").write_bytes(b"no database" * 1000)

    done = run(tmp_path, "list")

    assert isinstance(done.exception, StateError)


def test_hostile_text_is_shown_and_not_obeyed(tmp_path: Path, outbox: Outbox) -> None:
    outbox.put("slack", message("evil", title=HOSTILE), now_s=NOW_S, covers=[("inc\x1b[2J", "open\u202e")])
    outbox.dead("evil", HOSTILE, NOW_S)

    output = run(tmp_path, "list", "--dead").output + run(tmp_path, "show", "evil").output

    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "inc␛[2J  open\\u202e" in output
    assert len(output) < 20_000


def test_a_test_message_says_where_it_arrived_and_where_it_did_not() -> None:
    with FakeHttp() as good, FakeHttp(otherwise=Reply(404, b"no_service")) as gone:
        result = CliRunner().invoke(
            main, ["alerts", "test", "--slack-webhook", f"{gone.url}services/verysecret", "--webhook", good.url]
        )

    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("slack: not taken: ")
    assert lines[1].startswith("webhook: taken, message ")
    assert "verysecret" not in result.output
    assert good.requests[0].json()["kind"] == "test"


def test_what_an_option_names_is_signed_with_the_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("LOGLLM_WEBHOOK_SECRET", secret)

    with FakeHttp() as receiver:
        result = CliRunner().invoke(main, ["alerts", "test", "--webhook", receiver.url])

    (request,) = receiver.requests
    assert result.exit_code == 0
    assert verify(secret, request.headers, request.body, time.time())


def test_a_test_message_to_nobody_is_an_error() -> None:
    nobody = CliRunner().invoke(main, ["alerts", "test"])
    other = CliRunner().invoke(main, ["alerts", "test", "--webhook", "http://127.0.0.1:9/", "--destination", "ops"])

    assert nobody.exit_code == other.exit_code == 2
    assert "no destination is configured" in nobody.output
    assert "--destination ops: there is none, expected one of: webhook" in other.output
