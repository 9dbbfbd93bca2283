"""The `[explain]` table."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["ExplainConfig"]


class ExplainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[explain]` table.

    `model` is a name of the catalogue, a path to a `.gguf` or a URL; empty for facts and runbooks alone. `runbooks` are
    folders of the user's own. `idle_s`: the local model ends after so long without work. `tokens_per_hour` counts what
    the model reads and writes, scoring included; the last fifth of it is for critical incidents, the last half not for
    those that are only information. `max_wait_s`: an incident whose explanation could not be made for so long gets
    none; waiting for a window does not count. `windows`: when the model may work, as "mon-fri 22:00-06:00
    Europe/Berlin"; none for always. `critical_any_time`: critical incidents do not wait for one. `threads` and
    `memory_bytes` 0: up to four cores, no limit.
    """

    enabled: bool = True
    model: str = "smollm2-135m"
    runbooks: list[str] = []
    idle_s: Annotated[float, msgspec.Meta(ge=0.0)] = 300.0
    deadline_s: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 60.0
    tokens_per_hour: Annotated[int, msgspec.Meta(ge=0)] = 200_000
    max_wait_s: Annotated[float, msgspec.Meta(gt=0.0, le=604_800.0)] = 600.0
    windows: list[str] = []
    critical_any_time: bool = True
    n_ctx: Annotated[int, msgspec.Meta(ge=1024)] = 2048
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    memory_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
