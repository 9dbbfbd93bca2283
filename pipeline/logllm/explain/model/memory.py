"""How much memory a process really takes, as Linux tells it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["Memory", "memory_of"]

_PROC = Path("/proc")


class Memory(NamedTuple):
    """`share_bytes`: its pages, one that n processes map counted as a part of n, so that workers add up.

    `own_bytes`: those it has written to; what another worker of the same model would add.
    """

    share_bytes: int
    own_bytes: int


def memory_of(pid: int, proc: Path = _PROC) -> Memory | None:
    """What the process has in memory now; None where it is gone or this is not Linux. Takes up to some milliseconds."""
    try:
        text = (proc / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    sizes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split()
        if len(parts) == 2 and parts[1] == "kB" and parts[0].isdigit():
            sizes[name] = int(parts[0]) * 1024
    if "Pss" not in sizes:
        return None
    # A file's clean pages are private only while one worker maps them.
    return Memory(sizes["Pss"], sizes.get("Private_Dirty", 0))
