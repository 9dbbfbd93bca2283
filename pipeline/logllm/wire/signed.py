"""Links that a person may follow to answer: who signed them, what for, until when.

A token is base64url of a version, the second it expires, a verb and a subject, and after them 16 bytes of
HMAC-SHA256. It carries no secret and can be used again: that a thing is done once is its receiver's business.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import secrets
import stat
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from logllm.errors import ProtocolError, StateError

__all__ = ["MAX_TOKEN_CHARS", "SECRET_BYTES", "Signer", "secret_at"]

SECRET_BYTES = 32
MAX_TOKEN_CHARS = 600

_MAC_BYTES = 16
_VERSION = 1
_HEAD = struct.Struct(">BQB")
_MAX_VERB_BYTES = 128
_MAX_SUBJECT_BYTES = 256
# The same secret may sign other things one day: no signature of one kind is good for another.
_PURPOSE = b"logllm link\0"


class Signer:
    """Signs links and opens them again; safe to use from several threads.

    Args:
        secret: At least 32 random bytes, as `secret_at` keeps them.

    >>> signer = Signer(bytes(32))
    >>> signer.open(signer.sign("inc-1", "acknowledge", 1_700_000_000), now_s=1_699_999_999.0)
    ('inc-1', 'acknowledge')
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"expected a secret of at least {SECRET_BYTES} bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "Signer(...)"

    def sign(self, subject: str, verb: str, expires_s: int) -> str:
        """A token of letters, digits, `-` and `_`.

        Args:
            subject: What it is about, such as an incident's id; at most 256 bytes.
            verb: What may be done by it, such as `acknowledge` or `approve:REQUEST`; 1 to 128 bytes.
            expires_s: Seconds since the epoch at which it is no longer good.

        Raises:
            ProtocolError: One of them is longer, or no text.
        """
        try:
            said, of = verb.encode(), subject.encode()
        except UnicodeEncodeError:
            raise ProtocolError("a link cannot be signed: expected text") from None
        if not 0 < len(said) <= _MAX_VERB_BYTES or len(of) > _MAX_SUBJECT_BYTES or not 0 <= expires_s < 1 << 63:
            raise ProtocolError("a link cannot be signed: expected a shorter subject and verb, and a time")
        body = _HEAD.pack(_VERSION, expires_s, len(said)) + said + of
        return urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def open(self, token: str, now_s: float) -> tuple[str, str]:
        """The subject and the verb of a token that was signed here and has not expired.

        Raises:
            ProtocolError: It was not signed with this secret, is damaged, or has expired.
        """
        whole = _decoded(token)
        body, mac = whole[:-_MAC_BYTES], whole[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise ProtocolError("this link was not signed here")
        # Past here it is what `sign` wrote, unless the secret is known to somebody else.
        version, expires_s, size = _HEAD.unpack_from(body)
        said, of = body[_HEAD.size : _HEAD.size + size], body[_HEAD.size + size :]
        if version != _VERSION or len(said) != size or not said:
            raise ProtocolError("this link is of another version")
        if not now_s < expires_s:
            raise ProtocolError("this link has expired")
        try:
            return of.decode(), said.decode()
        except UnicodeDecodeError:
            raise ProtocolError("this link is of another version") from None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + body, hashlib.sha256)[:_MAC_BYTES]


def _decoded(token: str) -> bytes:
    if not token.isascii() or not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise ProtocolError("this is no link of ours")
    try:
        whole = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise ProtocolError("this is no link of ours") from None
    # One spelling for one token: no stray characters, no unused bits that differ.
    if urlsafe_b64encode(whole).rstrip(b"=") != token.encode() or len(whole) <= _HEAD.size + _MAC_BYTES:
        raise ProtocolError("this is no link of ours")
    return whole


def secret_at(path: Path) -> bytes:
    """The secret in a file, made there (mode 600) where there is none yet; two processes get the same one.

    Raises:
        StateError: It cannot be read or written, is no file of 32 bytes, or others may read it.
    """
    for _ in range(2):
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
        except OSError as error:
            raise StateError(f"{path}: cannot read the secret of links: {error.strerror or error}") from None
    raise StateError(f"{path}: cannot read the secret of links: it goes away")


def _read(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StateError(f"{path}: expected a file with the secret of links")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise StateError(
                f"{path}: others may read the secret of links; expected mode 600, and delete it if they may have"
            )
        secret = file.read(SECRET_BYTES + 1)
    if len(secret) != SECRET_BYTES:
        raise StateError(f"{path}: expected {SECRET_BYTES} bytes, the secret of links; delete it to have a new one")
    return secret


def _make(path: Path) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            # Whole or not at all, and never over one that another process has put there.
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    except OSError as error:
        raise StateError(f"{path}: cannot keep the secret of links: {error.strerror or error}") from None
