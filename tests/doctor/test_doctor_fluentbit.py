"""What doctor says of configurations of Fluent Bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.doctor.finding import Finding
from logllm.doctor.fluentbit import examine_fluent_bit
from logllm.doctor.fluentbit_file import FluentBitConfig, classic, read
from logllm.errors import ConfigError

GOOD = """\
service:
  storage.path: /var/lib/fluent-bit
pipeline:
  inputs:
    - name: tail
      path: /var/log/*.log
      db: /var/lib/fluent-bit/tail.db
      storage.type: filesystem
  outputs:
    - name: forward
      match: '*'
      require_ack_response: on
      retry_limit: no_limits
      net.io_timeout: 30s
"""


def examined(folder: Path, text: str, name: str = "fluent-bit.yaml") -> list[Finding]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return list(examine_fluent_bit(path))


def troubles(folder: Path, text: str, name: str = "fluent-bit.yaml") -> list[tuple[str, str]]:
    return [(one.level, one.found) for one in examined(folder, text, name) if one.level not in ("ok", "skipped")]


def test_a_configuration_that_loses_nothing_is_ok(tmp_path: Path) -> None:
    assert [one.level for one in examined(tmp_path, GOOD)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("line", "instead", "level", "told"),
    [
        ("      require_ack_response: on\n", "", "fail", "require_ack_response is off"),
        ("require_ack_response: on", "require_ack_response: false", "fail", "require_ack_response is off"),
        ("      retry_limit: no_limits\n", "", "fail", "drops a chunk after one retry"),
        ("no_limits", "no_retries", "fail", "a chunk that fails once is dropped"),
        ("no_limits", "5", "warn", "retry_limit 5"),
        ("      net.io_timeout: 30s\n", "", "warn", "waits for ever"),
        ("30s", "0s", "warn", "waits for ever"),
        ("match: '*'", "alias: logllm", "fail", "it is given nothing"),
        ("match: '*'", "match: '*'\n      host: 10.0.0.7", "warn", "tls is off: records go to 10.0.0.7 in clear"),
        ("match: '*'", "match: '*'\n      tls: on\n      tls.verify: off", "warn", "tls.verify is off"),
        ("match: '*'", "match: '*'\n      tls: on", "warn", "tls.verify_hostname is off"),
        ("match: '*'", "match: '*'\n      unix_path: /s\n      shared_key: k", "fail", "segmentation fault"),
        ("match: '*'", "match: '*'\n      compress: zstd", "fail", "refuses it at the start"),
        ("match: '*'", "match: '*'\n      compress: gzip\n      time_as_integer: on", "fail", "does not go with"),
        ("match: '*'", "match: '*'\n      time_as_integer: true", "warn", "whole seconds"),
        ("match: '*'", "match: '*'\n      retain_metadata_in_forward_mode: off", "warn", "metadata"),
        ("match: '*'", "match: '*'\n      storage.total_limit_size: 5G", "warn", "the oldest chunk is dropped"),
        ("match: '*'", "match: '*'\n      require_ack_respons: on", "fail", "is no setting of a forward output"),
        ("      storage.type: filesystem\n", "", "warn", "in memory alone: tail (input 1)"),
        ("      db: /var/lib/fluent-bit/tail.db\n", "", "warn", "tail (input 1) has no db"),
        ("service:\n  storage.path: /var/lib/fluent-bit\n", "", "fail", "Fluent Bit does not start"),
    ],
)
def test_what_loses_records_is_told(line: str, instead: str, level: str, told: str, tmp_path: Path) -> None:
    assert line in GOOD

    ((found_level, found),) = troubles(tmp_path, GOOD.replace(line, instead))

    assert found_level == level
    assert told in found


@pytest.mark.parametrize(
    "more",
    [
        "host: localhost",
        "host: '::1'",
        "unix_path: /run/logllm.sock",
        "compress: gzip",
        "upstream: /etc/fluent-bit/upstream.conf\n      host: 10.0.0.7",
        "processors:\n        logs:\n          - name: content_modifier\n            action: insert",
        "tls: on\n      tls.verify_hostname: on\n      host: logs.example.com",
        "retain_metadata_in_forward_mode: ${RETAIN}",
    ],
)
def test_what_loses_nothing_is_let_pass(more: str, tmp_path: Path) -> None:
    assert troubles(tmp_path, GOOD.replace("match: '*'", f"match: '*'\n      {more}")) == []


def test_nothing_is_said_of_what_a_variable_will_hold(tmp_path: Path) -> None:
    text = GOOD.replace("ack_response: on", "ack_response: ${A}").replace("no_limits", "${B}").replace("30s", "${C}")
    more = "match: ${D}\n      compress: ${E}\n      time_as_integer: ${F}\n      tls: ${G}\n      tls.verify: ${H}"

    assert troubles(tmp_path, text.replace("match: '*'", f"{more}\n      tls.verify_hostname: ${{I}}")) == []


def test_fluent_bits_defaults_are_told_in_both_formats_alike(tmp_path: Path) -> None:
    as_yaml = "pipeline:\n  inputs:\n    - name: cpu\n  outputs:\n    - name: forward\n      match: '*'\n"
    as_classic = "[INPUT]\n    Name cpu\n[OUTPUT]\n    Name forward\n    Match *\n"

    first, second = troubles(tmp_path, as_yaml), troubles(tmp_path, as_classic, "fluent-bit.conf")

    assert first == second
    assert [level for level, _ in first] == ["fail", "fail", "warn"]
    assert "in memory" in first[2][1]


def test_storage_nested_or_inherited_is_the_same_as_spelled_out(tmp_path: Path) -> None:
    nested = GOOD.replace("  storage.path: /var/lib/fluent-bit\n", "  storage:\n    path: /var/lib/fluent-bit\n")
    inherited = GOOD.replace("      storage.type: filesystem\n", "").replace(
        "service:\n", "service:\n  storage.type: filesystem\n  storage.inherit: on\n"
    )

    assert troubles(tmp_path, nested) == troubles(tmp_path, inherited) == []


def test_each_of_several_outputs_is_looked_at_and_named(tmp_path: Path) -> None:
    text = (
        GOOD + "    - name: forward\n      match: app.*\n      host: 127.0.0.2\n      port: 24230\n    - name: stdout\n"
    )

    found = examined(tmp_path, text)

    assert {one.level for one in found if "(127.0.0.1:24224)" in one.about} == {"ok"}
    assert {one.level for one in found if "forward output 2 (127.0.0.2:24230)" in one.about} == {"fail"}


def test_what_is_included_is_named_as_not_looked_at(tmp_path: Path) -> None:
    (included, none) = examined(tmp_path, "@INCLUDE outputs.conf\n@SET A=b\n[INPUT]\n  Name cpu\n", "a.conf")

    assert (included.level, none.level) == ("skipped", "skipped")
    assert "outputs.conf" in included.found
    assert "no forward output" in none.found
    assert "outputs.yaml" in examined(tmp_path, "includes:\n  - outputs.yaml\n")[0].found


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "pipeline: [", "not YAML"),
        ("a.yaml", "- a\n- b\n", "expected a mapping"),
        ("a.yaml", "pipeline: 7\n", "`pipeline`"),
        ("a.yaml", "pipeline:\n  outputs: 7\n", "`pipeline.outputs`"),
        ("a.yaml", "pipeline:\n  outputs:\n    - 7\n", "`pipeline.outputs[0]`"),
        ("a.yaml", "a: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("a.yaml", "[" * 5_000, "not YAML"),
        ("a.conf", "[OUTPUT]\n    Name\n", "line 2"),
        ("a.conf", "Name forward\n", "line 1"),
    ],
)
def test_a_file_that_is_no_configuration_fails_with_its_place(name: str, text: str, told: str, tmp_path: Path) -> None:
    (found,) = examined(tmp_path, text, name)

    assert found.level == "fail"
    assert told in found.found


def test_a_file_that_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "bytes.conf").write_bytes(b"[OUTPUT]\n\xff")
    (tmp_path / "large.conf").write_bytes(b"#" * (5 << 20))

    for name in ("none.yaml", "bytes.conf", "large.conf", ""):
        assert [one.level for one in examine_fluent_bit(tmp_path / name)] == ["fail"]


def test_a_value_that_holds_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("pipeline:\n  inputs:\n    - &a\n      name: tail\n      again: *a\n", encoding="utf-8")

    (config,) = read(path)

    assert config.inputs[0]["name"] == ["tail"]


def test_without_pyyaml_yaml_is_skipped_and_the_classic_format_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `import` takes for a module that is not installed.
    monkeypatch.setitem(sys.modules, "yaml", None)

    (found,) = examined(tmp_path, GOOD)
    assert found.level == "skipped"
    assert "pip install pyyaml" in found.found
    assert len(troubles(tmp_path, "[OUTPUT]\n  Name forward\n  Match *\n", "a.conf")) == 3


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_is_read_as_the_classic_format_or_refused(text: str) -> None:
    try:
        config = classic(text)
    except ConfigError:
        return
    assert isinstance(config, FluentBitConfig)
