"""The forward protocol's handshake, both sides' bytes: HELO, PING, PONG and their digests.

Follows the Fluentd Forward Protocol Specification v1.5; what real clients do beyond it (salts that are strings and
not UTF-8, PONG digests that are verified) is kept to. Digests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgpack  # type: ignore[import-untyped]
import msgspec

from logllm.errors import ProtocolError

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Helo",
    "Ping",
    "ping_fault",
    "read_helo",
    "read_ping",
    "read_pong",
    "write_helo",
    "write_ping",
    "write_pong",
]

MAX_MESSAGE_BYTES = 8192
"""A message of a handshake may be this long; Fluent Bit reads at most 1023 bytes of one."""

_NO_USER = b"no such user"


class Helo(msgspec.Struct, frozen=True):
    """What a server opens with. `auth` is the salt of passwords, empty where it knows no users."""

    nonce: bytes
    auth: bytes = b""
    keepalive: bool = True


class Ping(msgspec.Struct, frozen=True):
    """A client's answer to HELO; digests are 128 hexadecimal digits, or empty where there is no user."""

    hostname: bytes
    salt: bytes
    digest: bytes
    username: bytes = b""
    password_digest: bytes = b""


def write_helo(helo: Helo) -> bytes:
    """A whole HELO, to be sent in one segment.

    >>> write_helo(Helo(b"0123456789abcdef"))[:6]
    b'\\x92\\xa4HELO'
    """
    options = {"nonce": helo.nonce, "auth": helo.auth, "keepalive": helo.keepalive}
    return bytes(msgpack.packb(["HELO", options], use_bin_type=True))


def write_ping(helo: Helo, key: bytes, hostname: str, salt: bytes, username: str = "", password: str = "") -> bytes:
    """A whole PING.

    Args:
        key: The shared key; may be empty.
        salt: 16 random bytes.
    """
    host, user = hostname.encode(), username.encode()
    digest = _key_digest(salt, host, helo.nonce, key)
    proof = _password_digest(helo.auth, user, password.encode()) if helo.auth else b""
    # Fluent Bit's server takes strings only, and a digest of str type.
    fields = [b"PING", host, salt, digest, user, proof]
    return bytes(msgpack.packb(fields, use_bin_type=False))


def write_pong(ping: Ping, nonce: bytes, key: bytes, hostname: str, reason: str = "") -> bytes:
    """A whole PONG: welcome, or no entry for a reason of at most 31 bytes, which is what Fluent Bit shows of it."""
    if reason:
        return bytes(msgpack.packb(["PONG", False, reason, hostname, ""]))
    host = hostname.encode()
    return bytes(msgpack.packb(["PONG", True, "", hostname, _key_digest(ping.salt, host, nonce, key).decode()]))


def ping_fault(ping: Ping, helo: Helo, key: bytes, users: Mapping[bytes, bytes]) -> str:
    """Why a client may not enter, in Fluentd's words; empty where it may.

    Args:
        users: Passwords by name; where it is empty, whatever a client says of users does not matter.
    """
    expected = _key_digest(ping.salt, ping.hostname, helo.nonce, key)
    if not hmac.compare_digest(expected, ping.digest):
        return "shared_key mismatch"
    if users:
        # An unknown name takes as long as a known one.
        known = ping.username in users
        proof = _password_digest(helo.auth, ping.username, users.get(ping.username, _NO_USER))
        if not (hmac.compare_digest(proof, ping.password_digest) and known):
            return "username/password mismatch"
    return ""


def read_helo(message: bytes) -> Helo:
    """A server's HELO. Raises ProtocolError."""
    fields = _fields(message, b"HELO", 2, 2)
    options = fields[1] if isinstance(fields[1], dict) else {}
    nonce, auth = options.get(b"nonce"), options.get(b"auth", b"")
    if not isinstance(nonce, bytes) or not isinstance(auth, bytes):
        raise ProtocolError("got a HELO without a nonce, expected {nonce, auth, keepalive}")
    return Helo(nonce, auth, options.get(b"keepalive", True) is not False)


def read_ping(message: bytes) -> Ping:
    """A client's PING. Raises ProtocolError."""
    fields = _fields(message, b"PING", 6, 6)
    texts = [field for field in fields if isinstance(field, bytes)]
    if len(texts) != len(fields):
        raise ProtocolError("got a PING with a field that is no string, expected six strings")
    return Ping(*texts[1:])


def read_pong(message: bytes, helo: Helo, key: bytes, salt: bytes, hostname: str) -> str:
    """Why a server does not let us in; empty where it does and has proved that it knows the key.

    Args:
        salt, hostname: What our PING said.

    Raises:
        ProtocolError: It is no PONG, or the server does not know the key.
    """
    fields = _fields(message, b"PONG", 5, 5)
    welcome, reason, host, digest = fields[1:]
    if welcome is not True:
        return reason.decode("utf-8", "replace")[:200] if isinstance(reason, bytes) and reason else "no reason given"
    if not isinstance(host, bytes) or not isinstance(digest, bytes):
        raise ProtocolError("got a PONG with a field that is no string")
    if not hmac.compare_digest(_key_digest(salt, host, helo.nonce, key), digest):
        raise ProtocolError("the server's PONG does not prove that it knows the shared key")
    if host == hostname.encode():
        # Else whoever sends our own PING's digest back would pass.
        raise ProtocolError(f"the server calls itself {hostname!r}, as we do: give one of us another name")
    return ""


def _fields(message: bytes, name: bytes, least: int, most: int) -> list[object]:
    if len(message) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"got {len(message)} bytes as {name.decode()}, expected at most {MAX_MESSAGE_BYTES}")
    try:
        fields = msgpack.unpackb(message, raw=True, strict_map_key=False)
    # TypeError: a list or a map as the key of a map.
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise ProtocolError(f"got no whole {name.decode()}: {error}") from error
    if not isinstance(fields, list) or not fields or fields[0] != name:
        raise ProtocolError(f"got {message[:24]!r}, expected a {name.decode()}")
    if not least <= len(fields) <= most:
        raise ProtocolError(f"got a {name.decode()} of {len(fields)} fields, expected {most}")
    return fields


def _key_digest(salt: bytes, hostname: bytes, nonce: bytes, key: bytes) -> bytes:
    return hashlib.sha512(salt + hostname + nonce + key).hexdigest().encode()


def _password_digest(salt: bytes, username: bytes, password: bytes) -> bytes:
    return hashlib.sha512(salt + username + password).hexdigest().encode()
