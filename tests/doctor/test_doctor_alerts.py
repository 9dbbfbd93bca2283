"""What the doctor says of destinations and routes."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logllm.config import Config
from logllm.doctor.alerts import examine_alerts, reach_destinations
from logllm.doctor.examine import Options, examine

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def config(folder: Path, text: str) -> Config:
    path = folder / "logllm.toml"
    path.write_text(text, encoding="utf-8")
    return Config.load(path)


def test_without_a_destination_it_says_that_nobody_is_told() -> None:
    (found,) = examine_alerts(Config(), NOW)

    assert (found.level, found.about) == ("skipped", "notify")
    assert "nobody is told" in found.found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('to = ["ops"]\n', "ops"),
        ('[[notify.destinations]]\ntype = "slack"\nname = "a"\nurl_env = "LOGLLM_TEST_ABSENT"\n', "LOGLLM_TEST_ABSENT"),
        ('[[notify.destinations]]\ntype = "webhook"\nname = "a"\nurl = "nowhere"\n', "expected http"),
    ],
)
def test_what_keeps_the_service_from_starting_is_a_failure(tmp_path: Path, text: str, told: str) -> None:
    found = list(examine_alerts(config(tmp_path, f"[notify]\n{text}"), NOW))

    assert found[-1].level == "fail"
    assert told in found[-1].found


def test_a_secret_that_others_may_read_is_told_and_a_receiver_that_is_not_there_too(tmp_path: Path) -> None:
    address = tmp_path / "slack.url"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address.write_text(f"http://127.0.0.1:{port}/services/T0/B0/verysecret\n")
        address.chmod(0o644)
        made = config(tmp_path, f'[[notify.destinations]]\ntype = "slack"\nurl_file = "{address}"\n')
        here = list(reach_destinations(made))
        findings = list(examine(made, Options(offline=True)))
    gone = list(reach_destinations(made))

    assert [found.level for found in (*here, *gone)] == ["ok", "warn"]
    assert "outbox" in gone[0].advice
    told = [found for found in findings if found.about == f"destination slack.url_file {address}"]
    assert [found.level for found in told] == ["warn"]
    assert all("verysecret" not in str(found) for found in (*here, *gone, *findings))
