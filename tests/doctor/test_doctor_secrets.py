"""Keys, users and certificates, with ones that are really bad."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from logllm.config import Config
from logllm.doctor.examine import Options, examine
from logllm.doctor.finding import Finding
from logllm.doctor.secrets import examine_secrets
from logllm.explain.config import ExplainConfig
from logllm.sources.forward.server import ForwardConfig
from tests.doctor.certificates import certificate

NOW = datetime.now(UTC)


def levels(findings: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in findings]


class Files(msgspec.Struct):
    """What `[forward]` and sinks name."""

    shared_key_file: str = ""
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None


def test_a_key_that_others_can_read_is_warned_of_and_one_that_is_not_there_fails(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n", encoding="utf-8")

    def level(mode: int) -> str:
        key.chmod(mode)
        (found,) = examine_secrets("forward", Files(str(key)), NOW)
        assert "secret" not in found.found
        return found.level

    assert (level(0o600), level(0o400)) == ("ok", "ok")
    assert (level(0o640), level(0o604), level(0o620)) == ("warn", "warn", "warn")
    key.write_text("\n", encoding="utf-8")
    assert level(0o600) == "fail"
    assert levels(examine_secrets("forward", Files(str(tmp_path)), NOW)) == ["fail"]
    assert levels(examine_secrets("forward", Files(str(tmp_path / "none")), NOW)) == ["fail"]
    os.mkfifo(tmp_path / "pipe")
    assert levels(examine_secrets("forward", Files(str(tmp_path / "pipe")), NOW)) == ["fail"]


def test_a_certificate_is_judged_by_when_it_ends(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "server")
    files = Files(tls_cert=str(cert), tls_key=str(key))

    def at(days: int) -> Finding:
        secret, found = examine_secrets("forward", files, NOW + timedelta(days=days))
        assert secret.level == "ok"
        return found

    assert (at(1).level, at(-400).level, at(11).level) == ("warn", "fail", "fail")
    assert at(11).found.startswith("expired at ")
    assert at(-400).found.startswith("not valid before ")


def test_of_a_chain_the_first_certificate_to_end_counts(tmp_path: Path) -> None:
    long, _ = certificate(tmp_path, "long", "-days", "4000")
    short, _ = certificate(tmp_path, "short")
    chain = tmp_path / "chain.pem"
    chain.write_text("# ours\n" + long.read_text() + short.read_text(), encoding="utf-8")

    tomorrow = NOW + timedelta(days=1)
    assert levels(examine_secrets("sink", Files(tls_client_ca=str(long)), tomorrow)) == ["ok"]
    (found,) = examine_secrets("sink", Files(tls_client_ca=str(chain)), tomorrow)
    assert found.level == "warn"
    assert "the first to end of 2" in found.found


def test_a_key_of_another_certificate_or_with_a_password_fails(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "server")
    _, other = certificate(tmp_path, "other")
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    locked.chmod(0o600)

    for right, wrong in ((cert, other), (cert, locked), (cert, cert), (None, key)):
        config = ForwardConfig(tls_cert=None if right is None else str(right), tls_key=str(wrong))
        assert keys(config).level == "fail"
    assert keys(ForwardConfig(tls_cert=str(cert), tls_key=str(key))).level == "ok"


def keys(forward: ForwardConfig) -> Finding:
    config = Config(forward=forward, explain=ExplainConfig(model=""))
    (found,) = [one for one in examine(config, Options(offline=True)) if one.about == "forward's keys"]
    return found


def test_users_that_cannot_be_read_as_such_fail(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("web\n", encoding="utf-8")

    assert keys(ForwardConfig(users_file=str(path))).level == "fail"
    path.write_text("web secret\n", encoding="utf-8")
    found = keys(ForwardConfig(users_file=str(path)))
    assert found.level == "ok"
    assert "a user" in found.found
    assert "nothing" in keys(ForwardConfig()).found
