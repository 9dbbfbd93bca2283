"""Filters in Python and JavaScript, built by their real toolchains; what was built once is kept and taken again.

A guest does what the field `do` of a record says; both languages are asked for the same things.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from logllm.cli.plugin_build import build, recipe_for, toolchain
from logllm.cli.plugin_new import create
from logllm.errors import PluginError
from logllm.filters.component import build as component_build
from logllm.filters.component import program
from logllm.filters.config import GRANTS, Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import Filtered, RecordFailed, entries_of
from logllm.filters.manifest import Manifest
from logllm.filters.records import entry, from_json, split_entry, to_json
from logllm.filters.shipped import sdk
from tests.sdk.node import CACHE

__all__ = ["Running", "built", "check_abilities", "check_page", "check_template"]

BUDGET_MS = 60_000
_MOST_KEPT = 20


def built(
    folder: Path,
    language: str,
    source: str | None = None,
    grants: tuple[str, ...] = ("log",),
    files: dict[str, str] | None = None,
) -> bytes:
    """A project named `hello` as `logllm plugin new` makes it, built; skips where there is no toolchain.

    Args:
        source: The text of its filter, where it is not the template's.
        files: More files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    project = create("hello", sdk(language), folder)
    if source is not None:
        next(project.glob("filter.*")).write_text(source, encoding="utf-8")
    for name, text in (files or {}).items():
        (project / name).write_text(text, encoding="utf-8")
    about = project / "plugin.toml"
    about.write_text(about.read_text().replace('grants = ["log"]', f"grants = {json.dumps(grants)}"))
    kept = CACHE / "test-components" / f"{_key(project, sdk(language))}.wasm"
    if not kept.is_file():
        _build(project, kept)
    kept.touch()
    return kept.read_bytes()


def _key(*folders: Path) -> str:
    made = hashlib.sha256(Path(component_build.__file__).read_bytes())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                made.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()


def _build(project: Path, kept: Path) -> None:
    manifest = Manifest.load(project)
    recipe = recipe_for(project, manifest)
    way = toolchain(project, manifest, recipe)
    if way is None:
        pytest.skip(f"no toolchain for {manifest.language}: {recipe.hint}")
    said: list[str] = []
    kept.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(kept.parent.glob("*.wasm"), key=lambda path: path.stat().st_mtime)[: -_MOST_KEPT + 1]:
        old.unlink(missing_ok=True)
    try:
        made = build(project, manifest, way, tell=said.append).path
    except PluginError as error:
        raise AssertionError(f"{error}\n{''.join(said)}") from error
    fresh = kept.with_name(f".{os.getpid()}")
    shutil.copyfile(made, fresh)
    fresh.replace(kept)


class Running:
    """An instance of a built filter with all grants."""

    def __init__(self, code: bytes, config: dict[str, Any] | None = None, limits: Limits | None = None) -> None:
        self.lines: list[tuple[int, str]] = []
        self.asked: list[str] = []
        seconds = iter(range(1_000_000_000))
        self.host = Host(
            "hello",
            1_000,
            ask=self._ask,
            tell=lambda level, text: self.lines.append((level, text)),
            clock_ns=lambda: 1_700_000_000_123_456_789,
            monotonic_s=lambda: next(seconds),
        )
        chosen = PluginConfig(
            path="hello.wasm", config=config or {}, grants=list(GRANTS), limits=limits or Limits(time_ms=20_000)
        )
        self.instance = program(code, chosen).instance(chosen, chosen.limits, self.host)

    def _ask(self, ticket: int, text: str) -> bool:
        self.asked.append(text)
        return True

    def process(self, *records: dict[str, Any], tag: str = "app.web") -> Filtered:
        """Records of the time 1700000000.000000001."""
        block = b"".join(entry(1_700_000_000, 1, bytes(msgpack.packb(one))) for one in records)
        return self.instance.process(tag, block, len(records), BUDGET_MS)

    def does(self, what: str, **fields: Any) -> dict[str, Any] | None:
        """What becomes of a record; None where it is dropped."""
        made = self.process({"do": what, **fields})
        return None if not made.count else dict(msgpack.unpackb(entries_of(made.block, 1)[0], timestamp=0)[1])

    def fails(self, what: str) -> str:
        """What it says of a record it fails at; it must go on with the next."""
        with pytest.raises(RecordFailed) as failed:
            self.process({"do": what})
        assert (failed.value.broken, failed.value.index) == (False, 0)
        assert self.does("nothing") == {"do": "nothing"}
        return str(failed.value)


def check_template(code: bytes, language: str) -> None:
    """What every template does, by its own fixtures and byte by byte."""
    folder = sdk(language) / "template/fixtures"
    for path in sorted(folder.glob("*.in.ndjson")):
        given = [entry(7, 9, from_json(line)) for line in path.read_bytes().splitlines()]
        wanted = path.with_name(path.name.replace(".in.", ".out.")).read_bytes().replace(b"{{name}}", b"hello")
        running = Running(code, {"a": 1})
        made = running.instance.process("app", b"".join(given), len(given), BUDGET_MS)
        assert [to_json(split_entry(one)[1]) for one in entries_of(made.block, made.count)] == wanted.splitlines()
        assert running.lines[0][0] == 20
        assert "hello is ready" in running.lines[0][1]
    quiet = b"".join(
        entry(1, 2, b"\x83\xa1a\xcb\x3f\xf0" + bytes(6) + b"\xa1b\xcf" + b"\xff" * 8 + b"\xa1c\xc4\x01\xff")
        for _ in range(1_200)
    )
    assert Running(code).instance.process("app", quiet, 1_200, BUDGET_MS).block is quiet


def check_abilities(running: Running) -> None:
    """What the SDK offers beside."""
    assert running.lines == [(20, "ready"), (20, 'printed {"a":1}')]
    assert running.does("nothing") == {"do": "nothing"}
    assert running.does("drop") is None
    assert running.does("now") == {"do": "now", "now": 1_700_000_000_123}
    assert running.does("time") == {"do": "time", "tag": "app.web", "time": 1_700_000_000_000}
    assert [running.does("kv") for _ in range(2)] == [{"do": "kv", "n": n, "ok": True} for n in (1, 2)]
    assert running.does("kv-full") == {"do": "kv-full", "ok": False}
    assert running.does("metric") == {"do": "metric"}
    assert running.host.metrics == {"seen": -3}
    assert running.does("anomaly") == {"do": "anomaly"}
    (signal,) = running.host.signals
    assert (signal.rule, signal.text, signal.score, signal.service, signal.severity) == ("odd", "größer", 0.5, "s", 17)
    assert running.does("ask") == {"do": "ask", "ticket": 1}
    assert running.asked == ["why?"]
    running.instance.answer(1, "so \u00e9")
    assert running.lines[-1] == (30, "1: so é")
    # Text that is none outside of its language, and text that JSON must escape.
    assert running.does("half") in ({"do": "half", "x": "?\0\n"}, {"do": "half", "x": "\ufffd\0\n"})
    # Numbers the filter did not touch, in a record it changed.
    numbers = {"i": 12345678901234567, "big": 2**64 - 1, "f": 1.0, "e": 1e16, "z": -0.0, "deep": [{"f": 2.50}]}
    made = running.does("change", **numbers)
    assert made == {"do": "change", **numbers, "changed": True}
    assert [type(made[name]) for name in ("i", "big", "f", "e", "z")] == [int, int, float, float, float]
    assert str(made["z"]) == "-0.0"
    for what, words in {"raise": "no good", "list": "filter returned", "recurse": "", "hungry": "emory"}.items():
        assert words in running.fails(what), what
    assert "(filter." in running.fails("raise")


def check_page(page: Path, folder: Path, code: bytes) -> None:
    """Run the commands of a page as they stand there, but for what installs and builds: that is `code` already."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    shown, ran = "", []
    for kind, text in blocks:
        if kind == "text":
            assert shown == text
        for line in text.splitlines() if kind == "sh" else ():
            ran.append(line)
            if line.startswith(("pip install", "npm install")):
                continue
            if line == "logllm plugin build hello":
                (folder / "hello/hello.wasm").write_bytes(code)
                continue
            command = re.sub(r"^logllm ", f"{shlex.quote(sys.executable)} -m logllm.cli ", line)
            done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, timeout=120, check=False)
            shown = done.stdout.decode()
            assert done.returncode == 0, f"{line}\n{done.stderr.decode()}"
    assert "hello: 2 in, 1 out, 1 dropped" in shown
    assert len(ran) == 7
    source = next(text for kind, text in blocks if kind in ("python", "js"))
    shared = {line.strip() for line in source.splitlines()} & {
        line.strip() for line in next((folder / "hello").glob("filter.*")).read_text().splitlines()
    }
    assert len(shared) > 8, "the page shows the template's filter"
