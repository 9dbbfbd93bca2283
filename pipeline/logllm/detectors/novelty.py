"""New templates: judged against how often new ones come, and many at once taken for what they are, a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from logllm.events import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Novel", "Novelty"]

RELEASE_SPAN = 10
"""New templates of one service within this many windows belong to one release."""

RELEASE_QUIET = 60
"""A release's own late arrivals join it for this many windows."""

MIN_RELEASE = 6
LEARNING_WINDOWS = 60
LEARNING_RELEASE = 180
"""Start-up, rotation and daily jobs bring new templates in groups for some hours."""
HALF_LIFE = 1440.0


class Novel(msgspec.Struct, frozen=True):
    """What is worth telling about the new templates of one service in one window.

    `kind` is "new" for one bad-looking template, "release" for many at once. `rate_per_day`: how many new ones as
    bad as this the source has brought lately.
    """

    kind: str
    window: int
    service: int
    keys: list[int]
    severity: int
    rate_per_day: float


class _Service(msgspec.Struct):
    windows: float = 0.0
    updated: int = 0
    new: float = 0.0
    bad: float = 0.0
    recent: list[tuple[int, int]] = []
    released: int = -(10**9)


class Novelty:
    """Watches the first sight of templates, service by service.

    Good-Turing's view: the chance that the next window brings a new template is the rate at which new ones have come.
    Says nothing while a service has been watched for less than LEARNING_WINDOWS windows; everything is new then.
    """

    def __init__(self) -> None:
        self._services: dict[int, _Service] = {}

    def judge(self, window: int, service: int, new: Sequence[tuple[int, int]]) -> list[Novel]:
        """The new templates of one service in one closed window.

        Args:
            new: (key, severity number) of each template first seen in this window.
        """
        state = self._advance(window, service)
        for key, _ in new:
            state.recent.append((window, key))
        state.recent = [(w, k) for w, k in state.recent if window - w < RELEASE_SPAN][-200:]
        ready = state.windows >= LEARNING_WINDOWS
        found: list[Novel] = []
        per_day = state.new * 1440.0 / max(min(state.windows, HALF_LIFE / 0.693), 1.0)
        # At least a day is reckoned with: one bad message in the first hours is not five a day.
        bad_per_day = state.bad * 1440.0 / max(min(state.windows, HALF_LIFE / 0.693), 1440.0)
        releasing = self.releasing(service, window)
        usual = per_day * RELEASE_SPAN / 1440.0
        if (
            state.windows >= LEARNING_RELEASE
            and not releasing
            and len(state.recent) >= max(MIN_RELEASE, 4.0 * usual + 5.0)
        ):
            state.released = window
            releasing = True
            keys = [key for _, key in state.recent]
            found.append(Novel("release", window, service, keys, int(Severity.INFO), per_day))
        elif ready and releasing and new:
            found.append(Novel("release", window, service, [key for key, _ in new], int(Severity.INFO), per_day))
        if ready:
            found.extend(
                Novel("new", window, service, [key], severity, bad_per_day)
                for key, severity in new
                if severity >= Severity.WARN
            )
        state.new += len(new)
        state.bad += sum(severity >= Severity.WARN for _, severity in new)
        return found

    def _advance(self, window: int, service: int) -> _Service:
        state = self._services.get(service)
        if state is None:
            state = self._services[service] = _Service(updated=window)
        passed = window - state.updated
        if passed < 0:
            # Time went back: what was new or released later than now is of another past.
            state.updated, state.recent, state.released = window, [], -(10**9)
        elif passed:
            decay = 0.5 ** (passed / HALF_LIFE)
            state.new *= decay
            state.bad *= decay
            # Windows count while the service is known, silent or not.
            state.windows += passed
            state.updated = window
        return state

    def releasing(self, service: int, window: int) -> bool:
        """True for a while after a release of the service."""
        state = self._services.get(service)
        return state is not None and 0 <= window - state.released <= RELEASE_QUIET

    def merge(self, old: int, new: int) -> None:
        """Key `old` became part of key `new`: of the two, one is new at most once."""
        for state in self._services.values():
            if any(key == old for _, key in state.recent):
                renamed = {new if key == old else key: window for window, key in reversed(state.recent)}
                state.recent = [(window, key) for key, window in reversed(renamed.items())]

    def state(self) -> dict[str, Any]:
        """A msgpack-able copy."""
        return {str(service): msgspec.to_builtins(state) for service, state in self._services.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy back."""
        self._services = {int(service): msgspec.convert(value, _Service) for service, value in state.items()}
