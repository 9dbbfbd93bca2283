"""What `logllm plugin build` does: a project's sources become its .wasm, by the first toolchain that is there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from logllm.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.config import Grant
    from logllm.filters.loader import Abi
    from logllm.filters.manifest import Manifest

__all__ = ["Built", "Recipe", "Toolchain", "build", "compiler", "recipe_for", "toolchain"]

BUILD_S = 900
PROBE_S = 60
_VERSION_CHARS = 100
_PLACE = re.compile(r"\{(python|dir|sdk|out|name|tmp|node_modules)\}")

_Command = Annotated[list[str], msgspec.Meta(min_length=1)]


class Toolchain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to build. It is there where every command of `probe` ends with 0.

    Args:
        version: A command whose first line of output names the compiler and its version; that line goes into the
            module, so that a later build can tell whether it is to give the same bytes. None goes in where it is empty.
    """

    probe: list[_Command]
    run: Annotated[list[_Command], msgspec.Meta(min_length=1)]
    env: dict[str, str] = {}
    version: list[str] = []


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `build.toml`.

    Args:
        hint: One line telling how to get a toolchain.
        ways: `[[try]]` in the file; tried in order.
        reproducible: Whether equal sources give equal bytes.
    """

    hint: str
    ways: Annotated[list[Toolchain], msgspec.Meta(min_length=1)] = msgspec.field(name="try")
    reproducible: bool = True

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Raises ConfigError: one line, the file, the place in it, and what was expected there."""
        from logllm.filters.manifest import read_toml

        try:
            return msgspec.convert(read_toml(path), cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Built:
    """What was built.

    Args:
        path: The .wasm file.
        size_bytes: Its size, the custom section included.
        wants: The grants its imports need.
        seconds: How long it took.
    """

    path: Path
    size_bytes: int
    abi: Abi
    wants: list[Grant]
    seconds: float


def recipe_for(project: Path, manifest: Manifest, sdk: Path | None = None) -> Recipe:
    """How a project is built: by its own `build.toml`, else by that of its language.

    Args:
        sdk: The language's folder; None is the one that comes with logllm.

    Raises:
        ConfigError: Neither is there, or it is wrong.
    """
    from logllm.filters.shipped import sdk as folder_of

    own = project / "build.toml"
    if own.is_file():
        return Recipe.load(own)
    return Recipe.load((sdk or folder_of(manifest.language)) / "build.toml")


def toolchain(project: Path, manifest: Manifest, recipe: Recipe, sdk: Path | None = None) -> Toolchain | None:
    """The first way to build whose tools are there; None where none is."""
    with tempfile.TemporaryDirectory(prefix="logllm-probe-") as scratch:
        places = _places(project, manifest, sdk, Path(scratch))
        for way in recipe.ways:
            if all(_succeeds(_filled(command, places), project, _environment(way, places)) for command in way.probe):
                return way
    return None


def compiler(project: Path, manifest: Manifest, way: Toolchain, sdk: Path | None = None) -> str:
    """Which compiler a way to build uses, as it names itself; "" where the way does not say how to ask."""
    if not way.version:
        return ""
    with tempfile.TemporaryDirectory(prefix="logllm-probe-") as scratch:
        places = _places(project, manifest, sdk, Path(scratch))
        code, text = _run(_filled(way.version, places), project, _environment(way, places), PROBE_S)
    line = text.strip().partition("\n")[0][:_VERSION_CHARS]
    return line if code == 0 and line.isprintable() else ""


def build(
    project: Path,
    manifest: Manifest,
    way: Toolchain,
    *,
    sdk: Path | None = None,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Built:
    """Run a toolchain's commands in the project's folder and add the custom section `logllm.plugin`.

    Args:
        out: Where the .wasm goes; None is the project's own file. It is replaced whole or not at all.
        tell: Gets what the tools print, as it is.

    Raises:
        PluginError: A command failed or took longer than 15 minutes; no file came out.
        PluginLoadError: What came out is no plugin.
    """
    from logllm.filters.package import label

    began = time.monotonic()
    target = manifest.wasm(project) if out is None else out
    with tempfile.TemporaryDirectory(prefix="logllm-build-") as scratch:
        places = _places(project, manifest, sdk, Path(scratch))
        if not (project / "sdk").is_dir():
            places["dir"], places["sdk"] = _staged(project, Path(places["sdk"]), Path(scratch))
        environment = _environment(way, places)
        for command in way.run:
            filled = _filled(command, places)
            code, text = _run(filled, Path(places["dir"]), environment, BUILD_S)
            if text:
                tell(text)
            if code != 0:
                raise PluginError(f"{manifest.name}: {_shown(filled)} {_ended(code)}")
        try:
            raw = Path(places["out"]).read_bytes()
        except FileNotFoundError as error:
            raise PluginError(f"{manifest.name}: the build wrote no file; expected {places['out']}") from error
    finished, abi, wants = label(raw, manifest, compiler(project, manifest, way, sdk))
    _replace(target, finished)
    return Built(target, len(finished), abi, wants, time.monotonic() - began)


def _staged(project: Path, sdk: Path, scratch: Path) -> tuple[str, str]:
    """A copy of a project that brings no SDK of its own, with the shared one in it, as sources expect it there."""
    here = scratch / "project"
    shutil.copytree(project, here, ignore=shutil.ignore_patterns("node_modules", "*.wasm"))
    shutil.copytree(sdk, here / "sdk")
    return str(here), str(here / "sdk")


def _replace(target: Path, content: bytes) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise PluginError(f"{target}: cannot be written: {error.strerror or error}") from error


def _places(project: Path, manifest: Manifest, sdk: Path | None, scratch: Path) -> dict[str, str]:
    from logllm.filters.shipped import root

    here = project.resolve()
    vendored = here / "sdk"
    shared = (sdk or root() / "sdk" / manifest.language) / "sdk"
    modules = here / "node_modules"
    elsewhere = os.environ.get("LOGLLM_NODE_MODULES", "")
    (scratch / "tmp").mkdir()
    (scratch / "out").mkdir()
    return {
        "python": sys.executable,
        "dir": str(here),
        "sdk": str(vendored if vendored.is_dir() else shared),
        "out": str(scratch / "out" / f"{manifest.name}.wasm"),
        "name": manifest.name,
        "tmp": str(scratch / "tmp"),
        "node_modules": elsewhere if elsewhere and not modules.is_dir() else str(modules),
    }


def _filled(command: list[str], places: dict[str, str]) -> list[str]:
    return [_PLACE.sub(lambda found: places[found[1]], word) for word in command]


def _environment(way: Toolchain, places: dict[str, str]) -> dict[str, str]:
    names = list(way.env)
    return {**os.environ, **dict(zip(names, _filled(list(way.env.values()), places), strict=True))}


def _succeeds(command: list[str], project: Path, environment: dict[str, str]) -> bool:
    code, _ = _run(command, project, environment, PROBE_S)
    return code == 0


def _run(command: list[str], project: Path, environment: dict[str, str], most_s: float) -> tuple[int | None, str]:
    """Exit code and output of a command without a shell; None where it took too long, 127 where there is none."""
    group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - a project's build is run by who asks for it
                command,
                cwd=project,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **group,
            )
        except OSError as error:
            return 127, f"{command[0]}: {error.strerror or error}\n"
        code: int | None = None
        try:
            code = child.wait(most_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if child.poll() is None:
                _end(child)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def _end(child: subprocess.Popen[bytes]) -> None:
    """A compiler's own children go with it."""
    if os.name == "posix":
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _ended(code: int | None) -> str:
    if code is None:
        return f"took longer than {BUILD_S} s and was ended"
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"


def _shown(command: list[str]) -> str:
    tool = Path(command[0]).name
    if command[1:2] == ["-m"] and len(command) > 2:
        tool = f"{tool} -m {command[2]}"
    return tool
