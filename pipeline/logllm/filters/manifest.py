"""`plugin.toml`: what a plugin's author says about it, and how it is to be run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from logllm.errors import ConfigError
from logllm.filters.config import Grant, PluginConfig

__all__ = ["FILE", "NAME_PATTERN", "Manifest", "Run", "parse_toml", "read_toml"]

FILE = "plugin.toml"
NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,63}\Z"

_MOST_BYTES = 1 << 20

_Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?\Z", max_length=64)]
# Strangers' packages are shown on terminals: nothing that one would act on, no turning of the direction of text.
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]*\Z"
_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_PLAIN)]


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the plugin wants to be run: the fields of `PluginConfig` that are the author's to choose.

    Whoever runs it decides: nothing here is granted until it is in their own configuration. `logllm plugin test` and
    `bench` go by it.
    """

    function: str = ""
    event_format: Literal["json", "msgpack"] = "json"
    reuse_buffer: bool = True
    grants: list[Grant] = msgspec.field(default_factory=lambda: ["log"])
    config: dict[str, Any] = {}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plugin project.

    Args:
        name: Also the name of the folder and of the .wasm file in it.
        version: Three numbers, as in "1.0.0"; "-rc.1" and the like may follow.
        license: An SPDX expression.
        language: The SDK it is built with.
        description: One line.
        run: How it wants to be run.
    """

    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    version: _Version
    license: _Words
    language: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]*\Z")]
    description: Annotated[str, msgspec.Meta(max_length=1000, pattern=_PLAIN)] = ""
    run: Run = Run()

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read `plugin.toml` of a project's folder.

        Raises:
            ConfigError: One line: the file, the place in it, and what was expected there.
        """
        path = folder / FILE
        if not path.is_file():
            raise ConfigError(f"{folder}: no {FILE} in this folder; expected the folder of a plugin project")
        return cls.parse(read_toml(path), str(path))

    @classmethod
    def parse(cls, found: dict[str, Any], where: str) -> Manifest:
        """A manifest from parsed TOML. Raises ConfigError."""
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {error}") from error

    def wasm(self, folder: Path) -> Path:
        """Where the built file of a project is."""
        return folder / f"{self.name}.wasm"

    def plugin(self, path: Path) -> PluginConfig:
        """The configuration the author would run the built file with."""
        return PluginConfig(
            path=str(path),
            name=self.name,
            function=self.run.function,
            event_format=self.run.event_format,
            reuse_buffer=self.run.reuse_buffer,
            grants=self.run.grants,
            config=self.run.config,
        )


def read_toml(path: Path) -> dict[str, Any]:
    """A small TOML file, parsed.

    Raises:
        ConfigError: It cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from error
    return parse_toml(text, str(path))


def parse_toml(text: bytes, where: str) -> dict[str, Any]:
    """The same from its bytes."""
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{where}: larger than {_MOST_BYTES >> 20} MiB; expected a few lines of TOML")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 text at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
