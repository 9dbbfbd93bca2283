"""Names of files that have been rotated away, and which of them are kept."""

from __future__ import annotations

import re
import time
from pathlib import Path

__all__ = ["rotated_away", "rotated_name"]


def rotated_name(path: Path, now_s: float) -> Path:
    """A name beside `path` that is not taken: its stem, the time in UTC, its suffix.

    >>> rotated_name(Path("/nowhere/app.ndjson"), 0.0).name
    'app-19700101T000000Z.ndjson'
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    stem, suffix = _split(path)
    found, number = path.with_name(f"{stem}-{stamp}{suffix}"), 1
    while found.exists():
        found, number = path.with_name(f"{stem}-{stamp}-{number}{suffix}"), number + 1
    return found


def rotated_away(path: Path) -> list[Path]:
    """The files that `rotated_name` has named for `path`, oldest first; nothing else is ever matched."""
    stem, suffix = _split(path)
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?{re.escape(suffix)}")
    found = []
    for other in path.parent.iterdir():
        if (match := pattern.fullmatch(other.name)) is not None:
            found.append((match[1], int(match[2] or 0), other))
    return [other for _, _, other in sorted(found)]


def _split(path: Path) -> tuple[str, str]:
    suffix = "".join(path.suffixes[-2:]) if path.suffixes[-1:] in ([".zst"], [".gz"]) else path.suffix
    return path.name.removesuffix(suffix), suffix
