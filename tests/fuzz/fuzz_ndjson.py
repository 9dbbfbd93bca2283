"""Blocks of entries to lines of JSON, by Python and by the transcoder in WebAssembly."""

from __future__ import annotations

import json

from logllm.sinks.ndjson import in_python, line_head, ndjson
from logllm.sinks.transcode import FEWEST_BYTES
from tests.fuzz.frames import ENTRIES, captures, let_in
from tests.fuzz.inputs import Choices
from tests.sources.odd_entries import PLAIN, Odd

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1500

# Blocks below FEWEST_BYTES are not transcoded.
_MORE = FEWEST_BYTES // len(PLAIN) + 1
_TAGS = ("app.web", "", 'a"\\\n\0', "é\ud800")


def check(data: bytes) -> None:
    """Whatever the receiver lets through is a line of JSON each; and no line tells who wrote it."""
    choices = Choices(data)
    tag = choices.one_of(_TAGS)
    large = choices.below(4) == 3
    as_messages = choices.below(4) == 3
    block, count = let_in(choices.rest(), as_messages=as_messages)
    if not count:
        return
    lines = in_python(line_head(tag), block, count)
    split = lines.split(b"\n")
    assert split.pop() == b""
    assert len(split) == count
    for line in split:
        text = line.decode()
        try:
            value = json.loads(text)
        except RecursionError:
            continue
        assert {"tag", "time", "record"} <= value.keys() <= {"tag", "time", "record", "metadata", "odd_time"}
        assert isinstance(value["record"], dict)
        assert value["tag"] == tag.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if large:
        more = in_python(line_head(tag), PLAIN * _MORE, _MORE)
        assert ndjson(tag, PLAIN * _MORE + block, _MORE + count) == more + lines


def seeds() -> list[bytes]:
    """Entries of every kind, and such as nobody sends."""
    bodies = [b"".join(ENTRIES[:5]), b"".join(ENTRIES)]
    bodies += [capture[capture.find(b"\x92\x92") :] for capture in captures(600) if b"\x92\x92" in capture][:6]
    bodies += [b"".join(Odd(seed).entries())[:1200] for seed in range(20)]
    bodies += [Odd(seed).entry()[:1200] for seed in range(60)]
    deep = b"\x92\5\x81\xa1k" + b"\x91" * 900 + b"\xc0"
    numbers = b"\x92\xcb\x7f\xf0\0\0\0\0\0\0\x82\xca\x7f\xc0\0\0\xcb\xff\xf0\0\0\0\0\0\0\xd6\5abcd\xc8\0\0\7"
    found = [bytes([number % 4, number // 3, 0]) + body for number, body in enumerate([*bodies, deep, numbers])]
    return found + [bytes([0, number, 3]) + body[1:] for number, body in enumerate([*bodies[-30:], deep, *ENTRIES])]
