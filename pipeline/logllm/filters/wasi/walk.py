"""A path walked name by name from a folder's own descriptor, so that no way leads out of it.

`..` goes back to a folder that was come through, never above the first; a link is followed by us, the same way, and
only where it stays inside; what is no file and no folder is not opened.
"""

from __future__ import annotations

import errno as system
import os
import stat
from collections import deque

__all__ = ["MOST_FILE_BYTES", "MOST_NAMES", "Walk", "WasiError", "names_in", "opened"]

OK = 0
EACCES, EBADF, EFAULT, EFBIG, EINVAL, EIO, EISDIR, ELOOP = 2, 8, 21, 22, 28, 29, 31, 32
EMFILE, ENAMETOOLONG, ENOENT, ENOSYS, ENOTDIR, EPERM, ESPIPE, ENOTCAPABLE = 33, 37, 44, 52, 54, 63, 70, 76

MOST_FILE_BYTES = 256 << 20
"""Larger files are not opened."""
MOST_NAMES = 10_000
"""Names of a folder that are listed."""
UNKNOWN, FOLDER, FILE, LINK = 0, 3, 4, 7

_ERRNO = {
    system.EACCES: EACCES,
    system.EISDIR: EISDIR,
    system.ELOOP: ELOOP,
    system.EMFILE: EMFILE,
    system.EMLINK: ELOOP,  # what the BSDs say of a link that is not to be followed
    system.ENAMETOOLONG: ENAMETOOLONG,
    system.ENOENT: ENOENT,
    system.ENOTDIR: ENOTDIR,
    system.EPERM: EPERM,
}
_MOST_LINKS = 16
_DEEPEST = 32  # folders in folders; each is a descriptor while a path is walked
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class WasiError(Exception):
    """A call is answered with this errno of WASI's."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno

    @classmethod
    def of(cls, error: OSError) -> WasiError:
        """The one that says what an OSError says."""
        return cls(_ERRNO.get(error.errno or 0, EIO))


class Walk:
    """Folders that were come through on the way along a path, open until its end."""

    def __init__(self, start: int) -> None:
        self._way = [start]

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        while len(self._way) > 1:
            os.close(self._way.pop())

    def to(self, path: bytes, *, follow: bool) -> bytes:
        """Walk to the folder of the last name; returns that name, "." where the path ends at the folder itself."""
        names = deque(_names_of(path))
        links = 0
        while names:
            name = names.popleft()
            if name == b"..":
                if len(self._way) == 1:
                    raise WasiError(ENOTCAPABLE)
                os.close(self._way.pop())
                continue
            if (follow or names) and stat.S_ISLNK(self.stat(name).st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise WasiError(ELOOP)
                names.extendleft(reversed(_names_of(self._target(name))))
                continue
            if not names:
                return name
            if len(self._way) > _DEEPEST:
                raise WasiError(ENAMETOOLONG)
            self._way.append(self.open(name, os.O_DIRECTORY))
        return b"."

    def stat(self, name: bytes) -> os.stat_result:
        """What a name of the folder it has come to is; of a link, what the link is."""
        try:
            return os.stat(name, dir_fd=self._way[-1], follow_symlinks=False)
        except OSError as error:
            raise WasiError.of(error) from error

    def open(self, name: bytes, more: int = 0) -> int:
        """Open a name of that folder for reading; no link."""
        try:
            return os.open(name, _PLAIN | more, dir_fd=self._way[-1])
        except OSError as error:
            raise WasiError.of(error) from error

    def _target(self, name: bytes) -> bytes:
        try:
            return os.readlink(name, dir_fd=self._way[-1])
        except OSError as error:
            raise WasiError.of(error) from error


def _names_of(path: bytes) -> list[bytes]:
    if path.startswith(b"/"):
        raise WasiError(ENOTCAPABLE)
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def opened(start: int, path: bytes, *, follow: bool) -> tuple[int, os.stat_result]:
    """Open a file or a folder for reading: its descriptor and what it is.

    Raises:
        WasiError: It is not there, is neither, is too large, or the path leads out.
    """
    with Walk(start) as walk:
        name = walk.to(path, follow=follow)
        about = walk.stat(name)
        if stat.S_ISLNK(about.st_mode):
            raise WasiError(ELOOP)
        if not stat.S_ISDIR(about.st_mode) and not stat.S_ISREG(about.st_mode):
            raise WasiError(EACCES)
        opened = walk.open(name)
    about = os.fstat(opened)  # it may have been replaced meanwhile
    wrong = OK
    if not stat.S_ISDIR(about.st_mode) and not stat.S_ISREG(about.st_mode):
        wrong = EACCES
    elif stat.S_ISREG(about.st_mode) and about.st_size > MOST_FILE_BYTES:
        wrong = EFBIG
    if wrong:
        os.close(opened)
        raise WasiError(wrong)
    return opened, about


def names_in(folder: int) -> list[tuple[bytes, int, int]]:
    """The names in a folder with inode and kind, sorted. Raises WasiError."""
    found = [(b".", 0, FOLDER), (b"..", 0, FOLDER)]
    try:
        # A descriptor of its own: instances in other threads read the same folder.
        own = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise WasiError.of(error) from error
    try:
        with os.scandir(own) as entries:
            for one in entries:
                if len(found) >= MOST_NAMES:
                    break
                kind = LINK if one.is_symlink() else FOLDER if one.is_dir() else FILE if one.is_file() else UNKNOWN
                found.append((os.fsencode(one.name), one.inode(), kind))
    except OSError as error:
        raise WasiError.of(error) from error
    finally:
        os.close(own)
    return sorted(found)
