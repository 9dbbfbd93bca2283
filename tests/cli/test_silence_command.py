"""`logllm silence`: what it adds, shows and ends, and what it refuses."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logllm.cli.silence import silence
from logllm.database import Database
from logllm.errors import ConfigError, SourceError
from logllm.notify.dispatch.dispatcher import DISPATCH_SCHEMA, Dispatcher
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox
from logllm.notify.routing.owners import Owners, Team
from logllm.notify.routing.routes import Routing, RoutingConfig
from tests.notify.dispatch.dispatching import incident


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(silence, [*arguments, "--data-dir", str(folder)])


def add(folder: Path, *arguments: str) -> Result:
    return run(folder, "add", *arguments, "--comment", "new database", "--by", "ana")


def shown(folder: Path, *options: str) -> list[dict[str, object]]:
    done = run(folder, "list", "--json", *options)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def open_incidents(folder: Path) -> None:
    database = Database(folder / "notify.db", OUTBOX_SCHEMA, DISPATCH_SCHEMA)
    owners = Owners({"shop": Team(["checkout"])})
    dispatcher = Dispatcher(database, Outbox(database), Routing(RoutingConfig(), ["slack"], owners))
    services = ["payments", "checkout", "pay\x1b[31m\u202ements"]
    dispatcher.accept([incident(n, service=service) for n, service in enumerate(services)], time.time())
    dispatcher.accept([incident(9), incident(9, "resolve", minute=1)], time.time())
    database.close()


def test_a_silence_is_added_listed_and_ended(tmp_path: Path) -> None:
    added = add(tmp_path, "service=payments", "severity!=critical", "--for", "1h30m")
    listed = run(tmp_path, "list")
    (one,) = shown(tmp_path)
    ended = run(tmp_path, "expire", "1")

    assert added.exit_code == ended.exit_code == 0
    assert added.stdout.startswith('silence 1: service="payments", severity!="critical" until ')
    assert added.stdout.endswith("(1 h 30 min)\nmatches 0 open incidents now\n")
    assert "active" in listed.stdout
    assert listed.stdout.endswith('service="payments", severity!="critical"  ana: new database\n')
    assert one["matchers"] == ['service="payments"', 'severity!="critical"']
    assert one["state"] == "active"
    assert float(str(one["ends_s"])) - float(str(one["starts_s"])) == 5_400
    assert shown(tmp_path) == []
    assert [each["state"] for each in shown(tmp_path, "--all")] == ["expired"]


def test_it_shows_which_open_incidents_it_matches_now_and_nothing_in_them_steers_the_terminal(tmp_path: Path) -> None:
    open_incidents(tmp_path)

    pay = add(tmp_path, "service=~pay.*", "--for", "1d")
    shop = add(tmp_path, "owner=shop", "--for", "1d")

    assert "matches 2 open incidents now:\n" in pay.stdout
    assert "inc-0  warning   payments: connection refused, number 0" in pay.stdout
    assert "pay␛[31m\\u202ements" in pay.stdout
    assert "inc-1  warning   checkout" in shop.stdout
    assert [sorted(each["open_incidents"]) for each in shown(tmp_path)] == [["inc-0", "inc-2"], ["inc-1"]]  # type: ignore[call-overload]


def test_a_maintenance_window_is_pending_until_it_starts(tmp_path: Path) -> None:
    start = datetime.fromtimestamp(int(time.time()) + 86_400, UTC)

    added = add(tmp_path, "owner=shop", "--from", f"{start:%Y-%m-%dT%H:%MZ}", "--for", "90m")

    assert f" from {start:%Y-%m-%dT%H:%M}:00Z until " in added.stdout
    assert [each["state"] for each in shown(tmp_path)] == ["pending"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["service=payments", "--for", "2 hours"], "'2 hours' is no time, expected one as 90m"),
        (["service=payments", "--for", "-1h"], "is no time"),
        (["service=payments", "--for", "9" * 99 + "d"], "is no time"),
        (["service=payments", "--for", "1h", "--from", "tomorrow"], "'tomorrow' is no time"),
        (["service=payments", "--for", "1h", "--from", "2026-12-01T22:00"], "names no zone"),
        (["service=payments"], "Missing option '--for'"),
        (["--for", "1h"], "Missing argument 'MATCHER...'"),
    ],
)
def test_what_is_no_time_is_refused_before_anything_is_opened(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    done = add(tmp_path, *arguments)

    assert done.exit_code == 2
    assert expected in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["payments", "--for", "1h"], "matcher 'payments'"),
        (["pod=x", "--for", "1h"], "no label 'pod'"),
        (["service=~.*", "--for", "1h"], "it would silence every incident"),
        (["service=payments", "--for", "91d"], "at most 90 days"),
        (["service=payments", "--for", "0h"], "expected an end in the future"),
        (["service=payments", "--for", "1h", "--from", "2001-01-01T00:00Z"], "expected an end in the future"),
        (["service=payments", "--for", "1h", "--from", "9999-12-31T23:59:59+00:00"], "at most 90 days"),
        (["service=payments", "--for", "999999999w"], "at most 90 days"),
    ],
)
def test_what_no_silence_can_be_is_refused(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = add(tmp_path, *arguments)

    assert isinstance(done.exception, ConfigError)
    assert expected in str(done.exception)
    assert shown(tmp_path) == []


def test_without_a_data_folder_or_a_silence_it_says_so(tmp_path: Path) -> None:
    nowhere = add(tmp_path / "typo", "service=payments", "--for", "1h")
    nothing = run(tmp_path, "list")
    add(tmp_path, "service=payments", "--for", "1h")
    unknown = run(tmp_path, "expire", "7")

    for done, expected in ((nowhere, "no such folder"), (nothing, "no silence was ever"), (unknown, "no silence of")):
        assert isinstance(done.exception, SourceError)
        assert expected in str(done.exception)
    assert not (tmp_path / "typo").exists()


def test_hostile_text_of_another_hand_in_the_database_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    add(tmp_path, "service=payments", "--for", "1h")
    db = sqlite3.connect(tmp_path / "notify.db")
    db.execute("UPDATE silences SET who = ?, comment = ?", ("\x1b]0;x\x07", "a\nb\u202e"))
    db.execute(
        "INSERT INTO silences (matchers, starts_s, ends_s, who, comment, added_s) VALUES ('[\"', 0, 4e9, 'x', 'y', 0)"
    )
    db.commit()
    db.close()

    listed = run(tmp_path, "list")

    assert listed.exit_code == 0
    assert len(listed.stdout.splitlines()) == 2
    assert not set(listed.stdout) & set("\x1b\x07\u202e")
