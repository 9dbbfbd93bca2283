from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import PluginLoadError
from logllm.filters.wasi.files import MOST_OPEN, Files, Folders
from logllm.filters.wasi.walk import MOST_FILE_BYTES, MOST_NAMES
from tests.filters.test_wasi import Caller

OK, EACCES, EBADF, EFAULT, EFBIG, EINVAL, EISDIR, ELOOP = 0, 2, 8, 21, 22, 28, 31, 32
EMFILE, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTCAPABLE = 33, 37, 44, 54, 76
FOLDER = 3  # the descriptor of the first folder that was given
PATH_AT, FD_AT, DATA_AT = 1000, 500, 8192
SECRET = b"the secret"


class Reader(Caller):
    """A guest that reads files."""

    def __init__(self, *folders: str) -> None:
        self.files = Files(Folders(list(folders)))
        super().__init__(files=self.files)

    def open(self, path: str | bytes, *, base: int = FOLDER, follow: int = 1, how: int = 0, rights: int = 2) -> int:
        """The errno; the descriptor is in `fd`."""
        name = os.fsencode(path)
        self.guest.write(PATH_AT, name)
        errno = self("path_open", base, follow, PATH_AT, len(name), how, rights, 0, 0, FD_AT)
        self.fd = self.word(FD_AT)
        return errno

    def read(self, fd: int, size: int = 100) -> bytes:
        self.guest.write(0, struct.pack("<II", DATA_AT, size))
        assert self("fd_read", fd, 0, 1, 16) == OK
        return self.guest.read(DATA_AT, self.word(16))

    def names(self, fd: int, size: int = 4096) -> list[tuple[bytes, int]]:
        found: list[tuple[bytes, int]] = []
        cookie = 0
        while True:
            assert self("fd_readdir", fd, DATA_AT, size, cookie, 16) == OK
            used = self.word(16)
            data, at = self.guest.read(DATA_AT, used), 0
            while at + 24 <= used:
                following, _, length, kind = struct.unpack_from("<QQIB", data, at)
                if at + 24 + length > used:
                    break
                found.append((data[at + 24 : at + 24 + length], kind))
                cookie, at = following, at + 24 + length
            if used < size:
                return found
            assert at, "a name does not fit"


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be given, with a secret beside it."""
    given = tmp_path / "given"
    (given / "sub" / "deep").mkdir(parents=True)
    (given / "a.txt").write_bytes(b"hello, reader")
    (given / "sub" / "b.txt").write_bytes(b"below")
    (given / "sub" / "deep" / "c.txt").write_bytes(b"deep")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    (tmp_path / "secret").write_bytes(SECRET)
    return given


@pytest.fixture
def reader(folder: Path) -> Reader:
    return Reader(f"{folder}:/data")


def test_a_given_folder_is_known_by_its_name(reader: Reader, folder: Path) -> None:
    assert reader("fd_prestat_get", FOLDER, 0) == OK
    assert reader.guest.read(0, 8) == struct.pack("<II", 0, 5)
    assert reader("fd_prestat_dir_name", FOLDER, 0, 5) == OK
    assert reader.guest.read(0, 5) == b"/data"
    assert reader("fd_prestat_dir_name", FOLDER, 0, 4) == ENAMETOOLONG
    assert reader("fd_prestat_get", FOLDER + 1, 0) == EBADF

    as_written = Reader(str(folder))
    as_written("fd_prestat_get", FOLDER, 0)
    assert as_written.word(4) == len(str(folder))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for name in ("absent", "file"):
        with pytest.raises(PluginLoadError, match="expected a folder"):
            Folders([f"{tmp_path / name}:/x"])


def test_a_file_is_read_to_its_end(reader: Reader) -> None:
    assert reader.open("a.txt") == OK

    assert reader.read(reader.fd, 5) == b"hello"
    assert reader.read(reader.fd) == b", reader"
    assert reader.read(reader.fd) == b""
    assert reader.names(FOLDER)  # another descriptor's business


def test_a_file_is_read_into_several_places(reader: Reader) -> None:
    reader.open("a.txt")
    reader.guest.write(0, struct.pack("<IIIIII", 2000, 3, 2100, 0, 2200, 50))

    assert reader("fd_read", reader.fd, 0, 3, 16) == OK

    assert reader.word(16) == 13
    assert reader.guest.read(2000, 3) + reader.guest.read(2200, 10) == b"hello, reader"


def test_seek_tell_and_read_at_an_offset(reader: Reader) -> None:
    reader.open("a.txt")
    fd = reader.fd

    assert reader("fd_seek", fd, 7, 0, 0) == OK
    assert reader.read(fd, 3) == b"rea"
    assert reader("fd_tell", fd, 0) == OK
    assert reader.long(0) == 10
    assert reader("fd_seek", fd, -6 & 0xFFFF_FFFF_FFFF_FFFF, 2, 0) == OK
    assert reader.read(fd) == b"reader"
    assert reader("fd_seek", fd, -1 & 0xFFFF_FFFF_FFFF_FFFF, 0, 0) == EINVAL
    assert reader("fd_seek", fd, 0, 3, 0) == EINVAL
    reader.guest.write(0, struct.pack("<II", DATA_AT, 5))
    assert reader("fd_pread", fd, 0, 1, 0, 16) == OK
    assert reader.guest.read(DATA_AT, 5) == b"hello"
    assert reader("fd_pread", fd, 0, 1, 1 << 63, 16) == EINVAL
    assert reader("fd_tell", fd, 0) == OK
    assert reader.long(0) == 13


def test_what_a_thing_is_can_be_asked(reader: Reader) -> None:
    reader.open("a.txt")
    assert reader("fd_filestat_get", reader.fd, 0) == OK
    assert (reader.guest.read(16, 1), reader.long(32)) == (b"\x04", 13)
    assert reader("fd_fdstat_get", reader.fd, 0) == OK
    assert reader.guest.read(0, 1) == b"\x04"
    assert reader.long(8) & 1 << 6 == 0, "no right to write"

    reader.guest.write(PATH_AT, b"sub")
    assert reader("path_filestat_get", FOLDER, 1, PATH_AT, 3, 0) == OK
    assert reader.guest.read(16, 1) == b"\x03"


def test_a_folder_is_listed_in_pieces(reader: Reader, folder: Path) -> None:
    (folder / "link").symlink_to("a.txt")

    whole = reader.names(FOLDER)
    pieces = reader.names(FOLDER, 40)

    assert whole == pieces == [(b".", 3), (b"..", 3), (b"a.txt", 4), (b"link", 7), (b"sub", 3)]


def test_a_folder_in_a_folder_is_a_place_to_start_from(reader: Reader) -> None:
    assert reader.open("sub", how=2) == OK
    sub = reader.fd

    assert reader.open("deep/c.txt", base=sub) == OK
    assert reader.read(reader.fd) == b"deep"
    assert reader.open("../a.txt", base=sub) == ENOTCAPABLE
    assert [name for name, _ in reader.names(sub)] == [b".", b"..", b"b.txt", b"deep"]


@pytest.mark.parametrize("path", ["sub/../a.txt", "./a.txt", "sub/deep/../../a.txt", "sub//../a.txt"])
def test_going_back_inside_the_folder_is_fine(reader: Reader, path: str) -> None:
    assert reader.open(path) == OK
    assert reader.read(reader.fd) == b"hello, reader"


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "..",
        "../given/a.txt",
        "sub/../../secret",
        "sub/deep/../../../secret",
        "./../secret",
        "/etc/hostname",
        "/",
        "//data/a.txt",
        "sub/../../given/../secret",
    ],
)
def test_no_path_leads_out(reader: Reader, path: str) -> None:
    assert reader.open(path) == ENOTCAPABLE
    reader.guest.write(PATH_AT, path.encode())
    assert reader("path_filestat_get", FOLDER, 1, PATH_AT, len(path), 0) == ENOTCAPABLE


@pytest.mark.parametrize(
    "target",
    ["../secret", "/etc/hostname", "..", "sub/../../secret", "../outside", "{tmp}/secret", "loop", "sub/up/../../x"],
)
@pytest.mark.parametrize("path", ["link", "link/secret", "link/", "sub/../link"])
def test_no_link_leads_out(folder: Path, target: str, path: str) -> None:
    (folder / "link").symlink_to(target.format(tmp=folder.parent))
    (folder / "loop").symlink_to("link")
    (folder / "sub" / "up").symlink_to("../..")
    reader = Reader(f"{folder}:/data")

    for follow in (0, 1):
        assert reader.open(path, follow=follow) in (ENOTCAPABLE, ELOOP)
    reader.guest.write(PATH_AT, path.encode())
    assert reader("path_filestat_get", FOLDER, 1, PATH_AT, len(path), 0) in (ENOTCAPABLE, ELOOP)


def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    # As Kubernetes lays out a ConfigMap.
    (folder / "..2026").mkdir()
    (folder / "..2026" / "rules").write_bytes(b"rules")
    (folder / "..data").symlink_to("..2026")
    (folder / "rules").symlink_to("..data/rules")
    reader = Reader(f"{folder}:/data")

    assert reader.open("rules") == OK
    assert reader.read(reader.fd) == b"rules"
    assert reader.open("rules", follow=0) == ELOOP
    reader.guest.write(PATH_AT, b"rules")
    assert reader("path_filestat_get", FOLDER, 0, PATH_AT, 5, 0) == OK
    assert reader.guest.read(16, 1) == b"\x07"


def test_a_folder_swapped_for_a_link_after_it_was_opened_stays_what_it_was(reader: Reader, folder: Path) -> None:
    reader.open("sub")
    sub = reader.fd
    (folder / "sub").rename(folder / "moved")
    (folder / "sub").symlink_to("../outside")

    assert reader.open("b.txt", base=sub) == OK
    assert reader.read(reader.fd) == b"below"
    assert reader.open("sub/secret") == ENOTCAPABLE


@pytest.mark.parametrize(("how", "rights"), [(1, 2), (8, 2), (4, 2), (9, 66), (0, 1 << 6)])
def test_nothing_is_created_cut_or_opened_for_writing(reader: Reader, folder: Path, how: int, rights: int) -> None:
    for path in ("a.txt", "new.txt"):
        assert reader.open(path, how=how, rights=rights) == ENOTCAPABLE

    assert (folder / "a.txt").read_bytes() == b"hello, reader"
    assert not (folder / "new.txt").exists()


@pytest.mark.parametrize(
    "call",
    [
        ("fd_write", 4, 0, 0, 16),
        ("fd_pwrite", 4, 0, 0, 0, 16),
        ("fd_allocate", 4, 0, 100),
        ("fd_filestat_set_size", 4, 0),
        ("fd_filestat_set_times", 4, 0, 0, 15),
        ("fd_renumber", 4, 3),
        ("path_unlink_file", 3, PATH_AT, 5),
        ("path_remove_directory", 3, PATH_AT, 5),
        ("path_rename", 3, PATH_AT, 5, 3, PATH_AT, 4),
        ("path_symlink", PATH_AT, 5, 3, PATH_AT, 4),
        ("path_link", 3, 0, PATH_AT, 5, 3, PATH_AT, 4),
        ("path_filestat_set_times", 3, 0, PATH_AT, 5, 0, 0, 15),
        ("path_readlink", 3, PATH_AT, 5, 0, 100, 16),
    ],
)
def test_nothing_is_changed_by_any_other_call(reader: Reader, folder: Path, call: tuple[object, ...]) -> None:
    assert reader.open("a.txt") == OK
    assert reader.fd == 4
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    name, *values = call

    assert reader(str(name), *(int(str(value)) for value in values)) == ENOTCAPABLE

    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_pipes_sockets_and_devices_are_not_opened(reader: Reader, folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    assert reader.open("pipe") == EACCES


def test_what_is_not_there_or_not_a_folder_is_told(reader: Reader) -> None:
    assert reader.open("absent") == ENOENT
    assert reader.open("a.txt/x") == ENOTDIR
    assert reader.open("a.txt", how=2) == ENOTDIR
    assert reader.open("") == ENOENT
    assert reader.open("a\0b") == EINVAL
    assert reader.open("x" * 300) == ENAMETOOLONG
    assert reader.open("x" * 5000) == ENAMETOOLONG
    reader.open("a.txt")
    assert reader.open("x", base=reader.fd) == ENOTDIR
    reader.open("sub")
    reader.guest.write(0, bytes(8))
    assert reader("fd_read", reader.fd, 0, 1, 16) == EISDIR
    assert reader("fd_readdir", 99, DATA_AT, 10, 0, 16) == EBADF


def test_a_path_may_be_as_deep_as_we_have_descriptors_for(reader: Reader, folder: Path) -> None:
    deep = folder
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)

    assert reader.open("/".join(["d"] * 30)) == OK
    assert reader.open("/".join(["d"] * 40)) == ENAMETOOLONG


def test_a_file_that_is_too_large_is_not_opened(reader: Reader, folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(MOST_FILE_BYTES + 1)

    assert reader.open("large") == EFBIG


def test_a_read_is_of_one_mebibyte_at_most(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(5 << 20)
    reader = Reader(f"{folder}:/data")
    reader.open("large")
    reader.guest.write(0, struct.pack("<II", 1024, 120_000) * 64)

    assert reader("fd_read", reader.fd, 0, 64, 16) == OK
    assert reader.word(16) == 1 << 20


def test_so_many_files_are_open_at_once_and_no_more(reader: Reader) -> None:
    ours = descriptors()
    opened = 0
    while reader.open("a.txt") == OK:
        opened += 1

    assert reader.open("a.txt") == EMFILE
    assert opened == MOST_OPEN - 1
    assert reader("fd_close", 10) == OK
    assert reader("fd_close", 10) == EBADF
    assert reader.open("a.txt") == OK
    assert reader.fd == 10
    reader.files.close()
    assert descriptors() == ours


def test_a_listing_is_bounded(tmp_path: Path) -> None:
    for number in range(MOST_NAMES + 50):
        (tmp_path / str(number)).touch()
    reader = Reader(f"{tmp_path}:/many")

    assert len(reader.names(FOLDER, 65_536)) == MOST_NAMES


def test_bad_pointers_open_nothing(reader: Reader) -> None:
    ours = descriptors()
    reader.guest.write(PATH_AT, b"a.txt")

    assert reader("path_open", FOLDER, 1, PATH_AT, 5, 0, 2, 0, 0, 0xFFFF_FFF0) == EFAULT
    assert reader("path_open", FOLDER, 1, 0xFFFF_FFF0, 5, 0, 2, 0, 0, FD_AT) == EFAULT
    assert reader("fd_readdir", FOLDER, 0xFFFF_FFF0, 100, 0, 16) == EFAULT
    assert descriptors() == ours


@given(st.lists(st.sampled_from(["..", ".", "", "sub", "deep", "up", "out", "a.txt", "c.txt", "back"]), max_size=8))
@settings(max_examples=200)
def test_whatever_is_opened_is_inside(reach: tuple[Path, Reader], parts: list[str]) -> None:
    folder, reader = reach
    path = "/".join(parts)

    if reader.open(path) == OK:
        assert reader("fd_filestat_get", reader.fd, 0) == OK
        inside = {one.stat().st_ino for one in (folder, *folder.glob("a.txt"), *folder.glob("sub/**"))}
        assert reader.long(8) in inside | {(folder / "sub" / "deep" / "c.txt").stat().st_ino}
        assert reader("fd_close", reader.fd) == OK


@pytest.fixture(scope="module")
def reach(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader]:
    """A folder full of links, some of which lead out."""
    folder = tmp_path_factory.mktemp("reach") / "given"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.txt").touch()
    (folder / "sub" / "deep" / "c.txt").touch()
    (folder / "out").symlink_to("../")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "deep" / "out").symlink_to("/tmp")
    (folder / "sub" / "deep" / "back").symlink_to("../../sub/up/sub")
    return folder.resolve(), Reader(f"{folder}:/data")
