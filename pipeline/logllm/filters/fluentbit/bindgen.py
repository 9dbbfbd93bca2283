"""What wasm-bindgen leaves in a Rust module that a common crate (chrono, js-sys) drew it into: imports nobody calls.

Fluent Bit's runtime warns of them and goes on. Here each is a function that stops the guest where it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError, PluginTrap
from logllm.wasm.call import signature
from logllm.wasm.guest import HostFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from logllm.wasm.guest import Guest, Imports

__all__ = ["MODULES", "placeholders"]

MODULES = ("__wbindgen_placeholder__", "__wbindgen_externref_xform__")
_INTEGERS = ("i32", "i64")


def placeholders(module: wasmtime.Module) -> Imports:
    """Those that a module imports.

    Raises:
        PluginLoadError: One takes or gives other things than integers, as those do that are really called.
    """
    import wasmtime

    given: dict[tuple[str, str], HostFunction] = {}
    for one in module.imports:
        if one.module not in MODULES or not isinstance(one.type, wasmtime.FuncType):
            continue
        params, results = signature(one.type)
        if any(kind not in _INTEGERS for kind in (*params, *results)):
            raise PluginLoadError(f"it imports {one.module}.{one.name}, which only a browser has")
        given[one.module, one.name or ""] = HostFunction(tuple(params), tuple(results), _stopping(one.name or ""))
    return given


def _stopping(name: str) -> Callable[..., None]:
    def stop(guest: Guest, *_: int) -> None:
        guest.stop(PluginTrap("trap", f"it called {name}, which only a browser has"))

    return stop
