"""Keys, users and certificates that a configuration names: readable by us, by nobody else, and not expired."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from logllm.doctor.certificate import certificates, valid_between
from logllm.doctor.finding import Finding, fail, ok, warn

__all__ = ["examine_secrets"]

_SECRET = (
    *("shared_key_file", "users_file", "tls_key"),
    *("password_file", "bearer_file", "headers_file"),
    *("url_file", "urls_file", "token_file", "signing_secret_file", "secret_file", "routing_key_file"),
)
_PUBLIC = ("tls_cert", "tls_client_ca", "tls_ca")
_LARGEST_BYTES = 4 << 20
_SOON = timedelta(days=14)


def examine_secrets(place: str, part: object, now: datetime) -> Iterator[Finding]:
    """Look at every file that a part of the configuration names.

    Args:
        place: What the part is called in the configuration.
        part: A struct; those of its fields that name such files are looked at, whichever it has.
        now: Certificates are judged by it.
    """
    values = {key: getattr(part, key, None) for key in (*_SECRET, *_PUBLIC)}
    named = {key: Path(value) for key, value in values.items() if isinstance(value, str) and value}
    for key, path in named.items():
        about = f"{place}.{key} {path}"
        try:
            body = _read(path)
        except OSError as error:
            told = f"cannot be read by this user: {error.strerror or error}"
            yield fail(about, told, "correct the path, or give this user the file")
            continue
        if not body.strip():
            yield fail(about, "it is empty", "write it")
        elif key in _SECRET:
            yield _private(about, path)
        else:
            yield _certificates(about, body, now)


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return file.read(_LARGEST_BYTES)


def _private(about: str, path: Path) -> Finding:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    # How Kubernetes mounts a secret: root's, and readable by the group that is ours.
    mounted = found.st_uid == 0 != os.geteuid() and not mode & 0o037
    if mode & 0o077 and not mounted:
        return warn(about, f"mode {mode:04o}: others can read or change it", f"chmod 600 {path}")
    return ok(about, f"readable, mode {mode:04o}")


def _certificates(about: str, body: bytes, now: datetime) -> Finding:
    try:
        spans = [valid_between(der) for der in certificates(body.decode("ascii"))]
    except (ValueError, UnicodeDecodeError) as error:
        return fail(about, f"no certificate in PEM: {error}", "put a certificate in PEM there")
    if not spans:
        return fail(about, "no certificate in it", "put a certificate in PEM there")
    begin, end = max(span[0] for span in spans), min(span[1] for span in spans)
    many = "" if len(spans) == 1 else f", the first to end of {len(spans)}"
    if end <= now:
        return fail(about, f"expired at {end:%Y-%m-%d %H:%M} UTC{many}", "renew it")
    if begin > now:
        return fail(about, f"not valid before {begin:%Y-%m-%d %H:%M} UTC", "look at this machine's clock, or wait")
    if end - now < _SOON:
        return warn(about, f"expires at {end:%Y-%m-%d %H:%M} UTC{many}", "renew it")
    return ok(about, f"valid until {end:%Y-%m-%d}{many}")
