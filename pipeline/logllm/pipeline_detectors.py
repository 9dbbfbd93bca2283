"""The detectors that look at more than counts, as the configuration wants them, and what reads blocks for them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from logllm.detectors.change import ChangePoint
from logllm.detectors.heartbeat import Heartbeat
from logllm.detectors.odd.windows import OddWindows
from logllm.detectors.sessions.novelty import SessionNovelty
from logllm.detectors.values.distinct import DistinctJump
from logllm.detectors.values.messages import Messages
from logllm.detectors.values.shift import ValueShift
from logllm.sources.decode import Decoder
from logllm.sources.decode_lines import detected

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from logllm.detectors.config import DetectConfig
    from logllm.detectors.contract import Detector
    from logllm.detectors.keys import Keys
    from logllm.explain.redact.redactor import Redactor

__all__ = ["decoder_for", "detectors_of"]


def detectors_of(
    config: DetectConfig,
    keys: Keys,
    severity_of: Callable[[int], int],
    parameters: Callable[[int, str], list[str]],
    template: Callable[[int], str],
    redactor: Callable[[], Redactor],
) -> list[Detector]:
    """All that have a share of the budget; one without is not even fed.

    Args:
        parameters: What stands at each parameter of a message of a key.
        template: A key's template, its parameters as `<type>`; "" where it is forgotten.
        redactor: The one there is now: ids that are secrets are followed by what it puts in their place.
    """
    shares, values = config.shares, config.values
    found: list[Detector] = []
    if shares.heartbeat:
        found.append(Heartbeat(keys))
    if shares.session:
        found.append(
            SessionNovelty(config.sessions, keys, severity_of, lambda name, ids: redactor().sealed_ids(name, ids))
        )
    if values.enabled and (shares.value or shares.distinct):
        messages = Messages(parameters, template) if values.text else None
        found.append(ValueShift(values, lambda key: int(keys.service[key]), messages))
        found.append(DistinctJump(values, lambda of: _service(keys, of), messages))
    if shares.change:
        found.append(ChangePoint(keys))
    if shares.odd:
        found.append(OddWindows(keys))
    return found


def _service(keys: Keys, of: NDArray[np.int32]) -> NDArray[np.int64]:
    return keys.service[of].astype(np.int64)


def decoder_for(config: DetectConfig) -> Decoder:
    """What reads blocks for them, lines inside records too."""
    return Decoder(partial(detected, wanted=config.wanted), config.wanted)
