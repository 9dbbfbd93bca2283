"""Servers and files for the oracle: one for each way records can take."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]
import msgspec
import zstandard

from logllm.sinks.rotation import rotated_away
from tests.delivery.child import Server
from tests.delivery.faults import Faults
from tests.delivery.sender import Login, Mode, Way
from tests.doctor.certificates import certificate

__all__ = ["RIGS", "Output", "Record", "Rig", "Stage"]

_ALL_WAYS = (Way(), Way(), Way(pipelined=True), Way(hangs_up=0.03), Way(pipelined=True, hangs_up=0.01), Way())
_ALL_MODES: tuple[Mode, ...] = ("forward", "forward", "gzip", "message")
_KEY = b"a shared key"


class Record(NamedTuple):
    """A record as it was found."""

    tag: str
    time: str
    number: int
    text: str


class _Body(msgspec.Struct):
    n: int
    log: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    tag: str
    time: str
    record: _Body


class Output(NamedTuple):
    """A file sink's files."""

    path: Path
    format: str = "ndjson"

    def files(self) -> list[Path]:
        """Those that were rotated away, oldest first, and the one that is written."""
        return [*rotated_away(self.path), self.path]

    def records(self) -> Iterator[Record]:
        """All records in all files. Raises ValueError for what is no whole record."""
        for path in self.files():
            data = path.read_bytes()
            if path.suffix == ".zst":
                with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                    data = reader.read()
            yield from _of_frames(path, data) if self.format == "msgpack" else _of_lines(path, data)


def _of_lines(path: Path, data: bytes) -> Iterator[Record]:
    if data and not data.endswith(b"\n"):
        raise ValueError(f"{path.name}: ends in a part of a line: {data[-80:]!r}")
    decode = msgspec.json.Decoder(_Line).decode
    for place, line in enumerate(data.splitlines(), 1):
        try:
            found = decode(line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path.name}, line {place}: {error}: {line[:80]!r}") from error
        yield Record(found.tag, found.time, found.record.n, found.record.log)


def _of_frames(path: Path, data: bytes) -> Iterator[Record]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1)
    unpacker.feed(data)
    for message in unpacker:
        tag, entries = message[:2]
        for time, body in entries:
            stamp = time[0] if isinstance(time, list) else time
            seconds, rest = int.from_bytes(stamp.data[:4], "big"), int.from_bytes(stamp.data[4:], "big")
            yield Record(tag, f"{seconds}.{rest:09d}", body["n"], body["log"])
    if unpacker.tell() != len(data):
        raise ValueError(f"{path.name}: ends in a part of a frame")


class Stage(NamedTuple):
    """A server that is to be killed, its orders, and its configuration.

    `TURN` in the configuration is a digit of a number that does not matter much: with another one the sinks are made
    anew when the configuration is read again.
    """

    server: Server
    faults: Faults
    path: Path
    config: str

    def configure(self, turn: int) -> None:
        """Write the configuration, with this digit."""
        self.path.write_text(self.config.replace("TURN", str(turn)), encoding="utf-8")


class Rig(NamedTuple):
    """Servers, the first of which the sender talks to; the last writes the files."""

    stages: list[Stage]
    outputs: list[Output]
    modes: tuple[Mode, ...] = _ALL_MODES
    ways: tuple[Way, ...] = _ALL_WAYS
    login: Login | None = None


def _stage(folder: Path, library: Path, name: str, config: str, *arguments: str) -> Stage:
    data = folder / name
    data.mkdir()
    faults = Faults(library, data, folder / f"{name}.faults")
    path = folder / f"{name}.toml"
    server = Server("-c", str(path), *arguments, environment=faults.environment, log=folder / f"{name}.log")
    stage = Stage(server, faults, path, config)
    stage.configure(0)
    return stage


def _file(path: Path, **settings: str | int) -> str:
    rest = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    return f"[[sinks]]\ntype = 'file'\npath = '{path}'\nkeep = 10000TURN\n{rest}"


def _one_file(folder: Path, library: Path, **settings: str | int) -> Rig:
    suffix = ".zst" if settings.get("compress") else ""
    kind = str(settings.get("format", "ndjson"))
    path = folder / "a" / f"out.{kind}{suffix}"
    return Rig([_stage(folder, library, "a", _file(path, **settings))], [Output(path, kind)])


def _file_alone(folder: Path, library: Path) -> Rig:
    return _one_file(folder, library)


def _rotated(folder: Path, library: Path) -> Rig:
    return _one_file(folder, library, rotate_bytes=150_000, compress="zstd")


def _msgpack(folder: Path, library: Path) -> Rig:
    return _one_file(folder, library, format="msgpack", rotate_bytes=1_000_000)


def _messages(folder: Path, library: Path) -> Rig:
    ways = (Way(pipelined=True), Way(pipelined=True), Way(pipelined=True, hangs_up=0.002), Way())
    return _one_file(folder, library)._replace(modes=("message",), ways=ways)


def _two_files(folder: Path, library: Path) -> Rig:
    first, second = folder / "a" / "out.ndjson", folder / "a" / "second.msgpack"
    config = _file(first) + _file(second, format="msgpack", rotate_bytes=500_000)
    stage = _stage(folder, library, "a", config, "--data-dir", str(folder / "a" / "data"))
    return Rig([stage], [Output(first), Output(second, "msgpack")])


def _chain(folder: Path, library: Path, *, data_dir: bool, secured: bool = False) -> Rig:
    path = folder / "b" / "out.ndjson"
    receiver, sink, login = "", "", None
    if secured:
        cert, key = certificate(folder, "server", "-addext", "subjectAltName=IP:127.0.0.1")
        shared = folder / "shared.key"
        shared.write_bytes(_KEY)
        receiver = f"[forward]\ntls_cert = '{cert}'\ntls_key = '{key}'\nshared_key_file = '{shared}'\n"
        sink = f"tls = true\ntls_ca = '{cert}'\nshared_key_file = '{shared}'\n"
        login = Login(_KEY, ssl.create_default_context(cafile=str(cert)))
    last = _stage(folder, library, "b", receiver + _file(path))
    config = f"{receiver}[[sinks]]\ntype = 'forward'\naddress = '127.0.0.1:{last.server.port}'\n"
    config += f"ack_timeout_s = 6TURN\n{sink}"
    arguments = ("--data-dir", str(folder / "a" / "data")) if data_dir else ()
    first = _stage(folder, library, "a", config, *arguments)
    return Rig([first, last], [Output(path)], login=login)


def _chain_in_memory(folder: Path, library: Path) -> Rig:
    return _chain(folder, library, data_dir=False)


def _chain_on_disk(folder: Path, library: Path) -> Rig:
    return _chain(folder, library, data_dir=True)


def _chain_secured(folder: Path, library: Path) -> Rig:
    return _chain(folder, library, data_dir=False, secured=True)


RIGS: dict[str, Callable[[Path, Path], Rig]] = {
    "file": _file_alone,
    "rotated": _rotated,
    "msgpack": _msgpack,
    "messages": _messages,
    "two": _two_files,
    "chain": _chain_in_memory,
    "chain-data-dir": _chain_on_disk,
    "chain-tls": _chain_secured,
}
"""Ways by name: a file; rotated and zstd; frames of msgpack, rotated; Message mode; two files; through a second server,
which knows of deliveries by its data folder or not at all, or is reached by TLS with a shared key."""
