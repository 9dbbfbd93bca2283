"""A made-up day of a shop: eight services, 150 templates, busy at noon, and 50 things that go wrong.

The same seed gives the same bytes. A record is what Fluent Bit sends of a container: the text, its level, where it ran.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from logllm.wire.frame import frame_head

__all__ = ["KINDS", "Day", "Injected", "made"]

SERVICES = ("gateway", "checkout", "payments", "catalogue", "search", "accounts", "shipping", "mail")
TEMPLATES = 150
KINDS = ("new", "rate", "errors", "rare", "silence")
INJECTED = 50
SECOND_NS = 1_000_000_000
START_S = 1_772_150_400
DAY_S = 86_400
FLUSH_S = 30
NODES = 3

_VERBS = (
    "read",
    "wrote",
    "queued",
    "fetched",
    "cached",
    "merged",
    "signed",
    "routed",
    "packed",
    "billed",
    "parsed",
    "stored",
)
_THINGS = (
    "order",
    "basket",
    "session",
    "invoice",
    "index",
    "token",
    "parcel",
    "message",
    "page",
    "price",
    "label",
    "shard",
)
_WAYS = (
    "{verb} {thing} {n} in {ms} ms",
    "{thing} {hex} {verb} for customer {n}",
    "{verb} {n} bytes of {thing} from 10.{a}.{b}.7:{n}",
    "GET /api/{thing}/{n} 200 {ms} ms",
    "{thing} worker {a} {verb} batch {hex}, {b} left",
    "pool of {thing}: {verb}, {a} of {b} in use",
)
_BROKEN = (
    "cannot reach {thing} store: connection refused by 10.{a}.{b}.9",
    "deadline exceeded while {thing} {hex} was {verb}",
    "{thing} {n} rejected: checksum mismatch at offset {n}",
    "no space left on device while {thing} was {verb}",
    "out of memory: {thing} {hex} was {verb} and killed",
)


@dataclass(frozen=True, slots=True)
class Template:
    """A text with places, its service, its level, how many of it there are on an average day."""

    text: str
    service: int
    level: str
    weight: float


@dataclass(frozen=True, slots=True)
class Injected:
    """Something that goes wrong."""

    kind: str
    service: str
    start_s: int
    end_s: int


@dataclass(frozen=True)
class Day:
    """Times and templates of all records, in order of time.

    Shapes:
        time_ns: int64[n]. which: int64[n], index into templates.
    """

    templates: list[Template]
    injected: list[Injected]
    time_ns: NDArray[np.int64]
    which: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_ns)

    def chunks(self, seed: int = 11) -> Iterator[tuple[str, bytes, int]]:
        """Tag, block and count of chunks as each node flushes them every FLUSH_S seconds."""
        source = random.Random(seed)
        texts = [_writer(template, number) for number, template in enumerate(self.templates)]
        slots = (self.time_ns // SECOND_NS - START_S) // FLUSH_S
        edges = np.flatnonzero(np.append(True, np.diff(slots) > 0)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(self)], strict=True):
            waiting: list[list[bytes]] = [[] for _ in range(NODES)]
            times, which = self.time_ns[begin:end].tolist(), self.which[begin:end].tolist()
            for time_ns, number in zip(times, which, strict=True):
                waiting[number % NODES].append(texts[number](time_ns, source.getrandbits(62)))
            for node, entries in enumerate(waiting):
                if entries:
                    yield f"kube.node-{node}", b"".join(entries), len(entries)

    def write(self, path: Path) -> int:
        """All of it as a file sink writes it in the format `msgpack`; returns the bytes of the entries."""
        size = 0
        with path.open("wb") as file:
            for tag, block, count in self.chunks():
                file.write(frame_head(tag, count) + block)
                size += len(block)
        return size


def _writer(template: Template, number: int) -> Callable[[int, int], bytes]:
    service = SERVICES[template.service]
    pod = f"{service}-{number * 7919 % 99_991:05x}-x{template.service}k2p"
    fields = {
        "level": template.level,
        "service": service,
        "pod": pod,
        "host": f"node-{number % NODES}",
        "stream": "stdout",
    }
    rest = bytes(msgpack.packb(fields))[1:]
    head = bytes((0x80 | (len(fields) + 1),)) + b"\xa3log"
    text = template.text.replace("{verb}", _VERBS[number % 12]).replace("{thing}", _THINGS[number * 5 % 12])
    # A word of its own, so that no two templates are one but for a number.
    text = f"{_word(number)} {text}"

    def entry(time_ns: int, chance: int) -> bytes:
        said = text.format(n=chance % 99_991, ms=chance % 877, hex=f"{chance:016x}", a=chance % 61, b=chance % 251)
        seconds, rest_ns = divmod(time_ns, SECOND_NS)
        stamp = b"\x92\x92\xd7\0" + struct.pack(">II", seconds, rest_ns) + b"\x80"
        return stamp + head + bytes(msgpack.packb(said)) + rest

    return entry


def _word(number: int) -> str:
    letters = "bcdfghjklmnpqrstvwxz"
    return f"{letters[number % 20]}{'aeiou'[number // 20 % 5]}{letters[number * 7 % 20]}{'aeiou'[number // 100 % 5]}n:"


def _templates(source: random.Random) -> list[Template]:
    made = []
    for number in range(TEMPLATES):
        level = "info" if number % 11 else "debug"
        if number >= 100 and number % 5 == 0:
            level = "warn"
        if number >= 110 and number % 10 == 3:
            level = "error"
        made.append(
            Template(_WAYS[number % len(_WAYS)], source.randrange(len(SERVICES)), level, 1 / (number + 1) ** 1.1)
        )
    return made


def made(records: int, seed: int = 7) -> Day:
    """A day of about so many records."""
    source, chance = random.Random(seed), np.random.default_rng(seed)
    templates = _templates(source)
    whole = sum(template.weight for template in templates)
    minutes = np.arange(DAY_S // 60)
    season = 1.0 + 0.6 * np.sin((minutes / 1440 - 0.3) * 2 * np.pi)
    times, which = [], []
    # Of each service something that comes like a clock, to fall silent.
    beats = range(len(templates), len(templates) + len(SERVICES))
    templates += [Template("heartbeat {n} of {thing}", service, "info", 0.0) for service in range(len(SERVICES))]
    for number, template in enumerate(templates[:TEMPLATES]):
        mean = records * template.weight / whole / 1440
        counts = chance.poisson(mean * season * chance.gamma(5.0, 0.2, len(minutes)))
        at = np.repeat(minutes, counts) * 60 * SECOND_NS + chance.integers(0, 60 * SECOND_NS, int(counts.sum()))
        times.append(at)
        which.append(np.full(len(at), number))
    injected = []
    for number in range(INJECTED):
        kind = KINDS[number % len(KINDS)]
        # From half past two in the morning on, one every 25 minutes.
        start_s = 9_000 + number * 1_500 + source.randrange(300)
        service = number % len(SERVICES)
        at, what, end_s = _broken(kind, number, service, start_s, records, templates, chance)
        injected.append(Injected(kind, SERVICES[service], START_S + start_s, START_S + end_s))
        times.append(at)
        which.append(np.full(len(at), what))
    for service, number in enumerate(beats):
        at = np.arange(0, DAY_S, 10)
        for one in injected:
            if one.kind == "silence" and one.service == SERVICES[service]:
                at = at[(at < one.start_s - START_S) | (at >= one.end_s - START_S)]
        times.append(at * SECOND_NS + chance.integers(0, SECOND_NS // 2, len(at)))
        which.append(np.full(len(at), number))
    time_ns, numbers = np.concatenate(times), np.concatenate(which)
    order = np.argsort(time_ns, kind="stable")
    return Day(templates, injected, time_ns[order] + START_S * SECOND_NS, numbers[order])


def _broken(
    kind: str,
    number: int,
    service: int,
    start_s: int,
    records: int,
    templates: list[Template],
    chance: np.random.Generator,
) -> tuple[NDArray[np.int64], int, int]:
    """Times, template and end of one thing that goes wrong."""
    if kind == "silence":
        return np.zeros(0, np.int64), 0, start_s + 1_200
    count, length_s = {
        "new": (40, 240),
        "rate": (max(400, records // 500), 300),
        "errors": (200, 300),
        "rare": (12, 200),
    }[kind]
    if kind == "rate":
        mine = [n for n, each in enumerate(templates[:TEMPLATES]) if each.service == service and each.level == "info"]
        what = mine[len(mine) // 2]
    else:
        what = len(templates)
        level = {"new": "warn", "errors": "error", "rare": "info"}[kind]
        templates.append(Template(_BROKEN[number % len(_BROKEN)], service, level, 0.0))
    at = np.sort(chance.integers(0, length_s * SECOND_NS, count)) + start_s * SECOND_NS
    return at, what, start_s + length_s
