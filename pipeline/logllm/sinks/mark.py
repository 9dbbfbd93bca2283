"""Whose a file is: a mark on it, so that no ledger cuts off what another one has acknowledged."""

from __future__ import annotations

import os

__all__ = ["take_over"]

_MARK = "user.logllm.ledger"


def take_over(fd: int, identity: bytes) -> bool:
    """Mark an open file as written by the sink of this ledger.

    A sink that gets another name or data folder gets another ledger. When it is changed back, the first ledger knows
    nothing of what was written meanwhile.

    Returns:
        False where another ledger's mark was on it. Where the file system takes no marks, nobody can tell: True.
    """
    try:
        found = os.getxattr(fd, _MARK) if _MARK in os.listxattr(fd) else identity
        os.setxattr(fd, _MARK, identity)
        os.fsync(fd)
    except OSError:
        return True
    return found == identity
