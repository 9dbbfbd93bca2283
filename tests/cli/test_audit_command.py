"""`logllm audit`: what left, whether the list is whole, and that nothing left which should not."""

from __future__ import annotations

import base64
import json
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from logllm.audit.canary import canaries
from logllm.audit.ledger import FILE, Ledger
from logllm.audit.traces import pieces_of, traces
from logllm.audit.verify import Reading
from logllm.cli.audit import audit
from logllm.cli.audit_canary import Finding, Trial
from logllm.cli.audit_table import show_findings
from logllm.cli.main import main
from logllm.config import Config
from tests.cli.test_serve_alerts import until
from tests.cli.test_serve_command import START_NS, frames_of, ordinary, served
from tests.notify.fake_http import FakeHttp, Reply

HOSTILE = b'{"text": "an \x1b[2J incident", "rest": "\xff\xfe"}'


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments])


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / FILE, clock=iter(range(START_NS, START_NS + 100 * 10**9, 10**9)).__next__)
    ledger.append("slack", "team", "hooks.example.com:443", b'{"text": "errors rose in shop"}', about="m-1 inc-1")
    ledger.append("model", "smol", "127.0.0.1:9", b'{"messages": [{"content": "You are"}, {"content": "E1 is odd"}]}')
    ledger.append("webhook", "ours", "127.0.0.1:99", HOSTILE)
    ledger.close()
    return tmp_path


def test_people_see_when_what_kind_to_whom_how_much_about_what_and_the_first_words(kept: Path) -> None:
    shown = run("egress", "--data-dir", str(kept))

    first, second, third = shown.output.splitlines()
    assert " ".join(first.split()) == (
        "1 2026-02-02T02:40:00Z slack team hooks.example.com:443 31 B m-1 inc-1 errors rose in shop"
    )
    assert second.endswith("E1 is odd")
    assert "\x1b" not in third
    assert shown.exit_code == 0


def test_one_is_shown_with_its_bytes_and_a_terminal_cannot_obey_them(kept: Path) -> None:
    shown = run("egress", "--data-dir", str(kept), "--show", "3")

    assert "\x1b" not in shown.output
    assert "␛[2J" in shown.output
    assert "\\xff\\xfe" in shown.output
    assert run("egress", "--data-dir", str(kept), "--show", "4").exit_code == 1


def test_programs_get_the_very_bytes(kept: Path) -> None:
    shown = run("egress", "--data-dir", str(kept), "--to", "127.0.0.1", "--kind", "webhook", "--bodies", "--json")

    (line,) = map(json.loads, shown.output.splitlines())
    assert base64.b64decode(line["body"]) == HOSTILE
    assert line["to"] == "127.0.0.1:99"
    assert "body" not in json.loads(run("egress", "--data-dir", str(kept), "--json").output.splitlines()[0])
    assert run("egress", "--data-dir", str(kept), "--since", "2026-02-02T02:40:01").output.count("\n") == 2


def test_a_whole_chain_is_verified_and_its_head_named_to_be_kept_elsewhere(kept: Path) -> None:
    shown = run("egress", "--data-dir", str(kept), "--verify")
    head = shown.output.splitlines()[-1].removeprefix("head ")

    assert shown.exit_code == 0
    assert len(head) == 64
    assert run("egress", "--data-dir", str(kept), "--verify", "--head", head).exit_code == 0
    assert json.loads(run("egress", "--data-dir", str(kept), "--verify", "--json").output)["head"] == head
    assert run("egress", "--data-dir", str(kept), "--head", head).exit_code == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE sent SET whither = 'nobody:1' WHERE number = 2", "entry 2: it was changed"),
        ("UPDATE sent SET time_ns = 'soon' WHERE number = 2", "entry 2: it was changed"),
        ("DELETE FROM sent WHERE number = 2", "entry 2: it is missing"),
        ("UPDATE bodies SET packed = x'00' WHERE number = 2", "entry 2: its body was changed"),
        ("DELETE FROM bodies WHERE number = 2", "entry 2: its body is missing"),
    ],
)
def test_what_was_changed_is_named_and_the_exit_code_says_so(kept: Path, change: str, told: str) -> None:
    db = sqlite3.connect(kept / FILE)
    db.execute(change)
    db.commit()
    db.close()

    shown = run("egress", "--data-dir", str(kept), "--verify")

    assert (shown.exit_code, shown.output.strip()) == (1, told)
    # Looking at it is still possible, or refused in words.
    assert run("egress", "--data-dir", str(kept), "--bodies").exit_code in (0, 1)


def test_it_is_read_while_it_is_written_and_none_is_made_by_reading(kept: Path, tmp_path: Path) -> None:
    ledger = Ledger(kept / FILE)
    ledger.append("slack", "team", "h:1", b"while open")

    shown = run("egress", "--data-dir", str(kept))
    ledger.close()

    assert "while open" in shown.output
    absent = run("egress", "--data-dir", str(tmp_path / "other"))
    assert absent.exit_code != 0
    assert not (tmp_path / "other").exists()
    assert audit.commands.keys() == {"egress", "canary"}


def config_file(folder: Path, slack: FakeHttp, hook: FakeHttp, model: FakeHttp) -> Path:
    path = folder / "logllm.toml"
    path.write_text(
        f'data_dir = "{folder / "data"}"\n'
        f'[explain]\nmodel = "{model.url}v1"\n[egress]\nledger = "required"\n'
        f'[[notify.destinations]]\ntype = "slack"\nname = "slack"\nurl = "{slack.url}services/T/B/s3cretpath"\n'
        f'[[notify.destinations]]\ntype = "webhook"\nname = "hook"\nurl = "{hook.url}"\n'
    )
    return path


def test_every_request_is_in_the_ledger_byte_for_byte_and_no_secret_is_anywhere(tmp_path: Path) -> None:
    planted = [canary for canary in canaries(random.Random(11)) if canary.is_secret][:40:8]
    burst = [
        (START_NS + 100 * 60 * 10**9 + n * 10**8, {"log": f"ERROR {c.line}", "level": "error", "service": "shop"})
        for n in range(80)
        for c in planted
    ]
    frames = frames_of(sorted(ordinary(120) + burst, key=lambda entry: entry[0]))
    answer = Reply(body=b'{"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}')
    with FakeHttp() as slack, FakeHttp() as hook, FakeHttp(otherwise=answer) as model:
        with served("-c", str(config_file(tmp_path, slack, hook, model)), "--json") as running:
            running.send(frames, len(frames))
            slack.wait_for(1)
            until(lambda: any(event["type"] == "explanation" for event in running.events))
            live = run("egress", "--data-dir", str(tmp_path / "data"), "--verify")
            _, metrics = running.get("/metrics")
            code = running.end()
        received = Counter(
            (f"127.0.0.1:{fake.port}", one.body) for fake in (slack, hook, model) for one in fake.requests
        )
        heads = [str(one.headers) for fake in (slack, hook, model) for one in fake.requests]

    reading = Reading(tmp_path / "data" / FILE)
    entries = list(reading.entries())
    written = Counter((entry.to, reading.body(entry)) for entry in entries)
    verdict = reading.verify()
    reading.close()
    assert (code, live.exit_code, verdict.wrong) == (0, 0, "")
    assert {entry.kind for entry in entries} == {"slack", "webhook", "model"}
    assert 'logllm_egress_total{kind="model"} 1.0' in metrics
    assert "logllm_egress_unrecorded_total 0.0" in metrics
    assert written == received
    incident = next(event["id"] for event in running.events if event["type"] == "incident")
    assert all(incident in entry.about for entry in entries)
    told = [*(body for _, body in received), *map(str.encode, heads), json.dumps(running.events).encode()]
    told += [line.encode() for line in running.errors]
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    pieces = [piece for path in files for piece in pieces_of(path)]
    for canary in planted:
        assert any(canary.mark.encode() in one for one in told), "its line was told, so that it could have been seen"
        assert traces(canary.parts, [*told, *pieces]) == []
    assert traces(("s3cretpath",), [*told, *pieces]) == []


def test_a_trial_finds_nothing_where_all_is_masked_and_its_lines_came_everywhere(tmp_path: Path) -> None:
    planted = canaries(random.Random(12))[:10]
    (tmp_path / "trial").mkdir()
    trial = Trial(Config(), tmp_path / "trial", planted, time.time_ns(), with_model=False)

    findings = trial.run()

    assert [finding for finding in findings if finding.leaked] == []
    came = {finding.place for finding in findings if finding.seen}
    assert {"Slack's API", "Slack's webhook", "webhook", "alertmanager", "pagerduty", "model"} <= came
    assert {"stdout of serve --json", "stdout of tail --json", "served/egress.db", "served/notify.db"} <= came
    assert all(finding.seen for finding in findings if finding.place == "webhook")


def test_a_trial_finds_what_a_redactor_does_not_know(tmp_path: Path) -> None:
    known = canaries(random.Random(13))[0]
    unknown = known._replace(kind="unknown", parts=("plainwords",), line=f"{known.mark} of plainwords")
    (tmp_path / "trial").mkdir()
    trial = Trial(Config(), tmp_path / "trial", [unknown], time.time_ns(), with_model=False)

    leaked = {finding.place: finding.forms for finding in trial.run() if finding.leaked}

    for place in ("webhook", "Slack's API", "Slack's webhook", "alertmanager", "pagerduty", "model"):
        assert leaked[place] == ["raw"]
    # Compressed in one file, on several pages in another.
    assert {"served/egress.db", "served/notify.db", "served/logllm.db", "stdout of tail --json"} <= leaked.keys()
    assert {"served/state.msgpack", "tailed/state.msgpack"} & leaked.keys()


def test_the_table_has_a_row_for_each_kind_and_names_each_leak(capsys: pytest.CaptureFixture[str]) -> None:
    planted = canaries(random.Random(14))[:2]
    findings = [
        Finding(planted[0].kind, "webhook", True, [], False),
        Finding(planted[1].kind, "webhook", True, ["base64"], False),
        Finding(planted[0].kind, "served/a.db", False, [], False),
        Finding(planted[1].kind, "served/state.msgpack", True, ["raw"], True),
    ]

    leaked = show_findings(planted, findings, ["a note"], as_json=False)
    shown = capsys.readouterr().out
    show_findings(planted, findings, [], as_json=True)
    told: dict[str, Any] = msgspec.json.decode(capsys.readouterr().out)

    assert leaked
    assert shown.splitlines()[1].split()[-2:] == ["ok", "-"]
    assert shown.splitlines()[2].split()[-2:] == ["LEAK", "kept"]
    assert f"LEAK  {planted[1].kind}: webhook, written as base64" in shown
    assert "a note" in shown
    assert (told["leaks"], told["planted"], len(told["findings"])) == (1, 2, 4)
    assert not show_findings(planted, findings[:1] + findings[2:3], [], as_json=True)


def test_a_trial_sends_nothing_to_where_the_configuration_sends_and_changes_nothing_of_it(tmp_path: Path) -> None:
    planted = canaries(random.Random(15))[:2]
    with FakeHttp() as real:
        (tmp_path / "logllm.toml").write_text(
            f'data_dir = "{tmp_path / "data"}"\n[detect]\nlearned = "mine.toml"\n'
            '[egress]\nallow = ["hooks.example.com"]\n[actions]\nenabled = true\n[[sinks]]\ntype = "stdout"\n'
            f'[[notify.destinations]]\ntype = "webhook"\nname = "ours"\nurl = "{real.url}"\n'
            f'[[notify.destinations]]\ntype = "alertmanager"\nname = "am"\nurl = "{real.url}"\n'
            '[[notify.destinations]]\ntype = "slack"\nname = "team"\nurl = "https://hooks.example.com/s3cret"\n'
            '[[notify.routes]]\nmatch = ["service=\\"svc-0\\""]\nto = ["ours"]\n'
        )
        (tmp_path / "trial").mkdir()
        trial = Trial(
            Config.load(tmp_path / "logllm.toml"), tmp_path / "trial", planted, time.time_ns(), with_model=False
        )

        findings = trial.run()

    assert real.requests == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logllm.toml", "trial"]
    assert [finding for finding in findings if finding.leaked] == []
    # The configured ones and those of each kind, whatever routes say.
    assert len({head for place in ("webhook", "Slack's webhook") for head in trial.places[place]}) >= 4


def test_a_test_message_is_written_down_too(tmp_path: Path) -> None:
    with FakeHttp() as receiver:
        (tmp_path / "logllm.toml").write_text(f'data_dir = "{tmp_path / "data"}"\n')
        ended = CliRunner().invoke(
            main, ["alerts", "test", "-c", str(tmp_path / "logllm.toml"), "--webhook", receiver.url]
        )

    reading = Reading(tmp_path / "data" / FILE)
    (entry,) = reading.entries()
    body = reading.body(entry)
    reading.close()
    assert ended.exit_code == 0
    assert (entry.kind, entry.name, body) == ("webhook", "webhook", receiver.requests[0].body)
    assert entry.about in ended.output
