"""The file sink: each record once, whatever happened before it was opened."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
import zstandard

from logllm.errors import ConfigError, DeliveryError
from logllm.events import Chunk
from logllm.sinks.file import FileSink, FileSinkConfig
from logllm.sinks.keys import delivery_key
from logllm.sinks.ledger import Ledger
from logllm.sinks.parcel import Parcel
from logllm.sources.forward.protocol import Received, Receiver


def parcel(*numbers: int, tag: str = "app", chunk: str = "") -> Parcel:
    block = b"".join(bytes(msgpack.packb([1_700_000_000 + number, {"n": number}])) for number in numbers)
    key = (delivery_key(tag, chunk.encode()),) if chunk else ()
    return Parcel(tag, block, len(numbers), key)


def marks(path: Path) -> bool:
    try:
        os.setxattr(path, "user.logllm.test", b"")
    except OSError:
        return False
    return True


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["record"]["n"] for line in path.read_text(encoding="utf-8").splitlines()]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Files:
    """A file sink that can crash: it is let go of without being closed in order."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.path = folder / "out.ndjson"
        self.config = FileSinkConfig(str(self.path), **settings)  # type: ignore[arg-type]
        self.clock = Clock()
        self.ledger: Ledger
        self.sink: FileSink
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.path.with_name("ledger"))
        self.sink = FileSink(self.config, self.ledger, self.clock)

    def close(self) -> None:
        self.sink.close()
        self.ledger.close()

    def reopen(self) -> None:
        self.close()
        self.open()


def test_a_line_has_tag_time_and_record(tmp_path: Path) -> None:
    files = Files(tmp_path)

    files.sink.write([parcel(7)])

    assert files.path.read_bytes() == b'{"tag":"app","time":"1700000007.000000000","record":{"n":7}}\n'
    files.close()


def test_what_lies_behind_the_committed_size_is_cut_off_when_it_is_opened(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1, 2, chunk="a")])
    files.close()
    with files.path.open("ab") as file:
        file.write(b'{"tag":"app","time":"1.0","rec')

    files.open()
    files.sink.write([parcel(3, chunk="b")])

    assert numbers(files.path) == [1, 2, 3]
    files.close()


def test_a_file_that_was_there_before_is_appended_to_from_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "out.ndjson").write_bytes(b'{"tag":"old","time":"1.0","record":{"n":0}}')
    files = Files(tmp_path)

    files.sink.write([parcel(1)])

    assert numbers(files.path) == [0, 1]
    files.close()


def test_a_file_that_another_program_has_moved_away_is_begun_anew(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1)])
    files.path.rename(tmp_path / "moved")

    files.sink.write([parcel(2)])
    files.path.unlink()
    files.sink.write([parcel(3)])
    files.reopen()
    files.sink.write([parcel(4)])

    assert numbers(tmp_path / "moved") == [1]
    assert numbers(files.path) == [3, 4]
    files.close()


def test_a_file_that_another_program_has_cut_goes_on_at_its_new_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1)])
    os.truncate(files.path, 0)

    files.sink.write([parcel(2)])

    assert numbers(files.path) == [2]
    assert "was cut to 0 bytes by someone else" in caplog.text
    files.close()


def test_what_was_acknowledged_through_another_ledger_is_not_cut_off(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1, chunk="a")])
    files.close()
    if not marks(files.path):
        pytest.skip("this file system takes no user attributes")
    with contextlib.closing(Ledger(tmp_path / "another")) as another:
        sink = FileSink(files.config, another)
        sink.write([parcel(2, chunk="b")])
        sink.close()

    files.open()
    files.sink.write([parcel(3, chunk="c")])

    assert numbers(files.path) == [1, 2, 3]
    files.close()


def test_two_processes_do_not_write_to_one_file(tmp_path: Path) -> None:
    files = Files(tmp_path)
    other = Ledger(None)

    with pytest.raises(DeliveryError, match="another process is writing to it"):
        FileSink(files.config, other)

    other.close()
    files.close()


def test_rotation_by_size_keeps_every_record_and_as_many_files_as_asked_for(tmp_path: Path) -> None:
    files = Files(tmp_path, rotate_bytes=200, keep=2)

    for number in range(20):
        files.sink.write([parcel(number)])
        files.clock.now += 1

    rotated = sorted(tmp_path.glob("out-*.ndjson"))
    assert len(rotated) == 2
    kept = [number for path in [*rotated, files.path] for number in numbers(path)]
    assert kept == list(range(20 - len(kept), 20))
    assert all(path.stat().st_size <= 200 for path in rotated)
    files.close()


def test_rotation_by_time_follows_the_clock(tmp_path: Path) -> None:
    files = Files(tmp_path, rotate_s=3600)

    files.sink.write([parcel(1)])
    files.sink.write([parcel(2)])
    files.clock.now += 3600
    files.sink.write([parcel(3)])

    (rotated,) = tmp_path.glob("out-*.ndjson")
    assert numbers(rotated) == [1, 2]
    assert numbers(files.path) == [3]
    files.close()


@pytest.mark.parametrize("settings", [{"rotate_bytes": 100}, {"rotate_s": 3600}])
def test_a_file_that_was_moved_away_when_it_was_to_be_rotated_does_not_stop_the_sink(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    files = Files(tmp_path, **settings)
    files.sink.write([parcel(1)])
    files.path.rename(tmp_path / "moved")
    files.clock.now += 3600

    files.sink.write([parcel(2)])
    files.sink.write([parcel(3)])

    assert numbers(tmp_path / "moved") == [1]
    assert [number for path in sorted(tmp_path.glob("out*.ndjson")) for number in numbers(path)] == [2, 3]
    files.close()


def test_a_rotation_after_which_the_new_file_could_not_be_opened_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    ledger = Stubborn(Ledger(tmp_path / "ledger"))
    sink = FileSink(FileSinkConfig(str(path), rotate_bytes=100), ledger)  # type: ignore[arg-type]
    sink.write([parcel(1)])
    ledger.fails_after = 1

    for _ in range(2):
        with pytest.raises(DeliveryError, match="no room"):
            sink.write([parcel(2)])
    ledger.fails = False
    sink.write([parcel(2)])

    (away,) = tmp_path.glob("out-*.ndjson")
    assert (numbers(away), numbers(path)) == ([1], [2])
    sink.close()
    ledger.ledger.close()


def test_a_name_that_is_too_long_with_its_time_is_told_and_does_not_end_the_thread(tmp_path: Path) -> None:
    name = "x" * 240 + ".ndjson"
    ledger = Ledger(None)
    sink = FileSink(FileSinkConfig(str(tmp_path / name), rotate_bytes=1), ledger)
    sink.write([parcel(1)])

    with pytest.raises(DeliveryError, match="cannot rotate: File name too long"):
        sink.write([parcel(2)])

    sink.close()
    ledger.close()


def test_what_a_full_disk_let_through_is_not_left_in_a_file_that_is_moved_away(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a write beyond the limit is cut short and then fails, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (files.path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(DeliveryError, match="cannot write"):
            files.sink.write([parcel(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    torn = files.path.stat().st_size
    files.path.rename(tmp_path / "moved")

    files.sink.write([parcel(2)])

    assert numbers(tmp_path / "moved") == [1]
    assert torn > (tmp_path / "moved").stat().st_size
    assert numbers(files.path) == [2]
    files.close()


@pytest.mark.parametrize("renamed", [False, True])
def test_a_rotation_that_a_crash_cut_short_is_finished(tmp_path: Path, renamed: bool) -> None:
    files = Files(tmp_path)
    files.sink.write([parcel(1, chunk="a")])
    away = tmp_path / "out-19700101T000000Z.ndjson"
    at = files.ledger.position
    assert at is not None
    files.ledger.commit((), type(at)(at.device, at.inode, at.size, at.begun_s, str(away)))
    files.close()
    if renamed:
        files.path.rename(away)

    files.open()
    files.sink.write([parcel(2, chunk="b")])

    assert numbers(away) == [1]
    assert numbers(files.path) == [2]
    files.close()


def test_names_of_other_files_are_never_taken_for_rotated_ones(tmp_path: Path) -> None:
    others = ["out-old.ndjson", "out-20260101T000000Z.ndjson.bak", "outer-20260101T000000Z.ndjson"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    files = Files(tmp_path, rotate_bytes=1, keep=1)

    for number in range(4):
        files.sink.write([parcel(number)])

    assert all((tmp_path / name).exists() for name in others)
    files.close()


def test_zstd_frames_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    files = Files(tmp_path, compress="zstd")

    files.sink.write([parcel(1, 2), parcel(3)])
    files.reopen()
    files.sink.write([parcel(4)])

    with files.path.open("rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read().decode()
    assert [json.loads(line)["record"]["n"] for line in text.splitlines()] == [1, 2, 3, 4]
    files.close()


def test_msgpack_is_the_forward_protocol_and_can_be_sent_again(tmp_path: Path) -> None:
    files = Files(tmp_path, format="msgpack")
    sent = [parcel(1, 2, tag="a"), parcel(3, tag="b" * 40)]

    files.sink.write(sent)

    receiver = Receiver()
    receiver.feed(files.path.read_bytes())
    chunks: list[Chunk] = [item.chunk for item in receiver.items() if isinstance(item, Received)]
    assert [(chunk.tag, chunk.count, chunk.block) for chunk in chunks] == [(p.tag, p.count, p.block) for p in sent]
    files.close()


class Stubborn:
    """A ledger whose commits fail while it is told so, after or before they reached the disk."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.fails = False
        self.reaches = False
        self.fails_after = 0

    @property
    def position(self) -> object:
        return self.ledger.position

    @property
    def identity(self) -> bytes:
        return self.ledger.identity

    def commit(self, *arguments: object) -> None:
        if not self.fails or self.reaches:
            self.ledger.commit(*arguments)  # type: ignore[arg-type]
        if self.fails:
            raise DeliveryError("no room")
        if self.fails_after:
            self.fails_after -= 1
            self.fails = not self.fails_after


@pytest.mark.parametrize("reaches", [False, True])
def test_bytes_whose_commit_failed_are_not_written_twice(tmp_path: Path, reaches: bool) -> None:
    path = tmp_path / "out.ndjson"
    ledger = Stubborn(Ledger(tmp_path / "ledger"))
    sink = FileSink(FileSinkConfig(str(path)), ledger)  # type: ignore[arg-type]
    ledger.reaches = reaches

    ledger.fails = True
    for _ in range(3):
        with pytest.raises(DeliveryError):
            sink.write([parcel(1, chunk="a")])
    ledger.fails = False
    safe = sink.write([parcel(1, chunk="a"), parcel(2, chunk="b")])
    sink.write([parcel(2, chunk="b")])

    assert safe == 1
    assert numbers(path) == [1, 2]
    sink.close()
    ledger.ledger.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"path": "/nowhere/at/all/x"}, "the folder /nowhere/at/all does not exist"),
        ({"path": "/tmp"}, "is a folder, expected a file"),
        ({"path": ""}, "names no file"),
        ({"path": "/dev/null"}, "is no regular file"),
        ({"path": "/tmp/" + "x" * 300}, "cannot be used: File name too long"),
        ({"path": "x.ndjson", "rotate_bytes": -1}, "expected 0 or more"),
    ],
)
def test_what_waiting_cannot_mend_is_a_config_error(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        FileSinkConfig(**settings).check()  # type: ignore[arg-type]


def test_a_disk_that_is_read_only_at_the_start_is_waited_for(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    try:
        config = FileSinkConfig(str(tmp_path / "out.ndjson"))

        config.check()

        ledger = Ledger(None)
        with pytest.raises(DeliveryError, match="Read-only file system") as caught:
            config.build(ledger)
        assert caught.value.kind == "read_only"
        ledger.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
