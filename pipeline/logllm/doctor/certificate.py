"""From when to when a certificate is valid: the one thing about it that Python's `ssl` does not tell."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

__all__ = ["certificates", "valid_between"]

_PEM = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
_MOST = 1_000

_INTEGER, _SEQUENCE, _VERSION, _UTC_TIME, _TIME = 0x02, 0x30, 0xA0, 0x17, 0x18


def certificates(pem: str) -> list[bytes]:
    """The certificates of a PEM file as DER, in their order.

    Raises:
        ValueError: One of them is not base64.
    """
    parts = pem.split(_PEM[0])[1 : _MOST + 1]
    return [ssl.PEM_cert_to_DER_cert(f"{_PEM[0]}{part.partition(_PEM[1])[0]}{_PEM[1]}\n") for part in parts]


def valid_between(der: bytes) -> tuple[datetime, datetime]:
    """The `Validity` of an X.509 certificate (RFC 5280, 4.1).

    Raises:
        ValueError: It is no certificate.
    """
    kind, certificate, _ = _element(der)
    inner, signed, _ = _element(certificate)
    if (kind, inner) != (_SEQUENCE, _SEQUENCE):
        raise ValueError("no certificate")
    rest = signed
    first, _, after = _element(rest)
    if first == _VERSION:
        rest = after
    # Serial number, signature algorithm, issuer.
    for wanted in (_INTEGER, _SEQUENCE, _SEQUENCE):
        kind, _, rest = _element(rest)
        if kind != wanted:
            raise ValueError("no certificate")
    kind, validity, _ = _element(rest)
    if kind != _SEQUENCE:
        raise ValueError("no certificate")
    begin_kind, begin, rest = _element(validity)
    end_kind, end, _ = _element(rest)
    return _moment(begin_kind, begin), _moment(end_kind, end)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first DER element: its tag, its content, what follows it."""
    if len(data) < 2:
        raise ValueError("it ends too early")
    length, start = data[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start])
        if start > 2 + 4:
            raise ValueError("too long")
    if len(data) < start + length:
        raise ValueError("it ends too early")
    return data[0], data[start : start + length], data[start + length :]


def _moment(kind: int, text: bytes) -> datetime:
    written = text.decode("ascii")
    if kind == _UTC_TIME:
        # RFC 5280: two digits from 50 on are of the 20th century.
        written = ("19" if written[:2] >= "50" else "20") + written
    elif kind != _TIME:
        raise ValueError("no time")
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
