from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.filters.config import PluginConfig
from logllm.filters.manifest import Manifest, parse_toml, read_toml

LEAST = 'name = "a-filter"\nversion = "1.0.0"\nlicense = "MIT"\nlanguage = "c"\n'


def project(folder: Path, text: str) -> Path:
    (folder / "plugin.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_least_there_must_be_is_enough(tmp_path: Path) -> None:
    manifest = Manifest.load(project(tmp_path, LEAST))

    assert (manifest.name, manifest.version, manifest.license, manifest.language) == ("a-filter", "1.0.0", "MIT", "c")
    assert manifest.wasm(tmp_path) == tmp_path / "a-filter.wasm"
    assert manifest.plugin(tmp_path / "x.wasm") == PluginConfig(path=str(tmp_path / "x.wasm"), name="a-filter")


def test_what_the_author_wants_to_run_it_with_becomes_its_configuration(tmp_path: Path) -> None:
    run = (
        '[run]\nfunction = "f"\nevent_format = "msgpack"\nreuse_buffer = false\ngrants = ["log", "kv"]\n'
        "[run.config]\nrate = 0.5\n"
    )

    plugin = Manifest.load(project(tmp_path, LEAST + run)).plugin(Path("x.wasm"))

    assert (plugin.function, plugin.event_format, plugin.reuse_buffer) == ("f", "msgpack", False)
    assert (plugin.grants, plugin.config) == (["log", "kv"], {"rate": 0.5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"plugin\.toml: Object missing required field `name`"),
        (LEAST.replace("a-filter", "../x"), r"matching regex .* at `\$\.name`"),
        (LEAST.replace("a-filter", "a-filter\\n"), r"matching regex .* at `\$\.name`"),
        (LEAST.replace("a-filter", "A"), r"at `\$\.name`"),
        (LEAST.replace("1.0.0", "1.0"), r"at `\$\.version`"),
        (LEAST.replace('"MIT"', '""'), r"length >= 1 .* `\$\.license`"),
        (LEAST.replace('"MIT"', '"MIT\\u001b[2J"'), r"matching regex .* at `\$\.license`"),
        (LEAST + 'description = "\\u202e"\n', r"matching regex .* at `\$\.description`"),
        (LEAST + "extra = 1\n", r"unknown field `extra`"),
        (LEAST + '[run]\ngrants = ["network"]\n', r"Invalid enum value 'network' - at `\$\.run\.grants\[0\]`"),
        (LEAST + "[run]\nevent_format = 1\n", r"Expected `str`, got `int` - at `\$\.run\.event_format`"),
        ("name = ", "plugin.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file_the_place_and_what_was_expected(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Manifest.load(project(tmp_path, text))

    assert str(caught.value).startswith(str(tmp_path / "plugin.toml"))
    assert "\n" not in str(caught.value)


def test_a_folder_without_one_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no plugin\.toml in this folder; expected the folder of a plugin project"):
        Manifest.load(tmp_path)


def test_a_file_that_is_no_text_or_far_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"

    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 8"):
        read_toml(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_toml(path)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: (LEAST + text).encode())))
def test_any_bytes_are_a_manifest_or_a_config_error(text: bytes) -> None:
    try:
        found: dict[str, Any] = parse_toml(text, "x")
        manifest = Manifest.parse(found, "x")
    except ConfigError:
        return

    assert manifest.name == found["name"]
