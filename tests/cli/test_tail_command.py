"""`logllm tail` as a user runs it: a child process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

LOGLLM = [sys.executable, "-m", "logllm.cli"]
SAMPLES = Path(__file__).parents[2] / "samples"
LOGHUB = Path(__file__).parents[2].parent / "shared" / "data" / "loghub"


def run(*arguments: str, stdin: bytes = b"", timeout_s: float = 120.0) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*LOGLLM, *arguments], input=stdin, capture_output=True, timeout=timeout_s, check=False, env=_environment()
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "pipeline"), "NO_COLOR": "1"}


def events(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def incidents(output: bytes) -> list[dict[str, Any]]:
    return [event for event in events(output) if event["type"] == "incident" and event["event"] == "open"]


def auth_log(lines: int) -> bytes:
    """A day's sshd log with a password attack in it, on the documentation addresses."""
    out = []
    for number in range(lines):
        second = number * 40_000 // lines
        stamp = f"Dec 10 {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} gate sshd[{1000 + number}]:"
        if number % 10 < 7:
            out.append(f"{stamp} Failed password for root from 203.0.113.9 port {30_000 + number % 20_000} ssh2")
        elif number % 10 < 9:
            out.append(f"{stamp} Invalid user test{number % 37} from 203.0.113.9")
        else:
            out.append(f"{stamp} Accepted publickey for deploy from 198.51.100.4 port {40_000 + number % 9_000} ssh2")
    return "\n".join(out).encode() + b"\n"


def test_a_brute_force_attack_in_an_auth_log_is_a_handful_of_incidents_the_first_about_it(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_bytes(auth_log(7_000))

    done = run("tail", "--once", "--json", "--no-llm", str(path))

    assert done.returncode == 0, done.stderr
    found = incidents(done.stdout)
    assert 1 <= len(found) <= 5
    assert found[0]["runbook"] == "ssh-brute-force"
    assert "password" in (found[0]["title"] + found[0]["template"]).lower()


def test_every_json_event_keeps_the_keys_others_rely_on() -> None:
    done = run("tail", "--once", "--json", "--no-llm", str(SAMPLES / "disk.log"))

    told = events(done.stdout)
    wanted = {
        "incident": "id event time severity service kinds title expected seen template count runbook evidence",
        "explanation": "incident status cause runbook steps evidence confidence model",
        "summary": "lines records templates incidents seconds",
    }
    assert {event["type"] for event in told} >= {"incident", "summary"}
    for event in told:
        assert set(wanted[event["type"]].split()) <= set(event)
    for incident in incidents(done.stdout):
        assert [item["id"] for item in incident["evidence"]] == [f"E{n + 1}" for n in range(len(incident["evidence"]))]
        assert all(item["time"].endswith("Z") and item["text"] for item in incident["evidence"])
    assert told[-1]["type"] == "summary"


def test_addresses_are_masked_in_json_and_shown_on_request(tmp_path: Path) -> None:
    path = tmp_path / "auth.log"
    path.write_bytes(auth_log(2_000))

    masked = run("tail", "--once", "--json", "--no-llm", str(path))
    revealed = run("tail", "--once", "--json", "--no-llm", "--reveal", str(path))

    assert b"203.0.113.9" not in masked.stdout
    assert b"203.0.113.9" in revealed.stdout


@pytest.mark.shared
@pytest.mark.parametrize("name", ["Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "OpenStack", "Zookeeper"])
def test_a_real_log_gives_at_most_ten_incidents_with_dates_of_its_own(name: str) -> None:
    path = LOGHUB / name / f"{name}_2k.log"
    if not path.is_file():
        pytest.skip(f"labelled data not beside the checkout: {path}")

    done = run("tail", "--once", "--json", "--no-llm", str(path))

    assert done.returncode == 0, done.stderr
    found = incidents(done.stdout)
    assert len(found) <= 10
    years = {
        "Apache": "2005",
        "BGL": "2005",
        "HDFS": "2008",
        "Hadoop": "2015",
        "OpenStack": "2017",
        "Zookeeper": "2015",
    }
    times = [item["time"] for incident in found for item in incident["evidence"]]
    if name in years:
        assert all(moment.startswith(years[name]) for moment in times)
    else:
        assert all(moment <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)) for moment in times)
    if name == "OpenSSH":
        assert 1 <= len(found) <= 5
        assert found[0]["runbook"] == "ssh-brute-force"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"\x7fELF\x00\x01\x02" * 50, "binary"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_one(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "input.log"
    if content is not None:
        path.write_bytes(content)

    done = run("tail", "--once", "--no-llm", "--json", str(path))

    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1
    assert "Traceback" not in done.stderr.decode()


def test_one_unreadable_file_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    good = tmp_path / "good.log"
    good.write_bytes(auth_log(500))

    done = run("tail", "--once", "--no-llm", "--json", str(tmp_path / "absent.log"), str(good))

    assert done.returncode == 0
    assert b"no such file" in done.stderr
    assert events(done.stdout)[-1]["records"] == 500


def test_files_that_cover_the_same_day_are_judged_together_and_globs_are_spelled_out(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"host{number}.log").write_bytes(auth_log(3_000).replace(b" gate ", f" gate{number} ".encode()))

    done = run("tail", "--once", "--no-llm", "--json", str(tmp_path / "host*.log"))

    summary = events(done.stdout)[-1]
    assert done.returncode == 0, done.stderr
    assert summary["records"] == 9_000
    assert "too late for their window" not in summary["skipped"]
    assert incidents(done.stdout)[0]["runbook"] == "ssh-brute-force"


def test_an_empty_file_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.log"
    path.write_bytes(b"")

    done = run("tail", "--once", "--no-llm", "--json", str(path))

    assert done.returncode == 0
    assert events(done.stdout) == [events(done.stdout)[-1]]
    assert events(done.stdout)[-1]["records"] == 0


def test_a_ten_megabyte_line_and_broken_utf8_are_counted_and_nothing_else_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "hostile.log"
    path.write_bytes(auth_log(100) + b"x" * 10_000_000 + b"\n" + b"\xff\xfe broken \x80\n" + auth_log(100))

    done = run("tail", "--once", "--no-llm", "--json", str(path))

    assert done.returncode == 0, done.stderr
    summary = events(done.stdout)[-1]
    assert summary["lines"] == 202
    assert sum(summary["skipped"].values()) >= 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alerts = 3\n", "alerts"),
        ("[detect]\nalerts_per_dy = 3\n", "alerts_per_dy"),
        ("[forward]\nlisten_on = 'x'\n", "listen_on"),
        ("[explain]\nmodle = 'x'\n", "modle"),
        ("[detect]\nalerts_per_day = 'many'\n", "alerts_per_day"),
        ("not toml at all", "not TOML"),
    ],
)
def test_a_wrong_configuration_names_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text(text)

    done = run("tail", "--once", "-c", str(path), str(SAMPLES / "disk.log"))

    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert "logllm.toml" in lines[0]
    assert said in lines[0]


def test_standard_input_is_read_where_no_file_is_named() -> None:
    done = run("tail", "--once", "--no-llm", "--json", stdin=auth_log(1_000))

    assert events(done.stdout)[-1]["records"] == 1_000


def test_a_pipe_that_stays_open_is_reported_when_it_falls_silent_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        child = subprocess.Popen(
            [*LOGLLM, "tail", "--no-llm", "--json", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
        )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin as pipe, child.stdout as output:
        try:
            pipe.write(auth_log(2_000))
            pipe.flush()
            first = output.readline()
            child.send_signal(signal.SIGINT)
            rest = output.read()
            child.wait(timeout=30)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    assert json.loads(first)["runbook"] == "ssh-brute-force"
    assert child.returncode == 130
    # The last record may still have been waiting for a line that continues it.
    assert events(rest)[-1]["lines"] == 2_000
    assert events(rest)[-1]["records"] >= 1_999
    assert (tmp_path / "errors").read_text() == ""


def test_following_tells_what_is_appended_and_ctrl_c_ends_with_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(auth_log(300))
    with (tmp_path / "errors").open("wb") as errors:
        child = subprocess.Popen(
            [*LOGLLM, "tail", "--no-llm", "--json", str(path)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
        )
    assert child.stdout is not None
    with child.stdout as output:
        try:
            first = output.readline()  # the look back is told once the file has been read to its end
            with path.open("ab") as file:
                file.write(auth_log(50))
            path.rename(tmp_path / "app.log.1")
            path.write_bytes(auth_log(25))
            time.sleep(3.0)  # a follower polls four times a second; there is nothing else to wait for
            child.send_signal(signal.SIGINT)
            rest = output.read()
            child.wait(timeout=30)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    assert json.loads(first)["type"] == "incident"
    assert child.returncode == 130, (tmp_path / "errors").read_text()
    assert events(rest)[-1]["type"] == "summary"
    assert events(rest)[-1]["lines"] == 375


def test_the_terminal_view_shows_addresses_and_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    secret = "hunter2hunter2"
    lines = [
        f"2026-01-02T03:{n // 60 % 60:02d}:{n % 60:02d}Z ERROR app: login failed for user bob password={secret} "
        f"from 203.0.113.9"
        for n in range(400)
    ]
    path.write_text("\n".join(lines) + "\n")

    done = run("tail", "--once", "--no-llm", str(path))

    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert secret not in shown
    assert "203.0.113.9" in shown
    assert "\x1b" not in shown
