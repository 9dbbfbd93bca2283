"""WASI preview 1 as functions of our own: a log to write to, coarse clocks, seeded chance, and no world outside.

A guest built for WASI runs unchanged and reaches nothing: no arguments, no environment, no network, no files but those
`fs` names (see `wasi_files`). Every function is there, each answers with the right error; a bad pointer is EFAULT.
"""

from __future__ import annotations

import os
from random import Random
from struct import Struct as Layout
from typing import TYPE_CHECKING

from logllm.errors import PluginTrap
from logllm.filters.host import LOG_BYTES
from logllm.filters.wasi.files import Files, io_places
from logllm.filters.wasi.walk import EBADF, EFAULT, EINVAL, ENOSYS, ENOTCAPABLE, ESPIPE, OK, WasiError
from logllm.wasm.guest import HostFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from logllm.filters.host import Host
    from logllm.wasm.guest import Guest, Imports

__all__ = ["FUNCTIONS", "MODULES", "Lines", "imports"]

MODULES = ("wasi_snapshot_preview1", "wasi_unstable")
"""The names WASI's functions are imported from; the second is what preview 1 was called before."""

FUNCTIONS = {
    **dict.fromkeys(("args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get"), "ii"),
    **dict.fromkeys(("fd_close", "fd_datasync", "fd_sync", "proc_exit", "proc_raise"), "i"),
    **dict.fromkeys(("fd_fdstat_get", "fd_fdstat_set_flags", "fd_filestat_get", "fd_prestat_get"), "ii"),
    **dict.fromkeys(("fd_renumber", "fd_tell", "random_get", "sock_shutdown"), "ii"),
    **dict.fromkeys(("fd_pread", "fd_pwrite", "fd_readdir"), "iiiIi"),
    **dict.fromkeys(("fd_read", "fd_write", "poll_oneoff"), "iiii"),
    **dict.fromkeys(("fd_prestat_dir_name", "path_create_directory", "path_remove_directory"), "iii"),
    **dict.fromkeys(("path_unlink_file", "sock_accept"), "iii"),
    **dict.fromkeys(("path_filestat_get", "path_symlink", "sock_send"), "iiiii"),
    **dict.fromkeys(("path_readlink", "path_rename", "sock_recv"), "iiiiii"),
    "clock_time_get": "iIi",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_seek": "iIii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "sched_yield": "",
}
"""Each function's parameters, `i` an i32 and `I` an i64. All but `proc_exit` give an errno."""

_TYPES = {"i": "i32", "I": "i64"}
_STDIN, _STDERR = 0, 2
_LOG_LEVELS = {1: 1, 2: 2}  # what a guest prints is information, what it prints as an error a warning
_MOST_SUBSCRIPTIONS = 64
_MOST_RANDOM = 1 << 20
_COARSE_NS = 1_000_000_000
_MOST_SKEW_NS = 1 << 62
_U32, _U64 = Layout("<I"), Layout("<Q")
_FDSTAT = Layout("<BxHxxxxQQ")
_FILESTAT = Layout("<QQBxxxxxxxQQQQQ")
_SUBSCRIPTION = Layout("<QBxxxxxxxIxxxxQQHxxxxxx")
_EVENT = Layout("<QHBxxxxxQHxxxxxx")
_CHARACTER_DEVICE = 2
_RIGHT_READ, _RIGHT_WRITE = 1 << 1, 1 << 6


def imports(
    module: wasmtime.Module,
    host: Host,
    *,
    clock: bool = False,
    random: bool = False,
    log: bool = True,
    files: Files | None = None,
) -> Imports:
    """WASI's functions for one instance; those of them that the module imports.

    Args:
        clock: The clocks are exact; else they go by whole seconds.
        random: Random bytes come from the system; else they are the same for every instance of a plugin.
        log: What it prints goes to the plugin's log, line by line; else nowhere.
        files: The folders it may read, and what it has open in them. The instance's own; close it with the instance.
    """
    system = _System(host, clock=clock, random=random, log=log, files=files or Files())
    return {
        (one.module, one.name): system.function(one.name)
        for one in module.imports
        if one.module in MODULES and one.name in FUNCTIONS
    }


class Lines:
    """What a guest prints, as lines of its log: a piece waits for its end, or until it is as long as a line may be."""

    def __init__(self, host: Host, level: int) -> None:
        self._host = host
        self._level = level
        self._rest = b""

    def write(self, text: bytes) -> None:
        """More of it; what is beyond two lines' length is left out."""
        *lines, rest = (self._rest + text[: 2 * LOG_BYTES]).split(b"\n")
        if len(rest) >= LOG_BYTES:
            lines.append(rest)
            rest = b""
        self._rest = rest
        for line in lines:
            if line:
                self._host.log(self._level, line)


class _System:
    """What one instance sees of a system."""

    def __init__(self, host: Host, *, clock: bool, random: bool, log: bool, files: Files) -> None:
        self._host = host
        self._exact = clock
        self._files = files
        self._chance = None if random else Random(host.plugin)
        self._skew_ns = 0
        self._lines = {fd: Lines(host, level) if log else None for fd, level in _LOG_LEVELS.items()}

    def function(self, name: str) -> HostFunction:
        params = tuple(_TYPES[one] for one in FUNCTIONS[name])
        if name == "proc_exit":
            return HostFunction(params, (), lambda guest, code: guest.exit(code))
        return HostFunction(params, ("i32",), _answering(getattr(self, name, None) or self._refusal(name)))

    def _refusal(self, name: str) -> Callable[..., int]:
        if name.startswith("path_"):
            return lambda *_: ENOTCAPABLE
        if name.startswith("fd_"):
            return lambda _, fd, *rest: ENOTCAPABLE if fd <= _STDERR or self._files.has(fd) else EBADF
        return lambda *_: ENOSYS

    def args_get(self, guest: Guest, pointers: int, text: int) -> int:
        return OK

    environ_get = args_get

    def args_sizes_get(self, guest: Guest, count: int, size: int) -> int:
        guest.write(count, bytes(4))
        guest.write(size, bytes(4))
        return OK

    environ_sizes_get = args_sizes_get

    def sched_yield(self, guest: Guest) -> int:
        return OK

    def random_get(self, guest: Guest, pointer: int, size: int) -> int:
        if size > _MOST_RANDOM:
            return EINVAL
        guest.write(pointer, os.urandom(size) if self._chance is None else self._chance.randbytes(size))
        return OK

    def clock_res_get(self, guest: Guest, clock: int, pointer: int) -> int:
        if clock > 3:
            return EINVAL
        guest.write(pointer, _U64.pack(1 if self._exact else _COARSE_NS))
        return OK

    def clock_time_get(self, guest: Guest, clock: int, _: int, pointer: int) -> int:
        if clock > 3:
            return EINVAL
        guest.write(pointer, _U64.pack(self._now(clock)))
        return OK

    def _now(self, clock: int) -> int:
        """Nanoseconds of the wall clock (0) or of one that only goes on; never 0, which Go's runtime takes for none."""
        now = self._host.clock_ns() if clock == 0 else int(self._host.monotonic_s() * 1e9) + self._skew_ns
        if not self._exact:
            now -= now % _COARSE_NS
        return max(now, _COARSE_NS) & 0xFFFF_FFFF_FFFF_FFFF

    def poll_oneoff(self, guest: Guest, wanted: int, events: int, count: int, found: int) -> int:
        """Nobody sleeps here: it returns at once, and the guest's own clock goes on by as long as it would have slept.

        A guest that waits in a loop until its clock says so does not spin.
        """
        if not 0 < count <= _MOST_SUBSCRIPTIONS:
            return EINVAL
        timers: list[tuple[int, int]] = []
        ready: list[bytes] = []
        for userdata, kind, clock, timeout, _, flags in _SUBSCRIPTION.iter_unpack(guest.read(wanted, 48 * count)):
            if kind == 0:
                timers.append((max(timeout - self._now(clock), 0) if flags & 1 else timeout, userdata))
            else:
                known = clock <= _STDERR or self._files.has(clock)  # a descriptor stands where a clock's number does
                ready.append(_EVENT.pack(userdata, OK if known else EBADF, kind, 1, 0))
        if not ready:
            earliest = min(timers)[0]
            self._skew_ns = min(self._skew_ns + earliest, _MOST_SKEW_NS)
            ready = [_EVENT.pack(userdata, OK, 0, 0, 0) for wait, userdata in timers if wait == earliest]
        guest.write(events, b"".join(ready))
        guest.write(found, _U32.pack(len(ready)))
        return OK

    def fd_write(self, guest: Guest, fd: int, places: int, count: int, written: int) -> int:
        if fd not in self._lines:
            return ENOTCAPABLE if fd == _STDIN or self._files.has(fd) else EBADF
        guest.at(written, 4)
        found = io_places(guest, places, count)
        lines = self._lines[fd]
        if lines is not None:
            lines.write(b"".join(guest.read(pointer, min(size, 2 * LOG_BYTES)) for pointer, size in found))
        guest.write(written, _U32.pack(sum(size for _, size in found)))
        return OK

    def fd_read(self, guest: Guest, fd: int, places: int, count: int, read: int) -> int:
        if fd == _STDIN:
            guest.write(read, bytes(4))
            return OK
        return self._files.read(guest, fd, places, count, read)

    def fd_pread(self, guest: Guest, fd: int, places: int, count: int, offset: int, read: int) -> int:
        return ESPIPE if fd <= _STDERR else self._files.read(guest, fd, places, count, read, offset)

    def fd_seek(self, guest: Guest, fd: int, offset: int, whence: int, place: int) -> int:
        return ESPIPE if fd <= _STDERR else self._files.seek(guest, fd, offset, whence, place)

    def fd_tell(self, guest: Guest, fd: int, place: int) -> int:
        return ESPIPE if fd <= _STDERR else self._files.tell(guest, fd, place)

    def fd_close(self, guest: Guest, fd: int) -> int:
        return OK if fd <= _STDERR else self._files.close_one(fd)

    def fd_fdstat_get(self, guest: Guest, fd: int, place: int) -> int:
        if fd > _STDERR:
            return self._files.fdstat(guest, fd, place)
        rights = _RIGHT_READ if fd == _STDIN else _RIGHT_WRITE
        guest.write(place, _FDSTAT.pack(_CHARACTER_DEVICE, 0, rights, 0))
        return OK

    def fd_filestat_get(self, guest: Guest, fd: int, place: int) -> int:
        if fd > _STDERR:
            return self._files.filestat(guest, fd, place)
        guest.write(place, _FILESTAT.pack(0, 0, _CHARACTER_DEVICE, 1, 0, 0, 0, 0))
        return OK

    def fd_prestat_get(self, guest: Guest, fd: int, place: int) -> int:
        return self._files.prestat(guest, fd, place)

    def fd_prestat_dir_name(self, guest: Guest, fd: int, place: int, size: int) -> int:
        return self._files.prestat_name(guest, fd, place, size)

    def fd_readdir(self, guest: Guest, fd: int, place: int, size: int, cookie: int, used: int) -> int:
        return self._files.list_folder(guest, fd, place, size, cookie, used)

    def path_open(
        self,
        guest: Guest,
        fd: int,
        follow: int,
        path: int,
        size: int,
        how: int,
        rights: int,
        inherited: int,
        flags: int,
        place: int,
    ) -> int:
        if not self._files.any:
            return ENOTCAPABLE
        return self._files.open(guest, fd, path, size, place, follow=bool(follow & 1), how=how, rights=rights)

    def path_filestat_get(self, guest: Guest, fd: int, follow: int, path: int, size: int, place: int) -> int:
        if not self._files.any:
            return ENOTCAPABLE
        return self._files.path_filestat(guest, fd, path, size, place, follow=bool(follow & 1))


def _answering(call: Callable[..., int]) -> Callable[..., int]:
    def answer(guest: Guest, *values: int) -> int:
        try:
            return call(guest, *values)
        except PluginTrap:
            return EFAULT
        except WasiError as error:
            return error.errno

    return answer
