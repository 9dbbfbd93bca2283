"""Folders a guest of WASI may read, by name: what an instance has open in them, and the calls that read it."""

from __future__ import annotations

import os
import stat
import weakref
from dataclasses import dataclass, field
from struct import Struct as Layout
from typing import TYPE_CHECKING

from logllm.errors import PluginLoadError
from logllm.filters.wasi.walk import (
    EBADF,
    EINVAL,
    EISDIR,
    EMFILE,
    ENAMETOOLONG,
    ENOENT,
    ENOTCAPABLE,
    ENOTDIR,
    FILE,
    FOLDER,
    LINK,
    OK,
    UNKNOWN,
    Walk,
    WasiError,
    names_in,
    opened,
)

if TYPE_CHECKING:
    from logllm.wasm.guest import Guest

__all__ = ["MOST_OPEN", "Files", "Folders", "io_places"]

MOST_OPEN = 64
"""Files and folders that one instance may have open, those it was given included."""

_MOST_PLACES = 64
_MOST_READ = 1 << 20
_MOST_PATH = 4096
_FIRST_FD = 3
_HOW_FOLDER, _HOW_CHANGES = 2, 1 | 4 | 8  # create, exclusive, truncate
# read, seek, tell, advise, open, list, stat of a path, stat: what is there to be had
_RIGHTS = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 21
_RIGHT_WRITE = 1 << 6
_PAIR, _U32, _U64 = Layout("<II"), Layout("<I"), Layout("<Q")
_FDSTAT = Layout("<BxHxxxxQQ")
_FILESTAT = Layout("<QQBxxxxxxxQQQQQ")
_NAME = Layout("<QQIBxxx")


def io_places(guest: Guest, places: int, count: int) -> list[tuple[int, int]]:
    """Where a call reads or writes: pointer and size of each place, all of them inside the memory.

    Places beyond the 64th are left out: a call may do less than it was asked for. Raises PluginTrap: a bad pointer.
    """
    found = list(_PAIR.iter_unpack(guest.read(places, 8 * min(count, _MOST_PLACES))))
    for pointer, size in found:
        guest.at(pointer, size)
    if sum(size for _, size in found) > 0xFFFF_FFFF:
        raise WasiError(EINVAL)
    return found


class Folders:
    """The folders of a plugin's `fs`, opened once and shared by its instances.

    Args:
        names: "HOST" or "HOST:GUEST"; without GUEST the guest knows a folder by HOST, as it is written.

    Raises:
        PluginLoadError: One is not there, or is no folder.
    """

    def __init__(self, names: list[str]) -> None:
        self.opened: list[tuple[bytes, int]] = []
        weakref.finalize(self, _close_given, self.opened)
        for name in names:
            host, _, guest = name.rpartition(":") if ":" in name else (name, "", name)
            try:
                folder = os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise PluginLoadError(f"fs: {host!r}: {error.strerror}; expected a folder") from error
            self.opened.append((os.fsencode(guest), folder))


def _close_given(folders: list[tuple[bytes, int]]) -> None:
    for _, fd in folders:
        os.close(fd)


@dataclass
class _Open:
    fd: int
    is_folder: bool
    name: bytes | None = None  # of a folder that was given
    at: int = 0
    names: list[tuple[bytes, int, int]] = field(default_factory=list)


def _close_opened(opened: dict[int, _Open]) -> None:
    while opened:
        _, one = opened.popitem()
        if one.name is None:
            os.close(one.fd)


class Files:
    """What one instance has open."""

    def __init__(self, folders: Folders | None = None) -> None:
        self._folders = folders  # it closes its descriptors when nobody has it
        given = folders.opened if folders is not None else []
        self._open = {_FIRST_FD + number: _Open(fd, True, name) for number, (name, fd) in enumerate(given)}
        self.any = bool(given)
        self._rest = weakref.finalize(self, _close_opened, self._open)

    def close(self) -> None:
        """Close what the guest has left open."""
        self._rest()

    def close_one(self, fd: int) -> int:
        """Close a descriptor of the guest's."""
        found = self._open.pop(fd, None)
        if found is None:
            return EBADF
        if found.name is None:
            os.close(found.fd)
        return OK

    def has(self, fd: int) -> bool:
        """Whether it is open."""
        return fd in self._open

    def _get(self, fd: int, *, folder: bool | None = None) -> _Open:
        found = self._open.get(fd)
        if found is None:
            raise WasiError(EBADF)
        if folder is not None and found.is_folder is not folder:
            raise WasiError(ENOTDIR if folder else EISDIR)
        return found

    def prestat(self, guest: Guest, fd: int, place: int) -> int:
        """`fd_prestat_get`: how long the name of a given folder is."""
        found = self._get(fd)
        if found.name is None:
            return EBADF
        guest.write(place, _PAIR.pack(0, len(found.name)))
        return OK

    def prestat_name(self, guest: Guest, fd: int, place: int, size: int) -> int:
        """`fd_prestat_dir_name`: its name."""
        found = self._get(fd)
        if found.name is None:
            return EBADF
        if size < len(found.name):
            return ENAMETOOLONG
        guest.write(place, found.name)
        return OK

    def fdstat(self, guest: Guest, fd: int, place: int) -> int:
        """`fd_fdstat_get`: its kind, and rights that are those of a reader."""
        found = self._get(fd)
        guest.write(place, _FDSTAT.pack(FOLDER if found.is_folder else FILE, 0, _RIGHTS, _RIGHTS))
        return OK

    def filestat(self, guest: Guest, fd: int, place: int) -> int:
        """`fd_filestat_get`."""
        guest.write(place, _stat(os.fstat(self._get(fd).fd)))
        return OK

    def read(self, guest: Guest, fd: int, places: int, count: int, read: int, offset: int | None = None) -> int:
        """`fd_read`, or `fd_pread` at an offset: at most 1 MiB a call."""
        found = self._get(fd, folder=False)
        guest.at(read, 4)
        at = found.at if offset is None else offset
        if at >> 63:
            return EINVAL
        wanted = io_places(guest, places, count)
        data = self._pread(found.fd, min(sum(size for _, size in wanted), _MOST_READ), at)
        done = 0
        for pointer, size in wanted:
            guest.write(pointer, data[done : done + size])
            done += min(size, len(data) - done)
        if offset is None:
            found.at += len(data)
        guest.write(read, _U32.pack(len(data)))
        return OK

    def _pread(self, fd: int, size: int, at: int) -> bytes:
        try:
            return os.pread(fd, size, at)
        except OSError as error:
            raise WasiError.of(error) from error

    def seek(self, guest: Guest, fd: int, offset: int, whence: int, place: int) -> int:
        """`fd_seek`: from the start (0), from here (1), from the end (2)."""
        found = self._get(fd, folder=False)
        if whence > 2:
            return EINVAL
        moved = (offset ^ (1 << 63)) - (1 << 63)
        at = (0, found.at, os.fstat(found.fd).st_size)[whence] + moved
        if not 0 <= at < 1 << 63:
            return EINVAL
        guest.write(place, _U64.pack(at))
        found.at = at
        return OK

    def tell(self, guest: Guest, fd: int, place: int) -> int:
        """`fd_tell`."""
        guest.write(place, _U64.pack(self._get(fd, folder=False).at))
        return OK

    def open(
        self, guest: Guest, fd: int, path: int, size: int, place: int, *, follow: bool, how: int, rights: int
    ) -> int:
        """`path_open`, for reading."""
        start = self._get(fd, folder=True)
        guest.at(place, 4)
        if how & _HOW_CHANGES or rights & _RIGHT_WRITE:
            return ENOTCAPABLE
        if len(self._open) >= MOST_OPEN:
            return EMFILE
        fd_of_ours, about = opened(start.fd, _path(guest, path, size), follow=follow)
        if how & _HOW_FOLDER and not stat.S_ISDIR(about.st_mode):
            os.close(fd_of_ours)
            return ENOTDIR
        number = next(one for one in range(_FIRST_FD, _FIRST_FD + MOST_OPEN) if one not in self._open)
        self._open[number] = _Open(fd_of_ours, stat.S_ISDIR(about.st_mode))
        guest.write(place, _U32.pack(number))
        return OK

    def path_filestat(self, guest: Guest, fd: int, path: int, size: int, place: int, *, follow: bool) -> int:
        """`path_filestat_get`."""
        start = self._get(fd, folder=True)
        with Walk(start.fd) as walk:
            about = walk.stat(walk.to(_path(guest, path, size), follow=follow))
        guest.write(place, _stat(about))
        return OK

    def list_folder(self, guest: Guest, fd: int, place: int, size: int, cookie: int, used: int) -> int:
        """`fd_readdir`: from the cookie-th name on, as many as there is room for; the last one may be cut."""
        found = self._get(fd, folder=True)
        guest.at(place, size)
        if cookie == 0:
            found.names = names_in(found.fd)
        data = bytearray()
        for number in range(cookie, len(found.names)):
            if len(data) >= size:
                break
            name, inode, kind = found.names[number]
            data += _NAME.pack(number + 1, inode, len(name), kind) + name
        guest.write(place, data[:size])
        guest.write(used, _U32.pack(min(len(data), size)))
        return OK


def _path(guest: Guest, pointer: int, size: int) -> bytes:
    if size > _MOST_PATH:
        raise WasiError(ENAMETOOLONG)
    path = guest.read(pointer, size)
    if not path:
        raise WasiError(ENOENT)
    if 0 in path:
        raise WasiError(EINVAL)
    return path


def _stat(about: os.stat_result) -> bytes:
    mode = about.st_mode
    kind = FOLDER if stat.S_ISDIR(mode) else FILE if stat.S_ISREG(mode) else LINK if stat.S_ISLNK(mode) else UNKNOWN
    times = (max(one, 0) & 0xFFFF_FFFF_FFFF_FFFF for one in (about.st_atime_ns, about.st_mtime_ns, about.st_ctime_ns))
    return _FILESTAT.pack(0, about.st_ino, kind, about.st_nlink, about.st_size, *times)
