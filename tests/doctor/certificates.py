"""Certificates for a test, made by the `openssl` of this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def certificate(folder: Path, name: str, *more: str) -> tuple[Path, Path]:
    """A certificate valid from now for ten days, and its key. Skips where there is no `openssl`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl on this machine")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", f"/CN={name}.test", "-days", "10", *more]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    key.chmod(0o600)
    return cert, key


def dates(cert: Path) -> dict[str, str]:
    """What OpenSSL says of a certificate's validity."""
    told = subprocess.run(
        ["openssl", "x509", "-in", str(cert), "-noout", "-dates"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return dict(line.split("=", 1) for line in told.stdout.splitlines())
