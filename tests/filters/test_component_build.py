"""What the build of a component adds to its toolchain: the world of its grants, its sources, a file without names."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from logllm.errors import PluginLoadError
from logllm.filters.component.build import (
    copy_sources,
    digest,
    main,
    sources_of,
    strip_all,
    without_places,
    write_world,
)
from logllm.filters.manifest import Manifest
from logllm.filters.sections import COMPONENT, kind_of, sections
from logllm.filters.shipped import root, sdk
from tests.filters.component_guests import alive, block, compiled, records_of, wat

BUDGET_MS = 60_000
NAMED = '(component $inner (core module $named (func $a_long_name (export "f"))) (core module (; another ;)))'


def manifest(*grants: str) -> Manifest:
    about = {"name": "x", "version": "1.0.0", "license": "MIT", "language": "c"}
    return Manifest.parse({**about, "run": {"grants": list(grants)}}, "here")


def test_names_are_gone_at_every_depth_and_the_component_works_as_before() -> None:
    code = compiled(wat(more=NAMED))
    assert b"a_long_name" in code

    small = strip_all(code)

    assert b"a_long_name" not in small
    assert not [section for section in sections(small) if section.kind == 0]
    assert kind_of(small) == COMPONENT
    assert strip_all(small) == small
    made = alive(code=small).process("app", block("change", "drop"), 2, BUDGET_MS)
    assert records_of(made) == [{"changed": 1}]


def test_a_core_module_is_stripped_too() -> None:
    code = bytes(wasmtime.wat2wasm('(module (func $named (export "f")))'))

    assert wasmtime.Module(wasmtime.Engine(), strip_all(code)).exports[0].name == "f"
    assert b"named" not in strip_all(code)


@pytest.mark.parametrize("cut", [1, 5, 9, 40, -1])
def test_a_file_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(PluginLoadError):
        strip_all(compiled(wat())[:cut])


def test_components_within_components_are_followed_only_so_far() -> None:
    deep = compiled("(component " * 12 + ")" * 12)

    with pytest.raises(PluginLoadError, match="more than 8 deep"):
        strip_all(deep)


@pytest.mark.parametrize("grants", [(), ("log",), ("kv", "ask"), ("kv", "kv", "random")])
def test_the_world_has_what_is_granted_and_nothing_else(tmp_path: Path, grants: tuple[str, ...]) -> None:
    write_world(manifest(*grants), root() / "sdk/wit/logllm.wit", tmp_path / "wit")

    text = (tmp_path / "wit/plugin.wit").read_text()
    included = [line.strip(" ;").removeprefix("include ") for line in text.splitlines() if "include" in line]
    # `random` is for the native ABI; this world has no such function.
    assert included == ["bare", "log", *dict.fromkeys(one for one in grants if one not in ("log", "random"))]
    assert (tmp_path / "wit/logllm.wit").read_bytes() == (root() / "sdk/wit/logllm.wit").read_bytes()


def test_sources_are_copied_without_what_is_none(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("filter.py", "words/more.py", "sdk/old.py", "hello.wasm", "node_modules/x.js", "__pycache__/x.pyc"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)

    copy_sources(project, sdk("python") / "sdk", tmp_path / "out/app")

    copied = {path.relative_to(tmp_path / "out/app").as_posix() for path in (tmp_path / "out/app").rglob("*.*")}
    assert copied == {"filter.py", "words/more.py", "sdk/logllm.py", "sdk/logllm_main.py", "sdk/logllm.wit"}


def test_the_digest_is_of_names_and_contents_and_of_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "elsewhere/second"
    for folder in (first, second):
        (folder / "deep").mkdir(parents=True)
        (folder / "a.py").write_text("1")
        (folder / "deep/b.js").write_text("2")
    (second / "notes.txt").write_text("not built in")

    before = digest([first])

    assert digest([second]) == before
    (second / "deep/b.js").write_text("3")
    assert digest([second]) != before
    (first / "deep/b.js").rename(first / "deep/c.js")
    assert digest([first]) != before


def test_finish_writes_a_small_file_that_says_what_it_was_made_of(tmp_path: Path) -> None:
    (tmp_path / "raw.wasm").write_bytes(compiled(wat(more=NAMED)))
    (tmp_path / "app").mkdir()
    (tmp_path / "app/filter.py").write_text("pass")

    code = main(["finish", *(str(tmp_path / name) for name in ("raw.wasm", "out.wasm", "app"))])

    made = (tmp_path / "out.wasm").read_bytes()
    assert code == 0
    assert sources_of(made) == digest([tmp_path / "app"])
    assert b"a_long_name" not in made
    assert sources_of((tmp_path / "raw.wasm").read_bytes()) == ""


def test_a_step_that_fails_says_so_in_a_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw.wasm").write_bytes(b"\x7fELF")

    code = main(["finish", str(tmp_path / "raw.wasm"), str(tmp_path / "out.wasm")])

    assert code == 2
    said = capsys.readouterr().err
    assert said == "finish: it is an ELF program or library; expected a WebAssembly module or component\n"
    assert not (tmp_path / "out.wasm").exists()


def test_the_vendors_folders_are_written_over_and_nothing_moves() -> None:
    code = b"ab/home/ci/.cargo/registry/src/index.example-1949cf8c6b5b557f/pyo3-0.28.3/src/panic.rsyz"

    clean = without_places(code)

    assert len(clean) == len(code)
    assert b".cargo" not in clean
    assert clean.endswith(b"./pyo3-0.28.3/src/panic.rsyz")
    assert clean.startswith(b"abcrate.")
