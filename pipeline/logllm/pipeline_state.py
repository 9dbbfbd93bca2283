"""What a pipeline has learned, as one msgpack-able value, and back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from logllm.checkpoint import STATE_VERSION
from logllm.errors import StateError
from logllm.explain.redact.redactor import Redactor, without_secrets
from logllm.templates.miner import Miner

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.arrivals import Arrivals
    from logllm.detectors.budget import Budget
    from logllm.detectors.detection import Detection
    from logllm.detectors.keys import Keys
    from logllm.detectors.names import FirstSight, Names
    from logllm.detectors.windows import Windows
    from logllm.incidents.changes import ChangeWatch
    from logllm.incidents.feedback import Feedback
    from logllm.incidents.grouper import Grouper
    from logllm.signals import Raised
    from logllm.sources.decode import Decoder

__all__ = ["Learned", "restore_into", "state_of"]


class Learned(Protocol):
    """The parts of a pipeline that learn."""

    miner: Miner
    keys: Keys
    names: Names
    first_sight: FirstSight
    windows: Windows
    detection: Detection
    budget: Budget
    feedback: Feedback
    grouper: Grouper
    changes: ChangeWatch
    redactor: Redactor
    arrivals: Arrivals
    raised: Raised
    decoder: Decoder
    anomalies: dict[str, int]
    records: int
    bytes: int
    first_window: int


_SHORTEST = 6
"""Characters of a text that shows a secret: a name, `=` and some of it."""


def state_of(learned: Learned) -> dict[str, Any]:
    """A copy of all of it, and no secret in it: those are hashes, under the key of the pseudonyms.

    Cost: some 10 us for each text that detectors keep, beside the copy.
    """
    redactor = learned.redactor.state()
    miner = learned.miner.state(redactor["key"])
    state = _sealed(_of(learned) | {"named": miner["named"]}, cache(learned.redactor.sealed))
    miner["named"] = state.pop("named")
    return {"version": STATE_VERSION, "miner": miner, "redactor": redactor, **state}


def _of(learned: Learned) -> dict[str, Any]:
    return {
        "keys": learned.keys.state(),
        "names": learned.names.state(),
        "first_sight": learned.first_sight.state(),
        "windows": learned.windows.state(),
        "detection": learned.detection.state(),
        "budget": learned.budget.state(),
        "feedback": learned.feedback.state(),
        "open": learned.grouper.state(),
        "changes": learned.changes.state(),
        "records": learned.records,
        "bytes": learned.bytes,
        "anomalies": dict(learned.anomalies),
        "ahead": learned.arrivals.ahead,
        "first_window": learned.first_window,
        "raised": learned.raised.state(),
        "decoder": learned.decoder.state(),
    }


def _sealed(value: Any, seal: Callable[[str], str]) -> Any:
    """The same with every text in it sealed, names too."""
    if isinstance(value, str):
        return seal(value) if len(value) >= _SHORTEST else value
    if isinstance(value, dict):
        return {_sealed(name, seal): _sealed(each, seal) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sealed(each, seal) for each in value]
    return value


def restore_into(learned: Learned, state: dict[str, Any]) -> None:
    """Take a copy back. Raises StateError: it is of another version or damaged; the parts are then of no use."""
    if state.get("version") != STATE_VERSION:
        raise StateError(f"saved state has version {state.get('version')}, expected {STATE_VERSION}")
    try:
        learned.miner = Miner.restore(state["miner"], without_secrets)
        learned.keys.restore(state["keys"])
        learned.names.restore(state["names"])
        learned.first_sight.restore(state["first_sight"], learned.miner.size)
        learned.windows.restore(state["windows"])
        learned.detection.restore(state["detection"])
        learned.budget.restore(state["budget"])
        learned.feedback.restore(state.get("feedback", {}))
        learned.grouper.restore(state["open"])
        learned.changes.restore(state.get("changes", {}), learned.keys.count, len(learned.keys.services))
        learned.redactor = Redactor.from_state(state["redactor"])
        learned.records, learned.bytes = int(state["records"]), int(state["bytes"])
        learned.arrivals.ahead = int(state["ahead"])
        learned.anomalies = {str(kind): int(times) for kind, times in state["anomalies"].items()}
        learned.first_window = int(state["first_window"])
        learned.raised.restore(state.get("raised", []))
        learned.decoder.restore(state["decoder"])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, msgspec.ValidationError) as error:
        raise StateError(f"saved state is damaged: {error!r}") from error
    spoken_of = {key for incident in learned.grouper.open for key in incident.concerned} | learned.raised.keys
    numbers = [*spoken_of, *learned.windows.keys.tolist(), learned.detection.rate.size - 1]
    if not all(-1 <= number < learned.keys.count for number in numbers) or -1 in spoken_of:
        raise StateError("saved state is damaged: it speaks of keys that are not there")
    if int(learned.keys.template[: learned.keys.count].max(initial=-1)) >= learned.miner.size:
        raise StateError("saved state is damaged: it speaks of templates that are not there")
