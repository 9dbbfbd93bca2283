"""The configuration file: every mistake is one line that names the file and the key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.config import Config, HttpConfig
from logllm.egress import EgressConfig
from logllm.errors import ConfigError
from logllm.filters.config import PluginConfig
from logllm.notify.routing.routes import Routing
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.loki import LokiSinkConfig
from logllm.sinks.otlp.sink import OtlpSinkConfig
from logllm.sinks.stdout import StdoutSinkConfig


def _load(folder: Path, text: str | bytes) -> Config:
    path = folder / "logllm.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Config.load(path)


def _structs(
    struct: type[msgspec.Struct], place: str = "$", above: tuple[type[msgspec.Struct], ...] = ()
) -> list[tuple[str, type[msgspec.Struct]]]:
    found = [(place, struct)]
    for field in msgspec.structs.fields(struct):
        for kind in (field.type, *get_args(field.type)):
            # Routes are within routes.
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in (struct, *above):
                found += _structs(kind, f"{place}.{field.encode_name}", (*above, struct))
    return found


STRUCTS = _structs(Config)
SECTIONS = [place.removeprefix("$.") for place, _ in STRUCTS[1:]]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "") == Config()
    assert _load(tmp_path, "# nothing\n") == Config()


def test_what_is_set_is_set_and_the_rest_stays(tmp_path: Path) -> None:
    config = _load(
        tmp_path, 'data_dir = "/var/lib/logllm"\n[detect]\nalerts_per_day = 12\n[http]\nlisten = "[::1]:9"\n'
    )

    assert config.data_dir == "/var/lib/logllm"
    assert config.detect.alerts_per_day == 12.0
    assert config.http == HttpConfig("[::1]:9")
    assert config.forward == Config().forward


@pytest.mark.parametrize(
    "text",
    [
        "[delivery]\ndedup_s = inf\n",
        "[delivery]\ngrace_s = nan\n",
        "[delivery]\nmax_in_flight_bytes = 0\n",
        "[delivery]\ndedup_chunks = -1\n",
        '[[sinks]]\ntype = "file"\npath = "x.ndjson"\nrotate_s = inf\n',
    ],
)
def test_numbers_that_would_stop_a_running_service_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"Expected `(int|float)` [<>]= "):
        _load(tmp_path, text)


def test_the_defaults_listen_on_loopback_only() -> None:
    assert Config().http.listen.startswith("127.0.0.1:")
    assert Config().forward.listen.startswith("127.0.0.1:")


@pytest.mark.parametrize(("place", "struct"), STRUCTS)
def test_every_part_refuses_keys_it_does_not_know(place: str, struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields, place
    assert struct.__struct_config__.frozen, place


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_an_unknown_key_is_named_with_its_file_and_place(tmp_path: Path, section: str) -> None:
    text = {
        "": "alert_per_day = 5\n",
        "plugins": "[[plugins]]\npath = 'a.wasm'\nalert_per_day = 5\n",
        "plugins.limits": "[[plugins]]\npath = 'a.wasm'\nlimits = { alert_per_day = 5 }\n",
        "notify.escalate": "[[notify.escalate]]\nafter_s = 9.0\nto = ['a']\nalert_per_day = 5\n",
        "notify.routes": "[[notify.routes]]\nalert_per_day = 5\n",
        "notify.routes.escalate": "[[notify.routes]]\nescalate = [{ after_s = 9.0, to = ['a'], alert_per_day = 5 }]\n",
        "notify.inhibit": "[[notify.inhibit]]\nsource = ['a']\ntarget = ['b']\nalert_per_day = 5\n",
        "llm.profiles": "[llm.profiles.mine]\nalert_per_day = 5\n",
        "plugins.tenants": "[[plugins]]\npath = 'a.wasm'\n[plugins.tenants.acme]\nalert_per_day = 5\n",
    }.get(section, f"[{section}]\nalert_per_day = 5\n")

    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)

    message = str(error.value)
    assert message.startswith(str(tmp_path / "logllm.toml"))
    assert "alert_per_day" in message
    assert all(part in message for part in section.split("."))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[detect]\nalerts_per_day = "many"', "$.detect.alerts_per_day"),
        ("[detect]\nalerts_per_day = 0", "$.detect.alerts_per_day"),
        ("[detect]\nalerts_per_day = -3.5", "$.detect.alerts_per_day"),
        ("[detect]\nalerts_per_day = nan", "$.detect.alerts_per_day"),
        ("[detect]\nalerts_per_day = inf", "$.detect.alerts_per_day"),
        ("[detect]\nalerts_per_day = 1979-05-27", "$.detect.alerts_per_day"),
        ("data_dir = 7", "$.data_dir"),
        ("detect = 5", "$.detect"),
        ("http = []", "$.http"),
        ("[forward]\nmax_connections = 'x'", "$.forward.max_connections"),
        ("[[forward]]\nlisten = 'x'", "$.forward"),
        ("[[plugins]]\nname = 'x'", "$.plugins[0]"),
        ("[[plugins]]\npath = 'x'\ngrants = ['net']", "$.plugins[0].grants[0]"),
        ("[[plugins]]\npath = 'x'\non_error = 'ignore'", "$.plugins[0].on_error"),
        ("[[plugins]]\npath = 'x'\ntenant = 'record:x'", "$.plugins[0].tenant"),
        ("[[plugins]]\npath = 'x'\nlimits = { memory_bytes = 1 }", "$.plugins[0].limits.memory_bytes"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)

    message = str(error.value)
    assert message.startswith(str(tmp_path / "logllm.toml"))
    assert named in message
    assert "xpected" in message or "missing" in message or "Invalid" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("grants = ['net']", "log clock random kv metric anomaly ask"),
        ("on_error = 'ignore'", "keep, drop or stop"),
        ("tenant = 'record:x'", '"peer" or "tag:N"'),
        ("sha256 = 'abc'", "64 hexadecimal digits"),
    ],
)
def test_a_choice_that_is_none_is_answered_with_those_there_are(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, f"[[plugins]]\npath = 'x'\n{line}\n")

    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plugin_beside_the_file_is_found_wherever_logllm_is_started(tmp_path: Path) -> None:
    (tmp_path / "mine.wasm").write_bytes(b"")

    config = _load(tmp_path, "[[plugins]]\npath = 'mine.wasm'\n[[plugins]]\npath = 'redact'\nmatch = 'kube.*'\n")

    assert [plugin.path for plugin in config.plugins] == [str(tmp_path / "mine.wasm"), "redact"]
    assert config.plugins[1].match == "kube.*"


@pytest.mark.parametrize("text", ["data_dir =", "[detect", "a = 1\na = 2", "x = " + "[" * 20_000])
def test_what_is_not_toml_is_one_line_with_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"logllm\.toml: not TOML: ") as error:
        _load(tmp_path, text)

    assert "\n" not in str(error.value)


def test_what_is_not_text_is_named_with_the_byte(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logllm\.toml: not UTF-8 text at byte 4"):
        _load(tmp_path, b"# a \xff")


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot read") as error:
            Config.load(path)

        assert str(path) in str(error.value)
        assert error.value.exit_code == 2


def test_a_path_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="not a path"):
        Config.load("a\0b")


_TOML: Any = st.dictionaries(
    st.sampled_from(["data_dir", "detect", "http", "forward", "explain", "x"]),
    st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.just({}), st.just({"listen": 1}), st.just([])),
    max_size=3,
)


@given(_TOML)
@settings(max_examples=60, deadline=None)
def test_any_table_is_a_configuration_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("config") / "logllm.toml"
    path.write_bytes(_toml(table))

    said = ""
    try:
        Config.load(path)
    except ConfigError as error:
        said = str(error)

    assert said == "" or said.startswith(f"{path}: ")


def _toml(table: dict[str, Any]) -> bytes:
    lines = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(f"{key} = {{ {', '.join(f'{name} = {each}' for name, each in value.items())} }}")
        else:
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines).encode()


def test_the_sample_configuration_says_every_default() -> None:
    path = Path(__file__).parents[1] / "samples" / "logllm.toml"

    assert Config.load(path) == Config()
    text = path.read_text()
    said = tomllib.loads(text)
    for name in ("forward", "http", "detect", "explain", "delivery", "reduce", "notify", "actions", "egress"):
        defaults = msgspec.structs.asdict(getattr(Config(), name))
        assert set(said[name]) == {key for key, value in defaults.items() if value is not None}
        # TOML has no word for nothing.
        assert [key for key, value in defaults.items() if value is None and f"\n# {key} = " not in text] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:apprise")
def test_the_sample_configurations_destinations_and_routes_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[1] / "samples" / "logllm.toml").read_text()
    commented = text[text.index("\n# [[notify.destinations]]") : text.index("\n\n# A filter")]
    shown = "\n".join(line.removeprefix("#").removeprefix(" ") for line in commented.splitlines())
    for name, secret in (("pagerduty.key", "k" * 32), ("apprise.urls", "json://127.0.0.1/x")):
        (tmp_path / name).write_text(secret)
        shown = shown.replace(f"/etc/logllm/{name}", str(tmp_path / name))
    monkeypatch.setenv("LOGLLM_SLACK_WEBHOOK", "http://127.0.0.1:9/services/T0/B0/x")

    config = _load(tmp_path, shown)

    with pytest.raises(ConfigError, match=r'expected it in the configuration: \[egress\] allow = \["events\.pagerduty'):
        config.notify.check(config.egress)
    config.notify.check(EgressConfig(allow=["events.pagerduty.com"]))
    names = [each.name for each in config.notify.destinations]
    assert names == ["slack", "ours", "alertmanager", "pagerduty", "mail"]
    assert Routing.load(config.notify, names).owner("payments") == ""


def test_the_sample_configurations_sinks_say_every_default_too(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "samples" / "logllm.toml").read_text()
    commented = text[text.index("# [[sinks]]") : text.index("\n\n# Who is told")]
    shown = "\n".join(line.removeprefix("#").removeprefix(" ") for line in commented.splitlines())

    sinks = _load(tmp_path, shown).sinks

    assert sinks == [
        FileSinkConfig("/var/log/logllm/records.ndjson"),
        ForwardSinkConfig("10.0.0.7:24224"),
        LokiSinkConfig("http://10.0.0.8:3100"),
        OtlpSinkConfig("http://10.0.0.9:4318"),
        StdoutSinkConfig(),
    ]
    for sink, keys in zip(sinks, tomllib.loads(shown)["sinks"], strict=True):
        assert set(keys) == {"type", *msgspec.structs.asdict(sink)}


def test_the_sample_configurations_plugin_says_every_default_too(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "samples" / "logllm.toml").read_text()
    commented = text[text.index("# [[plugins]]") :]
    shown = "\n".join(line.removeprefix("# ") for line in commented.splitlines())

    (plugin,) = _load(tmp_path, shown).plugins

    assert plugin == PluginConfig(path="redact")
    (said,) = tomllib.loads(shown)["plugins"]
    assert set(said) == set(msgspec.structs.asdict(plugin)) - {"tenants"}
    assert set(said["limits"]) == set(msgspec.structs.asdict(plugin.limits))
