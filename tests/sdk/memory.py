"""What every native SDK does where there is no memory."""

from __future__ import annotations

from tests.sdk.conformance import FAILED, Native, entry

__all__ = ["check_buffers", "check_out_of_memory"]


def check_buffers(wasm: bytes) -> None:
    """A place for a block that cannot be had is 0, and the next block goes on."""
    plugin = Native(wasm)

    assert plugin.call("logllm_buffer", 0xFFFF_FFFF) == 0
    assert plugin.call("logllm_buffer", 1 << 30) == 0
    assert plugin.call("logllm_buffer", 100 << 20) == 0
    assert plugin.process(b"\x92\x01\x81\xa5level\xa5debug").n_out == 0


def check_out_of_memory(wasm: bytes, words: str) -> None:
    """Records for which there is no memory are an error with a reason, and the next block goes on."""
    plugin = Native(wasm)
    count = 8_000_000

    many = b"\x92\x01\xdf" + count.to_bytes(4, "big") + b"\x01\x02" * count
    for block in (many, entry({"level": "error", "x": "y" * 30_000_000})):
        answer = plugin.process(block)
        assert answer.mode >= FAILED
        assert answer.error == words

    assert plugin.process(entry({"level": "error"})).n_out == 1
