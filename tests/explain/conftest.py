"""What the explanation's tests share: runbooks of their own, incidents, the real model where it is."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from logllm.errors import ModelError
from logllm.events import Evidence, IncidentEvent
from logllm.explain.model.models import DEFAULT_MODEL, ModelStore
from logllm.explain.runbooks.search import Catalogue, Runbook, parse_runbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SSH = """+++
id = "ssh-brute-force"
title = "SSH brute force: many failed logins"
signals = [
  "Failed password for invalid user", "POSSIBLE BREAK-IN ATTEMPT",
  "authentication failure; logname= uid=0 tty=ssh",
]
risk = "medium"
owner = "security"
+++
## What it is
Somebody is guessing SSH passwords from one or a few addresses. Most of it is automatic.
## Check
- Who got in: `last -n 20`
## Do
- Block the address: `fail2ban-client set sshd banip ADDRESS`
- Allow keys only.
"""
DISK = """+++
id = "disk-full"
title = "Disk full: no space left on device"
signals = ["No space left on device", "could not extend file"]
+++
## What it is
A file system has no free space left, so every write to it fails.
## Check
- `df -h`
## Do
1. Free space:
   ```
   journalctl --vacuum-size=200M
   ```
2. Extend the volume.
"""
POOL = """+++
id = "db-pool-exhausted"
title = "Database connection pool exhausted"
signals = [
  "sorry, too many clients already", "remaining connection slots are reserved",
  "Connection is not available, request timed out",
]
+++
## What it is
All database connections are in use, so requests wait for one and then fail.
## Check
- `select count(*) from pg_stat_activity`
## Do
- Close idle connections.
"""

SSH_LINES = [
    "Failed password for root from 183.62.140.253 port 37999 ssh2",
    "Failed password for invalid user carol from 183.62.140.253 port 38010 ssh2",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=183.62.140.253  user=root",
]


@pytest.fixture
def runbooks() -> list[Runbook]:
    return [parse_runbook(text) for text in (SSH, DISK, POOL)]


@pytest.fixture
def catalogue(runbooks: list[Runbook]) -> Iterator[Catalogue]:
    with Catalogue(runbooks) as found:
        yield found


@pytest.fixture
def incident() -> Callable[..., IncidentEvent]:
    """An incident with these evidence lines; other fields by keyword."""

    def make(lines: list[str] | None = None, **fields: object) -> IncidentEvent:
        texts = SSH_LINES if lines is None else lines
        given: dict[str, object] = {
            "id": "i1",
            "event": "open",
            "time": "2024-12-10T07:13:31Z",
            "severity": "warning",
            "service": "sshd",
            "kinds": ["rate"],
            "title": "sshd: failed logins 2 to 112 a minute",
            "expected": "2 a minute",
            "seen": "112 a minute",
            "template": "Failed password for <*> from <*> port <*> ssh2",
            "count": 519,
            "runbook": None,
            "evidence": [
                Evidence(f"E{number}", "2024-12-10T07:13:31Z", text) for number, text in enumerate(texts, start=1)
            ],
            "started": "2024-12-10T06:55:46Z",
            "fingerprint": "f1",
        }
        return IncidentEvent(**(given | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The default model's file; without it or llama-cpp-python the test is skipped, saying how to get it."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed: pip install 'logllm[llm]'")
    try:
        return ModelStore().path(DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))
