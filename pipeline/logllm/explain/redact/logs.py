"""Our own log lines without what must not leave: the message with its arguments, the traceback, the stack."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedactingFormatter"]


class RedactingFormatter(logging.Formatter):
    """Formats as `shown` does, with the rendered message, the traceback and the stack masked.

    The record itself stays as it is, for the other handlers that have it: give each of those its own formatter. Fields
    of a format string that are none of a record's own (`%(user)s` by `extra=`) are masked where they are text. Not
    masked: a handler that renders records without its formatter.

    Args:
        mask: What replaces secrets, addresses and names, such as `Redactor.mask`.
        shown: How a record is written; the standard library's plain form by default.

    >>> record = logging.LogRecord("app", logging.INFO, "app.py", 1, "login with token=%s", ("abc123def",), None)
    >>> RedactingFormatter(lambda text: text.replace("abc123def", "<secret_1>")).format(record)
    'login with token=<secret_1>'
    """

    def __init__(self, mask: Callable[[str], str], shown: logging.Formatter | None = None) -> None:
        super().__init__()
        self._mask = mask
        self._shown = shown or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, that a handler writes."""
        mask = self._mask
        masked = copy.copy(record)
        for name, value in vars(record).items():
            if name not in _OWN and isinstance(value, str):
                setattr(masked, name, mask(value))
        masked.msg = mask(record.getMessage())
        masked.args = None
        # A text that another handler has rendered already is none of ours: it may not be masked.
        masked.exc_text = mask(self._shown.formatException(record.exc_info)) if record.exc_info else None
        masked.exc_info = None
        masked.stack_info = mask(record.stack_info) if record.stack_info else None
        return self._shown.format(masked)


# What the standard library sets, beside what `format` writes anew.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
