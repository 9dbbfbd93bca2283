"""What `logllm plugin inspect` tells of a .wasm file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from logllm.cli.render_text import size
from logllm.errors import PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.filters.loader import About

__all__ = ["Inspected", "lines", "look"]

_MOST_BYTES = 256 << 20
_MOST_NAMES = 24


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a file.

    Args:
        path: The file.
        refused: Why it would be refused as it is, with no grants but `log` and no other options; "" where it would
            not.
        expected: What its configuration needs to be loaded; "" where it needs nothing, or nothing helps.
    """

    path: str
    abi: str
    size_bytes: int
    sha256: str
    version: str
    imports: list[str]
    exports: dict[str, str]
    wants: list[str]
    functions: list[str]
    section: dict[str, Any] | None
    refused: str
    expected: str


def look(file: str) -> Inspected:
    """Raises PluginLoadError: there is no such file, or it is no plugin at all."""
    from logllm.filters.config import PluginConfig
    from logllm.filters.loader import about, load, read
    from logllm.filters.shipped import resolve

    path = resolve(file)
    try:
        found = about(read(path, _MOST_BYTES))
    except PluginLoadError as error:
        told = str(error)
        raise PluginLoadError(told if told.startswith(str(path)) else f"{path}: {told}") from error
    refused = expected = ""
    try:
        load(PluginConfig(path=str(path)))
    except PluginLoadError as error:
        refused = str(error).removeprefix(f"{path}: ")
        expected = _expected(path, found)
    return Inspected(
        path=str(path),
        abi=found.abi,
        size_bytes=found.size_bytes,
        sha256=found.sha256,
        version=found.version,
        imports=found.imports,
        exports=found.exports,
        wants=list(found.wants),
        functions=found.functions if found.abi == "fluentbit" else [],
        section=found.section,
        refused=refused,
        expected=expected,
    )


def _expected(path: Path, found: About) -> str:
    """The fewest settings with which it can be loaded."""
    from logllm.filters.config import GRANTS, PluginConfig
    from logllm.filters.loader import load

    grants = [grant for grant in GRANTS if grant == "log" or grant in found.wants]
    function = found.functions[0] if found.abi == "fluentbit" and len(found.functions) > 1 else ""
    config = PluginConfig(
        path=str(path), grants=grants, function=function, module_bytes=max(32 << 20, found.size_bytes)
    )
    try:
        load(config)
    except PluginLoadError:
        return ""
    told = [f"grants = {msgspec.json.encode(grants).decode()}"] if len(grants) > 1 else []
    if function:
        told.append(f'function = "{function}"')
    if found.size_bytes > 32 << 20:
        told.append(f"module_bytes = {config.module_bytes}")
    return ", ".join(told)


def lines(found: Inspected) -> Iterator[str]:
    """The same for a person to read."""
    yield f"file       {found.path}"
    yield f"abi        {found.abi}"
    yield f"size       {size(found.size_bytes)} ({found.size_bytes:,} bytes)"
    yield f"sha256     {found.sha256}"
    if found.section:
        known = ("name", "version", "license")
        yield f"says       {', '.join(f'{key} {found.section[key]}' for key in known if key in found.section)}"
    yield f"wants      {', '.join(found.wants) or 'no grants'}"
    if found.functions:
        yield f"functions  {', '.join(found.functions)}  (as Fluent Bit calls them)"
    if found.refused:
        yield f"refused    {found.refused}"
        if found.expected:
            yield f"expected   {found.expected}"
    else:
        yield "refused    no: it loads as it is"
    for title, names in (
        ("imports", found.imports),
        ("exports", [f"{name}{signature}" for name, signature in found.exports.items()]),
    ):
        yield f"{title:<10} {len(names)}"
        yield from (f"           {name}" for name in names[:_MOST_NAMES])
        if len(names) > _MOST_NAMES:
            yield f"           and {len(names) - _MOST_NAMES} more"
