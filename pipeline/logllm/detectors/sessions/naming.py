"""Which session a record is of: a field says it, or an id in the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from logllm.detectors.sessions.config import PATTERN_MARK
from logllm.detectors.sessions.discovery import Discovery
from logllm.detectors.sessions.pattern import compiled, ids_in
from logllm.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.events import Columns

__all__ = ["Naming"]

# In order of trust: what is narrower comes first.
_WELL_KNOWN = (
    "traceid", "requestid", "xrequestid", "reqid", "awsrequestid", "correlationid", "xcorrelationid", "transactionid",
    "txid", "txnid", "operationid", "activityid", "executionid", "invocationid", "flowid", "contextid", "blockid",
    "blkid", "block", "taskid", "jobid", "runid", "workflowid", "orderid", "conversationid", "sessionid", "session",
    "connectionid", "connid",
)  # fmt: skip
_RANK = {name: rank for rank, name in enumerate(_WELL_KNOWN)}
_NO_ID = ("", "-", "0", "null", "none", "nil", "undefined", "unknown", "n/a")
_NOT_A_LETTER = re.compile(r"[^a-z]")


def _rank(field: str) -> int:
    """How far up in the list of well-known names a field is; -1 where it is none of them."""
    lower = field.lower()
    parts = (_NOT_A_LETTER.sub("", part) for part in (lower.rpartition(".")[2], lower))
    return min((_RANK[part] for part in parts if part in _RANK), default=-1)


class Naming:
    """Reads the ids of sessions, as `SessionsConfig.key` says.

    Cost: nothing to speak of where a field says it; half a microsecond a record where the text must be searched.

    Args:
        key: As configured.
        seal: What stands for ids, given the field or the pattern that found them.
    """

    def __init__(self, key: str, seal: Callable[[str, list[str]], list[str]] = lambda name, ids: ids) -> None:
        self._key = key
        self._seal = seal
        self._pattern: re.Pattern[str] | None = None
        self._discovery = Discovery() if key == "auto" else None
        if key.startswith(PATTERN_MARK):
            self._pattern = compiled(key.removeprefix(PATTERN_MARK))

    @property
    def field(self) -> str:
        """The one field that is read; "" where it is not a field that was configured."""
        return "" if self._key in ("auto", "off") or self._key.startswith(PATTERN_MARK) else self._key

    @property
    def pattern(self) -> str:
        """What the text is searched for; "" where it is not, or not yet."""
        return "" if self._pattern is None else self._pattern.pattern

    def read(self, columns: Columns, keys: NDArray[np.int32]) -> tuple[NDArray[np.int64], list[str]]:
        """Which session each record is of.

        Shapes:
            keys: int32[n]. returns: int64[n], index into the ids, -1 for none; and the ids, some of them in vain.
        """
        codes, names = self._of_fields(columns)
        done = self._look(columns, keys, codes)
        if self._pattern is None:
            return codes, names
        rest = np.flatnonzero(codes[done:] < 0) + done
        if len(rest):
            whole = len(rest) == len(codes)
            texts = columns.messages if whole else [columns.messages[place] for place in rest.tolist()]
            table: dict[str | None, int] = {None: -1, **dict.fromkeys(_NO_ID, -1)}
            start = len(names) - len(table)
            found_codes = [table.setdefault(name, start + len(table)) for name in ids_in(self._pattern, texts)]
            codes[rest] = found_codes
            ids = [name for name, code in table.items() if name is not None and code >= 0]
            names = [*names, *self._seal(self.pattern, ids)]
        return codes, names

    def _look(self, columns: Columns, keys: NDArray[np.int32], codes: NDArray[np.int64]) -> int:
        """Let the ids in the text be discovered, as long as they are not; returns how many records are done with."""
        done, n, discovery = 0, len(codes), self._discovery
        while discovery is not None and self._pattern is None and done < n:
            done += discovery.pass_over(n - done)
            part = (np.flatnonzero(codes[done:] < 0) + done)[: discovery.wanted]
            if not len(part):
                return n
            found = discovery.see([columns.messages[place] for place in part.tolist()], keys[part].tolist())
            self._pattern = None if found is None else re.compile(found)
            done = int(part[-1]) + 1
        return done

    def _of_fields(self, columns: Columns) -> tuple[NDArray[np.int64], list[str]]:
        codes = np.full(len(columns), -1, np.int64)
        if columns.fields is None or self._key == "off":
            return codes, []
        words = columns.fields.words
        if self._key == "auto":
            ranked = sorted((rank, name) for name in words if (rank := _rank(name)) >= 0)
            chosen = [name for _, name in ranked]
        else:
            chosen = [self._key] if self._key in words else []
        names: list[str] = []
        for field in chosen:
            own, values = words[field]
            # A part of a chunk has all the chunk's values.
            mine = np.flatnonzero((own >= 0) & (codes < 0))
            distinct, which = np.unique(own[mine], return_inverse=True)
            used = [values[code] for code in distinct.tolist()]
            numbers = np.arange(len(names), len(names) + len(used))
            numbers[[value.lower() in _NO_ID for value in used]] = -1
            codes[mine] = numbers[which]
            names += self._seal(field, used)
        return codes, names

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`."""
        if self._discovery is not None:
            self._discovery.merge(old, new)

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        sample = None if self._discovery is None else self._discovery.state()
        return {"key": self._key, "pattern": self.pattern, "sample": sample}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back; of one that read another key, nothing. Raises StateError where it does not fit."""
        try:
            key, pattern, sample = str(state["key"]), str(state["pattern"]), state["sample"]
            if key != self._key or self._discovery is None:
                return
            self._discovery.restore(sample)
            self._pattern = re.compile(pattern) if pattern else None
        except (KeyError, TypeError, re.error) as error:
            raise StateError(f"saved sessions: how they are named is damaged: {error}") from error
