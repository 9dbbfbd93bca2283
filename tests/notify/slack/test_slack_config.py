from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logllm.errors import ConfigError
from logllm.notify.slack import SlackConfig
from tests.notify.slack.samples import LINKS

URL = "https://hooks.slack.com/services/T00/B00/s3cret"


def files(folder: Path) -> dict[str, str]:
    """Files with an address, a token, and what is none."""
    texts = {"url": f"{URL}\n", "token": "xoxb-t0ken\n", "empty": "\n", "two": "a b\n", "odd": "é\n"}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: str(folder / name) for name in [*texts, "missing"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expected one of url, url_file, url_env, token_file and token_env, found none"),
        ({"url": URL, "token_env": "T"}, "found url and token_env"),
        ({"url": "ftp://a/b"}, "expected https://HOST/... as its address"),
        ({"url": "hooks.slack.com/x"}, "expected https://HOST/... as its address"),
        ({"url": "https://[x/"}, "expected https://HOST/... as its address"),
        ({"url_file": "missing"}, "url_file: cannot read"),
        ({"url_file": "empty"}, "url_file: empty, expected url"),
        ({"url_file": "two"}, "expected one line of printable ASCII"),
        ({"url_file": "odd"}, "expected one line of printable ASCII"),
        ({"url_env": "LOGLLM_TEST_UNSET"}, "LOGLLM_TEST_UNSET is not in the environment"),
        ({"url": URL, "channel": "C1"}, "an incoming webhook has its own"),
        ({"token_file": "token"}, "channel: expected a channel's id or name"),
        ({"token_file": "token", "channel": "a b"}, "channel: expected a channel's id or name"),
        ({"token_file": "missing", "channel": "C1"}, "token_file: cannot read"),
        ({"token_file": "token", "channel": "C1", "api_url": "http://slack.example/api/"}, "expected https://"),
        ({"url": URL, "mention": "@here"}, "mention: expected <!here>"),
        ({"url": URL, "mention": "<!here> <https://x>"}, "mention: expected <!here>"),
        ({"url": URL, "signing_secret_file": "token", "signing_secret_env": "S"}, "found both"),
        ({"url": URL, "signing_secret_file": "missing"}, "signing_secret_file"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(given: dict[str, str], expected: str, tmp_path: Path) -> None:
    known = files(tmp_path)
    config = SlackConfig(name="team", **{key: known.get(value, value) for key, value in given.items()})  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="destination team") as caught:
        config.check()

    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError):
        config.build(LINKS)


@pytest.mark.parametrize(
    "given",
    [
        {"url": URL},
        {"url": "http://127.0.0.1:8065/hooks/x", "mention": "<!here> <!subteam^S0123ABCD> <@U061F7AUR>"},
        {"url_file": "url", "signing_secret_file": "token"},
        {"url_env": "LOGLLM_TEST_URL"},
        {"token_file": "token", "channel": "#alerts"},
        {"token_file": "token", "channel": "C0123ABCD", "api_url": "http://localhost:9/api"},
        {"token_env": "LOGLLM_TEST_TOKEN", "channel": "C0123ABCD", "api_url": "https://slack-gov.com/api/"},
    ],
)
def test_what_can_work_is_built(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = files(tmp_path)
    monkeypatch.setenv("LOGLLM_TEST_URL", URL)
    monkeypatch.setenv("LOGLLM_TEST_TOKEN", "xoxb-t0ken")
    config = SlackConfig(**{key: known.get(value, value) for key, value in given.items()})

    config.check()
    destination = config.build(LINKS)

    assert destination.name == config.name == "slack"
    assert destination.edits is config.is_bot
    assert config.address().startswith("http")
    destination.close()


def test_nothing_that_shows_a_configuration_shows_its_secrets(tmp_path: Path) -> None:
    known = files(tmp_path)
    config = SlackConfig(
        url=URL, proxy="http://me:s3cret@proxy.example:8080", api_url="https://me:s3cret@slack.example/api/"
    )

    shown = f"{config!r} {config} {list(config.__rich_repr__())} {SlackConfig(token_file=known['token'])!r}"

    assert "s3cret" not in shown
    assert "t0ken" not in shown
    assert "https://hooks.slack.com/..." in shown


def test_neither_a_destination_nor_what_it_is_made_of_shows_a_secret(tmp_path: Path) -> None:
    known = files(tmp_path)
    made = [SlackConfig(url=URL).build(LINKS), SlackConfig(token_file=known["token"], channel="C1").build(LINKS)]

    for destination in made:
        for part in (destination, *vars(destination).values()):
            assert "s3cret" not in repr(part)
            assert "t0ken" not in repr(part)


def test_it_is_read_from_a_file_strictly() -> None:
    given = {"type": "slack", "name": "team", "url": URL, "deadline_s": 5}

    found = msgspec.convert(given, SlackConfig)

    assert found == SlackConfig(name="team", url=URL, deadline_s=5.0)
    for wrong in ({"type": "slack", "uri": URL}, {"type": "slack", "deadline_s": 0}, {"type": "webhook"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, SlackConfig)


def test_naming_the_configuration_loads_neither_slack_sdk_nor_what_sends() -> None:
    code = (
        "import sys; from logllm.notify.slack import SlackConfig; SlackConfig(url='https://h/x').check();"
        "heavy = ('slack_sdk', 'logllm.notify.slack.webhook', 'logllm.wire.http');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert told.stdout.strip() == "[]"
