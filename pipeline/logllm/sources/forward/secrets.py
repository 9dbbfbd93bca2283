"""What the forward server reads from files: its shared key, its users, its certificates.

No message, log line or `repr` has any of it.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.errors import ConfigError
from logllm.sources.forward.gate import Gate

if TYPE_CHECKING:
    from logllm.sources.forward.config import ForwardConfig

__all__ = ["load_gate", "load_key", "load_tls", "load_users"]


def load_gate(config: ForwardConfig) -> Gate | None:
    """Who may enter; None where anyone may, without a handshake.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be.
    """
    if config.shared_key_file is None and config.users_file is None:
        return None
    key = load_key(config.shared_key_file) if config.shared_key_file is not None else b""
    users = load_users(config.users_file) if config.users_file is not None else {}
    return Gate(key, users, config.self_hostname)


def load_key(path: str) -> bytes:
    """A shared key: all bytes of a file but one newline at its end. Raises ConfigError."""
    text = _read(path, "the shared key")
    key = text.removesuffix(b"\n").removesuffix(b"\r")
    if not key:
        raise ConfigError(f"{path}: is empty, expected the shared key")
    return key


def load_users(path: str) -> dict[bytes, bytes]:
    """Passwords by name. Raises ConfigError."""
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(_read(path, "lines `name password`").splitlines(), 1):
        parts = line.strip().split(None, 1)
        if not parts or parts[0].startswith(b"#"):
            continue
        if len(parts) != 2:
            raise ConfigError(f"{path}: line {number}: expected `name password`")
        if parts[0] in users:
            raise ConfigError(f"{path}: line {number}: the name stands there a second time, expected it once")
        users[parts[0]] = parts[1]
    if not users:
        raise ConfigError(f"{path}: has no users, expected lines `name password`")
    return users


def load_tls(config: ForwardConfig) -> ssl.SSLContext | None:
    """What TLS connections are made with; None where TCP is plain.

    Raises:
        ConfigError: a file cannot be read, is no certificate or key, or they do not belong together.
    """
    cert, key, client_ca = config.tls_cert, config.tls_key, config.tls_client_ca
    if cert is None or key is None:
        for name, value, other in (
            ("tls_key", key, "tls_cert"),
            ("tls_cert", cert, "tls_key"),
            ("tls_client_ca", client_ca, "tls_cert and tls_key"),
        ):
            if value is not None:
                raise ConfigError(f"forward: {name} is set, expected {other} too")
        return None
    _read(cert, "a certificate in PEM")
    _read(key, "a private key in PEM")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Never a question on the terminal: a key with a passphrase is refused.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        if "MISMATCH" in str(getattr(error, "reason", "")):
            raise ConfigError(f"{key}: is not the private key of {cert}, expected the one it was made with") from error
        raise ConfigError(
            f"{cert}, {key}: expected a certificate and its private key in PEM, without a passphrase"
        ) from error
    if client_ca is not None:
        _read(client_ca, "certificates in PEM")
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"{client_ca}: expected certificates in PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(path: str, expected: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read: {reason}; expected {expected}") from error
