"""The native ABI, version 1: a whole block of msgpack goes in by one copy and one call, the answer out by one copy.

`plugins/README.md` has the ABI. Whatever a guest answers is looked at before it is believed: an answer that is none is
a PluginTrap, and after one an instance is of no more use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters import imports
from logllm.filters.config import config_text
from logllm.filters.native import result as native_result
from logllm.wasm import engine
from logllm.wasm.guest import Guest

if TYPE_CHECKING:
    import wasmtime

    from logllm.filters.config import Limits, PluginConfig
    from logllm.filters.host import Host
    from logllm.filters.instance import Filtered, Program
    from logllm.wasm.call import Call
    from logllm.wasm.guest import Imports

__all__ = ["VERSION", "NativeInstance", "NativeProgram", "program"]

VERSION = 0x0001_0000
"""Major and minor version of the ABI; a guest of another major version is refused."""

_WASI = "wasi_snapshot_preview1"
_BUFFER_STEP = 4096

_I = "i32"
_NEEDED = {
    "logllm_abi": ([], [_I]),
    "logllm_buffer": ([_I], [_I]),
    "logllm_process": ([_I, _I, _I], [_I]),
}
_OPTIONAL = {
    "_initialize": ([], []),
    "logllm_init": ([_I, _I], [_I]),
    "logllm_tag": ([_I, _I], []),
    "logllm_flush": (["i64"], [_I]),
    "logllm_answer": ([_I, _I, _I], []),
    "logllm_state_save": ([], [_I]),
    "logllm_state_load": ([_I, _I], [_I]),
}


def program(code: bytes, config: PluginConfig) -> Program:
    """A module of the native ABI, compiled and looked at; nothing of it has run yet.

    Raises:
        PluginLoadError: It is no module, lacks a function of the ABI or has one of another type, imports what is not
            granted (all missing grants are named) or not to be had.
    """
    return NativeProgram(code, config)


class NativeProgram:
    """A compiled module of the native ABI. Shared by threads."""

    abi = "native"

    def __init__(self, code: bytes, config: PluginConfig) -> None:
        self._modules = engine.ByStack(code, engine.module)
        compiled = self._modules.get(config.limits.stack_bytes)
        _check_exports(compiled)
        self._imports = imports.wanted(compiled)
        # Go's runtime cannot do without WASI; what it gets are stubs that reach nothing. Whoever writes these words
        # into a module of another language gets the same stubs.
        self._wasi = (b"go:buildid" in code or b"Go cmd/compile" in code) and any(
            home == _WASI for home, _ in self._imports
        )
        self._check_imports(config)

    def _check_imports(self, config: PluginConfig) -> None:
        imports.check(self._imports, config.grants, (_WASI,) if self._wasi else ())

    def instance(self, config: PluginConfig, limits: Limits, host: Host) -> NativeInstance:
        """Bring it to life and give it its configuration.

        Raises:
            PluginLoadError: An import is not granted, its start failed, it refused its configuration.
        """
        self._check_imports(config)
        host.last_line = ""
        module = self._modules.get(limits.stack_bytes)
        given: Imports = imports.functions(host)
        if self._wasi:
            given = {**given, **_stubs(module, config, host)}
        guest = Guest(
            module,
            given,
            memory_bytes=limits.memory_bytes,
            stack_bytes=limits.stack_bytes,
            start_ms=limits.init_ms,
        )
        made = NativeInstance(guest, limits, host)
        try:
            made.start(config_text(config))
        except PluginTrap as trap:
            made.close()
            raise PluginLoadError(f"its start failed: {trap}{_last_line(host)}") from trap
        except BaseException:
            made.close()
            raise
        return made


def _check_exports(module: wasmtime.Module) -> None:
    found = engine.functions(module)
    for name, expected in (_NEEDED | _OPTIONAL).items():
        if name in found and found[name] != expected:
            raise PluginLoadError(f"its function {name} is {_words(found[name])}; expected {_words(expected)}")
        if name in _NEEDED and name not in found:
            raise PluginLoadError(f"it exports no function {name}; expected {_words(expected)}")


def _words(kind: tuple[list[str], list[str]]) -> str:
    params, results = kind
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def _stubs(module: wasmtime.Module, config: PluginConfig, host: Host) -> Imports:
    from logllm.filters import wasi

    return wasi.imports(module, host, clock="clock" in config.grants, random="random" in config.grants)


def _last_line(host: Host) -> str:
    return f"; it says: {host.last_line}" if host.last_line else ""


class NativeInstance:
    """One instance of the native ABI; see `instance.Instance`. For one thread at a time."""

    def __init__(self, guest: Guest, limits: Limits, host: Host) -> None:
        self._guest = guest
        self._limits = limits
        self._host = host
        self._buffer = guest.function("logllm_buffer")
        self._process = guest.function("logllm_process")
        self._take_tag = self._optional("logllm_tag")
        self._flush = self._optional("logllm_flush")
        self._answer = self._optional("logllm_answer")
        self._save = self._optional("logllm_state_save")
        self._load = self._optional("logllm_state_load")
        self._tag: str | None = None
        self._place = 0
        self._room = 0
        self._usable = True

    def _optional(self, name: str) -> Call | None:
        return self._guest.function(name) if self._guest.has(name) else None

    def start(self, config: bytes) -> None:
        """Its initialisation, all within `Limits.init_ms`; once, before all else.

        Raises:
            PluginLoadError: It is of another version of the ABI, or refused its configuration.
            PluginTrap: It failed.
        """
        guest = self._guest
        self._begin(self._limits.init_ms)
        with guest.clock:
            if guest.has("_initialize"):
                guest.enter(guest.function("_initialize"))
            version = guest.enter(guest.function("logllm_abi"))
            if version >> 16 != VERSION >> 16:
                raise PluginLoadError(
                    f"it is made for version {version >> 16}.{version & 0xFFFF} of the native ABI; expected "
                    f"{VERSION >> 16}.x"
                )
            init = self._optional("logllm_init")
            if init is not None and guest.enter(init, self._write(config), len(config)) != 0:
                raise PluginLoadError(f"it refused its configuration{_last_line(self._host)}")
        self._usable = True

    def process(self, tag: str, block: bytes, count: int, budget_ms: float) -> Filtered:
        """Filter a block; see `instance.Instance.process`."""
        guest = self._guest
        self._begin(min(self._limits.time_ms, budget_ms))
        with guest.clock:
            if tag != self._tag and self._take_tag is not None:
                data = tag.encode("utf-8", "replace")
                guest.enter(self._take_tag, self._write(data), len(data))
                self._tag = tag
            result = guest.enter(self._process, self._write(block), len(block), 0)
        made = native_result.filtered(guest, result, block, count, self._limits)
        self._usable = True
        return made

    def flush(self, now_ms: int) -> Filtered | None:
        """Records that were held back; see `instance.Instance.flush`."""
        if self._flush is None:
            return None
        self._begin(self._limits.time_ms)
        with self._guest.clock:
            result = self._guest.enter(self._flush, now_ms)
        made = native_result.held_back(self._guest, result, self._limits)
        self._usable = True
        return made

    def answer(self, ticket: int, text: str) -> None:
        """The model's answer to an `ask`."""
        if self._answer is None:
            return
        data = text.encode("utf-8", "replace")
        self._begin(self._limits.time_ms)
        with self._guest.clock:
            self._guest.enter(self._answer, ticket, self._write(data), len(data))
        self._usable = True

    def save(self) -> bytes | None:
        """Its state; None where it keeps none."""
        if self._save is None:
            return None
        self._begin(self._limits.time_ms)
        with self._guest.clock:
            result = self._guest.enter(self._save)
        state = native_result.state(self._guest, result, self._limits)
        self._usable = True
        return state

    def load(self, state: bytes) -> None:
        """Take a state back; a plugin that keeps none ignores it. Raises PluginTrap: it will not have it."""
        if self._load is None:
            return
        if len(state) > self._limits.state_bytes:
            raise PluginTrap("refused", f"{len(state)} bytes of state; `state_bytes` allows {self._limits.state_bytes}")
        self._begin(self._limits.init_ms)
        with self._guest.clock:
            refused = self._guest.enter(self._load, self._write(state), len(state))
        if refused:
            raise PluginTrap("refused", f"it will not have its saved state{_last_line(self._host)}")
        self._usable = True

    @property
    def memory_bytes(self) -> int:
        """The linear memory it has now."""
        return self._guest.memory_bytes

    def close(self) -> None:
        """Give everything back, at once."""
        self._usable = False
        self._guest.close()

    def _begin(self, time_ms: float) -> None:
        """Before each entry. Whatever ends a call before its end leaves the instance unusable, Ctrl-C included."""
        if not self._usable:
            raise PluginTrap("trap", "it failed before, or was closed; expected a new instance")
        self._usable = False
        self._guest.limit(time_ms)

    def _write(self, data: bytes) -> int:
        """Put bytes where the guest wants them."""
        if len(data) > self._room or not self._place:
            # The same place serves until a larger one is asked for; a little more now saves calls later.
            room = (len(data) + len(data) // 8) // _BUFFER_STEP * _BUFFER_STEP + _BUFFER_STEP
            place = self._guest.enter(self._buffer, room)
            if not place:
                raise PluginTrap("memory", f"it has no room for {room} bytes")
            self._guest.at(place, room)
            self._place, self._room = place, room
        self._guest.write(self._place, data)
        return self._place
