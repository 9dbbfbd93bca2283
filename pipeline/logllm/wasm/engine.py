"""Engines, their clock, and compiled modules kept on disk.

A compiled module is machine code that is run as it is, so it is only read from a folder that nobody else can write.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import stat
import tempfile
import threading
import time
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from logllm.errors import PluginLoadError

if TYPE_CHECKING:
    import wasmtime
    from wasmtime.component import Component

__all__ = ["STACK_BYTES", "TICK_MS", "Ticker", "code_dir", "component", "engine", "module", "ticker"]

TICK_MS = 5
"""Guests are stopped at a tick, so a time limit is kept to within one of these."""

STACK_BYTES = 512 << 10

_IDLE_S = 1.0
_log = logging.getLogger("logllm.wasm")


@lru_cache(maxsize=8)
def engine(stack_bytes: int = STACK_BYTES) -> wasmtime.Engine:
    """The engine for a size of the guests' stack. Shared by all threads; it has no threads of guests."""
    import wasmtime

    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = stack_bytes
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_component_model = True
    return wasmtime.Engine(config)


class Ticker:
    """Advances an engine's epoch every TICK_MS while somebody is inside a guest; sleeps otherwise.

    Use it in `with` around calls: a guest whose epochs do not pass is never stopped.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._inside = 0
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wasm-ticker", daemon=True)
                self._thread.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._wanted.clear()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(TICK_MS / 1000)
            self._engine.increment_epoch()


@lru_cache(maxsize=8)
def ticker(stack_bytes: int = STACK_BYTES) -> Ticker:
    """The one clock of an engine."""
    return Ticker(engine(stack_bytes))


def module(code: bytes, stack_bytes: int = STACK_BYTES) -> wasmtime.Module:
    """A core module, compiled or taken from the cache.

    Raises:
        PluginLoadError: It is no valid module, or one that needs what the sandbox has not (threads...).
    """
    import wasmtime

    return _cached(code, stack_bytes, wasmtime.Module)


def component(code: bytes, stack_bytes: int = STACK_BYTES) -> Component:
    """The same for a component."""
    from wasmtime.component import Component

    return _cached(code, stack_bytes, Component)


_Compiled = TypeVar("_Compiled", "wasmtime.Module", "Component")


def _cached(code: bytes, stack_bytes: int, kind: type[_Compiled]) -> _Compiled:
    import wasmtime

    its_engine = engine(stack_bytes)
    folder = code_dir()
    path = None if folder is None else folder / f"{_key(code, stack_bytes)}.cwasm"
    if path is not None and _ours(path):
        try:
            return kind.deserialize_file(its_engine, str(path))
        except wasmtime.WasmtimeError as error:
            _log.info("%s: compiled anew: %s", path, _first_line(error))
    try:
        compiled = kind(its_engine, code)
    except wasmtime.WasmtimeError as error:
        raise PluginLoadError(_first_line(error)) from error
    if path is not None:
        _keep(path, compiled.serialize())
    return compiled


def _first_line(error: Exception) -> str:
    """What wasmtime says, on one line, outermost first; it adds a list of causes below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and line.strip() != "Caused by:"]
    return ": ".join(lines[:3]) or "wasmtime refused it"


def _key(code: bytes, stack_bytes: int) -> str:
    made = hashlib.sha256(code)
    made.update(f"\0{version('wasmtime')}\0{stack_bytes}\0{platform.machine()}\0{platform.node()}".encode())
    return made.hexdigest()


@cache
def _ours_alone(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        _log.info("compiled plugins are not kept: %s", error)
        return False
    if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077:
        return True
    _log.warning(
        "%s: compiled plugins are not kept: others may read or write there; expected mode 700, our own", folder
    )
    return False


def code_dir() -> Path | None:
    """Where compiled modules are kept: LOGLLM_CODE_CACHE, else below the user's cache folder; None for nowhere."""
    named = os.environ.get("LOGLLM_CODE_CACHE")
    if named == "":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named).expanduser() if named else base / "logllm" / "code"
    return folder if _ours_alone(folder) else None


def _ours(path: Path) -> bool:
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022


def _keep(path: Path, compiled: bytes | bytearray) -> None:
    """Write it whole or not at all; a full disk costs the cache only."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(compiled)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        _log.info("%s: not kept: %s", path, error)
