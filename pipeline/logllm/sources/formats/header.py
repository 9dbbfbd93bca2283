"""Lines that begin with a header: a time, a level, a name, in columns that one expression describes.

The expression runs over a whole block at once (`findall`), which costs less than a match a line; a line without the
header yields an empty row and belongs to the record above it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logllm.sources.formats.clock import Clock
from logllm.sources.formats.levels import severities, severity_of_pri, severity_of_status, severity_of_word
from logllm.sources.formats.line_format import columns_of
from logllm.sources.multiline import continues, record_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from logllm.events import Columns
    from logllm.sources.formats.line_format import Reading
    from logllm.sources.formats.notations import Notation

__all__ = ["Header", "HeaderFormat"]

NO_TIME = "time unreadable"
_LOOK_BACK = 256


@dataclass(slots=True, frozen=True)
class Header:
    """The columns of a header as an expression for one line, to the start of the message.

    Groups it may have: `time`, `level`, `pri` (syslog's number), `status` (HTTP's), `service`, `who` (put in front of
    the message), `message` (else: all that follows the header).

    Args:
        expression: without `^` and `$`, never matching a newline.
        notation: of the `time` group; None if there is none.
        others: weaker expressions with the same groups, tried in turn on lines that `expression` does not fit.
        strict: lines without header continue a record only if they look like it: the file has other records that
            lack the header.
    """

    name: str
    expression: str
    notation: Notation | None
    others: tuple[str, ...] = ()
    strict: bool = False


class HeaderFormat:
    """A `LineFormat` by a `Header`. Services are `service` without path and brackets (`sshd(pam_unix)` is `sshd`)."""

    def __init__(self, header: Header, reading: Reading) -> None:
        self.name = header.name
        self.misses = 0
        self._reading = reading
        self._strict = header.strict
        body, *others = (
            _within_a_line(one if "(?P<message>" in one else one + "(?P<message>.*)")
            for one in (header.expression, *header.others)
        )
        self._find = re.compile(rf"^(?:{body}$|.*$)", re.MULTILINE)
        self._others = [re.compile(other + r"\Z") for other in others]
        self._all = [re.compile(body + r"\Z"), *self._others]
        self._groups = {name: place - 1 for name, place in self._find.groupindex.items()}
        self._width = self._find.groups
        # A group that is never empty in a line that fits.
        self._mark = next(
            self._groups[name] for name in ("time", "level", "pri", "status", "message") if name in self._groups
        )
        self._numbers = [name for name in ("pri", "status") if name in self._groups]
        self.expression = "\0".join((header.expression, *header.others))
        self._clock = None if header.notation is None else Clock(header.notation, reading)
        self._services: dict[str, str] = {"": reading.default_service}

    def says_numbers(self, line: str) -> bool:
        """Whether digits of a line's header mean something besides a time: a priority, a status."""
        if not self._numbers:
            return False
        match = next((match for one in self._all if (match := one.match(line))), None)
        return match is not None and any(match.groupdict().get(name) for name in self._numbers)

    def parse(self, lines: list[str], *, join: bool = True) -> Columns:
        """See `LineFormat.parse`."""
        if not lines:
            return columns_of(np.zeros(0, np.int64), [], None, "", np.zeros(0, np.int64))
        text = "\n".join(lines)
        rows = self._find.findall(text)
        columns: list[list[str]] = [list(column) for column in zip(*rows, strict=True)] if self._width > 1 else [rows]
        bare = self._bare(lines, columns)
        starts = self._starts(lines, bare) if join else None
        if starts is None:
            position = np.arange(len(lines), dtype=np.int64)
            messages = self._messages(columns)
        else:
            position = starts.astype(np.int64)
            messages = self._reading.joined(lines, self._messages(columns), starts)
            chosen = starts.tolist()
            columns = [[column[row] for row in chosen] for column in columns]
        return columns_of(
            self._times(columns, len(messages)), messages, self._severity(columns), self._service(columns), position
        )

    def unfinished(self, lines: list[str]) -> int:
        """See `LineFormat.unfinished`."""
        for back in range(1, min(len(lines), _LOOK_BACK) + 1):
            line = lines[-back]
            if self._fits(line) or (self._strict and line.strip() and not continues(line)):
                return back
        return 0

    def _fits(self, line: str) -> bool:
        return any(one.match(line) for one in self._all)

    def _bare(self, lines: list[str], columns: list[list[str]]) -> list[int]:
        """Rows without header, their message put in; those that fit a weaker expression are filled in."""
        mark = columns[self._mark]
        self.misses = 0
        if "" not in mark:
            return []
        bare: list[int] = []
        message = columns[self._groups["message"]]
        for row, found in enumerate(mark):
            if found:
                continue
            line = lines[row]
            match = next((match for other in self._others if (match := other.match(line))), None)
            if match is None:
                message[row] = line
                bare.append(row)
                self.misses += not continues(line) and line.strip() != ""
                continue
            for name, value in match.groupdict(default="").items():
                if name in self._groups:
                    columns[self._groups[name]][row] = value
        return bare

    def _starts(self, lines: list[str], bare: list[int]) -> NDArray[np.intp] | None:
        """The rows where records begin; None for all of them."""
        if not bare:
            return None
        begins = np.ones(len(lines), np.bool_)
        begins[bare] = False
        if self._strict:
            # Headers and shapes both tell: a bare line begins a record unless it looks like a continuation.
            shaped = record_starts(lines)
            by_shape = np.ones(len(lines), np.bool_)
            if shaped is not None:
                by_shape[:] = False
                by_shape[shaped] = True
            begins |= by_shape
        elif not begins[0] and lines[0].strip():
            # Nothing above it in this block: the file's first lines, or a record that was flushed already.
            first = next(iter(np.flatnonzero(begins).tolist()), len(lines))
            head = record_starts(lines[:first])
            begins[np.arange(first) if head is None else head] = True
        return np.flatnonzero(begins)

    def _messages(self, columns: list[list[str]]) -> list[str]:
        message = columns[self._groups["message"]]
        if "who" not in self._groups:
            return message
        who = columns[self._groups["who"]]
        return [f"{name} {text}" if name and text else name or text for name, text in zip(who, message, strict=True)]

    def _times(self, columns: list[list[str]], count: int) -> NDArray[np.int64]:
        if self._clock is None or not count:
            return self._reading.untimed(count)
        texts = columns[self._groups["time"]]
        times, ok = self._clock.read(texts)
        if not ok.all():
            unreadable = sum(1 for row in np.flatnonzero(~ok).tolist() if texts[row] not in ("", "-"))
            if unreadable:
                self._reading.counts[NO_TIME] += unreadable
        return self._reading.settle(times, ok)

    def _severity(self, columns: list[list[str]]) -> NDArray[np.uint8] | None:
        found: NDArray[np.uint8] | None = None
        for name, convert in (("pri", severity_of_pri), ("status", severity_of_status), ("level", severity_of_word)):
            if name in self._groups:
                column = severities(columns[self._groups[name]], convert)
                found = column if found is None else np.where(column > 0, column, found)
        return found

    def _service(self, columns: list[list[str]]) -> list[str] | str:
        if "service" not in self._groups:
            return self._reading.default_service
        column = columns[self._groups["service"]]
        if len(self._services) > 10_000:
            self._services = {"": self._reading.default_service}
        for name in set(column) - self._services.keys():
            self._services[name] = _plain_name(name) or self._reading.default_service
        return list(map(self._services.__getitem__, column))


_piece = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[]+", re.DOTALL)


def _within_a_line(expression: str) -> str:
    r"""The expression with every `\s` that stands alone as a blank or a tab: over a block it must not eat a newline.

    >>> print(_within_a_line(r"a\s+[^\s]"))
    a[ \t]+[^\s]
    """
    return _piece.sub(lambda piece: r"[ \t]" if piece.group() == r"\s" else piece.group(), expression)


def _plain_name(program: str) -> str:
    """`sshd(pam_unix)` and `/usr/sbin/sshd` are both `sshd`.

    >>> _plain_name("sshd(pam_unix)"), _plain_name("/usr/sbin/cron"), _plain_name("syslogd 1.4.1")
    ('sshd', 'cron', 'syslogd')
    """
    name = program.strip().split("(", 1)[0].rsplit("/", 1)[-1].strip()
    return re.sub(r"\s+[\d.]+$", "", name) or program.strip()
