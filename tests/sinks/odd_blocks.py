"""Blocks of entries in every form MessagePack has, and damaged ones."""

from __future__ import annotations

import random
import struct

__all__ = ["OddBlocks"]

_PIECES = (
    *(
        b"took 12 ms ",
        b"a",
        b"",
        b"GET /api/v1/orders HTTP/1.1 " * 3,
        b'"',
        b"\\",
        b"/",
        b"\n",
        b"\t",
        b"\r\n",
        b"\b\f",
    ),
    *(b"\0", b"\x01", b"\x1f", b"\x7f", "é".encode(), "日本".encode(), "😀".encode(), "\u2028".encode(), b"\xff"),
    *(
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe6\x97",
        b"\xf0\x9f\x98",
        b"\xc3",
        b"\x80",
    ),
)
_INTEGERS = (0, 1, 9, 10, 99, 100, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
_FLOATS = (0.0, -0.0, 1.0, 0.1, 1e16, 1e15, 1e-4, 9e-5, 1e-3, 0.3 - 0.1, 1 / 3, 2.0**53, float("inf"), -float("inf"))
_DAMAGE = (0xC1, 0xDF, 0xDD, 0xDB, 0xC9, 0xFF, 0x80, 0x90, 0xC0, 0xD9, 0xDA, 0xDC, 0xDE, 0xC6, 0x92, 0x81, 0xCB)
_FORMS: dict[str, tuple[int | None, ...]] = {
    "str": (None, 0xD9, 0xDA, 0xDB),
    "bin": (0xC4, 0xC5, 0xC6),
    "array": (None, None, 0xDC, 0xDD),
    "map": (None, None, 0xDE, 0xDF),
    "ext": (0xC7, 0xC8, 0xC9),
}
_LONGEST = {"str": 0xDB, "bin": 0xC6, "array": 0xDD, "map": 0xDF, "ext": 0xC9}
_FIXED = {"str": (0xA0, 32), "array": (0x90, 16), "map": (0x80, 16)}
_DEEPEST = 5


class OddBlocks:
    """Where entries come from; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def _head(self, kind: str, size: int) -> bytes:
        forms = _FORMS[kind]
        while True:
            first = self.rng.choice(forms)
            if first is None:
                base, most = _FIXED[kind]
                if size < most:
                    return bytes((base | size,))
            else:
                width = 1 << (first - _LONGEST[kind] + 2)
                if size < 1 << 8 * width:
                    return bytes((first,)) + size.to_bytes(width, "big")

    def text(self) -> bytes:
        """A str, not always of UTF-8."""
        rng = self.rng
        data = b"".join(rng.choice(_PIECES) for _ in range(rng.choice((0, 1, 1, 2, 5, 12))))
        if rng.random() < 0.05:
            data += rng.randbytes(rng.randint(0, 60))
        return self._head("str", len(data)) + data

    def integer(self) -> bytes:
        """In any form that holds it."""
        rng = self.rng
        value = rng.choice(_INTEGERS) if rng.random() < 0.5 else rng.getrandbits(rng.randint(1, 64))
        value = -value if rng.random() < 0.3 else value
        letter = rng.choice("BHIQbhiq")
        try:
            return bytes((0xCC + "BHIQbhiq".index(letter),)) + struct.pack(">" + letter, value)
        except struct.error:
            return bytes((value & 0x7F if value >= 0 else 0xE0 | value & 0x1F,))

    def real(self) -> bytes:
        """A float of 32 or 64 bits."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.03:
            return b"\xca" + rng.randbytes(4)
        if kind < 0.06:
            return b"\xcb" + rng.randbytes(8)
        if kind < 0.2:
            value = rng.choice(_FLOATS)
        elif kind < 0.7:
            value = round(rng.uniform(-1, 1) * 10 ** rng.randint(-2, 14), rng.randint(0, 12))
        elif kind < 0.85:
            return b"\xca" + struct.pack(">f", rng.uniform(-1, 1) * 10 ** rng.randint(0, 9))
        else:
            value = rng.random() * 10 ** rng.randint(-2, 16)
        return b"\xcb" + struct.pack(">d", value)

    def extension(self) -> bytes:
        """Of any type; times among them."""
        rng = self.rng
        kind = bytes((rng.choice((0, 0, 5, 127, 128, 255)),))
        if rng.random() < 0.5:
            form = rng.randint(0, 4)
            return bytes((0xD4 + form,)) + kind + rng.randbytes(1 << form)
        size = rng.choice((0, 1, 4, 8, 12, 30))
        return self._head("ext", size) + kind + rng.randbytes(size)

    def value(self, depth: int = 0) -> bytes:
        """Any."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return self.text()
        if kind < 0.55:
            return self.integer()
        if kind < 0.65:
            return self.real()
        if kind < 0.72:
            return rng.choice((b"\xc0", b"\xc2", b"\xc3"))
        if kind < 0.77:
            data = rng.randbytes(rng.randint(0, 9))
            return self._head("bin", len(data)) + data
        if kind < 0.8:
            return self.extension()
        if depth == _DEEPEST:
            return b"\x90"
        if kind < 0.805 and depth == 0:
            deep = rng.choice((10, 61, 62, 63, 64, 65, 100))
            return (b"\x91" if rng.random() < 0.5 else b"\x81\xa1k") * deep + self.value(_DEEPEST)
        if kind < 0.9:
            items = [self.value(depth + 1) for _ in range(rng.randint(0, 3))]
            return self._head("array", len(items)) + b"".join(items)
        return self.map(depth + 1)

    def map(self, depth: int) -> bytes:
        """Keys are texts, nearly always."""
        rng = self.rng
        pairs = []
        for _ in range(rng.choice((0, 1, 1, 2, 3, 20)) if depth < 2 else rng.randint(0, 3)):
            odd = rng.random()
            if odd < 0.8:
                key = self._head("str", 3) + rng.choice((b"log", b"msg", b"pid"))
            elif odd < 0.99:
                key = self.text()
            else:
                key = self.value(_DEEPEST - 1 if depth < _DEEPEST else _DEEPEST)
            pairs.append(key + self.value(depth))
        return self._head("map", len(pairs)) + b"".join(pairs)

    def entry(self) -> bytes:
        """With a time and metadata as most have them, or others."""
        rng = self.rng
        two = rng.choice((b"\x92",) * 9 + (b"\xdc\0\2", b"\xdd\0\0\0\2"))
        kind = rng.random()
        if kind < 0.7:
            time = rng.choice((b"\xd7\0", b"\xd7\0", b"\xc7\x08\0")) + struct.pack(
                ">II", rng.getrandbits(32), rng.randrange(10**9 + 10**7)
            )
        elif kind < 0.95:
            time = self.integer()
        else:
            time = rng.choice((self.real, self.extension, self.value))()
        if rng.random() < 0.6:
            metadata = rng.choice((b"\x80", b"\x80", b"\x80", b"\xc0", b"\xde\0\0", self.map(2), self.value(3)))
            time = rng.choice((b"\x92",) * 9 + (b"\xdc\0\2", b"\xdd\0\0\0\2")) + time + metadata
        return two + time + self.map(0)

    def entries(self) -> list[bytes]:
        """Some."""
        return [self.entry() for _ in range(self.rng.choice((1, 2, 3, 8)))]

    def damaged(self, good: bytes) -> bytes:
        """With some bytes replaced or left out."""
        rng = self.rng
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            if not bad:
                break
            at = rng.randrange(len(bad))
            kind = rng.random()
            if kind < 0.4:
                bad[at] = rng.choice(_DAMAGE)
            elif kind < 0.7:
                bad[at] = rng.randrange(256)
            elif kind < 0.85:
                del bad[at : at + rng.randint(1, 9)]
            else:
                bad[at : at + 5] = bytes((rng.choice(_DAMAGE),)) + rng.choice((b"\0\0\0\1", b"\xff\xff\xff\xff"))
        return bytes(bad)
