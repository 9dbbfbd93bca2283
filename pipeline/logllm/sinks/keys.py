"""What a delivery is known by over retries and restarts."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["KEY_BYTES", "delivery_key"]

KEY_BYTES = 16


def delivery_key(tag: str, chunk_id: bytes) -> bytes:
    """The key of a chunk: 16 bytes that stand for its tag and the sender's id.

    The id alone is not enough: Fluent Bit's is a hash of the records, without the tag.

    >>> delivery_key("a", b"1") == delivery_key("a", b"1"), delivery_key("a", b"1") == delivery_key("b", b"1")
    (True, False)
    """
    name = tag.encode("utf-8", "surrogatepass")
    return blake2b(len(name).to_bytes(4, "big") + name + chunk_id, digest_size=KEY_BYTES).digest()
