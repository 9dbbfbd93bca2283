"""What filters raise, on its way to the window it is judged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec.structs import replace

from logllm.signals import Raised, columns_of, named

if TYPE_CHECKING:
    from logllm.detectors.keys import Keys
    from logllm.detectors.names import Names
    from logllm.events import Columns
    from logllm.filters.host import Signal
    from logllm.incidents.recent import Recent
    from logllm.templates.miner import Miner

__all__ = ["Hearing", "hear"]


class Hearing(Protocol):
    """The parts of a pipeline that a signal goes through."""

    miner: Miner
    keys: Keys
    names: Names
    recent: Recent
    raised: Raised


def hear(pipeline: Hearing, signals: list[Signal], records: Columns, time_ns: int, source: str) -> None:
    """Keep signals until their window closes.

    Args:
        records: What they were raised over, as far as filters let it through.
        time_ns: Where there are no such records.
    """
    n = len(records)
    # What was raised over records of one service is that service's, where the plugin does not say.
    alone = records.service_names[int(records.service_codes[0])] if n and np.ptp(records.service_codes) == 0 else ""
    signals = [replace(one, service=one.service or alone) for one in signals]
    time_ns = int(records.time_ns[-1]) if n else time_ns
    columns = columns_of(signals, time_ns)
    templates = np.array([pipeline.miner.named(named(signal)) for signal in signals], np.int32)
    keys, new = pipeline.keys.number(columns.service_codes, columns.service_names, templates)
    pipeline.names.listen(new)
    pipeline.keys.tally(keys, columns.time_ns, columns.severity)
    for signal, key in zip(signals, keys.tolist(), strict=True):
        pipeline.raised.add(signal, time_ns, key, int(pipeline.keys.service[key]))
    pipeline.recent.add(columns, keys, source, sum(map(len, columns.messages)), new)
