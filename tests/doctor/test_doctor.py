"""Each check of this machine, with a thing that is really bad."""

from __future__ import annotations

import resource
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm import checkpoint
from logllm.config import Config, HttpConfig
from logllm.doctor.addresses import examine_listening, examine_openness, examine_unix_path, reaches
from logllm.doctor.certificate import certificates, valid_between
from logllm.doctor.examine import Options, configuration, examine
from logllm.doctor.finding import Finding
from logllm.doctor.folders import examine_folder
from logllm.doctor.parts import examine_clock, examine_limits, examine_model, examine_plugins, examine_state
from logllm.egress import EgressConfig
from logllm.explain.config import ExplainConfig
from logllm.filters.config import PluginConfig
from logllm.incidents.store import IncidentStore
from logllm.pipeline import Pipeline
from logllm.sinks.config import SinkConfig
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.stdout import StdoutSinkConfig
from logllm.sources.forward.server import ForwardConfig
from tests.cli.guests import FUSSY, guest
from tests.doctor.certificates import certificate, dates
from tests.doctor.servers import GOOD, serving


def levels(findings: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in findings]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield f"127.0.0.1:{held.getsockname()[1]}"


def listening(forward: str, running: str | None = None) -> list[Finding]:
    config = Config(forward=ForwardConfig(listen=forward), http=HttpConfig(listen="127.0.0.1:0"))
    return list(examine_listening(config, running, "http://127.0.0.1:1"))


def test_a_configuration_that_is_wrong_is_named_with_its_place_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text("[forward]\nlisten = 7\n", encoding="utf-8")
    recipe = tmp_path / "fluent-bit.conf"
    recipe.write_text("[OUTPUT]\n  Name stdout\n", encoding="utf-8")
    options = Options(str(path), fluent_bit=(str(recipe),))

    config, found = configuration(options)

    assert config is None
    assert found.level == "fail"
    assert str(path) in found.about
    assert "$.forward.listen" in found.found
    assert [one.about for one in examine(config, options)] == [f"Fluent Bit's {recipe}"]


def test_an_address_that_is_free_is_ok_and_free_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"

    for _ in range(2):
        assert [one.level for one in listening(address)] == ["ok", "ok"]


def test_an_address_that_something_else_has_fails_and_one_that_a_logllm_has_does_not(taken: str) -> None:
    (other, _), (ours, _) = listening(taken), listening(taken, "0.1.0")

    assert (other.level, ours.level) == ("fail", "ok")
    assert "no logllm answers" in other.found
    assert taken.rpartition(":")[2] in other.advice
    assert "logllm 0.1.0 answers" in ours.found


@pytest.mark.parametrize("listen", ["24224", "127.0.0.1:70000", "192.0.2.1:24224", "no.such.host.invalid:24224"])
def test_an_address_that_cannot_be_this_machines_fails(listen: str) -> None:
    assert listening(listen)[0].level == "fail"


def test_a_listener_that_others_reach_is_warned_of_unless_it_asks_who_they_are_and_encrypts() -> None:
    def warned(forward: ForwardConfig, http: str = "127.0.0.1:0") -> list[str]:
        config = Config(forward=forward, http=HttpConfig(listen=http))
        return [one.found.partition(", ")[2] for one in examine_openness(config)]

    everywhere = "0.0.0.0:24224"
    assert len(warned(ForwardConfig(listen=everywhere))) == 2
    (clear,) = warned(ForwardConfig(listen=everywhere, shared_key_file="key"))
    assert clear.startswith("without TLS")
    (anybody,) = warned(ForwardConfig(listen=everywhere, tls_cert="cert", tls_key="key"))
    assert anybody.startswith("and nobody is asked")
    assert warned(ForwardConfig(listen=everywhere, tls_cert="c", tls_key="k", tls_client_ca="ca")) == []
    assert warned(ForwardConfig()) == []
    assert len(warned(ForwardConfig(), "[::]:24280")) == 1


def test_the_path_of_a_socket_must_be_free_and_its_folder_there(tmp_path: Path) -> None:
    file, stale = tmp_path / "file", tmp_path / "stale"
    file.touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))

    assert examine_unix_path(tmp_path / "new").level == "ok"
    assert examine_unix_path(stale).level == "ok"
    assert examine_unix_path(file).level == "fail"
    assert examine_unix_path(tmp_path / "no" / "folder").level == "fail"
    assert examine_unix_path(file / "below").level == "fail"
    assert examine_unix_path(tmp_path / ("x" * 120)).level == "fail"


def test_a_receiver_that_does_not_take_connections_fails(taken: str, tmp_path: Path) -> None:
    path = tmp_path / "receiver"
    with socket.socket(socket.AF_UNIX) as receiver:
        receiver.bind(str(path))
        receiver.listen()

        assert reaches("sink", taken).level == "ok"
        assert reaches("sink", f"unix:{path}").level == "ok"
    assert reaches("sink", f"unix:{path}").level == "fail"
    assert reaches("sink", "127.0.0.1:1").level == "fail"
    assert reaches("sink", "nowhere").level == "fail"


def test_each_sink_is_tried(taken: str, tmp_path: Path) -> None:
    sinks: list[SinkConfig] = [
        FileSinkConfig(str(tmp_path / "out.ndjson")),
        FileSinkConfig(str(tmp_path / "none" / "out.ndjson")),
        ForwardSinkConfig(taken),
        ForwardSinkConfig("127.0.0.1:1"),
        ForwardSinkConfig("nowhere"),
        StdoutSinkConfig(),
        ForwardSinkConfig("127.0.0.1:2", required=False),
    ]
    config = Config(http=HttpConfig(listen="127.0.0.1:0"), explain=ExplainConfig(model=""), sinks=sinks)

    found = [(one.level, one.about, one.found) for one in examine(config, Options()) if one.about.startswith("sink ")]

    assert [about.removeprefix("sink ") for level, about, _ in found if level == "fail"] == [
        sinks[1].label,
        sinks[4].label,
        f"{sinks[3].label}, 127.0.0.1:1",
        f"{sinks[4].label}, nowhere",
    ]
    assert ("ok", f"sink {sinks[2].label}, {taken}", "takes connections") in found
    assert [about for level, about, _ in found if level == "warn"] == [f"sink {sinks[6].label}, 127.0.0.1:2"]
    assert any(about == f"sink {sinks[0].label}, folder {tmp_path}" for _, about, _ in found)
    assert list(tmp_path.iterdir()) == []


def test_a_certificates_validity_is_what_openssl_says(tmp_path: Path) -> None:
    for days in ("10", "20000"):  # after 2049 a time is written in another form
        cert, _ = certificate(tmp_path, f"for-{days}", "-days", days)

        (der,) = certificates(cert.read_text(encoding="utf-8"))
        begin, end = valid_between(der)

        told = {key: datetime.strptime(text, "%b %d %H:%M:%S %Y GMT") for key, text in dates(cert).items()}
        assert begin.replace(tzinfo=None) == told["notBefore"]
        assert end.replace(tzinfo=None) == told["notAfter"]


def test_two_digits_of_a_year_are_of_the_century_that_the_standard_says(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "server")
    (der,) = certificates(cert.read_text(encoding="utf-8"))
    begin, end = valid_between(der)

    def year_for(digits: bytes) -> int:
        return valid_between(der.replace(f"{end:%y%m%d%H%M%S}Z".encode(), digits + f"{end:%m%d%H%M%S}Z".encode()))[
            1
        ].year

    assert begin < end
    assert (year_for(b"49"), year_for(b"50")) == (2049, 1950)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        valid_between(data)


def test_a_certificate_that_is_cut_short_or_changed_is_refused_or_read(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "server")
    (der,) = certificates(cert.read_text(encoding="utf-8"))

    for size in range(len(der)):
        with pytest.raises(ValueError):
            valid_between(der[:size])
    for at in range(min(len(der), 160)):
        try:
            valid_between(der[:at] + bytes([der[at] ^ 0xFF]) + der[at + 1 :])
        except ValueError:
            continue


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    new = tmp_path / "a" / "b"

    found = list(examine_folder("data_dir", new))

    assert {one.level for one in found} <= {"ok", "warn"}
    assert "can be made" in found[0].found
    assert list(tmp_path.iterdir()) == []
    found = list(examine_folder("data_dir", tmp_path))
    assert "can be made" not in found[0].found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_or_written_fails(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    for folder in (file, file / "below", Path("/proc/logllm"), Path("/proc/self/fd")):
        assert levels(examine_folder("data_dir", folder)) == ["fail"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = shutil.which("mount")
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=60)


def test_a_disk_that_is_nearly_full_fails_and_so_does_one_that_is(tiny: Path) -> None:
    nearly = list(examine_folder("data_dir", tiny))
    (tiny / "full").write_bytes(b"x" * shutil.disk_usage(tiny).free)
    full = list(examine_folder("data_dir", tiny))

    assert [one.level for one in nearly] == ["ok", "fail", "warn"]
    assert "free" in nearly[1].found
    assert "inodes" in nearly[2].found
    assert [one.level for one in full] == ["fail"]
    assert "No space left" in full[0].found
    assert [one.name for one in tiny.iterdir()] == ["full"]


def test_a_model_that_is_not_there_is_a_warning_by_default_and_a_failure_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLLM_MODELS", str(tmp_path))

    def level(config: ExplainConfig, *, offline: bool = False) -> str:
        return next(examine_model(config, EgressConfig(), offline=offline)).level

    assert level(ExplainConfig()) == "warn"
    assert level(ExplainConfig(model="no-such-model")) == "fail"
    assert level(ExplainConfig(model=str(tmp_path / "no.gguf"))) == "fail"
    assert level(ExplainConfig(model="")) == level(ExplainConfig(enabled=False)) == "ok"
    assert level(ExplainConfig(model="http://127.0.0.1:1/v1")) == "warn"
    assert level(ExplainConfig(model="http://127.0.0.1:1/v1"), offline=True) == "skipped"
    assert level(ExplainConfig(model="https://models.example.com/v1")) == "fail"
    with serving({}) as url:
        assert level(ExplainConfig(model=f"{url}/v1")) == "ok"


def test_a_runbook_that_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text("no front matter\n", encoding="utf-8")

    found = list(examine_model(ExplainConfig(model="", runbooks=[str(tmp_path)]), EgressConfig(), offline=True))

    assert [one.level for one in found] == ["ok", "fail"]
    assert "bad.md" in found[1].found


def test_a_plugin_that_does_not_load_fails_with_its_reason_and_the_others_are_tried(tmp_path: Path) -> None:
    bad, good = guest(tmp_path, "(module)", "bad"), guest(tmp_path, FUSSY, "good")

    found = list(examine_plugins(Config(plugins=[PluginConfig(path=str(path)) for path in (bad, good)])))

    assert [one.level for one in found] == ["fail", "ok"]
    assert "it is no plugin" in found[0].found
    assert "native" in found[1].found


def test_fewer_open_files_than_connections_are_warned_of() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        pytest.skip("this machine has no limit of open files")

    assert examine_limits(Config(forward=ForwardConfig(max_connections=1))).level == "ok"
    found = examine_limits(Config(forward=ForwardConfig(max_connections=most)))
    assert found.level == "warn"
    assert f"LimitNOFILE={most + 300}" in found.advice


def test_a_clock_that_stands_before_this_version_was_written_fails() -> None:
    assert examine_clock(0.0).level == "fail"
    assert examine_clock().level == "ok"


def test_state_and_databases_are_read_and_left_as_they_are(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "state.msgpack", Pipeline().state())
    IncidentStore(tmp_path / "logllm.db").close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    found = list(examine_state(tmp_path))

    assert [one.level for one in found] == ["ok", "ok", "ok"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_data_folder_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)

    first, *rest = examine_state(tmp_path)

    assert (first.level, first.advice) == ("warn", f"chmod 700 {tmp_path}")
    assert {one.level for one in rest} == {"ok"}


def test_a_database_that_is_in_use_can_be_looked_at(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path / "logllm.db")
    try:
        found = list(examine_state(tmp_path))
    finally:
        store.close()

    assert [one.level for one in found] == ["ok", "ok", "ok"]


def test_what_is_damaged_is_told_and_stays_where_it_is(tmp_path: Path) -> None:
    state, db, cache = (tmp_path / name for name in ("state.msgpack", "logllm.db", "explanations.db"))
    checkpoint.save(state, {**Pipeline().state(), "version": 99})
    store = sqlite3.connect(db)
    store.execute("CREATE TABLE t (x)")
    store.executemany("INSERT INTO t VALUES (?)", [("y" * 3_000,)] * 50)
    store.commit()
    store.close()
    body = bytearray(db.read_bytes())
    body[8_192:12_288] = b"\xff" * 4_096
    db.write_bytes(body)
    cache.write_text("not a database, and long enough to be looked at" * 20, encoding="utf-8")

    found = list(examine_state(tmp_path))

    assert [one.level for one in found] == ["warn", "fail", "fail"]
    assert "version 99" in found[0].found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explanations.db", "logllm.db", "state.msgpack"]


def test_a_database_whose_pages_do_not_fit_together_is_told_in_one_line(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "logllm.db")
    db.execute("CREATE TABLE t (x)")
    db.executemany("INSERT INTO t VALUES (?)", [("y" * 3_000,)] * 50)
    db.commit()
    db.close()
    body = bytearray((tmp_path / "logllm.db").read_bytes())
    body[8_200:8_240] = bytes(40)  # where the cells of the third page are
    (tmp_path / "logllm.db").write_bytes(body)

    (found,) = [one for one in examine_state(tmp_path) if one.level == "fail"]

    assert "page 3" in found.found
    assert "\n" not in found.found


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
def test_state_that_is_cut_short_is_warned_of(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state.msgpack"
    checkpoint.save(path, Pipeline().state())
    path.write_bytes(path.read_bytes()[:cut])

    assert next(examine_state(tmp_path)).level == "warn"


def test_all_together_a_running_service_makes_its_addresses_fine(tmp_path: Path, taken: str) -> None:
    with serving(GOOD) as url:
        config = Config(
            data_dir=str(tmp_path),
            forward=ForwardConfig(listen=taken, max_connections=1),
            http=HttpConfig(listen=url.removeprefix("http://")),
            explain=ExplainConfig(model=""),
        )

        found = list(examine(config, Options()))

    assert [one for one in found if one.level == "fail"] == []
    assert sum("logllm 0.1.0 answers" in one.found for one in found) == 3


def test_offline_nothing_is_bound_and_nobody_is_asked(taken: str) -> None:
    config = Config(forward=ForwardConfig(listen=taken), explain=ExplainConfig(model=""))

    found = list(examine(config, Options(offline=True)))

    assert [one for one in found if one.level == "fail"] == []
    assert not any("listen" in one.about or "service" in one.about for one in found)
