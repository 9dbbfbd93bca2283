"""What a plugin can do beside the template, asked of every SDK that takes part: one guest a language, the same answers.

The guest looks at the field `do` and does what `ask` expects of it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.cli.plugin_build import build, recipe_for, toolchain
from logllm.cli.plugin_new import create
from logllm.errors import PluginError, PluginLoadError, PluginTrap
from logllm.filters.config import GRANTS, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import Filtered, Instance, entries_of
from logllm.filters.manifest import Manifest
from logllm.filters.native import program
from logllm.filters.shipped import sdk

__all__ = ["Running", "built", "check_all"]

CONFIG: dict[str, Any] = {
    "text": 'a "quoted" \\ text\n\u00e9 \U0001f600',
    "number": -123456789012,
    "share": 0.25,
    "on": False,
    "words": ["one", "two, [three]", ""],
    "none": [],
}
SIZES = (0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1)
NUMBERS = [*SIZES, *(-size for size in (*SIZES[1:], 32, 33, 129, 32_768, 32_769, 2**31, 2**31 + 1)), -(2**63)]


def built(folder: Path, language: str, source: tuple[str, str] | None = None, name: str = "guest") -> bytes:
    """A project as `logllm plugin new` makes it, built; skips where there is no toolchain.

    Args:
        source: A file of the project that is another one, and its text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    project = create(name, sdk(language), folder)
    if source is not None:
        (project / source[0]).write_text(source[1], encoding="utf-8")
    manifest = Manifest.load(project)
    recipe = recipe_for(project, manifest)
    way = toolchain(project, manifest, recipe)
    if way is None:
        pytest.skip(f"no toolchain for {language}: {recipe.hint}")
    said: list[str] = []
    try:
        code = build(project, manifest, way, tell=said.append).path.read_bytes()
    except PluginError as error:
        raise AssertionError(f"{error}\n{''.join(said)}") from error
    assert said == [], "the compiler has something to say"
    return code


class Running:
    """The guest brought to life with all rights."""

    def __init__(self, code: bytes, settings: dict[str, Any] | None = None) -> None:
        self.lines: list[tuple[int, str]] = []
        self.asked: list[tuple[int, str]] = []
        config = PluginConfig(path="guest.wasm", grants=list(GRANTS), config=CONFIG if settings is None else settings)
        self.host = Host(
            "guest",
            1000,
            ask=self._ask,
            tell=lambda level, text: self.lines.append((level, text)),
            clock_ns=lambda: 1_700_000_000_123_000_000,
        )
        self.instance: Instance = program(code, config).instance(config, config.limits, self.host)

    def _ask(self, ticket: int, text: str) -> bool:
        self.asked.append((ticket, text))
        return True

    def all(self, *entries: list[Any], tag: str = "app.web") -> list[list[Any]]:
        """Entries through it, as objects."""
        block = b"".join(msgpack.packb(entry, datetime=False) for entry in entries)
        return decoded(self.instance.process(tag, block, len(entries), 5000))

    def one(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record through it."""
        ((_, made),) = self.all([[event_time(5, 6), {}], record])
        assert isinstance(made, dict)
        return made


def event_time(seconds: int, nanoseconds: int) -> msgpack.ExtType:
    """Fluent's EventTime."""
    return msgpack.ExtType(0, struct.pack(">II", seconds, nanoseconds))


def decoded(made: Filtered) -> list[list[Any]]:
    """The entries of a block."""
    return [msgpack.unpackb(entry, strict_map_key=False) for entry in entries_of(made.block, made.count)]


def check_all(code: bytes) -> None:
    """Every ability, one after the other."""
    _reads(code)
    _edits(code)
    _knows_time_tag_and_metadata(code)
    _reaches_the_host(code)
    _emits(code)
    _fails(code)
    _keeps_state(code)
    _takes_its_configuration(code)


def _reads(code: bytes) -> None:
    running = Running(code)
    record = {"do": "read", "s": "\u00e9" * 300, "i": -5, "u": 2**63, "f": 1.5, "b": True, "n": None}
    record |= {"k": {"l": {"a": "deep"}, "x": 1}, "list": [1, "two", {"three": 3}], "bin": b"\xff\x00"}
    made = running.one(record)
    assert list(made)[: len(record)] == list(record)
    assert {key: value for key, value in made.items() if key not in record} == {
        "string": "\u00e9" * 300,
        "int": -5,
        "float": 1.5,
        "int_as_float": -5.0,
        "large_as_float": 2.0**63,
        "boolean": False,
        "path": "deep",
        "item": "two",
        "lengths": 7,
        "binary": 2,
        "kinds": "string int int float boolean nil map array binary absent",
        "wrong": 0,
    }


def _edits(code: bytes) -> None:
    running = Running(code)
    for number in NUMBERS:
        made = running.one({"do": "number", "v": number})
        assert made == {"do": "number", "v": number, "copy": number}
        packed = msgpack.packb([[event_time(5, 6), {}], {"do": "number", "v": number, "copy": number}])
        assert running.instance.process("t", packed, 1, 5000).block is packed, "an equal value is no change"
    for size in (0, 31, 32, 255, 256, 65_535, 65_536, 200_000):
        assert running.one({"do": "text", "v": "x" * size}) == {"do": "text", "v": "x" * size, "copy": "x" * size}
    record = {"do": "edit", "gone": 1, "old": [1, 2], "new": "replaced", "k": {"a": 1, "b": 2}, "last": 1}
    made = running.one(record)
    assert list(made.items()) == [
        ("do", "edit"),
        ("new", [1, 2]),
        ("k", {"a": "changed", "c": True}),
        ("last", None),
        ("raw", {"x": [1.5, False]}),
    ]
    assert running.one({"do": "again", "a": 0}) == {"do": "again", "a": 3, "seen": 2}
    doubled = b"\x92\x05\x86\xa2do\xa7doubles\xa1a\x01\xa1b\x01\xa1a\x02\xa1c\x01\xa1b\x02"
    assert running.instance.process("t", doubled, 1, 5000).block == b"\x92\x05\x83\xa2do\xa7doubles\xa1a\x07\xa1d\x01"


def _knows_time_tag_and_metadata(code: bytes) -> None:
    running = Running(code)
    stamps = [(event_time(1, 2), 1, 2), (7, 7, 0), (-7, -7, 0), (7.25, 7, 250_000_000), (-3.25, -4, 750_000_000)]
    for stamp, seconds, nanoseconds in stamps:
        for head, service in ((stamp, None), ([stamp, {"s": "cart"}], "cart"), ([stamp, {}], None)):
            ((kept, made),) = running.all([head, {"do": "where"}], tag="kube.\u00e9")
            assert kept == head
            expected = {"do": "where", "seconds": seconds, "nanoseconds": nanoseconds, "tag": "kube.\u00e9"}
            assert made == expected | ({"service": service} if service else {})
    assert running.all([1, {"do": "where"}], tag="b")[0][1]["tag"] == "b"
    wide = b"\xdc\x00\x02\xdd\0\0\0\x02\xc7\x08\x00\0\0\0\x09\0\0\0\x08\x81\xa1s\xa1x\xde\x00\x01\xa2do\xa5where"
    made = running.instance.process("b", wide, 1, 5000)
    assert made.block.startswith(wide[:23]), "the head stays as it was"
    assert decoded(made)[0][1] == {"do": "where", "seconds": 9, "nanoseconds": 8, "tag": "b", "service": "x"}
    markers = [
        kind + second + bytes(4) for kind in (b"\xd7\0", b"\xc7\x08\0") for second in (b"\xff" * 4, b"\xff\xff\xff\xfe")
    ]
    where = b"\x80\x81\xa2do\xa5where"
    block = b"".join(b"\x92\x92" + marker + where for marker in markers)
    assert running.instance.process("b", block, len(markers), 5000).block is block
    # What only looks like one is a record, and no way past the filter.
    ends = (0xFFFF_FFFF, 0xFFFF_FFFE)
    others = [
        *(msgpack.packb(event_time(second, 1)) for second in ends),
        *map(msgpack.packb, (*ends, -1, -2, -1.0, -0.5)),
    ]
    others += [b"\xd7\x01" + marker[-8:] for marker in markers[:2]] + [msgpack.packb((1 << 64) - 1)]
    block = b"".join(b"\x92\x92" + other + where for other in others)
    made = running.instance.process("b", block, len(others), 5000)
    assert all("tag" in record for _, record in decoded(made)), "each was looked at"
    assert made.count == len(others)


def _reaches_the_host(code: bytes) -> None:
    running = Running(code)
    made = running.one({"do": "host", "long": "v" * 700})
    assert made == {"do": "host", "long": "v" * 700, "now": 1_700_000_000_123, "kept": "v" * 700, "ticket": 1, "n": 16}
    assert (30, "n=5 \u00e9") in running.lines
    assert running.host.metrics == {"seen": 3}
    (signal,) = running.host.signals
    assert (signal.rule, signal.score) == ("odd", 0.75)
    assert signal.text.startswith('a "b"'), "how a line's end is shown is the host's business"
    assert running.asked == [(1, "why?")]
    running.host.answered(1)
    running.instance.answer(1, "because")
    assert (20, "1: because") in running.lines
    assert running.one({"do": "absent"}) == {"do": "absent", "kept": False, "room": False}


def _emits(code: bytes) -> None:
    running = Running(code)
    made = running.all([1, {"a": 1}], [2, {"do": "emit"}], [3, {"b": 1}], [4, {"do": "emit and drop"}])
    new = [[event_time(8, 9), {}], {"emitted": [True, "x"]}]
    assert made == [[1, {"a": 1}], new, new, [2, {"do": "emit"}], [3, {"b": 1}], new]
    assert decoded(running.instance.flush(1234) or Filtered(b"", 0)) == [[[event_time(8, 9), {}], {"flushed": 1234}]]
    assert running.instance.flush(0) is None


def _fails(code: bytes) -> None:
    running = Running(code)
    with pytest.raises(PluginTrap, match="on purpose") as caught:
        running.all([1, {"a": 1}], [2, {"do": "fail"}])
    assert caught.value.reason == "refused"


def _keeps_state(code: bytes) -> None:
    running = Running(code)
    assert running.instance.save() is None
    assert running.one({"do": "count"})["count"] == 1
    assert running.one({"do": "count"})["count"] == 2
    state = running.instance.save()
    assert state == b"2"
    later = Running(code)
    later.instance.load(state)
    assert later.one({"do": "count"})["count"] == 3
    with pytest.raises(PluginTrap, match="will not have"):
        Running(code).instance.load(b"two")


def _takes_its_configuration(code: bytes) -> None:
    made = Running(code).one({"do": "config"})
    assert {key: made[key] for key in CONFIG} == CONFIG
    assert Running(code, {}).one({"do": "config"}) == {
        "do": "config", "text": "-", "number": 7, "share": 0.5, "on": True, "words": ["-"], "none": ["-"],
    }  # fmt: skip
    wrong: list[dict[str, Any]] = [{"text": 5}, {"number": "five"}, {"number": 1.5}, {"number": 10**30}, {"on": 1}]
    wrong += [{"words": "one"}, {"words": [1]}, {"words": [["a"]]}, {"share": "x"}, {"unknown": 1}, {"text": None}]
    for settings in wrong:
        with pytest.raises(PluginLoadError, match="refused its configuration"):
            Running(code, settings)
