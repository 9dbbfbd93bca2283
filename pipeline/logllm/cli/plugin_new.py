"""What `logllm plugin new` does: an SDK and a template become a project."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from logllm.errors import ConfigError, PluginError

__all__ = ["create", "substituted"]

_NOT_COPIED = {"__pycache__", "node_modules", ".zig-cache", "zig-out", "target", ".DS_Store"}


def create(name: str, sdk: Path, into: Path) -> Path:
    """Make the project NAME below `into` from a language's SDK folder; the folder is there whole or not at all.

    Raises:
        ConfigError: The name is none, or the SDK is not whole.
        PluginError: There is already something of this name, or it cannot be written.
    """
    from logllm.filters.manifest import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"{name!r}: expected a name of small letters, digits, - and _ that begins with a letter")
    for part in (sdk / "template", sdk / "sdk"):
        if not part.is_dir():
            raise ConfigError(f"{part}: no such folder; expected an SDK with template/, sdk/ and build.toml")
    target = into / name
    if target.exists() or target.is_symlink():
        raise PluginError(f"{target}: exists; nothing was written")
    try:
        with tempfile.TemporaryDirectory(dir=into, prefix=f".{name}-") as scratch:
            made = Path(scratch) / name
            _copy(sdk / "template", made, name)
            _copy(sdk / "sdk", made / "sdk", None)
            made.rename(target)
    except OSError as error:
        raise PluginError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def substituted(text: str, name: str) -> str:
    """`{{name}}`, `{{Name}}` and `{{name_}}` filled in.

    >>> substituted("{{name}} {{Name}} {{name_}}", "drop-noise")
    'drop-noise DropNoise drop_noise'
    """
    words = [word for word in re.split("[-_]", name) if word]
    camel = "".join(word[0].upper() + word[1:] for word in words)
    return text.replace("{{name}}", name).replace("{{Name}}", camel).replace("{{name_}}", name.replace("-", "_"))


def _copy(source: Path, target: Path, name: str | None) -> None:
    """A folder's files; where `name` is given their names and texts are filled in."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name in _NOT_COPIED:
            continue
        copied = target / (path.name if name is None else substituted(path.name, name))
        if path.is_dir():
            _copy(path, copied, name)
            continue
        content = path.read_bytes()
        if name is not None:
            # What is no text is copied as it is.
            with contextlib.suppress(UnicodeDecodeError):
                content = substituted(content.decode("utf-8"), name).encode("utf-8")
        copied.write_bytes(content)
        if path.stat().st_mode & 0o100:
            copied.chmod(copied.stat().st_mode | 0o111)
