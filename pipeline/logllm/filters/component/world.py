"""The world `logllm:plugin`: what a component may import and must export, and the grants that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logllm.errors import PluginLoadError

if TYPE_CHECKING:
    import wasmtime
    from wasmtime.component import Component

    from logllm.filters.config import Grant, PluginConfig

__all__ = ["EXPORTS", "IMPORTS", "NEEDED", "WASI", "Import", "check_grants", "imports_of", "printable"]


class Import(NamedTuple):
    """A function of the world: the grant it needs, and its type as `(u8, string) -> string`."""

    grant: Grant
    shape: str


IMPORTS: dict[str, Import] = {
    "log": Import("log", "(u8, string)"),
    "now": Import("clock", "() -> u64"),
    "kv-get": Import("kv", "(string) -> option<string>"),
    "kv-set": Import("kv", "(string, string) -> s32"),
    "metric": Import("metric", "(string, s64)"),
    "anomaly": Import("anomaly", "(u32, string)"),
    "ask": Import("ask", "(string) -> s32"),
}
"""Every function of the world by its name."""

EXPORTS = {
    "configure": "(string) -> option<string>",
    "on-batch": "(string, string, string) -> string",
    "answer": "(s32, string)",
}
NEEDED = "on-batch"

WASI = "wasi:"


def imports_of(component: Component, its_engine: wasmtime.Engine) -> list[str]:
    """The names of a component's imports. Raises PluginLoadError: imports or exports are not this world's."""
    kind = component.type
    unknown: list[str] = []
    names: list[str] = []
    for name, given in kind.imports(its_engine).items():
        names.append(name)
        if name in IMPORTS:
            _check_type(f"it imports {name} as", _shape(given.ty), IMPORTS[name].shape)
        elif not name.startswith(WASI):
            unknown.append(name)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise PluginLoadError(
            f"it imports {', '.join(printable(one, 80) for one in unknown[:5])}{more}, not to be had here; "
            f"expected some of {', '.join(IMPORTS)}"
        )
    exports = kind.exports(its_engine)
    for name, expected in EXPORTS.items():
        if name in exports:
            _check_type(f"its function {name} is", _shape(exports[name].ty), expected)
    if NEEDED not in exports:
        raise PluginLoadError(f"it exports no function {NEEDED}; expected {EXPORTS[NEEDED]}")
    return names


def _check_type(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise PluginLoadError(f"{what} {printable(found, 200)}; expected {expected}")


def _shape(item: object) -> str:
    """A function's type as WIT writes it, without names: `(u8, string) -> option<string>`."""
    from wasmtime.component import FuncType

    if not isinstance(item, FuncType):
        return "no function"
    params = ", ".join(_type(kind) for _, kind in item.params)
    return f"({params})" if item.result is None else f"({params}) -> {_type(item.result)}"


def _type(kind: object) -> str:
    from wasmtime.component import OptionType

    if isinstance(kind, OptionType):
        return f"option<{_type(kind.payload)}>"
    return type(kind).__name__.removesuffix("Type").lower()


def check_grants(imports: list[str], config: PluginConfig) -> None:
    """Raises PluginLoadError: it imports what is not granted; `log` always is."""
    needed = {name: IMPORTS[name].grant for name in imports if name in IMPORTS}
    missing = {name: grant for name, grant in needed.items() if grant not in ("log", *config.grants)}
    if missing:
        grants = ", ".join(f'"{one}"' for one in dict.fromkeys(missing.values()))
        raise PluginLoadError(f"it imports {', '.join(missing)}; expected in its `grants`: {grants}")


def printable(text: str, most: int = 500) -> str:
    """A guest's words, made fit for one line."""
    return "".join(one if one.isprintable() else " " for one in text[:most])
