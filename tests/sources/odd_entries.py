"""Entries as no client sends them, among such as many do."""

from __future__ import annotations

import random
import struct

import msgpack  # type: ignore[import-untyped]

from logllm.fields import MESSAGE_KEYS, SERVICE_KEYS, SEVERITY_KEYS
from logllm.sources import scan

__all__ = ["EVENT_TIME", "FILL", "FILLED", "PLAIN", "Odd"]

EVENT_TIME = b"\xd7\0\x65\x53\xf1\0\0\0\0\7"
PLAIN = b"\x92\x92" + EVENT_TIME + b"\x80" + msgpack.packb({"log": "took 12 ms"})
# Blocks below FEWEST_BYTES are not scanned.
FILL = PLAIN * (scan.FEWEST_BYTES // len(PLAIN) + 1)
FILLED = len(FILL) // len(PLAIN)

_TEXTS = (
    *(
        "",
        "hi",
        "took 5 ms",
        "error 17",
        "a\n",
        "a\r\n",
        "b\nc\n",
        "é ü 7",
        "日本 12",
        "x\0y",
        "WARN",
        "info",
        "web",
        "cart",
    ),
    *("abc.service", ".service", "/cart", "  ", "\n", "deadbeefdeadbeef12 q", "z9" * 1100, "é" * 1500, "7" * 40),
)
_INNER = ("name", "labels", "app", "container_name", "pod_name", "k8s-app", "level", "z")
_FIELDS = ("a", "stream", "", 'q"', "é", "lo", "logs", "log.levels", "x" * 40)


class Odd:
    """Entries as no client sends them, among such as many do; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            return rng.choice(_TEXTS)
        if rng.random() < 0.2:
            return "".join(rng.choice("ab 01239\n\r\0é日") for _ in range(rng.randint(0, 70)))
        return " ".join(
            rng.choice(["alpha", "b2", str(rng.randint(0, 9999)), "x=1"]) for _ in range(rng.randint(1, 30))
        )

    def value(self, depth: int = 0) -> object:
        rng = self.rng
        kind = rng.random()
        if kind < 0.55:
            return self.text()
        if kind < 0.8:
            numbers = [0, 3, 17, 30, 127, 128, -1, -33, 65_535, 70_000, 2**40, -(2**40), 1.5, -2.0, float("nan"), 3e9]
            return rng.choice([None, True, False, self.text().encode() + b"\xff", *numbers])
        if kind < 0.83:
            return msgpack.ExtType(rng.randint(0, 100), b"x" * rng.choice([1, 2, 4, 8, 16, 3, 300]))
        if kind < 0.9:
            return [self.value(depth + 1) for _ in range(rng.randint(0, 3))] if depth < 4 else None
        return {key: self.value(depth + 1) for key in rng.sample(_INNER, rng.randint(0, 4))} if depth < 4 else None

    def pod(self) -> dict[str, object]:
        rng = self.rng
        labels = {"app": rng.choice(["cart", "web", ""]), "tier": "x" * rng.randint(0, 40)}
        name, container = f"pod-{rng.randint(0, 3)}", rng.choice(["main", "side"])
        return {"pod_name": name, "labels": labels, "container_name": container, "host": f"n{rng.randint(0, 2)}"}

    def record(self) -> bytes:
        rng = self.rng
        pairs: list[tuple[object, object]] = []
        for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
            key = rng.choice([*MESSAGE_KEYS, *SEVERITY_KEYS, *SERVICE_KEYS, *["level", "kubernetes"] * 6, "stream"])
            if rng.random() < 0.03:
                key = rng.choice(_FIELDS)
            value = self.text() if key in MESSAGE_KEYS and rng.random() < 0.9 else self.value()
            pairs.append((key, self.pod() if key == "kubernetes" and rng.random() < 0.8 else value))
        if rng.random() < 0.8:
            pairs.append(("log", self.text()))
        if rng.random() < 0.9:
            pairs = list(dict(pairs).items())
        if rng.random() < 0.03:
            pairs.append((rng.choice([5, b"log", None, (1, 2)]), "odd"))
        head = b"\xde" + struct.pack(">H", len(pairs)) if rng.random() < 0.1 else bytes([0x80 | len(pairs)])
        return head + b"".join(bytes(msgpack.packb(key)) + bytes(msgpack.packb(value)) for key, value in pairs)

    def time(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.7:
            return b"\xd7\0" + struct.pack(">II", 1_700_000_000 + rng.randint(0, 100), rng.randint(0, 10**9))
        number: object = rng.choice(
            [1_700_000_000, 1_700_000_000.25, 0, 5, -7, 2**62, -(2**40), 1e300, None, "x", [1], {}]
        )
        return rng.choice(
            [bytes(msgpack.packb(number)), b"\xc7\x08" + EVENT_TIME[1:], b"\xd3" + b"\xff" * 8, b"\xca\x4e\xca\xa7\xe2"]
        )

    def entry(self) -> bytes:
        rng = self.rng
        headers = [b"\x92"] * 18 + [b"\xdc\0\2", b"\xdd\0\0\0\2"]
        head = self.time()
        if rng.random() < 0.01:
            head = b"\xd7\0\xff\xff\xff\xff\0\0\0\0"
        if rng.random() < 0.7:
            head = rng.choice(headers) + head + rng.choice([b"\x80", b"\x81\xa1a\1", b"\xc0"])
        return rng.choice(headers) + head + self.record()

    def entries(self) -> list[bytes]:
        return [self.entry() for _ in range(self.rng.choice([0, 1, 3, 20]))]

    def damaged(self, good: bytes) -> bytes:
        rng = self.rng
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(bad) - len(FILL) + 200)
            if rng.random() < 0.7:
                bad[at] = rng.choice([0xC1, 0xDF, 0xDD, 0xDB, 0xC9, 0xFF, 0x80, 0x90, rng.randrange(256)])
            else:
                del bad[at : at + rng.randint(1, 9)]
        return bytes(bad)
