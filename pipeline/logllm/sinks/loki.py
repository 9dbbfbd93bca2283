"""The `loki` sink: Grafana Loki's push API.

Loki keeps one of lines that are equal in labels, time and text, so that what goes twice (an answer was lost, or this
process killed before it had noted it) is there once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import msgspec

from logllm.sinks.http_config import HttpSinkConfig
from logllm.sinks.http_sink import Commits, HttpSink

__all__ = ["LokiSinkConfig"]

Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class LokiSinkConfig(HttpSinkConfig, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="loki"):
    """A Loki. Without a path in `url`, `/loki/api/v1/push` is added.

    Args:
        tenant: Sent as `X-Scope-OrgID`, for a Loki that has several.
        labels: Of every stream; one at least.
        label_keys: Labels that records say: `service`, `severity` and `tag` as logllm reads them, or a field's name.
        most_streams: Label combinations at once; beyond it labels are "other", but for the severity.
        line_format: `json`, the whole record; `message`, its message alone, and the record where it has none.
        structured_metadata: Trace and span ids go along; for Loki since 2.9 where it is allowed.
    """

    path: ClassVar[str] = "/loki/api/v1/push"
    kind: ClassVar[str] = "loki"

    tenant: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=lambda: {"job": "logllm"})
    label_keys: list[str] = msgspec.field(default_factory=lambda: ["service", "severity", "tag"])
    most_streams: Count = 1000
    line_format: Literal["json", "message"] = "json"
    structured_metadata: bool = False

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        from logllm.sinks.loki_encode import label_name

        HttpSinkConfig.check(self)
        if not self.labels or not all(self.labels.values()):
            raise self._wrong("`labels`: expected one at least, and a value for each")
        names = [label_name(key) for key in self.label_keys]
        for name in (*self.labels, *names):
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                raise self._wrong(
                    f"label {name!r}: expected letters, digits and _, and neither a digit nor __ in front"
                )
            if (*self.labels, *names).count(name) > 1:
                raise self._wrong(f"label {name!r} is there twice, expected once")

    def build(
        self,
        ledger: Commits,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> HttpSink:
        """The sink, not yet connected.

        Raises:
            ConfigError: The address is none, a file cannot be read, or settings do not go together.
        """
        from logllm.sinks.loki_encode import Encoder, Streams

        self.check()
        encoder = Encoder(
            Streams(self.labels, self.label_keys, self.most_streams, clock),
            self.label_keys,
            as_message=self.line_format == "message",
            with_trace=self.structured_metadata,
            now_ns=now_ns,
            clock=clock,
        )
        return HttpSink(self, encoder, ledger, clock=clock)

    def _protocol_headers(self) -> dict[str, str]:
        return {"X-Scope-OrgID": self.tenant} if self.tenant else {}
