"""Fetch one large file: resumed where it broke off, verified, put in place in one step."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from typing import TYPE_CHECKING

from logllm.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

__all__ = ["exclusive", "fetch", "http_client", "put_in_place", "sha256_of"]

_TRIES = 5


def http_client(cert: str | None = None) -> httpx.Client:
    """An HTTP client that trusts what the machine trusts: `SSL_CERT_FILE`, `SSL_CERT_DIR`, else `cert`, else certifi.

    Proxies (`HTTPS_PROXY`) and `~/.netrc` are honoured by httpx itself.
    """
    import ssl

    import httpx

    verify: ssl.SSLContext | bool = True
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        verify = ssl.create_default_context()
    elif cert:
        verify = ssl.create_default_context(cafile=cert)
    return httpx.Client(
        verify=verify,
        follow_redirects=True,
        timeout=httpx.Timeout(30.0, connect=15.0),
        headers={"User-Agent": "logllm", "Accept-Encoding": "identity"},
    )


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two pulls of one model do not write the same partial file.

    Raises:
        ModelError: another process holds it.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ModelError(
                f"{path.stem}: another `logllm model pull` is fetching it now; wait for it to end"
            ) from None
        yield


def sha256_of(path: Path) -> str:
    """The file's SHA-256, hexadecimal; about 1 s for 500 MB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_in_place(part: Path, target: Path, sha256: str | None, what: str) -> str:
    """Check `part` and rename it to `target`; returns its checksum. A part that does not match is removed.

    Raises:
        ModelError: wrong checksum.
    """
    got = sha256_of(part)
    if sha256 is not None and got != sha256:
        part.unlink()
        raise ModelError(f"{what}: Expected SHA-256 {sha256}, got {got}; the download was removed, pull it again")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    return got


def fetch(
    url: str,
    part: Path,
    *,
    client: httpx.Client,
    what: str,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    headers: dict[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> httpx.Headers:
    """Download `url` into `part`, going on where an earlier try stopped; returns the final answer's headers.

    A broken connection is tried again five times, with `Range` and `If-Range`, so that a file which changed in
    between starts anew. What came stays in `part` for the next call, except when the disk is full.

    Raises:
        ModelError: no network, an HTTP error, a full disk; each says what to do.
    """
    import httpx

    etag_file = part.with_name(part.name + ".etag")
    part.parent.mkdir(parents=True, exist_ok=True)
    for left in range(_TRIES - 1, -1, -1):
        try:
            return _fetch_once(url, part, etag_file, client, what, progress, headers or {})
        except (httpx.TransportError, _ShortError) as error:
            if left == 0 or isinstance(error, httpx.UnsupportedProtocol):
                kept = part.stat().st_size if part.exists() else 0
                note = f"; {kept} bytes are kept, the next pull goes on from there" if kept else ""
                raise ModelError(
                    f"{what}: no answer from {_host(url)} ({error or type(error).__name__}){note}"
                ) from None
            sleep(min(8.0, 0.5 * 2.0 ** (_TRIES - 1 - left)))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                part.unlink(missing_ok=True)
                raise ModelError(
                    f"{part.parent}: the disk is full; free some space or set LOGLLM_MODELS to another folder"
                ) from None
            raise ModelError(f"{part}: {error.strerror or error}") from None
    raise AssertionError("the loop returns or raises")


class _ShortError(Exception):
    """The connection ended before the announced length."""


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or url


def _fetch_once(
    url: str,
    part: Path,
    etag_file: Path,
    client: httpx.Client,
    what: str,
    progress: Callable[[int, int | None], None],
    headers: dict[str, str],
) -> httpx.Headers:
    have = part.stat().st_size if part.exists() else 0
    asked = dict(headers)
    if have and etag_file.exists():
        asked |= {"Range": f"bytes={have}-", "If-Range": etag_file.read_text()}
    with client.stream("GET", url, headers=asked) as answer:
        if answer.status_code == 416 and "Range" in asked:
            # Nothing past what we have: the caller's checksum tells whether it is whole.
            return _headers(answer)
        if answer.status_code not in (200, 206):
            raise ModelError(_refusal(answer.status_code, url, what))
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == 206 and not resumed:
            etag_file.unlink(missing_ok=True)
            raise _ShortError("the server sent another range than asked")
        done = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        # A weak tag may not be used to resume (RFC 9110, 13.1.5).
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if tag and not tag.startswith("W/"):
            etag_file.write_text(tag)
        else:
            etag_file.unlink(missing_ok=True)
        progress(done, total)
        with part.open("ab" if resumed else "wb") as file:
            # As the network gives it: what httpx would gather to larger pieces is lost when the connection breaks.
            for chunk in answer.iter_raw():
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
        if total is not None and done != total:
            raise _ShortError(f"the connection ended at {done} of {total} bytes")
        etag_file.unlink(missing_ok=True)
        return _headers(answer)


def _headers(answer: httpx.Response) -> httpx.Headers:
    """The answer's headers, and the hub's checksum from the redirect that led to it."""
    headers = answer.headers.copy()
    for earlier in answer.history:
        if "X-Linked-Etag" in earlier.headers:
            headers["X-Linked-Etag"] = earlier.headers["X-Linked-Etag"]
    return headers


def _refusal(status: int, url: str, what: str) -> str:
    if status == 404:
        return f"{what}: {_host(url)} does not have it (404) at {url}"
    if status in (401, 403):
        return f"{what}: {_host(url)} refuses it ({status}); accept its licence and set HF_TOKEN, or take another model"
    return f"{what}: {_host(url)} answered {status}; try again later"
