"""What `docs/operations.md` and the unit say, against the program and against systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from logllm.cli.main import main
from logllm.config import Config, HttpConfig
from logllm.detectors.config import DetectConfig, Shares
from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.values.config import ValuesConfig
from logllm.metrics import METRICS
from logllm.service.reload import needs_restart
from logllm.service.systemd import Notifier
from logllm.sinks.config import DeliveryConfig
from logllm.sources.forward.server import ForwardConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNIT = ROOT / "docs" / "operations" / "logllm.service"
PROGRAM = "/opt/logllm/bin/logllm"


def settings() -> list[tuple[str, str]]:
    lines = [line.strip() for line in UNIT.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(key, value) for key, _, value in pairs]


def setting(key: str) -> str:
    return [value for name, value in settings() if name == key][-1]


def alerts() -> list[dict[str, Any]]:
    (block,) = re.findall(r"```yaml\n(groups:.*?)```", PAGE, re.S)
    (group,) = yaml.safe_load(block)["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def exposed(name: str) -> bool:
    """Whether `/metrics` has samples of this name."""
    for metric in METRICS.values():
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[metric.kind]
        if name in {metric.name + ending for ending in endings}:
            return True
    return False


def test_every_metric_in_an_alert_is_one_that_is_told_under_that_very_name() -> None:
    expressions = " ".join(rule["expr"] for rule in alerts())
    above_the_table = PAGE.partition("## Metrics")[0]
    named = set(re.findall(r"\blogllm_\w+", expressions)) | set(re.findall(r"`(logllm_\w+)[`{]", above_the_table))

    assert len(named) > 12
    assert {name for name in named if not exposed(name)} == set()


def test_every_label_in_an_alert_is_one_that_the_metric_has() -> None:
    selectors = [found for rule in alerts() for found in re.findall(r"(logllm_\w+)\{(\w+)=", rule["expr"])]

    assert selectors
    for name, label in selectors:
        assert label in METRICS[name.removesuffix("_total")].labels


def test_what_is_said_to_take_a_restart_does_and_the_rest_does_not() -> None:
    old = Config()
    changes = {
        "forward.listen": Config(forward=ForwardConfig(listen="127.0.0.1:1")),
        "unix_path": Config(forward=ForwardConfig(unix_path="x.sock")),
        "unix_mode": Config(forward=ForwardConfig(unix_mode="0660")),
        "udp_heartbeat": Config(forward=ForwardConfig(udp_heartbeat=True)),
        "TLS on or off": Config(forward=ForwardConfig(tls_cert="c", tls_key="k")),
        "data_dir": Config(data_dir="x"),
        "[http]": Config(http=HttpConfig(listen="127.0.0.1:1")),
        "[delivery]": Config(delivery=DeliveryConfig(grace_s=1.0)),
        "detect.values": Config(detect=DetectConfig(values=ValuesConfig(enabled=False))),
        "detect.sessions": Config(detect=DetectConfig(sessions=SessionsConfig(key="trace_id"))),
        "detect.learned": Config(detect=DetectConfig(learned="answers.toml")),
    }
    (rows,) = re.findall(r"\| part \| on a reload \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE)
    restarts = " ".join(row for row in rows.splitlines() if "takes a restart" in row)

    for named, config in changes.items():
        assert needs_restart(old, config), named
        assert named.strip("[]") in restarts, named
    assert needs_restart(old, Config(forward=ForwardConfig(shared_key_file="x", max_connections=7))) == []
    fewer = Config(detect=DetectConfig(alerts_per_day=1.0, shares=Shares(session=0.0, rate=0.0)))
    assert needs_restart(old, fewer) == []
    assert needs_restart(fewer, old) == ["detect.shares.session"]


def test_the_options_that_the_unit_gives_exist() -> None:
    for key in ("ExecStartPre", "ExecStart"):
        _, command, *options = setting(key).lstrip("-").split()

        told = CliRunner().invoke(main, [command, "--help"]).output
        assert [one for one in options if one.startswith("--") and one not in told] == []


def test_the_unit_says_what_the_service_tells_systemd() -> None:
    told = []

    class Heard(Notifier):
        def _send(self, state: str) -> None:
            told.append(state.partition("\n")[0])

    heard = Heard("nowhere", 30.0)
    heard.ready()
    heard.reloading()
    heard.stopping()

    assert told == ["READY=1", "RELOADING=1", "STOPPING=1"]
    assert setting("Type") == "notify"
    assert setting("ExecReload") == "/bin/kill -HUP $MAINPID"
    assert int(setting("WatchdogSec")) > 0
    assert int(setting("TimeoutStopSec")) > 3 * DeliveryConfig().grace_s
    assert int(setting("LimitNOFILE")) >= ForwardConfig().max_connections + 300


def test_the_unit_stops_trying_only_where_trying_again_is_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text("[forward]\nlisten = 7\n", encoding="utf-8")

    wrong = CliRunner().invoke(main, ["serve", "--config", str(path)])

    assert setting("Restart") == "always"
    assert setting("RestartPreventExitStatus") == str(wrong.exit_code) == "2"


def test_the_unit_leaves_only_its_own_folders_to_be_written_and_lets_plugins_be_compiled() -> None:
    given = dict(settings())

    for key in ("NoNewPrivileges", "DynamicUser", "PrivateTmp", "PrivateDevices", "ProtectHome", "LockPersonality"):
        assert given[key] == "yes"
    assert given["ProtectSystem"] == "strict"
    assert given["CapabilityBoundingSet"] == ""
    assert given["StateDirectory"] == given["CacheDirectory"] == given["LogsDirectory"] == "logllm"
    assert "MemoryDenyWriteExecute" not in given
    assert not any(value.startswith("/home") for value in given.values())


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    path = tmp_path / "logllm.service"
    path.write_text(UNIT.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze on this machine")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_has_nothing_against_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))

    assert done.returncode == 0, done.stderr
    assert "logllm.service" not in done.stderr


def test_systemd_finds_a_typing_error_in_the_unit(unit: Path) -> None:
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=", "WatchDogSecs="), encoding="utf-8")

    assert "WatchDogSecs" in analyze("verify", "--man=no", str(unit)).stderr


def test_systemd_rates_the_unit_as_little_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", str(unit))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot rate a file")

    assert done.returncode == 0, done.stdout
