"""CSV files from outside: what they may look like, what is refused, and that no row takes all memory."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from threading import Thread

import pytest

from logllm.errors import SourceError
from logllm.sources.csv_rows import LONGEST_ROW_CHARS, csv_rows, listed

ROWS = [["session", "text"], ["a", 'say "x", twice'], ["b", "two\nlines"]]
TEXT = 'session,text\r\na,"say ""x"", twice"\r\nb,"two\nlines"\r\n'


def rows_of(path: Path, *, strict: bool = False) -> list[list[str]]:
    with csv_rows(path, strict=strict) as rows:
        return list(rows)


@pytest.mark.parametrize(
    "written",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        gzip.compress(TEXT.encode()),
        gzip.compress(TEXT[:20].encode()) + gzip.compress(TEXT[20:].encode()),
        b'session\ttext\na\t"say ""x"", twice"\nb\t"two\nlines"\n',
        b'session;text\ra;"say ""x"", twice"\rb;"two\nlines"',
    ],
    ids=["plain", "byte order mark", "gzip", "two members", "tabs", "semicolons and carriage returns"],
)
def test_the_same_rows_are_read_however_they_are_written(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written)

    assert rows_of(path) == rows_of(path, strict=True) == ROWS


def test_a_pipe_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(TEXT.encode(),))
    writer.start()

    found = rows_of(path)

    writer.join()
    assert found == ROWS


def test_what_is_no_text_comes_as_what_can_be_read_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n\xff\xfe,x\0y\n")

    assert rows_of(path) == [["a", "b"], ["\ufffd\ufffd", "x\0y"]]


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("a.csv", gzip.compress(TEXT.encode() * 50)[:-20], "cannot read: Compressed file ended"),
        ("a.csv", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 40, "cannot read: damaged gzip data"),
        ("a.csv.gz", b"no gzip at all", "cannot read: Not a gzipped file"),
        ("a.csv", b'a,b\n1,2\n"1,2\n3,4\n', "in the row from line 3 on: unexpected end of data"),
    ],
)
def test_what_is_damaged_is_refused_and_never_read_by_half(
    tmp_path: Path, name: str, written: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(written)

    with pytest.raises(SourceError, match=message):
        rows_of(path, strict=True)


def test_a_folder_and_a_name_that_can_be_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read: Is a directory"):
        rows_of(tmp_path)
    with pytest.raises(SourceError, match="cannot read: embedded null"):
        rows_of(Path("a\0b"))


@pytest.mark.parametrize(
    ("begin", "repeated"),
    [(b"", b"x"), (b'"', b"x\n"), (b"", b'"x\n",'), (b"", b"x,")],
    ids=["no line end", "a quote never closed", "cells of two lines", "columns"],
)
def test_a_row_of_any_length_takes_no_more_than_the_longest_that_is_read(
    tmp_path: Path, begin: bytes, repeated: bytes
) -> None:
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a,b\n" + begin)
        for _ in range(50):
            file.write(repeated * (1 << 18))
    tracemalloc.start()

    with pytest.raises(SourceError, match=r"line 2 on: (a row of more than|field larger)"):
        rows_of(path)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * LONGEST_ROW_CHARS


def test_columns_are_listed_in_one_line_whatever_they_are_called() -> None:
    told = listed(["a", "", "b\nc\x1b[2J", "x" * 1_000, *map(str, range(1_000))])

    assert told.startswith("a, '', 'b\\nc\\x1b[2J', xxx")
    assert told.isprintable()
    assert len(told) < 500
