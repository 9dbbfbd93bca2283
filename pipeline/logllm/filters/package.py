"""A plugin packed into one file to hand on: a zip with a manifest that names the digest of every file in it."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NoReturn

import msgspec

from logllm.errors import ConfigError, PluginError, PluginLoadError
from logllm.filters import manifest as manifests
from logllm.filters.config import Grant, PluginConfig
from logllm.filters.manifest import NAME_PATTERN, Manifest, parse_toml

if TYPE_CHECKING:
    from logllm.filters.loader import Abi

__all__ = ["CONTENTS", "Packed", "PackedFile", "label", "pack", "verify"]

CONTENTS = "manifest.json"

_MOST_FILES = 16
_MOST_BYTES = 64 << 20
_MOST_DIRECTORY_BYTES = 16 << 10
_MOST_TEXT_BYTES = 1 << 20
_OPTIONAL = ("README.md", "README", "LICENSE", "LICENSE.md", "LICENSE.txt")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
# The first date a zip can name: equal projects give equal packages.
_DATE = (1980, 1, 1, 0, 0, 0)
# The end of a zip: mark, four counts, size and place of the list of files, length of a comment. What stands before it
# in a zip of more than 4 GiB takes 20 bytes.
_END = struct.Struct("<4s4H2LH")
_LOCATOR_BYTES = 20
# What zipfile raises at a file that is none or is damaged.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, NotImplementedError, RuntimeError)
_MODE = (stat.S_IFREG | 0o644) << 16


class PackedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a package: what it must be."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size: Annotated[int, msgspec.Meta(ge=0, le=_MOST_BYTES)]


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package's `manifest.json`.

    Args:
        wants: The grants the plugin's imports need.
        files: Every other file of the package by name.
    """

    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    version: str
    license: str
    abi: str
    wants: list[Grant]
    files: dict[str, PackedFile]


def label(raw: bytes, manifest: Manifest, built_with: str = "") -> tuple[bytes, Abi, list[Grant]]:
    """A built module with the custom section `logllm.plugin`, its ABI, and the grants it needs.

    Args:
        built_with: The compiler, as it names itself; "" leaves it out.

    Raises:
        PluginLoadError: It is no plugin.
    """
    from logllm.filters import sections
    from logllm.filters.loader import about

    # What a section of an earlier build says it wants is not what this one wants.
    found = about(sections.strip(raw, lambda name: name != sections.PLUGIN_SECTION))
    section = {
        "name": manifest.name,
        "version": manifest.version,
        "license": manifest.license,
        "abi": found.abi,
        "wants": found.wants,
        **({"built_with": built_with} if built_with else {}),
    }
    return sections.append(raw, section), found.abi, found.wants


def pack(project: Path) -> bytes:
    """A project as a package: its .wasm, `plugin.toml`, README and LICENSE where there are any, and `manifest.json`.

    Nothing is compressed, so equal files give equal bytes wherever they are packed.

    Raises:
        ConfigError: `plugin.toml` is wrong.
        PluginError: The plugin is not built, or a file cannot be read.
        PluginLoadError: What is built is no plugin.
    """
    from logllm.filters.loader import about

    manifest = Manifest.load(project)
    wasm = manifest.wasm(project)
    if not wasm.is_file():
        raise PluginError(f"{wasm}: not built; expected `logllm plugin build` before `pack`")
    names = [wasm.name, manifests.FILE, *(name for name in _OPTIONAL if (project / name).is_file())]
    try:
        contents = {name: (project / name).read_bytes() for name in names}
    except OSError as error:
        raise PluginError(f"{error.filename}: cannot read: {error.strerror or error}") from error
    found = about(contents[wasm.name])
    packed = Packed(
        name=manifest.name,
        version=manifest.version,
        license=manifest.license,
        abi=found.abi,
        wants=found.wants,
        files={name: PackedFile(hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items()},
    )
    contents[CONTENTS] = msgspec.json.format(msgspec.json.encode(packed, order="sorted"), indent=2) + b"\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        for name in sorted(contents):
            about_file = zipfile.ZipInfo(name, _DATE)
            about_file.create_system = 3  # Unix, wherever it is made
            about_file.external_attr = _MODE
            package.writestr(about_file, contents[name])
    return out.getvalue()


def verify(path: Path) -> Packed:
    """Look at a package from a stranger: nothing of it is run, nothing is written.

    Raises:
        PluginLoadError: What is wrong, in one line: a file more or fewer than the manifest names, another digest, a
            name that is a path, more bytes than a package may have, a .wasm that is no plugin or none of this name.
    """
    try:
        with path.open("rb") as file:
            _check_end(file, path)
            with zipfile.ZipFile(file) as package:
                packed, contents = _contents(package, path)
    except OSError as error:
        raise PluginLoadError(f"{path}: cannot read: {error.strerror or error}") from error
    except _BROKEN as error:
        raise PluginLoadError(f"{path}: no package: {error}") from error
    _agree(packed, contents, path)
    return packed


def _check_end(file: BinaryIO, path: Path) -> None:
    """Look at the size and the last bytes, before a list of a million files is read."""
    size = file.seek(0, io.SEEK_END)
    if size > _MOST_BYTES + _MOST_DIRECTORY_BYTES:
        _wrong(path, f"{size} bytes; expected at most {_MOST_BYTES >> 20} MiB")
    file.seek(max(0, size - _END.size - _LOCATOR_BYTES))
    end = file.read()
    if len(end) < _END.size:
        _wrong(path, "no package: too short; expected what `logllm plugin pack` writes")
    mark, *_, directory_bytes, _, comment_bytes = _END.unpack(end[-_END.size :])
    if mark != b"PK\5\6" or comment_bytes or directory_bytes > _MOST_DIRECTORY_BYTES or b"PK\6\7" in end:
        _wrong(path, "no package; expected what `logllm plugin pack` writes")
    file.seek(0)
    if file.read(4) not in (b"PK\3\4", mark):
        _wrong(path, "no package: it does not begin as a zip; expected what `logllm plugin pack` writes")


def _contents(package: zipfile.ZipFile, path: Path) -> tuple[Packed, dict[str, bytes]]:
    entries = package.infolist()
    if len(entries) > _MOST_FILES:
        _wrong(path, f"{len(entries)} files; expected at most {_MOST_FILES}")
    seen: set[str] = set()
    for entry in entries:
        shown = ascii(entry.orig_filename[:100])
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not _FILE_NAME.match(entry.orig_filename) or entry.is_dir():
            _wrong(path, f"{shown}: a path; expected the plain name of a file")
        if kind not in (0, stat.S_IFREG):
            _wrong(path, f"{shown}: a link or a device; expected a plain file")
        if entry.flag_bits & 0x1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            _wrong(path, f"{shown}: encrypted, or compressed in a way that is not looked into")
        if entry.orig_filename.lower() in seen:
            _wrong(path, f"{shown}: there twice")
        seen.add(entry.orig_filename.lower())
    if sum(entry.file_size for entry in entries) > _MOST_BYTES:
        _wrong(path, f"more than {_MOST_BYTES >> 20} MiB of files")
    by_name = {entry.orig_filename: entry for entry in entries}
    if CONTENTS not in by_name:
        _wrong(path, f"no {CONTENTS}; expected what `logllm plugin pack` writes")
    try:
        packed = msgspec.json.decode(_read(package, by_name[CONTENTS], _MOST_TEXT_BYTES, path), type=Packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _wrong(path, f"{CONTENTS}: {error}")
    for name in sorted(set(packed.files) - set(by_name)):
        _wrong(path, f"{name[:100]!a}: in {CONTENTS}, but not there")
    for name in sorted(set(by_name) - set(packed.files) - {CONTENTS}):
        _wrong(path, f"{name}: there, but not in {CONTENTS}")
    contents = {}
    for name, promised in packed.files.items():
        if name == CONTENTS:
            _wrong(path, f"{CONTENTS}: names itself")
        data = _read(package, by_name[name], promised.size, path)
        found = hashlib.sha256(data).hexdigest()
        if len(data) != promised.size or found != promised.sha256:
            _wrong(path, f"{name}: {len(data)} bytes with sha256 {found}; expected {promised.size}, {promised.sha256}")
        contents[name] = data
    return packed, contents


def _read(package: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int, path: Path) -> bytes:
    """A file, however much it says it is or inflates to: no more than one byte over `most_bytes` is ever held."""
    # What an entry says of its size is not what its stream holds.
    with package.open(entry) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        _wrong(path, f"{entry.orig_filename}: larger than {most_bytes} bytes")
    return data


def _agree(packed: Packed, contents: dict[str, bytes], path: Path) -> None:
    """Whether the manifest, `plugin.toml` and the module tell the same, and the module can be loaded."""
    from logllm.filters.loader import about

    wasm = f"{packed.name}.wasm"
    for name in (wasm, manifests.FILE):
        if name not in contents:
            _wrong(path, f"no {name}; expected it in a package of {packed.name}")
    try:
        manifest = Manifest.parse(parse_toml(contents[manifests.FILE], manifests.FILE), manifests.FILE)
        found = about(contents[wasm])
        _program(found.abi, contents[wasm], PluginConfig(path=wasm, grants=found.wants, function=manifest.run.function))
    except ConfigError as error:
        _wrong(path, str(error))
    except PluginLoadError as error:
        _wrong(path, f"{wasm}: {error}")
    section = found.section or {}
    for name, promised, got in (
        ("name", packed.name, manifest.name),
        ("version", packed.version, manifest.version),
        ("license", packed.license, manifest.license),
        ("abi", packed.abi, found.abi),
        ("wants", packed.wants, found.wants),
        *((key, getattr(packed, key), section[key]) for key in ("name", "version", "license", "abi") if key in section),
    ):
        if promised != got:
            _wrong(path, f"{CONTENTS} says {name} is {promised!r}; its files say {got!r}")


def _program(abi: Abi, code: bytes, config: PluginConfig) -> None:
    """Compile it; nothing of it runs. Raises PluginLoadError."""
    if abi == "native":
        from logllm.filters.native import program
    elif abi == "fluentbit":
        from logllm.filters.fluentbit import program
    else:
        from logllm.filters.component import program
    program(code, config)


def _wrong(path: Path, what: str) -> NoReturn:
    raise PluginLoadError(f"{path}: {what}")
