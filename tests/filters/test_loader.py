from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from logllm.errors import PluginLoadError
from logllm.filters.config import PluginConfig
from logllm.filters.loader import About, about, load, read, recognise
from logllm.filters.sections import append
from tests.filters.lives import fluent
from tests.filters.native_guests import wat
from tests.filters.test_sections import COMPONENT, MODULE, binary

MANY = "".join(f'(func (export "f{i}"))' for i in range(20))
KV = '(import "logllm" "kv_get" (func (param i32 i32 i32 i32) (result i32)))'


def refusal(path: Path | str, **config: object) -> str:
    with pytest.raises(PluginLoadError) as refused:
        load(PluginConfig(path=str(path), **config))  # type: ignore[arg-type]
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_file_is_recognised_by_what_it_is() -> None:
    assert recognise(MODULE) == "native"
    assert recognise(binary(fluent("(local.get $at)"))) == "fluentbit"
    assert recognise(COMPONENT) == "component"


def test_a_module_with_both_marks_is_native() -> None:
    both = fluent("(local.get $at)", more='(func (export "logllm_abi") (result i32) (i32.const 65536))')

    assert recognise(binary(both)) == "native"


@pytest.mark.parametrize(
    ("text", "exports"),
    [
        ("(module)", "it exports nothing;"),
        ('(module (memory (export "memory") 1))', "it exports memory;"),
        ('(module (func (export "filter") (param i32 i32)))', "it exports filter(i32, i32) -> ();"),
        ('(module (func (export "f") (param i32 i32 i32 i32 i32 i64) (result i32) (i32.const 0)))', "i64) -> (i32);"),
        (f"(module {MANY})", "f11() -> () and 8 more;"),
    ],
)
def test_what_is_no_plugin_is_told_what_it_exports_and_what_was_expected(text: str, exports: str) -> None:
    with pytest.raises(PluginLoadError) as refused:
        recognise(binary(text))

    assert exports in str(refused.value)
    assert "expected logllm_abi and logllm_process, or a function (i32, i32, i32, i32, i32, i32) -> (i32)" in str(
        refused.value
    )


def test_a_plugin_is_loaded_and_told_about(tmp_path: Path) -> None:
    code = append(binary(wat(imports=KV)), {"name": "x", "version": "1.2.3", "wants": ["clock", "kv"]})
    path = tmp_path / "x.wasm"
    path.write_bytes(code)

    loaded = load(PluginConfig(path=str(path), grants=["clock", "kv"]))

    assert loaded.path == path
    assert loaded.program.abi == "native"
    assert loaded.about == About(
        abi="native",
        size_bytes=len(code),
        sha256=hashlib.sha256(code).hexdigest(),
        imports=["logllm.kv_get"],
        exports={
            "memory": "",
            "logllm_abi": "() -> (i32)",
            "logllm_buffer": "(i32) -> (i32)",
            "logllm_process": "(i32, i32, i32) -> (i32)",
        },
        wants=["clock", "kv"],
        functions=[],
        section={"name": "x", "version": "1.2.3", "wants": ["clock", "kv"]},
    )
    assert loaded.about.version == "1.2.3"


def test_what_a_component_imports_is_what_it_wants() -> None:
    found = about(COMPONENT)

    assert found.abi == "component"
    assert found.wants == ["log", "kv"]
    assert found.imports == ["log", "kv-get", "wasi:io/poll@0.2.0"]


def test_text_is_taken_from_a_wat_file_only(tmp_path: Path) -> None:
    for name in ("guest.wat", "guest.wasm"):
        (tmp_path / name).write_bytes(wat())

    loaded = load(PluginConfig(path=str(tmp_path / "guest.wat")))

    assert loaded.about.sha256 == hashlib.sha256(MODULE).hexdigest()
    assert "it is WebAssembly text; give it a name that ends in .wat" in refusal(tmp_path / "guest.wasm")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty; expected a WebAssembly module or component"),
        (MODULE[:48], "it is cut off"),
        (MODULE[:5], "it is cut off"),
        (b"\x7fELF\x02\x01", "it is an ELF program"),
        (b"hello\n", "it is text"),
        (bytes(range(256)), "it is no WebAssembly"),
    ],
)
def test_a_file_that_is_none_is_one_line_that_names_it(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.wasm"
    path.write_bytes(content)

    message = refusal(path)

    assert message.startswith(f"{path}: ")
    assert words in message


def test_a_module_that_does_not_validate_is_one_line_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.wasm"
    # The body of the last function gives nothing where an i32 is expected.
    path.write_bytes(MODULE.replace(b"\x0b", b"\x1a\x0b", 1)[:-1] + MODULE[-1:])

    assert str(path) in refusal(path)


def test_a_folder_a_pipe_and_nothing_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wasm")

    assert "not a file" in refusal(tmp_path)
    assert "not a file" in refusal(tmp_path / "pipe.wasm")
    assert "no such file" in refusal(tmp_path / "absent.wasm")
    assert refusal("nul\0byte")
    assert refusal("x" * 5000)
    with pytest.raises(PluginLoadError, match="not a file"):
        read(tmp_path / "pipe.wasm", 100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.wasm"
    path.write_bytes(MODULE)
    path.chmod(0)

    assert "cannot read: Permission denied" in refusal(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.wasm"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    assert refusal(path, module_bytes=1000) == f"{path}: 1,099,511,627,776 bytes; expected at most module_bytes = 1,000"


def test_a_digest_that_does_not_match_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pinned.wasm"
    path.write_bytes(MODULE)
    right = hashlib.sha256(MODULE).hexdigest()

    assert load(PluginConfig(path=str(path), sha256=right.upper())).about.sha256 == right
    assert refusal(path, sha256="0" * 64) == f"{path}: its sha256 is {right}; expected {'0' * 64}"


def test_grants_that_are_wanted_are_named_though_nothing_imports_them(tmp_path: Path) -> None:
    path = tmp_path / "wants.wasm"
    path.write_bytes(append(binary(wat(imports=KV)), {"wants": ["log", "ask", "clock"]}))

    message = refusal(path, grants=["clock"])

    assert message == f'{path}: it wants what is not granted; expected in its `grants`: "kv", "ask"'


@pytest.mark.parametrize("wants", ["kv", ["root"], [["kv"]], 7, {"kv": True}, None])
def test_a_section_that_wants_nonsense_is_refused(tmp_path: Path, wants: object) -> None:
    path = tmp_path / "wants.wasm"
    path.write_bytes(append(MODULE, {"wants": wants}))

    assert "expected some of log, clock, random, kv, metric, anomaly, ask" in refusal(path)


def test_the_name_of_one_that_ships_is_a_path_as_well() -> None:
    from logllm.filters.shipped import shipped

    ours = shipped()
    if not ours:
        pytest.skip("no plugin is built yet")

    for name, path in ours.items():
        assert load(PluginConfig(path=name, grants=["clock", "random", "kv", "metric", "anomaly", "ask"])).path == path


def test_names_that_a_file_chooses_do_not_steer_the_terminal() -> None:
    name = "evil\\0a\\1b[2J" + 5_000 * "x"
    exporting = binary(f'(module (func (export "{name}")))'.encode())

    with pytest.raises(PluginLoadError) as refused:
        recognise(exporting)

    assert "evil\\x0a\\x1b[2Jxx" in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500
