"""What `logllm plugin new` does: an SDK and a template become a project."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from logllm.errors import ConfigError, PluginError

__all__ = ["create", "substituted"]

_NOT_COPIED = {"__pycache__", "node_modules", ".zig-cache", "zig-out", "target", ".DS_Store"}
_TEMPLATES = {"native": "template", "component": "template", "fluentbit": "template-fluentbit"}


def create(name: str, sdk: Path, into: Path, abi: str | None = None) -> Path:
    """Make the project NAME below `into` from a language's SDK folder; the folder is there whole or not at all.

    Args:
        abi: "fluentbit" for the SDK's other template, where it has one; None for its own.

    Raises:
        ConfigError: The name is none, or the SDK has no such template.
        PluginError: There is already something of this name, or it cannot be written.
    """
    from logllm.filters.manifest import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"{name!r}: expected a name of small letters, digits, - and _ that begins with a letter")
    template = sdk / _TEMPLATES[abi or "native"]
    if not template.is_dir():
        raise ConfigError(f"--abi {abi}: {sdk.name} has no template for it" if abi else f"{template}: no such folder")
    target = into / name
    if target.exists() or target.is_symlink():
        raise PluginError(f"{target}: exists; nothing was written")
    try:
        with tempfile.TemporaryDirectory(dir=into, prefix=f".{name}-") as scratch:
            made = Path(scratch) / name
            _copy(template, made, name)
            if (sdk / "sdk").is_dir():
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
