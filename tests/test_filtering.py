"""Chunks and filters: what comes out is well formed, in the right form, with what the source knew of it."""

from __future__ import annotations

from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.config import Config
from logllm.detectors.config import DetectConfig
from logllm.detectors.values.config import ValuesConfig
from logllm.errors import PluginLoadError
from logllm.events import Chunk, Origin
from logllm.filtering import Filtering, well_formed
from logllm.filters.config import PluginConfig
from logllm.sources.file import read_file
from logllm.sources.forward.entries import entries_of_stream
from tests.cli.guests import NATIVE

HOLDS_BACK = f"""(module (memory (export "memory") 4)
  (global $held (mut i32) (i32.const 0)) (global $size (mut i32) (i32.const 0))
  {NATIVE}
  (func (export "logllm_process") (param $at i32) (param $size i32) (param i32) (result i32)
    (memory.copy (i32.const 1024) (local.get $at) (local.get $size))
    (global.set $size (local.get $size))
    (global.set $held (call $entries (local.get $at) (local.get $size)))
    (call $answer (i32.const 2) (global.get $held) (i32.const 0) (i32.const 1024) (i32.const 0)))
  (func (export "logllm_flush") (param i64) (result i32)
    (local $count i32) (local.set $count (global.get $held)) (global.set $held (i32.const 0))
    (if (result i32) (local.get $count)
      (then (call $answer (i32.const 2) (i32.const 0) (local.get $count) (i32.const 1024) (global.get $size)))
      (else (call $answer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))))"""
"""Gives what it was given last when it is flushed."""


def fluentbit(body: str) -> bytes:
    return bytes(
        wasmtime.wat2wasm(f"""(module (memory (export "memory") 4)
          (func (export "filter") (param i32 i32 i32 i32 i32 i32) (result i32) {body}))""")
    )


def put(folder: Path, code: bytes, name: str = "plugin.wasm") -> str:
    (folder / name).write_bytes(code)
    return str(folder / name)


def entry(number: int) -> bytes:
    return bytes(msgpack.packb([[msgpack.ExtType(0, number.to_bytes(8, "big")), {}], {"log": f"line {number}"}]))


def chunk(count: int, tag: str = "app.web", peer: str = "10.0.0.1:5000") -> Chunk:
    block = b"".join(entry(number) for number in range(count))
    return Chunk(tag, count, len(block), Origin(peer, b"id"), block=block, scan=entries_of_stream(block, count).scan)


def test_without_plugins_a_chunk_is_passed_on_as_it_is() -> None:
    filtering = Filtering([])
    given = chunk(3)

    assert filtering.ingest(given) == (given, [])
    assert filtering.egress(given)[0] is given
    assert filtering.lane(given) == ""
    assert filtering.flush(0) == []
    assert filtering.status() == []


def test_a_chunk_that_nothing_changed_keeps_its_block_and_its_scan(tmp_path: Path) -> None:
    filtering = Filtering([PluginConfig(path=put(tmp_path, fluentbit("(local.get 4)")))])
    given = chunk(500)

    passed, signals = filtering.ingest(given)

    filtering.close()
    assert passed.block is given.block
    assert passed.scan is given.scan is not None
    assert signals == []


def test_a_changed_block_has_its_own_scan_and_the_chunks_origin(tmp_path: Path) -> None:
    odd = "(if (result i32) (i32.and (local.get 3) (i32.const 1)) (then (i32.const 0)) (else (local.get 4)))"
    filtering = Filtering([PluginConfig(path=put(tmp_path, fluentbit(odd)))])
    given = chunk(500)

    passed, _ = filtering.ingest(given)

    filtering.close()
    assert passed.count == 250
    assert passed.block == b"".join(entry(number) for number in range(0, 500, 2))
    assert passed.origin == given.origin
    assert len(passed.scan) == 250  # type: ignore[arg-type]


def test_only_tags_that_match_are_filtered(tmp_path: Path) -> None:
    filtering = Filtering([PluginConfig(path=put(tmp_path, fluentbit("(i32.const 0)")), match="kube.*")])

    assert filtering.ingest(chunk(5, "app.web"))[0].count == 5
    assert filtering.ingest(chunk(5, "kube.web"))[0].count == 0
    filtering.close()


def test_egress_filters_leave_what_is_taken_in_alone(tmp_path: Path) -> None:
    filtering = Filtering([PluginConfig(path=put(tmp_path, fluentbit("(i32.const 0)")), stage="egress")])

    assert filtering.ingest(chunk(5))[0].count == 5
    assert filtering.egress(chunk(5))[0].count == 0
    filtering.close()


def test_records_that_were_held_back_come_with_their_tag_as_chunks(tmp_path: Path) -> None:
    filtering = Filtering([PluginConfig(path=put(tmp_path, bytes(wasmtime.wat2wasm(HOLDS_BACK))))])

    taken, _ = filtering.ingest(chunk(4, "app.held"))
    ((held, signals),) = filtering.flush(1_000_000_000, at_end=True)

    filtering.close()
    assert taken.count == 0
    assert (held.tag, held.count, held.block) == ("app.held", 4, chunk(4).block)
    assert signals == []


def test_a_files_columns_are_filtered_only_where_their_lines_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("".join(f"line {n}\n" for n in range(40)), encoding="utf-8")
    filtering = Filtering([PluginConfig(path=put(tmp_path, fluentbit("(i32.const 0)")))])

    whole = next(read_file(path, keep_raw=True))
    bare = next(read_file(path))

    assert filtering.ingest(whole)[0].count == 0
    assert filtering.ingest(bare)[0] is bare
    filtering.close()


def test_the_fields_that_a_configuration_names_are_read_of_a_files_records_after_a_plugin_too(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("one line\n", encoding="utf-8")
    says = '(i32.const 2048)) (data (i32.const 2048) "{\\"log\\":\\"busy\\",\\"depth_of_queue\\":7}\\00"'
    detect = DetectConfig(values=ValuesConfig(fields=["depth_of_queue"]))
    filtering = Filtering.of(Config(plugins=[PluginConfig(path=put(tmp_path, fluentbit(says)))], detect=detect))

    after = filtering.ingest(next(read_file(log, keep_raw=True)))[0]

    filtering.close()
    assert after.columns is not None
    assert after.columns.fields is not None
    assert after.columns.messages == ["busy"]
    assert {name: values.tolist() for name, values in after.columns.fields.numbers.items()} == {"depth_of_queue": [7.0]}


def test_lanes_are_tenants(tmp_path: Path) -> None:
    path = put(tmp_path, fluentbit("(local.get 4)"))
    filtering = Filtering(
        [PluginConfig(path=path, tenant="tag:1"), PluginConfig(path=path, tenant="peer", match="b.*")]
    )

    lanes = [filtering.lane(chunk(1, tag)) for tag in ("a.x", "a.y", "b.x")]

    filtering.close()
    assert lanes[0] == lanes[1] != ""
    assert lanes[2] != lanes[0]


def test_a_configuration_that_names_a_missing_plugin_is_refused() -> None:
    with pytest.raises(PluginLoadError, match=r"nowhere/none\.wasm"):
        Filtering.of(Config(plugins=[PluginConfig(path="nowhere/none.wasm")]))


@given(st.lists(st.integers(0, 2**32), max_size=30), st.integers(-2, 2), st.binary(max_size=3))
@settings(max_examples=80, deadline=None)
def test_well_formed_is_said_of_just_those_blocks_that_hold_so_many_records(
    numbers: list[int], more: int, rest: bytes
) -> None:
    block = b"".join(entry(number) for number in numbers) + rest
    count = len(numbers) + more

    assert (well_formed(block, count) is not None) == (more == 0 and rest == b"")


@pytest.mark.parametrize(
    "block",
    [
        b"\xc0",
        b"\x92\x01\xc0",
        b"\x91\x01",
        b"\x93\x01\x80\x80",
        b"\x92\x01\x81\xa1a",
        b"\x92" * 2000,
        b"\xc1",
        b"\x80",
    ],
)
def test_what_is_no_record_is_not_well_formed(block: bytes) -> None:
    assert well_formed(block, 1) is None
