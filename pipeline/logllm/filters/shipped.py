"""Where the plugins and SDKs that come with logllm are: inside the package in a wheel, else in the repository."""

from __future__ import annotations

from pathlib import Path

from logllm.errors import ConfigError, PluginLoadError

__all__ = ["languages", "resolve", "root", "sdk", "shipped"]

_SDK = "sdk"


def root() -> Path:
    """The folder `plugins/`: one folder a plugin, and `sdk/`."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "plugins"
    return inside if inside.is_dir() else package.parents[1] / "plugins"


def languages() -> list[str]:
    """The languages there is an SDK for."""
    return sorted(found.parent.name for found in (root() / _SDK).glob("*/build.toml"))


def sdk(language: str) -> Path:
    """The folder of a language's SDK: `sdk/`, `template/` and `build.toml`.

    Raises:
        ConfigError: There is none.
    """
    folder = root() / _SDK / language
    if language not in languages():
        raise ConfigError(f"{language}: no SDK for this language; expected one of {', '.join(languages()) or 'none'}")
    return folder


def shipped() -> dict[str, Path]:
    """The plugins that come with logllm: name to its .wasm file."""
    folders = sorted(found.parent for found in root().glob("*/plugin.toml"))
    files = {folder.name: folder / f"{folder.name}.wasm" for folder in folders if folder.name != _SDK}
    return {name: path for name, path in files.items() if path.is_file()}


def resolve(path_or_name: str) -> Path:
    """The file that is meant: a path, or the name of a plugin that ships. A bare name that ships wins over a file.

    Raises:
        PluginLoadError: There is no such file.
    """
    ours = shipped()
    if path_or_name in ours:
        return ours[path_or_name]
    try:
        path = Path(path_or_name).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError) as error:
        raise PluginLoadError(f"{path_or_name!r}: not a path: {error}") from error
    if path.exists():
        raise PluginLoadError(f"{path_or_name}: not a file; expected a .wasm file")
    known = f", or the name of one that ships: {', '.join(ours)}" if ours else ""
    raise PluginLoadError(f"{path_or_name}: no such file; expected a .wasm file{known}")
