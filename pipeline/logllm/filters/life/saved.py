"""What plugins keep from one run to the next: a file for each plugin and tenant, written whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from logllm.filters.config import Limits

__all__ = ["MOST_FILES", "Kept", "Saved"]

_log = logging.getLogger("logllm.plugin")

_VERSION = 1
_OVERHEAD_BYTES = 64 << 10
_SUFFIX = ".plugin"
MOST_FILES = 5_000
"""Of all plugins and tenants of a folder."""


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a tenant.

    Args:
        plugin, tenant: Whose it is; the file's name is a hash of both.
        state: What the plugin gave as its state; None where it gave none.
        kv: Its keys and values.
    """

    plugin: str
    tenant: str
    state: bytes | None = None
    kv: dict[bytes, bytes] = {}
    version: int = _VERSION


class Saved:
    """The files of one plugin.

    Args:
        folder: Where they are; None keeps nothing.
        plugin: Its name.
    """

    def __init__(self, folder: Path | None, plugin: str) -> None:
        self._folder = folder
        self._plugin = plugin
        self._complained = False

    def path(self, tenant: str) -> Path | None:
        """Where a tenant's file is, whether it exists or not."""
        if self._folder is None:
            return None
        named = hashlib.sha256(f"{self._plugin}\0{tenant}".encode("utf-8", "replace")).hexdigest()
        return self._folder / f"{named[:32]}{_SUFFIX}"

    def load(self, tenant: str, limits: Limits) -> Kept:
        """What was kept of a tenant; empty where nothing was, or it is damaged: that is logged, the file set aside."""
        nothing = Kept(self._plugin, tenant)
        path = self.path(tenant)
        if path is None:
            return nothing
        # Keys and values cost their headers as well; what is larger was not written with these limits.
        most_bytes = limits.state_bytes + 2 * limits.kv_bytes + _OVERHEAD_BYTES
        try:
            with path.open("rb") as file:
                body = file.read(most_bytes + 1)
        except FileNotFoundError:
            return nothing
        except OSError as error:
            _log.warning("%s: %s: begins without its state: %s", self._plugin, path, error.strerror or error)
            return nothing
        why = f"larger than its limits allow ({most_bytes} bytes)"
        if len(body) <= most_bytes:
            try:
                kept = msgspec.msgpack.decode(body, type=Kept)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                why = f"damaged: {error}"
            else:
                why = _wrong(kept, nothing, limits)
                if not why:
                    return kept
        _log.warning("%s: %s: begins without its state: %s; %s", self._plugin, path, why, _set_aside(path))
        return nothing

    def save(self, kept: Kept, before: Kept) -> bool:
        """Write a tenant's file, unless nothing has changed. False where that failed; the file there was stays."""
        path = self.path(kept.tenant)
        if path is None or kept == before:
            return True
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _make_room(path.parent)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(msgspec.msgpack.encode(kept))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            if not self._complained:
                _log.warning("%s: %s: its state is not saved: %s", self._plugin, path, error.strerror or error)
            self._complained = True
            return False
        self._complained = False
        return True


def _make_room(folder: Path) -> None:
    """Whoever sends tags makes tenants up: the files not written for longest go. Raises OSError."""
    with os.scandir(folder) as found:
        files = [one for one in found if one.name.endswith(_SUFFIX)]
    if len(files) >= MOST_FILES:
        files.sort(key=lambda one: one.stat().st_mtime_ns)
        for old in files[: len(files) - MOST_FILES + 1]:
            Path(old.path).unlink(missing_ok=True)


def _wrong(kept: Kept, expected: Kept, limits: Limits) -> str:
    if kept.version != _VERSION:
        return f"of version {kept.version}, expected {_VERSION}"
    if (kept.plugin, kept.tenant) != (expected.plugin, expected.tenant):
        return "of another plugin or tenant"
    if kept.state is not None and len(kept.state) > limits.state_bytes:
        return f"its state has {len(kept.state)} bytes, expected at most state_bytes = {limits.state_bytes}"
    if sum(len(key) + len(value) for key, value in kept.kv.items()) > limits.kv_bytes:
        return f"its keys and values are larger than kv_bytes = {limits.kv_bytes}"
    return ""


def _set_aside(path: Path) -> str:
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it stays where it is: {error.strerror or error}"
    return f"kept as {aside.name}"
