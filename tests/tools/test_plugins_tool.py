"""tools/plugins.py: what `make plugins` runs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from logllm.cli.plugin_new import create
from logllm.filters.sections import plugin_section
from tests.cli.guests import wat_sdk
from tests.test_repository import ROOT, tool

BUILD = (
    'hint = "pip install it"\n[[try]]\nprobe = [["{python}", "-c", "import wasmtime"]]\n'
    'run = [["{python}", "{sdk}/compile.py", "{dir}/src/filter.wat", "{out}"]]\nenv = { MARK = "{name}" }\n'
)


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder of two plugins and one whose toolchain is not there."""
    sdk = wat_sdk(tmp_path)
    root = tmp_path / "plugins"
    (root / "sdk" / "c").mkdir(parents=True)
    for name in ("one", "two", "absent"):
        (create(name, sdk, root) / "build.toml").write_text(BUILD)
    (root / "absent" / "build.toml").write_text(BUILD.replace('"{python}", "-c"', '"no-such-tool"'))
    return root


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    return tool("plugins")


def test_every_plugin_is_built_and_one_without_its_toolchain_is_skipped_and_says_why(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tools.main([], plugins)

    told = capsys.readouterr().out.splitlines()
    assert failed == 0
    assert told[0] == "absent: skipped: no toolchain for wat; get one with: pip install it"
    assert [line.split(", ")[1] for line in told[1:]] == ["fluentbit", "fluentbit"]
    assert (plugins / "one" / "one.wasm").is_file()
    assert not (plugins / "absent" / "absent.wasm").exists()


def test_check_compares_bit_for_bit_and_changes_nothing(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools.main(["one", "two"], plugins)
    other = (plugins / "two" / "two.wasm").read_bytes().replace(b"0.1.0", b"0.1.1")
    (plugins / "two" / "two.wasm").write_bytes(other)
    capsys.readouterr()

    failed = tools.main(["--check"], plugins)

    told = capsys.readouterr().out.splitlines()
    assert failed == 1
    assert told[0] == "absent: skipped: no absent.wasm is committed to compare with"
    assert told[1].startswith("one: same, ")
    assert told[2].startswith("two: FAILED: differs from the committed file: ")
    assert (plugins / "two" / "two.wasm").read_bytes() == other
    assert not (plugins / "absent" / "absent.wasm").exists()


def test_check_is_only_asked_of_the_compiler_that_the_committed_file_names(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        versioned = f"{BUILD}version = ['{{python}}', '-c', 'print(\"wat 1.0\\nand more\")']\n"
        (plugins / name / "build.toml").write_text(versioned)
    tools.main(["one", "two"], plugins)
    section = plugin_section((plugins / "one" / "one.wasm").read_bytes())
    (plugins / "two" / "build.toml").write_text(versioned.replace("wat 1.0", "wat 2.0"))
    capsys.readouterr()

    failed = tools.main(["--check", "one", "two"], plugins)

    told = capsys.readouterr().out.splitlines()
    assert failed == 0
    assert section is not None
    assert section["built_with"] == "wat 1.0"
    assert told[0].startswith("one: same, ")
    assert told[1] == "two: skipped: built with wat 1.0; here is wat 2.0"


def test_check_does_not_compare_what_is_never_the_same_twice(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugins / "one" / "build.toml").write_text(f"reproducible = false\n{BUILD}")
    tools.main(["one"], plugins)
    capsys.readouterr()

    assert tools.main(["--check", "one"], plugins) == 0
    assert capsys.readouterr().out == "one: skipped: what wat's toolchain builds is never the same twice\n"


def test_one_that_fails_does_not_keep_the_others_from_being_built(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugins / "one" / "src" / "filter.wat").write_text("(module")
    (plugins / "absent" / "plugin.toml").write_text("name = 1")

    failed = tools.main([], plugins)

    captured = capsys.readouterr()
    assert failed == 2
    assert "absent: FAILED: " in captured.out
    assert "one: FAILED: one: python" in captured.out
    assert "filter.wat: " in captured.err
    assert (plugins / "two" / "two.wasm").is_file()


def test_a_name_that_is_no_plugin_is_a_failure(
    tools: ModuleType, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tools.main(["three"], plugins) == 1
    assert capsys.readouterr().out == "three: no such plugin in plugins/\n"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "plugins").glob("*/plugin.toml")) or [""])
def test_the_committed_files_are_what_their_sources_give(
    tools: ModuleType, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not name:
        pytest.skip("plugins/ holds no plugin")

    failed = tools.main(["--check", name])

    told = capsys.readouterr().out.strip()
    if ": skipped: " in told:
        pytest.skip(told)
    assert failed == 0, told
