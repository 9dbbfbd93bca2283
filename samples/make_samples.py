"""Write the sample logs and what must be found in them: `python -m samples.make_samples [FOLDER]`.

Standard library only; the same bytes every time. The folder is this file's own where none is given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import disk_filling, kubernetes_shop, quiet_day

__all__ = ["write"]


def write(folder: Path) -> list[Path]:
    """Write `NAME.log` and `NAME.incidents.json` for each of the three scenes; the paths written, in order."""
    written: list[Path] = []
    for name, scene in (("disk", disk_filling), ("kubernetes", kubernetes_shop), ("quiet", quiet_day)):
        expected = {"max_incidents": scene.MAX_INCIDENTS, "incidents": [row.as_dict() for row in scene.EXPECTED]}
        texts = {f"{name}.log": scene.make(), f"{name}.incidents.json": json.dumps(expected, indent=2) + "\n"}
        for file, text in texts.items():
            path = folder / file
            path.write_bytes(text.encode())
            written.append(path)
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for path in write(target):
        print(f"{path.name}: {path.stat().st_size} bytes")
