"""Values that were named as secrets once, known again where they stand bare; none of them is kept."""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logllm.explain.redact.rule import Span

__all__ = ["SeenSecrets"]

MAX_SEEN = 10_000
# With the padding of base64, where nothing comes after it.
_TOKEN = re.compile(r"[^\s\"'`,;:()\[\]{}<>=|&\\]{8,256}+(?:={1,2}(?![^\s\"'`,;)\]}|&\\]))?")
_LETTER_AND_DIGIT = re.compile(r"(?=[^0-9]*+[0-9])(?=[^A-Za-z]*+[A-Za-z])")
# An address, a host, a path, a version, a time, a name with a number behind it: what may stand in any line.
_ORDINARY = re.compile(
    r"/.*|[\w-]+(?:\.[\w-]+)+|v?\d+[\d.T:Zz+-]*|[a-z]+(?:[-_][a-z0-9]+)*[-_]\d{1,6}|0x[0-9a-fA-F]+", re.DOTALL
)
_MIN_DIFFERENT = 5
_CHECKSUM_BYTES = 4
_DIGEST_BYTES = 8


class SeenSecrets:
    """Finds again what was named as a secret: `password=hunter2-xyz`, and later `login with hunter2-xyz refused`.

    Only values of at least eight characters without separators count, with a letter and a digit, which look like no
    address, host, path, version or numbered name (`worker-12`): a password that is one ordinary word is not known
    again. Of each only 64 bits of a keyed hash are kept, at most `MAX_SEEN`; then no further ones. A checksum of 32
    bits is asked first, so a token that is none costs 0.2 us.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seed = zlib.crc32(key)
        self._checksums: set[int] = set()
        self._entries: set[bytes] = set()

    def add(self, value: str) -> None:
        """Remember a value, if it may stand in another line and is told from what is ordinary there."""
        if (
            len(self._entries) < MAX_SEEN
            and _TOKEN.fullmatch(value)
            and _LETTER_AND_DIGIT.match(value)
            and len(set(value)) >= _MIN_DIFFERENT
            and not _ORDINARY.fullmatch(value)
        ):
            checksum = self._checksum(value)
            self._entries.add(self._entry(checksum, value))
            self._checksums.add(checksum)

    def spans(self, text: str) -> Iterator[Span]:
        """Where remembered values stand."""
        if not self._entries:
            return
        for match in _TOKEN.finditer(text):
            checksum = self._checksum(match[0])
            if checksum in self._checksums and self._entry(checksum, match[0]) in self._entries:
                yield match.span()

    def state(self) -> list[bytes]:
        """The hashes, in order."""
        return sorted(self._entries)

    def restore(self, entries: Iterable[bytes]) -> None:
        """Go on with what `state` gave.

        Raises:
            ValueError: an entry is none of ours.
        """
        for entry in entries:
            if not isinstance(entry, bytes) or len(entry) != _CHECKSUM_BYTES + _DIGEST_BYTES:
                raise ValueError(f"expected {_CHECKSUM_BYTES + _DIGEST_BYTES} bytes of a seen secret, got {entry!r}")
            self._entries.add(entry)
            self._checksums.add(int.from_bytes(entry[:_CHECKSUM_BYTES]))

    def _checksum(self, value: str) -> int:
        return zlib.crc32(value.encode(errors="surrogatepass"), self._seed)

    def _entry(self, checksum: int, value: str) -> bytes:
        raw = value.encode(errors="surrogatepass")
        digest = hashlib.blake2b(raw, key=self._key, digest_size=_DIGEST_BYTES, person=b"seen").digest()
        return checksum.to_bytes(_CHECKSUM_BYTES) + digest
