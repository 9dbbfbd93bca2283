"""Plugins packed and looked at: what is equal stays equal, what a stranger made cannot do harm."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError, PluginError, PluginLoadError
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.package import CONTENTS, label, pack, verify

GUEST = """(module
  (import "logllm" "now" (func (result i64)))
  (memory (export "memory") 1)
  (func (export "logllm_abi") (result i32) (i32.const 0x00010000))
  (func (export "logllm_buffer") (param i32) (result i32) (i32.const 0))
  (func (export "logllm_process") (param i32 i32 i32) (result i32) (i32.const 0)))"""
TOML = 'name = "clocked"\nversion = "1.2.3"\nlicense = "MIT"\nlanguage = "c"\n[run]\ngrants = ["log", "clock"]\n'


@pytest.fixture(scope="module")
def code() -> bytes:
    return bytes(wasmtime.wat2wasm(GUEST))


@pytest.fixture
def project(tmp_path: Path, code: bytes) -> Path:
    folder = tmp_path / "clocked"
    folder.mkdir()
    (folder / "plugin.toml").write_text(TOML, encoding="utf-8")
    (folder / "README.md").write_text("# clocked\n", encoding="utf-8")
    (folder / "LICENSE").write_text("MIT\n", encoding="utf-8")
    (folder / "secret.key").write_text("not to be packed\n", encoding="utf-8")
    (folder / "clocked.wasm").write_bytes(label(code, Manifest.load(folder))[0])
    return folder


def rezipped(
    content: bytes, change: Callable[[dict[str, bytes]], None], *, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A package with other files in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        files = {name: package.read(name) for name in package.namelist()}
    change(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as package:
        for name, data in files.items():
            package.writestr(name, data)
    return out.getvalue()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "package.zip"
    path.write_bytes(content)
    return path


def resigned(files: dict[str, bytes], **changed: Any) -> None:
    """A manifest that fits the files, as whoever makes the package can write one."""
    contents = json.loads(files.pop(CONTENTS)) | changed
    contents["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()
    }
    files[CONTENTS] = json.dumps(contents).encode()


def test_a_built_module_is_labelled_with_who_it_is_and_what_it_wants(code: bytes, tmp_path: Path) -> None:
    (tmp_path / "plugin.toml").write_text(TOML, encoding="utf-8")
    manifest = Manifest.load(tmp_path)

    labelled, abi, wants = label(code, manifest)
    again, _, _ = label(labelled, manifest)

    assert (abi, wants) == ("native", ["clock"])
    assert about(labelled).section == {
        "name": "clocked",
        "version": "1.2.3",
        "license": "MIT",
        "abi": "native",
        "wants": ["clock"],
    }
    assert again == labelled


def test_a_package_holds_the_plugin_its_papers_and_nothing_else(project: Path, tmp_path: Path) -> None:
    content = pack(project)
    packed = verify(written(tmp_path, content))

    assert (packed.name, packed.version, packed.license, packed.abi) == ("clocked", "1.2.3", "MIT", "native")
    assert packed.wants == ["clock"]
    assert sorted(packed.files) == ["LICENSE", "README.md", "clocked.wasm", "plugin.toml"]
    for name, file in packed.files.items():
        data = (project / name).read_bytes()
        assert (file.sha256, file.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_equal_projects_give_equal_packages_whenever_and_wherever(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "clocked"
    other.mkdir(parents=True)
    for path in sorted(project.iterdir(), reverse=True):
        (other / path.name).write_bytes(path.read_bytes())
        (other / path.name).chmod(0o600)

    assert pack(project) == pack(other)


def test_a_project_that_is_not_built_or_no_project_cannot_be_packed(project: Path, tmp_path: Path) -> None:
    (project / "clocked.wasm").unlink()

    with pytest.raises(PluginError, match="not built; expected `logllm plugin build` before `pack`"):
        pack(project)
    with pytest.raises(ConfigError, match=r"no plugin\.toml"):
        pack(tmp_path)


def test_a_module_that_is_no_plugin_cannot_be_packed(project: Path) -> None:
    (project / "clocked.wasm").write_bytes(bytes(wasmtime.wat2wasm("(module)")))

    with pytest.raises(PluginLoadError, match="it is no plugin"):
        pack(project)


def test_the_same_files_compressed_are_still_a_package(project: Path, tmp_path: Path) -> None:
    content = rezipped(pack(project), lambda files: None, compression=zipfile.ZIP_DEFLATED)

    assert verify(written(tmp_path, content)).name == "clocked"


def _extra(files: dict[str, bytes]) -> None:
    files["run.sh"] = b"rm -rf /"


def _fewer(files: dict[str, bytes]) -> None:
    del files["LICENSE"]


def _other(files: dict[str, bytes]) -> None:
    files["README.md"] = b"# clacked\n"


def _longer(files: dict[str, bytes]) -> None:
    files["README.md"] += b"\0" * 100_000


def _no_manifest(files: dict[str, bytes]) -> None:
    del files[CONTENTS]


def _broken_manifest(files: dict[str, bytes]) -> None:
    files[CONTENTS] = files[CONTENTS][:-20]


def _unknown_field(files: dict[str, bytes]) -> None:
    files[CONTENTS] = files[CONTENTS].replace(b'"abi"', b'"post_install": "x", "abi"')


def _names_itself(files: dict[str, bytes]) -> None:
    contents = json.loads(files[CONTENTS])
    contents["files"][CONTENTS] = contents["files"]["LICENSE"]
    files[CONTENTS] = json.dumps(contents).encode()


def _twice_in_another_case(files: dict[str, bytes]) -> None:
    files["readme.md"] = files["README.md"]


def _no_plugin(files: dict[str, bytes]) -> None:
    files["clocked.wasm"] = bytes(wasmtime.wat2wasm("(module)"))
    resigned(files)


def _invalid_module(files: dict[str, bytes]) -> None:
    files["clocked.wasm"] = files["clocked.wasm"].replace(b"logllm_buffer", b"logllm_muffer")
    resigned(files)


def _other_name(files: dict[str, bytes]) -> None:
    resigned(files, name="redact")


def _other_version(files: dict[str, bytes]) -> None:
    resigned(files, version="9.9.9")


def _hidden_grant(files: dict[str, bytes]) -> None:
    resigned(files, wants=[])


def _other_label(files: dict[str, bytes]) -> None:
    files["plugin.toml"] = files["plugin.toml"].replace(b'"MIT"', b'"GPL-3.0-only"')
    resigned(files, license="GPL-3.0-only")


def _no_toml(files: dict[str, bytes]) -> None:
    del files["plugin.toml"]
    resigned(files)


def _wrong_toml(files: dict[str, bytes]) -> None:
    files["plugin.toml"] = b"name = 3"
    resigned(files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_extra, "run.sh: there, but not in manifest.json"),
        (_fewer, "'LICENSE': in manifest.json, but not there"),
        (_other, "README.md: 10 bytes with sha256 .*; expected 10, "),
        (_longer, "README.md: larger than 10 bytes"),
        (_no_manifest, "no manifest.json"),
        (_broken_manifest, "manifest.json: "),
        (_unknown_field, "unknown field `post_install`"),
        (_names_itself, "manifest.json: names itself"),
        (_twice_in_another_case, "there twice"),
        (_no_plugin, "clocked.wasm: it is no plugin"),
        (_invalid_module, "clocked.wasm: it exports no function logllm_buffer"),
        (_other_name, "no redact.wasm; expected it in a package of redact"),
        (_other_version, "says version is '9.9.9'; its files say '1.2.3'"),
        (_hidden_grant, "says wants is \\[\\]; its files say \\['clock'\\]"),
        (_other_label, "says license is 'GPL-3.0-only'; its files say 'MIT'"),
        (_no_toml, "no plugin.toml"),
        (_wrong_toml, "plugin.toml: Expected `str`, got `int`"),
    ],
)
def test_what_does_not_agree_is_named(
    project: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], words: str
) -> None:
    path = written(tmp_path, rezipped(pack(project), change))

    with pytest.raises(PluginLoadError, match=words) as caught:
        verify(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "..", "folder/", "C:\\x", ".hidden", "a\nb", "ä"])
def test_a_name_that_is_a_path_is_refused(project: Path, tmp_path: Path, name: str) -> None:
    def add(files: dict[str, bytes]) -> None:
        files[name] = b""
        resigned(files)

    with pytest.raises(PluginLoadError, match="a path; expected the plain name of a file"):
        verify(written(tmp_path, rezipped(pack(project), add)))


def test_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    out = io.BytesIO(pack(project))
    with zipfile.ZipFile(out, "a") as package:
        link = zipfile.ZipInfo("README.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        package.writestr(link, "/etc/passwd")

    with pytest.raises(PluginLoadError, match=r"'README\.txt': a link or a device"):
        verify(written(tmp_path, out.getvalue()))


def test_a_bomb_is_not_inflated(project: Path, tmp_path: Path) -> None:
    def bomb(files: dict[str, bytes]) -> None:
        files[CONTENTS] = b" " * (50 << 20)

    content = rezipped(pack(project), bomb, compression=zipfile.ZIP_DEFLATED)

    assert len(content) < 200_000
    with pytest.raises(PluginLoadError, match=r"manifest\.json: larger than 1048576 bytes"):
        verify(written(tmp_path, content))


def test_a_zip_of_many_files_or_of_other_kinds_is_refused(project: Path, tmp_path: Path) -> None:
    def many(files: dict[str, bytes]) -> None:
        files.update({f"f{n}": b"" for n in range(20)})

    def thousands(files: dict[str, bytes]) -> None:
        files.update({f"f{n}": b"" for n in range(1_000)})

    for change, compression, words in (
        (many, zipfile.ZIP_STORED, "25 files; expected at most 16"),
        (thousands, zipfile.ZIP_STORED, "no package"),
        (lambda files: None, zipfile.ZIP_BZIP2, "compressed in a way"),
    ):
        path = written(tmp_path, rezipped(pack(project), change, compression=compression))
        with pytest.raises(PluginLoadError, match=words):
            verify(path)


def test_a_program_with_a_package_behind_it_is_refused(project: Path, tmp_path: Path) -> None:
    path = written(tmp_path, b"#!/bin/sh\nrm -r data\n" + pack(project))

    with pytest.raises(PluginLoadError, match="it does not begin as a zip"):
        verify(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match="cannot read"):
        verify(tmp_path / "missing.zip")
    with pytest.raises(PluginLoadError, match="cannot read"):
        verify(tmp_path)
    with pytest.raises(PluginLoadError, match="too short"):
        verify(written(tmp_path, b""))


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_package_is_refused_or_says_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged" / "clocked"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "plugin.toml").write_text(TOML, encoding="utf-8")
        raw = bytes(wasmtime.wat2wasm(GUEST))
        (folder / "clocked.wasm").write_bytes(label(raw, Manifest.load(folder))[0])
    content = bytearray(pack(folder))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(content) // 2, len(content)))

    try:
        packed = verify(written(folder.parent, bytes(content[:cut])))
    except PluginLoadError:
        return

    assert packed.files["clocked.wasm"].sha256 == hashlib.sha256((folder / "clocked.wasm").read_bytes()).hexdigest()
