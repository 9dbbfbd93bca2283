"""Sinks and their delivery, as they are configured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from logllm.egress import masked
from logllm.errors import ConfigError
from logllm.sinks.file import FileSinkConfig
from logllm.sinks.forward import ForwardSinkConfig
from logllm.sinks.loki import LokiSinkConfig
from logllm.sinks.otlp.sink import OtlpSinkConfig
from logllm.sinks.stdout import StdoutSinkConfig

__all__ = ["DeliveryConfig", "SinkConfig", "check_sinks", "sink_named"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10 * 366 * 86_400)]

SinkConfig = FileSinkConfig | ForwardSinkConfig | LokiSinkConfig | OtlpSinkConfig | StdoutSinkConfig
"""`[[sinks]]`: `type` says which."""


class DeliveryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From the sockets to the sinks.

    Args:
        max_in_flight_bytes: Bytes of chunks that are in the pipeline or wait for a sink; beyond it nothing more is
            read, so senders wait.
        optional_bytes: Bytes that may wait for a sink that is not required; what comes then is dropped there.
        dedup_s: A chunk that is sent again within so long is recognised; 48 hours.
        dedup_chunks: At most so many chunks are remembered for each sink.
        dead_letter_bytes: The dead-letter file is rotated at this size, and four old ones are kept.
        grace_s: At the end, what is under way may take so long.
    """

    max_in_flight_bytes: Count = 128 << 20
    optional_bytes: Count = 64 << 20
    dedup_s: Seconds = 172_800.0
    dedup_chunks: Count = 1_000_000
    dead_letter_bytes: Count = 16 << 20
    grace_s: Seconds = 5.0


def check_sinks(sinks: Sequence[SinkConfig]) -> None:
    """Raises ConfigError for what waiting cannot mend."""
    labels = [sink.label for sink in sinks]
    for sink in sinks:
        if labels.count(sink.label) > 1:
            raise ConfigError(f"sinks: two are called {sink.label!r}, expected a `name` of its own for each")
        sink.check()
    paths = [Path(sink.path).resolve() for sink in sinks if isinstance(sink, FileSinkConfig)]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"sinks: two write to {path}, expected one")


def sink_named(spec: str) -> SinkConfig:
    """A sink as `--sink` names it. A file's name says how it is written: `.msgpack`, `.zst`.

    >>> sink_named("file:a.msgpack.zst").format, sink_named("forward://db:24224").address
    ('msgpack', 'db:24224')
    >>> sink_named("otlp+https://collector:4318"), sink_named("loki+http://me:pw@loki:3100").address()
    (OtlpSinkConfig('otlp:https://collector:4318'), 'http://loki:3100')

    Raises:
        ConfigError: It names none.
    """
    kind, _, rest = spec.partition(":")
    if spec == "stdout":
        return StdoutSinkConfig()
    if kind == "file" and rest:
        compress: Literal["", "zstd"] = "zstd" if rest.endswith(".zst") else ""
        plain = rest.removesuffix(".zst")
        return FileSinkConfig(rest, format="msgpack" if plain.endswith(".msgpack") else "ndjson", compress=compress)
    if kind in ("forward", "forwards") and rest.startswith("//") and len(rest) > 2:
        return ForwardSinkConfig(rest[2:], tls=kind == "forwards")
    if kind in ("forward+unix", "unix") and rest:
        return ForwardSinkConfig("unix:" + rest.removeprefix("//"))
    protocol, _, scheme = kind.partition("+")
    if scheme in ("http", "https") and rest.startswith("//") and len(rest) > 2:
        if protocol == "otlp":
            return OtlpSinkConfig(f"{scheme}:{rest}")
        if protocol == "loki":
            return LokiSinkConfig(f"{scheme}:{rest}")
    raise ConfigError(
        f"--sink {masked(spec) if '://' in spec else repr(spec)}: expected file:PATH, forward://HOST:PORT, "
        "forwards://HOST:PORT (TLS), unix:PATH, otlp+http://HOST:PORT, loki+http://HOST:PORT (or https), or stdout"
    )
