"""The component world `logllm:plugin`, for guests in Python and JavaScript: some hundred records a call, as JSON lines.

`plugins/sdk/wit/logllm.wit` has the world. No WASI is linked: a component that imports some gets functions that trap.
"""

from __future__ import annotations

import re
import time
import weakref
from typing import TYPE_CHECKING, Any

from logllm.errors import PluginLoadError, PluginTrap
from logllm.filters.component.batch import Batches
from logllm.filters.component.host import functions
from logllm.filters.component.memory import memories_of
from logllm.filters.component.world import EXPORTS, WASI, check_grants, imports_of, printable
from logllm.filters.config import config_text
from logllm.filters.instance import Filtered, RecordFailed
from logllm.wasm import engine

if TYPE_CHECKING:
    from wasmtime.component import Component, Func

    from logllm.filters.component.memory import Memories
    from logllm.filters.config import Limits, PluginConfig
    from logllm.filters.host import Host
    from logllm.filters.instance import Program

__all__ = ["ComponentInstance", "ComponentProgram", "program"]

_UNDEFINED = re.compile(r"unknown import: `([^`]+)` has not been defined")
_WORDS = {
    "interrupt": ("timeout", "ran for longer than it may"),
    "call stack exhausted": ("stack", "its call stack is full"),
    "wasm `unreachable` instruction executed": (
        "trap",
        "it gave up (`unreachable`): out of memory, or a call to WASI, of which it has none",
    ),
}


def program(code: bytes, config: PluginConfig) -> Program:
    """A component, compiled and looked at; nothing of it has run yet.

    Raises:
        PluginLoadError: It is no component of this world, it imports what is not granted (all of it is named) or not
            to be had, or it cannot start with the memory it may have.
    """
    return ComponentProgram(code, config)


class ComponentProgram:
    """A compiled component. Shared by threads."""

    abi = "component"

    def __init__(self, code: bytes, config: PluginConfig) -> None:
        self._components = engine.ByStack(code, engine.component)
        self._memories = memories_of(code)
        self._imports: list[str] = []
        compiled = self._components.get(config.limits.stack_bytes)
        self._imports = imports_of(compiled, engine.engine(config.limits.stack_bytes))
        check_grants(self._imports, config)

    def instance(self, config: PluginConfig, limits: Limits, host: Host) -> ComponentInstance:
        """Bring it to life and give it its configuration.

        Raises:
            PluginLoadError: An import is not granted, its memory is too small, its start failed, it refused its
                configuration.
        """
        check_grants(self._imports, config)
        self._memories.check(limits.memory_bytes)
        made = ComponentInstance(self._components.get(limits.stack_bytes), self._imports, self._memories, limits, host)
        try:
            made.start(config_text(config).decode("utf-8", "replace"))
        except PluginTrap as trap:
            made.close()
            raise PluginLoadError(f"its start failed: {trap}") from trap
        except BaseException:
            made.close()
            raise
        return made


class ComponentInstance:
    """A component brought to life, with a Store of its own. For one thread at a time."""

    def __init__(
        self, component: Component, imports: list[str], memories: Memories, limits: Limits, host: Host
    ) -> None:
        import wasmtime

        self._limits = limits
        self._memories = memories
        self._functions: dict[str, Func] = {}
        self._raised: BaseException | None = None
        self._usable = True
        self._left: Batches | None = None
        self._ticker = engine.ticker(limits.stack_bytes)
        self._allowance = engine.Allowance()
        self._store = wasmtime.Store(engine.engine(limits.stack_bytes))
        weakref.finalize(self, self._store.close)
        # What the two toolchains' components need is some 40 instances, 3 memories, 3 tables.
        self._store.set_limits(
            memory_size=memories.each(limits.memory_bytes),
            memories=memories.count,
            instances=200,
            tables=20,
            table_elements=100_000,
        )
        self._bring_to_life(component, imports, host)

    def _bring_to_life(self, component: Component, imports: list[str], host: Host) -> None:
        import wasmtime
        from wasmtime.component import Linker

        linker = Linker(engine.engine(self._limits.stack_bytes))
        given = functions(host, weakref.ref(self))
        with linker.root() as root:
            for name in imports:
                if name in given:
                    root.add_func(name, given[name])
        try:
            if any(name.startswith(WASI) for name in imports):
                linker.define_unknown_imports_as_traps(component)
            self._limit(self._limits.init_ms)
            with self._ticker:
                instance = linker.instantiate(self._store, component)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise PluginLoadError(f"its start failed: {_trap_of(error)}") from error
        finally:
            linker.close()
        for name in EXPORTS:
            function = instance.get_func(self._store, name)
            if function is not None:
                self._functions[name] = function

    def start(self, config: str) -> None:
        """Hand over its configuration, as JSON.

        Raises:
            PluginLoadError: It refused it.
            PluginTrap: It failed.
        """
        if "configure" in self._functions:
            refused = self._call("configure", config, time_ms=self._limits.init_ms)
            if refused is not None:
                raise PluginLoadError(f"it refused its configuration: {printable(refused)}")

    def process(self, tag: str, block: bytes, count: int, budget_ms: float) -> Filtered:
        """Filter a block, some hundred records a call; see `instance.Instance.process`.

        After a RecordFailed, hand in what is behind that record next: what the component has answered already is
        remembered, so it sees no record twice.
        """
        left, self._left = self._left, None
        if left is not None and left.goes_on(tag, block, count):
            batches = left
        else:
            try:
                batches = Batches(tag, block, count)
            except ValueError as error:
                raise PluginTrap("bad_record", f"the block cannot be taken apart: {error}") from error
        ends_s = time.monotonic() + budget_ms / 1000
        while (batch := batches.next()) is not None:
            left_ms = (ends_s - time.monotonic()) * 1000
            if left_ms <= 0:
                raise PluginTrap("timeout", "the chunk took longer than `chunk_ms` allows")
            answer = self._call("on-batch", *batch, time_ms=min(self._limits.time_ms, left_ms))
            batches.take(answer, self._limits)
        made = batches.handed_over(block, self._limits)
        if isinstance(made, RecordFailed):
            self._left = batches
            raise made
        return made

    def flush(self, now_ms: int) -> Filtered | None:
        """None: a component holds no records back."""
        return None

    def answer(self, ticket: int, text: str) -> None:
        """The model's answer to an `ask`. Raises PluginTrap."""
        if "answer" in self._functions:
            self._call("answer", ticket, _text(text), time_ms=self._limits.time_ms)

    def save(self) -> bytes | None:
        """None: what a component wants to keep it puts under its keys."""
        return None

    def load(self, state: bytes) -> None:
        """Nothing: it keeps none."""

    @property
    def memory_bytes(self) -> int:
        """The memory it began with: of what a component takes later nothing can be seen, only its limit is known."""
        return self._memories.least_bytes

    def close(self) -> None:
        """Give everything back, at once."""
        self._usable = False
        self._functions.clear()
        self._left = None
        self._store.close()

    @property
    def over(self) -> bool:
        """Whether the call that is under way has taken longer than it may."""
        return self._allowance.over

    def stop(self, why: BaseException) -> None:
        """From within a host function: the guest is stopped, and `why` comes out of the call into it."""
        self._raised = self._raised or why
        self._store.set_epoch_deadline(0)

    def _limit(self, time_ms: float) -> None:
        self._store.set_epoch_deadline(self._ticker.ticks(time_ms))
        self._allowance.start(time_ms)

    def _call(self, name: str, *values: int | str, time_ms: float) -> Any:
        """Whatever ends a call before its end leaves the instance unusable, Ctrl-C included."""
        import wasmtime

        if not self._usable:
            raise PluginTrap("trap", "it failed before, or was closed; expected a new instance")
        self._usable = False
        self._limit(time_ms)
        try:
            with self._ticker:
                result = self._functions[name](self._store, *values)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            self._throw()
            raise _trap_of(error) from error
        self._throw()
        self._usable = True
        return result

    def _throw(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised


def _trap_of(error: Exception) -> PluginTrap:
    """wasmtime's words made ours, without its list of frames."""
    text = str(error)
    undefined = _UNDEFINED.search(text)
    if undefined:
        words = f"it called {printable(undefined[1], 100)}, and has no WASI here; expected `--stub-wasi` in its build"
        return PluginTrap("trap", words)
    for words, (reason, ours) in _WORDS.items():
        if f"wasm trap: {words}" in text:
            return PluginTrap(reason, ours)
    told = [line.strip() for line in text.splitlines() if line.strip() and not line.strip()[:2].strip(":").isdigit()]
    told = [line for line in told if line != "Caused by:" and "backtrace" not in line]
    return PluginTrap("trap", printable("; ".join(told)) or "wasmtime refused it")


def _text(text: str) -> str:
    """Halves of surrogate pairs are no text to a component."""
    return text.encode("utf-8", "replace").decode()
