"""What the world `logllm:plugin` imports, over one instance's `Host`.

wasmtime-py keeps the exception of a host function in one place for all threads, so none may leave these: it is handed
to the instance, which stops the guest and raises it where the guest was called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from logllm.errors import PluginTrap
from logllm.filters.host import ASK_BYTES, KEY_BYTES, LOG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.filters.host import Host

__all__ = ["Stoppable", "functions"]

_MOST_S64 = (1 << 63) - 1


class Stoppable(Protocol):
    """An instance that can be told from within a host function that something went wrong there."""

    def stop(self, why: BaseException) -> None:
        """Stop the guest; `why` comes out of the call into it."""
        ...

    @property
    def over(self) -> bool:
        """Whether the call that is under way has taken longer than it may."""
        ...


def functions(host: Host, instance: Callable[[], Stoppable | None]) -> dict[str, Callable[..., Any]]:
    """The world's functions for wasmtime-py: each gets the store and the guest's values.

    Args:
        instance: Gives the instance, or None where it is gone: the store keeps these functions for ever.
    """

    def log(level: int, message: str) -> None:
        host.log(level, _bytes(message, LOG_BYTES))

    def kv_get(key: str) -> str | None:
        value = host.get(_bytes(key, KEY_BYTES + 1))
        return None if value is None else value.decode("utf-8", "replace")

    def kv_set(key: str, value: str) -> int:
        # One byte more than there may be is enough to be refused.
        return host.set(_bytes(key, KEY_BYTES + 1), _bytes(value, host.kv_bytes + 1))

    def metric(name: str, delta: int) -> None:
        host.count(_bytes(name, 65), delta)

    def anomaly(score_milli: int, json: str) -> None:
        host.anomaly(score_milli, _bytes(json, LOG_BYTES + 1))

    def guarded(call: Callable[..., Any], failed: Any) -> Callable[..., Any]:
        def safe(_: object, *values: Any) -> Any:
            try:
                result = call(*values)
                owner = instance()
                if owner is not None and owner.over:
                    owner.stop(PluginTrap("timeout", "ran for longer than it may"))
                return result
            except BaseException as error:  # noqa: BLE001 - it must not cross the guest
                owner = instance()
                if owner is not None:
                    owner.stop(error)
                return failed

        return safe

    return {
        "log": guarded(log, None),
        "now": guarded(lambda: max(host.now_ms(), 0) & _MOST_S64, 0),
        "kv-get": guarded(kv_get, None),
        "kv-set": guarded(kv_set, -1),
        "metric": guarded(metric, None),
        "anomaly": guarded(anomaly, None),
        "ask": guarded(lambda question: host.question(_bytes(question, ASK_BYTES + 1)), -1),
    }


def _bytes(text: str, most: int) -> bytes:
    """UTF-8, of at most so many bytes; what a guest hands over may be as large as its memory."""
    return text[:most].encode("utf-8", "replace")[:most]
