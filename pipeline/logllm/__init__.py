"""A log pipeline behind Fluent Bit: learns what is normal, tells what is odd, why, and what to do.

The names below are the public ones; importing this module loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logllm.config import Config
    from logllm.errors import LogllmError
    from logllm.events import Chunk, Event, Explanation, IncidentEvent, Severity
    from logllm.pipeline import Pipeline
    from logllm.sources.file import read_file

__version__ = "0.1.0"

_WHERE = {
    "Chunk": "logllm.events",
    "Config": "logllm.config",
    "Event": "logllm.events",
    "Explanation": "logllm.events",
    "IncidentEvent": "logllm.events",
    "LogllmError": "logllm.errors",
    "Pipeline": "logllm.pipeline",
    "Severity": "logllm.events",
    "read_file": "logllm.sources.file",
}

__all__ = [
    "Chunk",
    "Config",
    "Event",
    "Explanation",
    "IncidentEvent",
    "LogllmError",
    "Pipeline",
    "Severity",
    "read_file",
]


def __getattr__(name: str) -> Any:  # PEP 562: each name is imported when it is first used
    if name not in _WHERE:
        raise AttributeError(f"module 'logllm' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
