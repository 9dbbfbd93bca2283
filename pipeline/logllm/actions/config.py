"""`[actions]`: whether anything that runbooks declare may run here, and what."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

import msgspec

from logllm.errors import ConfigError

__all__ = ["ActionsConfig", "Mode"]

Mode = Literal["suggest", "approve", "auto"]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class ActionsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may run. Without any of it, actions are suggested to people and nothing runs.

    Args:
        enabled: Anything may run at all.
        max_mode: What a runbook declares beyond this is lowered to it; `auto` must be said here too.
        allow_programs: The programs that may run, by the absolute paths that runbooks name. Others are suggested.
        env: Names of environment variables passed on; else a program sees PATH and LANG alone.
        work_dir: Where programs run.
        output_bytes: Of a program's output so much is kept, half of it from the beginning and half from the end.
        timeout_s: For actions that declare none.
        expires_s: A request that nobody answered in so long can no longer be approved.
    """

    enabled: bool = False
    max_mode: Mode = "approve"
    allow_programs: list[str] = []
    env: list[str] = []
    work_dir: str = "/"
    output_bytes: Annotated[int, msgspec.Meta(ge=256, le=16 << 20)] = 65_536
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 60.0
    expires_s: Annotated[float, msgspec.Meta(ge=60, le=7 * 86_400)] = 3_600.0

    def check(self) -> None:
        """Raises ConfigError for what msgspec cannot see."""
        for program in self.allow_programs:
            path = PurePosixPath(program)
            if not path.is_absolute() or ".." in path.parts or program.endswith("/"):
                raise ConfigError(f"[actions] allow_programs: {program!r}: expected a program's absolute path")
        for name in self.env:
            if not _ENV_NAME.fullmatch(name):
                raise ConfigError(f"[actions] env: {name!r}: expected the name of an environment variable")
        if not PurePosixPath(self.work_dir).is_absolute():
            raise ConfigError(f"[actions] work_dir: {self.work_dir!r}: expected an absolute path")
