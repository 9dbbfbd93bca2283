"""Promises checked one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from logllm.guarantees.verdict import Broken, Status, Unchecked, Verdict

if TYPE_CHECKING:
    from logllm.guarantees.place import Place
    from logllm.guarantees.promise import Promise

__all__ = ["verify"]


def verify(promises: Iterable[Promise], place: Callable[[], Place]) -> Iterator[Verdict]:
    """Check promises, in their order, each in a place of its own.

    A bug of a check propagates; a machine that cannot do what it needs makes it `unchecked`.
    """
    for promise in promises:
        begun = time.monotonic()
        status: Status
        try:
            with place() as here:
                seen = promise.check(here)
            status = "holds"
        except Broken as broken:
            status, seen = "broken", str(broken)
        except Unchecked as lacking:
            status, seen = "unchecked", str(lacking)
        except OSError as error:
            status, seen = "unchecked", f"this machine does not let it be checked: {error}"
        yield Verdict(promise.id, status, seen, round(time.monotonic() - begun, 1))
