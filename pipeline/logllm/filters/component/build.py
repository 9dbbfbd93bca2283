"""Steps of a component's build that its toolchain does not do, called by `build.toml` of Python and JavaScript.

    python -m logllm.filters.component.build world plugin.toml sdk/logllm.wit WIT_FOLDER
    python -m logllm.filters.component.build sources PROJECT SDK APP_FOLDER
    python -m logllm.filters.component.build finish RAW.wasm OUT.wasm [FOLDER...]

Components of these toolchains differ from build to build, as the seeds of their hash tables are in them. So that one
can be compared with its sources nevertheless, `finish` puts a digest of the folders it is given into it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

from logllm.errors import LogllmError, PluginLoadError
from logllm.filters.manifest import Manifest
from logllm.filters.sections import COMPONENT, custom, kind_of, sections

__all__ = [
    "SOURCES_SECTION",
    "copy_sources",
    "digest",
    "main",
    "sources_of",
    "strip_all",
    "without_places",
    "write_world",
]

SOURCES_SECTION = "logllm.sources"

_CORE_MODULE, _COMPONENT = 1, 4
_MOST_DEPTH = 8
_PLACE = re.compile(rb"/[a-zA-Z0-9_/.-]{0,60}\.cargo/(?:registry/src|git/checkouts)/[a-zA-Z0-9_.-]{1,80}/")
_NOT_COPIED = ("__pycache__", "fixtures", "node_modules", "sdk", ".*", "*.wasm")


def write_world(manifest: Manifest, wit: Path, folder: Path) -> None:
    """A folder of WIT with the world `plugin`: what the plugin's `grants` name is imported, and nothing else."""
    text = wit.read_text()
    worlds = [grant for grant in ("log", *manifest.run.grants) if re.search(rf"^world {grant} ", text, re.MULTILINE)]
    included = "".join(f"  include {name};\n" for name in dict.fromkeys(("bare", *worlds)))
    folder.mkdir(parents=True)
    (folder / "logllm.wit").write_text(text)
    (folder / "plugin.wit").write_text(f"package logllm:plugin@1.0.0;\n\nworld plugin {{\n{included}}}\n")


def copy_sources(project: Path, sdk: Path, folder: Path) -> None:
    """What a plugin is built from: its own files, the SDK's in `sdk`; and beside them `venv`, without any packages.

    `componentize-py` writes compiled files where it reads, and looks for packages in the Python that runs it.
    """
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    shutil.copytree(sdk, folder / "sdk", ignore=shutil.ignore_patterns(*_NOT_COPIED))
    (folder.parent / "venv" / "lib" / "site-packages").mkdir(parents=True)


def digest(folders: list[Path]) -> str:
    """A SHA-256 over the .py, .js and .wit files below some folders, by name and content, in hex."""
    made = hashlib.sha256()
    for folder in folders:
        found = [path for path in folder.rglob("*") if path.suffix in (".py", ".js", ".wit") and path.is_file()]
        for path in sorted(found):
            content = path.read_bytes()
            made.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return made.hexdigest()


def sources_of(code: bytes) -> str:
    """The digest in a built component, "" where it has none. Raises PluginLoadError: it is damaged."""
    return (custom(code, SOURCES_SECTION) or b"").decode("ascii", "replace")


def strip_all(code: bytes, depth: int = 0) -> bytes:
    """A component without the custom sections (names, what built it) of itself and of all modules in it.

    Raises:
        PluginLoadError: It is damaged, or nested absurdly deep.
    """
    if depth > _MOST_DEPTH:
        raise PluginLoadError(f"it holds components within components, more than {_MOST_DEPTH} deep")
    kind = kind_of(code)
    parts = [code[:8]]
    for section in sections(code):
        if section.kind == 0:
            continue
        content = code[section.content : section.end]
        if kind == COMPONENT and section.kind in (_CORE_MODULE, _COMPONENT):
            content = strip_all(content, depth + 1)
        parts += [bytes([section.kind]), _leb(len(content)), content]
    return b"".join(parts)


def without_places(code: bytes) -> bytes:
    """A module whose panic messages name no folder of the machine its toolchain was built on.

    Those are constants in its data; what stands there instead is as long, so nothing moves.
    """
    return _PLACE.sub(lambda found: b"crate".ljust(len(found[0]) - 1, b".") + b"/", code)


def _finish(raw: Path, out: Path, folders: list[Path]) -> None:
    code = without_places(strip_all(raw.read_bytes()))
    if folders:
        inside = _leb(len(SOURCES_SECTION)) + SOURCES_SECTION.encode() + digest(folders).encode()
        code += b"\0" + _leb(len(inside)) + inside
    out.write_bytes(code)


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def main(args: list[str]) -> int:
    """Run a step; 2 where it was asked for wrongly or what it was given is wrong."""
    step, paths = args[0] if args else "", [Path(one) for one in args[1:]]
    try:
        if step == "world" and len(paths) == 3:
            write_world(Manifest.load(paths[0].parent), paths[1], paths[2])
        elif step == "sources" and len(paths) == 3:
            copy_sources(*paths)
        elif step == "finish" and len(paths) >= 2:
            _finish(paths[0], paths[1], paths[2:])
        else:
            sys.stderr.write(f"{' '.join(args)}: expected one of\n{(__doc__ or '').split(chr(10) * 2)[1]}\n")
            return 2
    except (LogllmError, OSError) as error:
        sys.stderr.write(f"{step}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
