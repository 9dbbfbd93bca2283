"""Every error logllm raises on purpose.

* LogllmError
  - ConfigError        the file or an option is wrong; exit code 2; the message names where, what, what was expected
  - SourceError        a file or a socket cannot be read or bound; exit code 1
  - ProtocolError      a peer sent bytes we cannot read; that connection is closed, others go on
  - StateError         saved state cannot be used (other version, damaged); the old file is kept aside
  - ModelError         a model cannot be found, fetched or verified
  - ExplainError       no explanation; the alert goes out with the facts alone
    + ExplainLater     no explanation now; the incident waits and is tried again
  - DeliveryError      a sink did not take it; it is tried again, and not acknowledged before
    + NotifyError      a destination of alerts did not take a message; it stays in the outbox
  - ActionError        a runbook's action is not run: not declared, not approved, wrong parameters
  - PluginError
    + PluginLoadError  a .wasm cannot be used as it is configured; exit code 2; nothing has started
    + PluginTrap       one call into a plugin failed; `on_error` says what becomes of its records
    + PluginStopped    a plugin failed and its `on_error` is `stop`

Bugs are not in this tree: they propagate.
"""

from __future__ import annotations

__all__ = [
    "ActionError",
    "ConfigError",
    "DeliveryError",
    "ExplainError",
    "ExplainLater",
    "LogllmError",
    "ModelError",
    "NotifyError",
    "PluginError",
    "PluginLoadError",
    "PluginStopped",
    "PluginTrap",
    "ProtocolError",
    "SourceError",
    "StateError",
]


class LogllmError(Exception):
    """The root; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(LogllmError):
    """The configuration is wrong. Raised before anything has started."""

    exit_code = 2


class SourceError(LogllmError):
    """A source cannot be opened. Other sources go on."""


class ProtocolError(LogllmError):
    """A peer sent what the forward protocol does not allow. Its connection is closed."""


class StateError(LogllmError):
    """A snapshot or database is damaged or of another version."""


class ModelError(LogllmError):
    """A language model is unknown, cannot be downloaded or does not match its checksum."""


class ExplainError(LogllmError):
    """The model gave no usable answer. The facts stand alone."""


class ExplainLater(ExplainError):  # noqa: N818 - it says what happens next, as the tree does
    """The model is away, or it is not its time: trying again may help.

    Args:
        after_s: Not before so many seconds; None where that is unknown.
        excused: The wait is not to be held against it: nothing is wrong.
    """

    def __init__(self, reason: str, after_s: float | None = None, *, excused: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.excused = excused


class DeliveryError(LogllmError):
    """A sink could not take what it was given. Nothing is lost: the sender has no ack for it.

    Args:
        kind: One word for metrics: `full`, `io`, `read_only`, `refused`, `timeout`, `closed`, `handshake`, `answer`,
            `in_use`, `config`, `rate_limited`, `server`.
        last: Trying again cannot help (the reader of standard output has gone): the service ends.
    """

    def __init__(self, message: str, *, kind: str = "io", last: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.last = last


class NotifyError(DeliveryError):
    """A destination of alerts did not take a message, or nobody knows whether it did.

    Args:
        kind: One word for metrics: `rate_limited`, `server`, `timeout`, `io`, `refused`, `gone`, `invalid`.
        retry_after_s: The receiver asked for so long a pause.
        final: Trying again cannot help (the address is revoked, the message is refused): it goes to the dead letters.
    """

    def __init__(
        self, message: str, *, kind: str = "io", retry_after_s: float | None = None, final: bool = False
    ) -> None:
        super().__init__(message, kind=kind)
        self.retry_after_s = retry_after_s
        self.final = final


class ActionError(LogllmError):
    """An action of a runbook cannot be run as it was asked for. Nothing has run."""


class PluginError(LogllmError):
    """Something about a plugin."""


class PluginLoadError(PluginError):
    """A plugin cannot be used: no module, not one of the known ABIs, an import that is not granted, a bad config."""

    exit_code = 2


class PluginTrap(PluginError):  # noqa: N818 - it is what happened to a call, as wasmtime names it
    """One call into a plugin failed.

    Args:
        reason: One word for metrics: `trap`, `timeout`, `stack`, `memory`, `exit`, `bad_pointer`, `bad_result`,
            `bad_record` (a record it cannot be shown), `output`, `refused`, `load` (no instance of it can be made).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PluginStopped(PluginError):  # noqa: N818 - the state the pipeline is in
    """A plugin failed and is configured to stop the pipeline rather than to let its records by."""
