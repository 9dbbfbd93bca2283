"""What the forward server counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ForwardStats"]


@dataclass(slots=True)
class ForwardStats:
    """What the server has seen since it was made; plain numbers, read at any time.

    `skipped` counts entries that are no records by reason, `other_signals` frames by kind (metrics, traces...).
    `unacknowledged` counts records that came without a chunk id: those are lost if either side dies.
    `handshakes_failed` counts connections by why they were not let in: "shared_key mismatch", "username/password
    mismatch", "no PING", "timeout", "TLS". `connections_evicted` were closed for a new one since they had never sent
    anything, `connections_stalled` since they held memory that ran short, `crowded` is how often it did.
    """

    connections_open: int = 0
    connections: int = 0
    connections_refused: int = 0
    connections_evicted: int = 0
    connections_stalled: int = 0
    frames: int = 0
    records: int = 0
    unacknowledged: int = 0
    bytes: int = 0
    acks: int = 0
    heartbeats: int = 0
    udp_heartbeats: int = 0
    empty_frames: int = 0
    group_markers: int = 0
    truncated: int = 0
    protocol_errors: int = 0
    crowded: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    other_signals: Counter[str] = field(default_factory=Counter)
    handshakes_failed: Counter[str] = field(default_factory=Counter)
