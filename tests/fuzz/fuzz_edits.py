"""`templates.toml` from any text, and what it makes of templates there are."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from logllm.errors import ConfigError
from logllm.service.edits import FILE, EditsFile, as_toml
from logllm.templates.edits import TemplateEdits
from logllm.templates.miner import Miner
from tests.fuzz.inputs import check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 1200

_LINES = [
    *(f"user {name} logged in from 10.0.0.{at}" for at, name in enumerate(("ann", "bob", "cy", "dan"))),
    "disk /dev/sda1 is full", "disk /dev/sda2 is full", "connection reset by peer", "GET /cart/17 took 12 ms",
]  # fmt: skip


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="logllm-fuzz-")


@cache
def _ids() -> list[str]:
    miner = Miner()
    miner.ids(_LINES)
    return [template.id for template in miner.templates()]


def check(data: bytes) -> None:
    """A text is edits, which written down are the same ones, or is refused; a miner takes them whole or not at all."""
    path = Path(_folder().name) / FILE
    text = data
    for at, template in enumerate(_ids()[:4]):
        text = text.replace(b"@%d" % at, template.encode())
    path.write_bytes(text)
    file = EditsFile(path.parent)
    try:
        edits = file.read()
    except ConfigError as error:
        check_refusal(error, str(path))
        return
    path.write_text(as_toml(edits), encoding="utf-8")
    assert file.read() == edits
    _apply(edits)


def _apply(edits: TemplateEdits) -> None:
    miner = Miner()
    miner.ids(_LINES)
    before = list(miner.templates())
    try:
        miner.edit(edits)
    except ConfigError as error:
        check_refusal(error)
        assert list(miner.templates()) == before
        return
    restored = Miner.restore(miner.state())
    once = _texts(miner)
    assert _texts(restored) == once
    miner.edit(edits)
    assert _texts(miner) == once


def _texts(miner: Miner) -> list[str]:
    """The template of each line, as it stands when all are mined."""
    found = miner.ids(_LINES)
    return [miner.template(miner.canonical(int(index))).text for index in found]


def seeds() -> list[bytes]:
    """Each kind of edit, several for one thing, and what is none. `@0` stands for the id of a template there is."""
    texts = [
        b"",
        b"\xff",
        b"[" * 900,
        b"pins = 1",
        b"x = 1",
        b'[names]\n@0 = "logins"\nffffffffffff = "later"\n',
        b'pins = [\n  "user <user> logged in from <ip>",\n  "disk <path> is full",\n]\n',
        b'merges = [\n  ["@0", "@1"],\n]\n',
        b'merges = [["@0", "@1"], ["@1", "@0"], ["@2", "@2"], ["@0", "ffffffffffff"]]\n',
        b'pins = ["<*>"]',
        b'pins = ["a<*><num>b"]',
        b'pins = ["user <*>", "user <*> from <*>", "user  <*>"]\nmerges = [["@3", "@0"]]\n[names]\n@3 = "\\"\\n"\n',
        b'pins = ["disk 1 is"]',
        b'pins = ["disk deadbeef is", "a \\u0000 b"]',
        b'[names]\n"0123456789AB" = "x"\n',
    ]
    return [text[:MAX_BYTES] for text in texts]
