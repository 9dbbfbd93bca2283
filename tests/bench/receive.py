"""What receiving costs: framing and decoding forward frames, against `json.loads` of the same records.

Run it by itself (`python tests/bench/receive.py`): the ratio is what can be compared between machines and runs, the
seconds are not. Every figure is CPU time, the least of some runs, json.loads measured in between.
"""

from __future__ import annotations

import gc
import gzip
import json
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]

from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected
from logllm.sources.forward.protocol import Received, Receiver

__all__ = ["Row", "lines", "main", "measure"]

COUNT = 16_000
RUNS = 7
SEGMENT = 65_536
NOW = 1_800_000_000_000_000_000


class Row(NamedTuple):
    """CPU seconds per million records, for receiving and for `json.loads`."""

    name: str
    frame_s: float
    decode_s: float
    json_s: float

    @property
    def ratio(self) -> float:
        """How many times faster than json.loads."""
        return self.json_s / (self.frame_s + self.decode_s)


def lines(count: int) -> list[str]:
    """Log lines of a few shapes, 100 to 150 bytes."""
    shapes = (
        "Dec 10 06:55:{s:02d} LabSZ sshd[{n}]: Failed password for invalid user web from 173.234.31.{b} port {n} ssh2",
        "081109 2036{s:02d} {b} INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_{n}8865049064 done",
        "[Sun Dec 04 04:47:{s:02d} 2005] [notice] workerEnv.init() ok /etc/httpd/conf/workers2.properties, child {n}",
        "- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 RAS KERNEL INFO instruction cache parity error {n} on {b}",
    )
    return [shapes[i % 4].format(s=i % 60, b=i % 251, n=10_000 + i) for i in range(count)]


def _frames(records: list[dict[str, object]], mode: str) -> bytes:
    def entry(i: int, record: dict[str, object]) -> bytes:
        stamp = b"\xd7\0" + struct.pack(">II", 1_700_000_000 + i // 1000, i)
        return b"\x92\x92" + stamp + b"\x80" + bytes(msgpack.packb(record))

    entries = [entry(i, record) for i, record in enumerate(records)]
    if mode == "message":
        return b"".join(b"\x94\xa7app.web" + one[2:12] + one[13:] + b"\x80" for one in entries)
    block = b"".join(entries)
    option = {"chunk": "pU8EZcxql8lv5X1+KIPo2w==", "size": len(entries)}
    head = b"\x93\xa7app.web"
    if mode == "forward":
        return head + b"\xdd" + struct.pack(">I", len(entries)) + block + bytes(msgpack.packb(option))
    body = gzip.compress(block) if mode == "gzip" else block
    return head + bytes(msgpack.packb(body)) + bytes(msgpack.packb(option))


def measure(name: str, records: list[dict[str, object]], mode: str = "forward", *, formats: bool = False) -> Row:
    """Receive one frame (or one for each record in Message mode) in segments, decode it, and parse it as JSON."""
    data, count = memoryview(_frames(records, mode)), len(records)
    texts = [json.dumps(record) for record in records]
    decoder = Decoder(detected if formats else None)
    found: list[Received] = []

    def frame() -> None:
        found.clear()
        receiver = Receiver()
        for start in range(0, len(data), SEGMENT):
            receiver.feed(data[start : start + SEGMENT])
            found.extend(item for item in receiver.items() if isinstance(item, Received))
        assert sum(item.chunk.count for item in found) == count

    def decode() -> None:
        assert sum(len(decoder.decode(item.chunk, NOW)) for item in found) == count

    def parse() -> None:
        for text in texts:
            json.loads(text)

    frame_s = decode_s = json_s = float("inf")
    for _ in range(RUNS):
        json_s = min(json_s, _seconds(parse))
        frame_s = min(frame_s, _seconds(frame))
        decode_s = min(decode_s, _seconds(decode))
    scale = 1e6 / count
    return Row(name, frame_s * scale, decode_s * scale, json_s * scale)


def _seconds(work: Callable[[], None]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print a row for each mode and shape of record."""
    texts = lines(COUNT)
    bare: list[dict[str, object]] = [{"log": text} for text in texts]
    structured: list[dict[str, object]] = [
        {"level": "info" if i % 9 else "error", "service": "cart", "message": text, "user": i, "ms": 1.5}
        for i, text in enumerate(texts)
    ]
    rows = [
        measure("forward, {log}", bare),
        measure("packed, {log}", bare, "packed"),
        measure("gzip, {log}", bare, "gzip"),
        measure("message mode, {log}", bare, "message"),
        measure("forward, 5 fields", structured),
        measure("forward, {log}, line formats", [{"log": text} for text in texts[::4]], formats=True),
    ]
    print(f"{'CPU seconds per million records':34}{'frame':>8}{'decode':>8}{'both':>8}{'json':>8}{'ratio':>8}")
    for row in rows:
        both = row.frame_s + row.decode_s
        print(f"{row.name:34}{row.frame_s:8.2f}{row.decode_s:8.2f}{both:8.2f}{row.json_s:8.2f}{row.ratio:7.1f}x")


if __name__ == "__main__":
    main()
