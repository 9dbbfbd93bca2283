"""What is configured of a plugin: which file, which records, which rights, which limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from logllm.errors import PluginLoadError

__all__ = ["GRANTS", "Grant", "Limits", "OnError", "PluginConfig", "config_text"]

Grant = Literal["log", "clock", "random", "kv", "metric", "anomaly", "ask"]
GRANTS: tuple[Grant, ...] = ("log", "clock", "random", "kv", "metric", "anomaly", "ask")

OnError = Literal["keep", "drop", "stop"]

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one instance may use.

    Args:
        memory_bytes: Its linear memory.
        time_ms: One call into it; for Fluent Bit's ABI that is one record. Kept to within 5 ms.
        chunk_ms: All its calls for one chunk together, those to find a poison record included.
        init_ms: Its start: instantiation, initialisation, taking a state back.
        stack_bytes: Its call stack; 2 MiB at most.
        output_bytes: What it may answer for a chunk; 0 is four times what it was given, at least 1 MiB.
        kv_bytes: Keys and values it may keep.
        state_bytes: The state it may save.
    """

    memory_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=1 << 32)] = 64 << 20
    time_ms: Positive = 500
    chunk_ms: Positive = 5_000
    init_ms: Positive = 5_000
    stack_bytes: Annotated[int, msgspec.Meta(ge=16_384, le=2 << 20)] = 512 << 10  # wasmtime aborts on more
    output_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    kv_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 20
    state_bytes: Annotated[int, msgspec.Meta(ge=0)] = 4 << 20

    def most_output(self, input_bytes: int) -> int:
        """The most bytes it may answer to that many."""
        return self.output_bytes or max(4 * input_bytes, 1 << 20)


class PluginConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One filter.

    Args:
        path: A .wasm file, or the name of one that ships with logllm (`redact`, `drop_noise`...).
        name: What it is called in metrics and messages; "" is the file's stem.
        stage: `ingest` filters come before detection, `egress` filters before sinks. Each stage runs its filters in
            the order of the configuration.
        match: A tag, with `*` for any characters, as in Fluent Bit.
        function: The function of a module with Fluent Bit's ABI; "" where it exports only one that can be meant.
        event_format: How that function takes the record.
        reuse_buffer: Fluent Bit's ABI: give each record in the same place; false for a guest that keeps or frees it.
        config: Handed to the plugin as JSON; its own business.
        grants: The imports it may use; a module that wants others is refused.
        fs: Folders it may read, "HOST" or "HOST:GUEST"; none by default, never written.
        limits: What each instance may use.
        module_bytes: The largest file that is loaded.
        on_error: What becomes of a record the plugin fails at: it is kept as it was, dropped, or the pipeline stops.
        breaker_failures: So many failures within a minute and the plugin is bypassed (its records are kept or dropped
            by `on_error`) for `breaker_s` seconds.
        tenant: Whose instance takes a chunk: "" one for all, "tag:N" one for each N-th dotted part of the tag (from
            1), "peer" one for each sender. Instances share nothing.
        tenants: Limits of a tenant by name where they are not `limits`.
        most_tenants: The one used longest ago is ended (its state is saved) to make room for another.
        reload: Take a changed file while running, once it has filtered the last block without failing.
        sha256: The file must have this digest, in hex; "" for any.
    """

    path: str
    name: str = ""
    stage: Literal["ingest", "egress"] = "ingest"
    match: str = "*"
    function: str = ""
    event_format: Literal["json", "msgpack"] = "json"
    reuse_buffer: bool = True
    config: dict[str, Any] = {}
    grants: list[Grant] = msgspec.field(default_factory=lambda: ["log"])
    fs: list[str] = []
    limits: Limits = Limits()
    module_bytes: Positive = 32 << 20
    on_error: OnError = "keep"
    breaker_failures: Positive = 10
    breaker_s: Positive = 30
    tenant: Annotated[str, msgspec.Meta(pattern=r"^(|peer|tag:[1-9][0-9]?)\Z")] = ""
    tenants: dict[str, Limits] = {}
    most_tenants: Positive = 1_000
    reload: bool = True
    sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-fA-F]{64})?\Z")] = ""


def config_text(config: PluginConfig) -> bytes:
    """The table `config` as the JSON that the plugin gets. Raises PluginLoadError: it has no form in JSON."""
    try:
        return msgspec.json.encode(config.config)
    except (RecursionError, TypeError, ValueError) as error:
        raise PluginLoadError(f"its `config` cannot be written as JSON: {error}") from error
