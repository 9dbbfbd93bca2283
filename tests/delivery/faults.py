"""`faults.c`, compiled, and the file it takes its orders from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["Faults", "compiled"]

_SOURCE = Path(__file__).with_name("faults.c")


def compiled(folder: Path) -> Path:
    """The library, built into a folder. Skips where there is no C compiler; see the head of `faults.c`."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: gcc")
    library = folder / "faults.so"
    command = [compiler, "-O2", "-fPIC", "-shared", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=60)
    return library


class Faults:
    """Orders for one child.

    Args:
        library: See `compiled`.
        under: Only files in this folder are touched.
        control: Where the orders are written.
        trace: Where every change is noted, if anywhere.
    """

    def __init__(self, library: Path, under: Path, control: Path, trace: Path | None = None) -> None:
        self._library, self._under, self._control, self._trace = library, under, control, trace
        self.order()

    @property
    def environment(self) -> dict[str, str]:
        """What the child is to be started with."""
        found = {
            "LD_PRELOAD": str(self._library),
            "FAULTS_UNDER": str(self._under),
            "FAULTS_CONTROL": str(self._control),
        }
        return found if self._trace is None else {**found, "FAULTS_TRACE": str(self._trace)}

    def order(self, *rules: str) -> None:
        """Put these rules in the place of those before, as one change; none: nothing goes wrong any more."""
        fresh = self._control.with_name(self._control.name + ".new")
        fresh.write_text("".join(f"{rule}\n" for rule in rules), encoding="utf-8")
        # A file that is gone does not give its number to the next one while it is still linked here.
        os.replace(fresh, self._control)  # noqa: PTH105 - said as the system says it
