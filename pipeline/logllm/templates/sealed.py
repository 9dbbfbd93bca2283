"""Keys as they are written down: a keyed hash of each, from which no text can be read."""

from __future__ import annotations

import hashlib

__all__ = ["SealedKeys"]

_NUMBER_BYTES = 8


class SealedKeys:
    """The numbers of keys, young and old, and what the table says of each.

    A key is what a message says but for its digits: it is only ever compared, so a hash does. Of 400,000 keys two are
    taken for one with a chance of one in 200 million.

    Args:
        key: Of the hash, at most 64 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.young: dict[int, int] = {}
        self.old: dict[int, int] = {}
        self._hash = hashlib.blake2b(key=key, digest_size=_NUMBER_BYTES, person=b"keys")

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def number(self, key: bytes) -> int:
        """What stands for a key; 0.4 us."""
        hashed = self._hash.copy()
        hashed.update(key)
        return int.from_bytes(hashed.digest(), "little")

    def turn(self) -> None:
        """The young ones are the old ones now."""
        self.old, self.young = self.young, {}
