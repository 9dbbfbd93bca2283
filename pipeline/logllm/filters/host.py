"""What plugins may reach of the world: their log, clock, keys and values, metrics, anomalies and questions.

Each instance has a `Host` of its own. Nothing here blocks, nothing raises, everything is bounded: a plugin that
floods loses what is over the bound, and the loss is counted.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "KEY_BYTES",
    "LOG_BYTES",
    "MOST_ANOMALIES",
    "MOST_KEYS",
    "MOST_METRICS",
    "MOST_OPEN_ASKS",
    "Host",
    "Signal",
    "visible",
]

LOG_BYTES = 4096
LOG_LINES_PER_S = 10
LOG_BURST = 50
MOST_ANOMALIES = 16
"""In one call."""
MOST_METRICS = 100
"""Names a plugin may count under."""
MOST_OPEN_ASKS = 4
ASKS_PER_HOUR = 30
ASK_BYTES = 2000
KEY_BYTES = 256
MOST_KEYS = 10_000
"""Each takes some 200 bytes beside itself."""

REFUSED = -1
TOO_LARGE = -2
ABSENT = -3

_log = logging.getLogger("logllm.plugin")
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_NAME = re.compile(rb"[A-Za-z0-9_]{1,64}")
_MOST_COUNT = 1 << 62
# A plugin's instances count in the same metrics, each in its thread.
_COUNTING = threading.Lock()


class Signal(msgspec.Struct, frozen=True):
    """An anomaly that a plugin raised.

    Args:
        plugin: Its name.
        rule: What it calls this kind of thing; anomalies of one rule and service are one incident.
        text: What a person should read.
        score: From 0 to 1, how sure it is.
        service: Whose anomaly it is, "" for nobody's.
        severity: OpenTelemetry's number.
    """

    plugin: str
    rule: str
    text: str
    score: float
    service: str = ""
    severity: int = 0


class _Raised(msgspec.Struct):
    rule: str
    text: str = ""
    service: str = ""
    severity: int = 0


@dataclass(slots=True)
class Counts:
    """What a plugin lost to the bounds above."""

    log_lines: int = 0
    anomalies: int = 0
    asks: int = 0
    kv: int = 0
    metrics: int = 0


@dataclass
class Host:
    """One instance's way out.

    Args:
        plugin: The plugin's name.
        kv_bytes: The most its keys and values may take together.
        ask: Takes a question and its ticket on to the model; None where there is none. It must return at once.
        tell: Where log lines go: level (a logging level) and text.
        clock_ns, monotonic_s: The clocks.
        metrics: Shared by a plugin's instances: name to sum.
        kv: Outlives the instance: it is the tenant's.
        tickets: The last ticket given; no ticket is given twice while the process lives.
    """

    plugin: str
    kv_bytes: int
    ask: Callable[[int, str], bool] | None = None
    tell: Callable[[int, str], None] | None = None
    clock_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic
    metrics: dict[str, int] = field(default_factory=dict)
    kv: dict[bytes, bytes] = field(default_factory=dict)
    signals: list[Signal] = field(default_factory=list)
    lost: Counts = field(default_factory=Counts)
    last_line: str = ""
    tickets: int = 0
    _kv_size: int = 0
    _open: set[int] = field(default_factory=set)
    _asked: deque[float] = field(default_factory=deque)
    _lines: float = LOG_BURST
    _lines_s: float = 0.0

    def __post_init__(self) -> None:
        self._kv_size = sum(len(key) + len(value) for key, value in self.kv.items())

    def log(self, level: int, text: bytes) -> None:
        """A line for the log: 0 debug, 1 info, 2 warning, 3 error. Control characters are made visible."""
        now = self.monotonic_s()
        self._lines = min(LOG_BURST, self._lines + (now - self._lines_s) * LOG_LINES_PER_S)
        self._lines_s = now
        if self._lines < 1:
            self.lost.log_lines += 1
            return
        self._lines -= 1
        shown = self.last_line = visible(text[:LOG_BYTES].decode("utf-8", "replace").rstrip("\r\n"))
        number = _LEVELS[min(level, 3)]
        if self.tell is not None:
            self.tell(number, shown)
        else:
            _log.log(number, "%s: %s", self.plugin, shown)

    def now_ms(self) -> int:
        """The wall clock, in milliseconds since the epoch."""
        return self.clock_ns() // 1_000_000

    def get(self, key: bytes) -> bytes | None:
        """The value kept under a key."""
        return self.kv.get(key)

    def set(self, key: bytes, value: bytes) -> int:
        """Keep a value; an empty one removes the key. 0, or TOO_LARGE where there is no room for it."""
        before = self.kv.get(key)
        freed = 0 if before is None else len(key) + len(before)
        size = len(key) + len(value) if value else 0
        many = value and before is None and len(self.kv) >= MOST_KEYS
        if many or len(key) > KEY_BYTES or self._kv_size - freed + size > self.kv_bytes:
            self.lost.kv += 1
            return TOO_LARGE
        self._kv_size += size - freed
        if value:
            self.kv[key] = value
        else:
            self.kv.pop(key, None)
        return 0

    def count(self, name: bytes, delta: int) -> int:
        """Add to a metric of the plugin's own. 0, or REFUSED for a name that is none or one too many."""
        if _NAME.fullmatch(name) is None:
            self.lost.metrics += 1
            return REFUSED
        word = name.decode("ascii")
        with _COUNTING:
            before = self.metrics.get(word)
            if before is None and len(self.metrics) >= MOST_METRICS:
                self.lost.metrics += 1
                return REFUSED
            self.metrics[word] = min(max((before or 0) + delta, -_MOST_COUNT), _MOST_COUNT)
        return 0

    def anomaly(self, score_milli: int, text: bytes) -> int:
        """Raise an anomaly: JSON with `rule`, `text`, `service`, `severity`. 0, or REFUSED."""
        if len(self.signals) >= MOST_ANOMALIES or len(text) > LOG_BYTES:
            self.lost.anomalies += 1
            return REFUSED
        try:
            raised = msgspec.json.decode(text, type=_Raised)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.lost.anomalies += 1
            return REFUSED
        score = min(max(score_milli, 0), 1000) / 1000
        severity = raised.severity if 0 <= raised.severity <= 24 else 0
        rule, said, service = (
            visible(one[:most]) for one, most in ((raised.rule, 100), (raised.text, 1000), (raised.service, 200))
        )
        self.signals.append(Signal(self.plugin, rule, said, score, service, severity))
        return 0

    def question(self, text: bytes) -> int:
        """Ask the model; the answer comes in a later call. A ticket from 1, or REFUSED: too many, or no model."""
        now = self.monotonic_s()
        while self._asked and now - self._asked[0] > 3600:
            self._asked.popleft()
        full = len(self._open) >= MOST_OPEN_ASKS or len(self._asked) >= ASKS_PER_HOUR
        if self.ask is None or full or len(text) > ASK_BYTES:
            self.lost.asks += 1
            return REFUSED
        ticket = self.tickets + 1
        if not self.ask(ticket, text.decode("utf-8", "replace")):
            self.lost.asks += 1
            return REFUSED
        self.tickets = ticket
        self._open.add(ticket)
        self._asked.append(now)
        return ticket

    def answered(self, ticket: int) -> bool:
        """The answer to a ticket is there; False where nobody asked."""
        if ticket not in self._open:
            return False
        self._open.discard(ticket)
        return True

    def restarted(self) -> None:
        """The instance is a new one: it knows nothing of the questions that are open."""
        self._open.clear()
        self.signals.clear()


def visible(text: str) -> str:
    """Without what a terminal or a log's reader would act on: that is shown as its number."""
    return text if text.isprintable() else "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
