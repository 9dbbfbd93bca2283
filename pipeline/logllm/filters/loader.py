"""A .wasm file on its way in: read, checked, recognised by what it is, and handed to its ABI.

A path that ends in `.wat` may hold WebAssembly text, which is handy to try things; everything else must be binary.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from logllm.errors import PluginLoadError
from logllm.filters.config import GRANTS, Grant, PluginConfig
from logllm.filters.host import visible
from logllm.filters.imports import MODULE, NEEDS
from logllm.filters.interface import FLUENT_BIT, Interface, interface
from logllm.filters.sections import plugin_section
from logllm.filters.shipped import resolve

if TYPE_CHECKING:
    from logllm.filters.instance import Program

__all__ = ["Abi", "About", "Loaded", "about", "load", "read", "recognise"]

Abi = Literal["native", "fluentbit", "component"]

NATIVE_MARK = "logllm_abi"

_MOST_NAMED = 12
_MOST_SHOWN = 100  # of a name, which is the file's to choose


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What can be told of a .wasm without running it.

    Args:
        abi: Which of the three it is.
        imports: "module.name" of each import, "name" in a component.
        exports: Name and, of functions of a core module, signature.
        wants: The grants its imports need and the section names, in the order of `GRANTS`.
        functions: Those with Fluent Bit's signature.
        section: The custom section `logllm.plugin`; None where it has none.
    """

    abi: Abi
    size_bytes: int
    sha256: str
    imports: list[str]
    exports: dict[str, str]
    wants: list[Grant]
    functions: list[str]
    section: dict[str, Any] | None

    @property
    def version(self) -> str:
        """The version the section names, "" where it names none."""
        found = (self.section or {}).get("version", "")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that can be used as it is configured."""

    path: Path
    about: About
    program: Program


def recognise(code: bytes) -> Abi:
    """Which ABI a .wasm speaks, by its content.

    Raises:
        PluginLoadError: None of them: says what it is, or what it exports and what was expected.
    """
    return _abi(interface(code))


def _abi(found: Interface) -> Abi:
    if found.component:
        return "component"
    if NATIVE_MARK in found.exports:
        return "native"
    if any(signature == FLUENT_BIT for signature in found.exports.values()):
        return "fluentbit"
    named = [visible(name[:_MOST_SHOWN]) + str(kind or "") for name, kind in list(found.exports.items())[:_MOST_NAMED]]
    more = f" and {len(found.exports) - _MOST_NAMED} more" if len(found.exports) > _MOST_NAMED else ""
    raise PluginLoadError(
        f"it is no plugin: it exports {', '.join(named) or 'nothing'}{more}; expected {NATIVE_MARK} and "
        f"logllm_process, or a function {FLUENT_BIT} as Fluent Bit calls it, or a component"
    )


def about(code: bytes) -> About:
    """All that can be told without running it.

    Raises:
        PluginLoadError: It is no plugin.
    """
    return _about(code, hashlib.sha256(code).hexdigest())


def _about(code: bytes, sha256: str) -> About:
    found = interface(code)
    section = plugin_section(code)
    return About(
        abi=_abi(found),
        size_bytes=len(code),
        sha256=sha256,
        imports=[f"{module}.{name}" if module else name for module, name in found.imports],
        exports={name: "" if kind is None else str(kind) for name, kind in found.exports.items()},
        wants=_wants(found, section),
        functions=[name for name, kind in found.exports.items() if kind == FLUENT_BIT],
        section=section,
    )


def _wants(found: Interface, section: dict[str, Any] | None) -> list[Grant]:
    ours = "" if found.component else MODULE
    wanted: set[object] = {NEEDS.get(name.replace("-", "_")) for module, name in found.imports if module == ours}
    said = (section or {}).get("wants", [])
    if not isinstance(said, list) or any(one not in GRANTS for one in said):
        raise PluginLoadError(f"its section names wants {said!r}; expected some of {', '.join(GRANTS)}")
    wanted.update(said)
    return [grant for grant in GRANTS if grant in wanted]


def read(path: Path, most_bytes: int) -> bytes:
    """A .wasm file, or a .wat file as the module it is the text of.

    Raises:
        PluginLoadError: It cannot be read, is no file, or is larger than `most_bytes`.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PluginLoadError(f"{path}: not a file; expected a .wasm file")
            code = b"" if found.st_size > most_bytes else file.read(most_bytes + 1)
    except OSError as error:
        raise PluginLoadError(f"{path}: cannot read: {error.strerror or error}") from error
    except ValueError as error:
        raise PluginLoadError(f"{str(path)!r}: not a path: {error}") from error
    if found.st_size > most_bytes or len(code) > most_bytes:
        raise PluginLoadError(
            f"{path}: {max(found.st_size, len(code)):,} bytes; expected at most module_bytes = {most_bytes:,}"
        )
    return _from_text(path, code) if path.suffix == ".wat" else code


def _from_text(path: Path, code: bytes) -> bytes:
    import wasmtime

    try:
        return bytes(wasmtime.wat2wasm(code))
    except wasmtime.WasmtimeError as error:
        line = " ".join(str(error).split())
        raise PluginLoadError(f"{path}: no WebAssembly text: {line[:300]}") from error


def load(config: PluginConfig) -> Loaded:
    """Read, check and compile what a configuration names. Takes seconds for a large module that is not in the cache.

    Raises:
        PluginLoadError: One line: the path, what is wrong, what was expected.
    """
    path = resolve(config.path)
    code = read(path, config.module_bytes)
    found_sha256 = hashlib.sha256(code).hexdigest()
    if config.sha256 and found_sha256 != config.sha256.lower():
        raise PluginLoadError(f"{path}: its sha256 is {found_sha256}; expected {config.sha256.lower()}")
    try:
        found = _about(code, found_sha256)
        # What it only says it wants counts as well: it was written to be run with it.
        missing = [f'"{grant}"' for grant in found.wants if grant not in ("log", *config.grants)]
        if missing:
            raise PluginLoadError(f"it wants what is not granted; expected in its `grants`: {', '.join(missing)}")
        return Loaded(path, found, _program(found.abi, code, config))
    except PluginLoadError as error:
        raise PluginLoadError(f"{path}: {visible(str(error))}") from error


def _program(abi: Abi, code: bytes, config: PluginConfig) -> Program:
    if abi == "native":
        from logllm.filters import native

        return native.program(code, config)
    if abi == "fluentbit":
        from logllm.filters import fluentbit

        return fluentbit.program(code, config)
    from logllm.filters import component

    return component.program(code, config)
