"""`logllm plugins`: what ships, what a configuration names, and a running service."""

from __future__ import annotations

import json
import shlex
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import msgspec
import pytest

from logllm.cli import plugin_list
from logllm.cli.main import main
from logllm.config import Config
from logllm.filters import shipped
from logllm.filters.config import GRANTS, Limits, PluginConfig
from logllm.filters.life.status import PluginStatus
from tests.cli.guests import FUSSY, guest, logllm

STATUS = PluginStatus(
    name="redact",
    path="redact.wasm",
    abi="native",
    sha256="0" * 64,
    stage="ingest",
    match="kube.*",
    version="1.0.0",
    instances=2,
    memory_bytes=2_500_000,
    calls=1_234,
    records_in=1_234_567,
    records_out=1_200_000,
    dropped=34_567,
    failures={"trap": 3, "timeout": 1},
    failed_records=4,
    bypassed_records=0,
    restarts=4,
    seconds=1.5,
    bypassed=False,
    bypassed_tenants=0,
    reloads=0,
    reload_error="",
    last_error="redact: trap: wasm `unreachable` \x1b[31m",
    last_error_time="2026-11-22T10:00:00Z",
    lost={"log_lines": 7, "asks": 0},
    metrics={"cards": 12},
)


class Service:
    """A service that answers GET /plugins with what it is told to."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                right = self.path == "/plugins"
                self.send_response(status if right else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that ships two plugins, one of them broken; nobody answers at the default address."""
    package = tmp_path / "logllm"
    for name in ("quiet", "broken"):
        folder = package / "plugins" / name
        folder.mkdir(parents=True)
        toml = f'name = "{name}"\nversion = "1.2.3"\nlicense = "MIT"\nlanguage = "c"\ndescription = "Keeps quiet."\n'
        (folder / "plugin.toml").write_text(toml)
        guest(folder, FUSSY if name == "quiet" else "(module)", name)
    monkeypatch.setattr(shipped, "__file__", str(package / "filters" / "shipped.py"))
    with socket.socket() as closed:  # bound and not listening: nobody can answer there
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(plugin_list, "DEFAULT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield package / "plugins"


def test_what_ships_is_listed_and_a_broken_one_says_what_is_wrong(ours: Path) -> None:
    told = logllm("plugins")
    found = json.loads(logllm("plugins", "--json").stdout)

    assert told.exit_code == 0, told.stderr
    assert "Keeps quiet." in told.stdout
    assert "it is no plugin" in told.stdout.replace("\n", " ")
    assert "no service answers at http://127.0.0.1:" in told.stdout
    quiet = next(one for one in found["shipped"] if one["name"] == "quiet")
    assert (quiet["version"], quiet["abi"], quiet["error"]) == ("1.2.3", "native", "")
    assert found["running"] is None


def test_a_shipped_plugin_runs_by_its_name(ours: Path) -> None:
    done = logllm("plugin", "run", "quiet", given=b'{"a":1}\n')

    assert (done.exit_code, done.stdout) == (0, '{"a":1}\n')


def test_the_filters_of_a_configuration_are_each_tried(ours: Path, tmp_path: Path) -> None:
    refusing = FUSSY.replace(
        "(module", '(module (func (export "logllm_init") (param i32 i32) (result i32) (i32.const 1))'
    )
    good, bad = guest(tmp_path, FUSSY, "good"), guest(tmp_path, refusing, "bad")
    path = tmp_path / "logllm.toml"
    path.write_text(
        f'[[plugins]]\npath = "good.wasm"\nmatch = "kube.*"\n[[plugins]]\npath = "{bad}"\nstage = "egress"\n'
        '[[plugins]]\npath = "missing.wasm"\nname = "gone"\n'
    )

    told = logllm("plugins", "-c", path)
    found = json.loads(logllm("plugins", "-c", path, "--json").stdout)["configured"]
    path.write_text('[[plugins]]\npath = "quiet"\n')
    well = logllm("plugins", "-c", path)

    assert (told.exit_code, well.exit_code) == (1, 0)
    assert [(one["abi"], bool(one["error"])) for one in found] == [("native", False), ("", True), ("", True)]
    assert found[0]["path"] == str(good)
    assert f"{bad}: it refused its configuration" in found[1]["error"]
    assert "missing.wasm: no such file" in found[2]["error"]
    assert (found[0]["match"], found[1]["stage"], found[2]["name"]) == ("kube.*", "egress", "gone")
    assert "cannot be used" in told.stdout
    assert "ok, native" in well.stdout
    assert "plugins that ship" not in well.stdout


def test_a_configuration_names_the_address_to_ask(ours: Path, tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    with Service(msgspec.json.encode([STATUS])) as service:
        path.write_text(f'[http]\nlisten = "{service.url.removeprefix("http://")}"\n')

        found = json.loads(logllm("plugins", "-c", path, "--json").stdout)

    assert Config.load(path).http.listen in found["url"]
    assert found["running"][0]["name"] == "redact"


def test_a_running_service_tells_how_its_plugins_fare(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    bypassed = msgspec.structs.replace(STATUS, name="noisy", bypassed=True, bypassed_records=99)

    with Service(msgspec.json.encode([STATUS, bypassed])) as service:
        told = logllm("plugins", "--url", service.url)
        found = json.loads(logllm("plugins", "--url", f"{service.url}/", "--json").stdout)

    assert told.exit_code == 0, told.stderr
    assert msgspec.convert(found["running"], list[PluginStatus]) == [STATUS, bypassed]
    lines = told.stdout.splitlines()
    assert lines[0] == f"running at {service.url}"
    row = next(line for line in lines if line.startswith("redact "))
    assert row.split() == ["redact", "ingest", "ok", "1,234", "1.23", "M", "1.2", "M", "34,567", "4", "2.5", "MB"]
    assert max(map(len, lines)) <= 80
    text = " ".join(told.stdout.split())
    assert "redact: failures: timeout 1, trap 3; 4 records" in text
    assert "redact: over its bounds and lost: log_lines 7" in text
    assert "noisy: bypassed: it fails too often; 99 records went by it" in text
    assert "\x1b" not in told.stdout


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"not json", 200, "answered something else than the state of plugins"),
        (b'[{"name": 1}]', 200, "answered something else"),
        (b"{}", 404, "answered 404"),
        (b"[" + b" " * (9 << 20), 200, "answered more than 8 MiB"),
    ],
)
def test_an_address_that_answers_with_something_else_is_an_error(
    ours: Path, body: bytes, status: int, words: str
) -> None:
    with Service(body, status) as service:
        done = logllm("plugins", "--url", service.url)

    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_at_an_address_that_was_named_is_an_error_and_so_is_an_address_that_is_none(ours: Path) -> None:
    nobody = logllm("plugins", "--url", plugin_list.DEFAULT_URL)
    wrong = logllm("plugins", "--url", "localhost:80")

    assert nobody.exit_code == 1
    assert "no service answers" in nobody.stderr
    assert wrong.exit_code == 2
    assert "expected an address such as http://" in wrong.stderr


GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_guide_names_every_key_with_its_default() -> None:
    rows = {
        cells[1].strip("` "): cells[2].strip("` ")
        for line in GUIDE.splitlines()
        if line.startswith("| `") and len(cells := line.split("|")) >= 4
    }
    for kind, other in ((PluginConfig, {"path": "-", "name": "the file's", "function": "the only one"}), (Limits, {})):
        for field in msgspec.structs.fields(kind):
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            written = "below" if field.name == "limits" else other.get(field.name) or json.dumps(default)

            assert rows.get(field.name) == written, field.name
    assert set(GRANTS) <= set(rows)


def test_every_command_of_the_guide_and_its_options_exist() -> None:
    commands = [part for line in GUIDE.splitlines() if line.startswith("$ ") for part in line[2:].split(" | ")]
    ours = [shlex.split(command, comments=True) for command in commands if command.startswith("logllm ")]

    assert len(ours) > 12
    for _, *words in ours:
        command: click.Command | None = main
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, words


def test_the_first_example_of_the_guide_runs() -> None:
    if "redact" not in shipped.shipped():
        pytest.skip("plugins/redact is not built")
    record = next(line for line in GUIDE.splitlines() if line.startswith("$ echo ")).split("'")[1]

    done = logllm("plugin", "run", "redact", given=record.encode())

    assert done.exit_code == 0, done.stderr
    assert "declined" in json.loads(done.stdout)["log"]
    assert "4111 1111" not in done.stdout
