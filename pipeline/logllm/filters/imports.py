"""The module `logllm` that a plugin imports from: what each function needs, and the functions themselves.

None of them blocks, raises or traps: what cannot be done is a negative number.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.host import ABSENT, KEY_BYTES, LOG_BYTES, REFUSED, visible
from logllm.wasm.guest import HostFunction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import wasmtime

    from logllm.filters.config import Grant
    from logllm.filters.host import Host
    from logllm.wasm.guest import Guest, Imports

__all__ = ["MODULE", "NEEDS", "RANDOM_BYTES", "check", "functions", "wanted"]

MODULE = "logllm"

NEEDS: dict[str, Grant] = {
    "log": "log",
    "now": "clock",
    "random": "random",
    "kv_get": "kv",
    "kv_set": "kv",
    "metric": "metric",
    "anomaly": "anomaly",
    "ask": "ask",
}
"""The grant that each function needs. `log` is granted to every plugin: it is bounded and reaches nothing."""

RANDOM_BYTES = 4096

_I32 = "i32"


def wanted(module: wasmtime.Module) -> list[tuple[str, str]]:
    """What a module imports, as module and name, in its order."""
    return [(one.module, one.name or "") for one in module.imports]


def check(names: Iterable[tuple[str, str]], grants: Collection[str], others: Collection[str] = ()) -> None:
    """Look at what a plugin imports before it is brought to life.

    Args:
        names: Its imports, see `wanted`.
        grants: What its configuration grants.
        others: Modules beside `logllm` that it may import from.

    Raises:
        PluginLoadError: Grants are missing, all of them named; or it imports what is not to be had.
    """
    names = list(names)
    unknown = [f"{home}.{name}" for home, name in names if (home != MODULE and home not in others)]
    unknown += [f"{home}.{name}" for home, name in names if home == MODULE and name not in NEEDS]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        shown = ", ".join(visible(name[:100]) for name in unknown[:5])
        raise PluginLoadError(f"it imports {shown}{more}, not to be had here; {_hint(unknown)}")
    needed = {NEEDS[name] for home, name in names if home == MODULE} - {"log", *grants}
    if needed:
        missing = ", ".join(f'"{one}"' for one in dict.fromkeys(NEEDS.values()) if one in needed)
        uses = ", ".join(f"{MODULE}.{name}" for home, name in names if home == MODULE and NEEDS[name] in needed)
        raise PluginLoadError(f"it imports {uses}; expected in its `grants`: {missing}")


def _hint(unknown: list[str]) -> str:
    if any(name.startswith("wasi_snapshot_preview1.") for name in unknown):
        return "expected a module without WASI, built for a freestanding target"
    if any(name.startswith(f"{MODULE}.") for name in unknown):
        return f"expected of {MODULE}: {', '.join(NEEDS)}"
    return f"expected imports from {MODULE} only"


def functions(host: Host) -> Imports:
    """The host's functions for one instance, all of them: `check` has kept out whom they are not for."""

    def log(guest: Guest, level: int, pointer: int, size: int) -> None:
        text = _bytes(guest, pointer, size, LOG_BYTES)
        if text is not None:
            host.log(level, text)

    def now(_: Guest) -> int:
        return host.now_ms()

    def random(guest: Guest, pointer: int, size: int) -> int:
        return _put(guest, pointer, os.urandom(size)) if size <= RANDOM_BYTES else REFUSED

    def kv_get(guest: Guest, key_at: int, key_size: int, value_at: int, room: int) -> int:
        key = _bytes(guest, key_at, key_size, KEY_BYTES + 1)
        if key is None:
            return REFUSED
        value = host.get(key)
        if value is None:
            return ABSENT
        if len(value) <= room and _put(guest, value_at, value) != 0:
            return REFUSED
        return len(value)

    def kv_set(guest: Guest, key_at: int, key_size: int, value_at: int, value_size: int) -> int:
        # One byte more than there may be is enough to be refused.
        key = _bytes(guest, key_at, key_size, KEY_BYTES + 1)
        value = _bytes(guest, value_at, value_size, host.kv_bytes + 1)
        return REFUSED if key is None or value is None else host.set(key, value)

    def metric(guest: Guest, pointer: int, size: int, delta: int) -> int:
        name = _bytes(guest, pointer, size, LOG_BYTES)
        return REFUSED if name is None else host.count(name, _signed(delta, 64))

    def anomaly(guest: Guest, score_milli: int, pointer: int, size: int) -> int:
        text = _bytes(guest, pointer, size, LOG_BYTES + 1)
        return REFUSED if text is None else host.anomaly(_signed(score_milli, 32), text)

    def ask(guest: Guest, pointer: int, size: int) -> int:
        text = _bytes(guest, pointer, size, LOG_BYTES)
        return REFUSED if text is None else host.question(text)

    here = {
        "log": HostFunction((_I32, _I32, _I32), (), log),
        "now": HostFunction((), ("i64",), now),
        "random": HostFunction((_I32, _I32), (_I32,), random),
        "kv_get": HostFunction((_I32, _I32, _I32, _I32), (_I32,), kv_get),
        "kv_set": HostFunction((_I32, _I32, _I32, _I32), (_I32,), kv_set),
        "metric": HostFunction((_I32, _I32, "i64"), (_I32,), metric),
        "anomaly": HostFunction((_I32, _I32, _I32), (_I32,), anomaly),
        "ask": HostFunction((_I32, _I32), (_I32,), ask),
    }
    return {(MODULE, name): function for name, function in here.items()}


def _bytes(guest: Guest, pointer: int, size: int, most: int) -> bytes | None:
    """The first `most` bytes of a place; None where the whole of it is not in the guest's memory."""
    try:
        guest.at(pointer, size)
        return guest.read(pointer, min(size, most))
    except PluginTrap:
        return None


def _put(guest: Guest, pointer: int, data: bytes) -> int:
    try:
        guest.write(pointer, data)
    except PluginTrap:
        return REFUSED
    return 0


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
