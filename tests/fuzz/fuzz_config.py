"""The configuration from any text."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from logllm.config import Config
from logllm.errors import ConfigError
from tests.fuzz.inputs import Choices, check_refusal

__all__ = ["MAX_BYTES", "check", "seeds"]

MAX_BYTES = 800

_SAMPLE = Path(__file__).parents[2] / "samples" / "logllm.toml"


@cache
def _memory() -> int:
    """A file without a place on disk."""
    return os.memfd_create("logllm.toml")


def check(data: bytes) -> None:
    """A text is a configuration, or is refused in one line that begins with the file's name."""
    choices = Choices(data)
    choices.below(1)
    text = choices.rest()
    file = _memory()
    os.ftruncate(file, 0)
    os.pwrite(file, text, 0)
    path = f"/proc/self/fd/{file}"
    try:
        config = Config.load(path)
    except ConfigError as error:
        check_refusal(error, path)
        return
    assert isinstance(config, Config)


def seeds() -> list[bytes]:
    """The sample's parts, and every key once."""
    parts = _SAMPLE.read_bytes().split(b"\n\n")
    made = [
        b'[forward]\nlisten = "127.0.0.1:0"\nmax_frame_bytes = 1000\nmax_connections = 7\n',
        b'data_dir = "x"\n[http]\nlisten = "[::1]:1"\n[detect]\nalerts_per_day = 2.5\n',
        b'[[plugins]]\npath = "a.wasm"\ngrants = ["log", "kv"]\non_error = "drop"\nconfig = {a = "b"}\n'
        b"[plugins.limits]\ntime_ms = 10\nmemory_bytes = 1_000_000\n",
        b'[[plugins]]\npath = "a\\u0000b"\nmatch = "app.*"\ntenant = "tag:2"\n',
    ]
    return [b"\0" + part[:790] for part in (*parts, *made)]
