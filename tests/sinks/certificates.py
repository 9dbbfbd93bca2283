"""Certificates for TLS on this machine, made by openssl for one run of the tests."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["Certificates", "certificates"]

_EXTENSIONS = "subjectAltName=DNS:receiver.test,IP:127.0.0.1\n"


class Certificates(NamedTuple):
    """An authority, and what it has signed: for `receiver.test` and 127.0.0.1, and for a client."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def server_context(self, *, client_wanted: bool = False) -> ssl.SSLContext:
        """What a receiver listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        if client_wanted:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def certificates(folder: Path) -> Certificates:
    """Make them; skips where there is no openssl."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: no certificates can be made")

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (folder / "extensions").write_text(_EXTENSIONS)
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2")
    for name in ("server", "client"):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))
