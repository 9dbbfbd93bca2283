"""The contract between a plugin's life (`plugin.py`) and the three ABIs: blocks in, blocks out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from logllm.errors import PluginTrap

if TYPE_CHECKING:
    from logllm.filters.config import Limits, PluginConfig
    from logllm.filters.host import Host

__all__ = ["Filtered", "Instance", "Program", "RecordFailed", "entries_of"]

_RAW = msgspec.msgpack.Decoder(list[msgspec.Raw])


@dataclass(slots=True)
class Filtered:
    """What an instance made of a block.

    Args:
        block: Concatenated entries; the very object that was given where nothing was changed.
        count: Entries in it, as the plugin says: a native plugin's word is checked by who called.
        dropped: Entries that were given and are not in it.
    """

    block: bytes
    count: int
    dropped: int = 0


class RecordFailed(PluginTrap):
    """A call that was for one record failed; what came before it is done.

    Args:
        cause: What went wrong.
        done: What was made of the records before it.
        index: Which record of the block it was, from 0.
        broken: Whether the instance can no longer be used.
    """

    def __init__(self, cause: PluginTrap, done: Filtered, index: int, *, broken: bool) -> None:
        super().__init__(cause.reason, str(cause))
        self.done = done
        self.index = index
        self.broken = broken


class Instance(Protocol):
    """A plugin brought to life. For one thread at a time.

    After a PluginTrap (a RecordFailed that is not `broken` excepted) an instance is closed and made anew.
    """

    def process(self, tag: str, block: bytes, count: int, budget_ms: float) -> Filtered:
        """Filter a block of `count` entries, `[time, record]` or `[[time, metadata], record]`, one after the other.

        Args:
            budget_ms: What is left of `Limits.chunk_ms`; each call is held to `Limits.time_ms` as well.

        Raises:
            RecordFailed: An ABI that calls for each record failed at one.
            PluginTrap: The call for the whole block failed, or its answer is no answer.
        """
        ...

    def flush(self, now_ms: int) -> Filtered | None:
        """Records that were held back and are now given; None where there are none, or the plugin holds none ever."""
        ...

    def answer(self, ticket: int, text: str) -> None:
        """The model's answer to an `ask`."""
        ...

    def save(self) -> bytes | None:
        """Its state, for `load` of a later instance; None where it keeps none."""
        ...

    def load(self, state: bytes) -> None:
        """Take a state back, before any `process`. Raises PluginTrap: it will not have it."""
        ...

    @property
    def memory_bytes(self) -> int:
        """The linear memory it has now."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Program(Protocol):
    """A loaded .wasm of one ABI, from which instances are made. Shared by threads."""

    abi: str  # "native", "fluentbit" or "component"

    def instance(self, config: PluginConfig, limits: Limits, host: Host) -> Instance:
        """Raises PluginLoadError: an import is not granted, its start failed, it refused its configuration."""
        ...


def entries_of(block: bytes, count: int) -> list[bytes]:
    """The entries of a block, each as its bytes.

    >>> entries_of(b"\\x92\\x01\\x80\\x92\\x02\\x80", 2)
    [b'\\x92\\x01\\x80', b'\\x92\\x02\\x80']

    Raises:
        ValueError: It does not hold exactly `count` whole objects.
    """
    try:
        found = _RAW.decode(b"\xdd" + count.to_bytes(4, "big") + block)
    except (msgspec.DecodeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no {count} entries: {error}") from error
    return [bytes(one) for one in found]
