"""One request to run something: what it is, and what the audit says of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from logllm.actions.audit import Entry, What
from logllm.actions.parameters import Parameter, preview_of
from logllm.errors import StateError
from logllm.events import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logllm.actions.run import Outcome

__all__ = [
    "BEGIN_WITHIN_S",
    "Recent",
    "Request",
    "State",
    "cleaned",
    "entry_of",
    "late",
    "read_request",
    "request_id",
    "request_key",
    "time_of",
]

BEGIN_WITHIN_S = 300.0
"""What was approved begins within so many seconds or not at all: nobody expects it hours later."""

State = Literal["pending", "approved", "running", "done", "failed", "unknown", "rejected", "expired", "refused"]


class Request(msgspec.Struct, frozen=True):
    """One thing to be run, at most once.

    Args:
        id: By which it is approved.
        digest: Of the declaration it was made from.
        command: Program and arguments as declared, with placeholders; of a webhook its method and address, masked.
        known: Values of parameters.
        missing: Parameters without a value, and why.
        result: How it ended, or why it does not run.
    """

    id: str
    runbook: str
    action: str
    title: str
    mode: Literal["approve", "auto"]
    risk: str
    incident: str
    severity: str
    digest: str
    command: list[str]
    parameters: list[Parameter]
    created_s: float
    expires_s: float
    known: dict[str, str] = {}
    missing: dict[str, str] = {}
    state: State = "pending"
    who: str = ""
    decided_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    exit_status: int | None = None
    result: str = ""

    @property
    def preview(self) -> str:
        """The command as a person would type it; what is missing stands as its placeholder."""
        return preview_of(self.command, self.known)


class Recent(NamedTuple):
    """Beginnings of one action: in the last hour, in the last day, and when the last one was."""

    hour: int
    day: int
    last_s: float | None


def time_of(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339."""
    return rfc3339(int(seconds * 1_000) * 1_000_000)


def cleaned(text: str, limit: int = 200) -> str:
    """Text from outside as one printable line."""
    return "".join(char if char.isprintable() else " " for char in text[:limit]).strip()


def request_id(incident: str, runbook: str, action: str, now_s: float) -> str:
    """Such as `act-5f2c9a01b3d4`; another one when an incident asks again."""
    what = "\0".join((incident, runbook, action, repr(now_s))).encode(errors="replace")
    return f"act-{hashlib.blake2b(what, digest_size=6).hexdigest()}"


def request_key(runbook: str, action: str, known: Mapping[str, str]) -> str:
    """The same for the same thing to be run."""
    return hashlib.sha256(msgspec.json.encode([runbook, action, sorted(known.items())])).hexdigest()


def entry_of(
    request: Request,
    what: What,
    now_s: float,
    *,
    argv: Sequence[str] = (),
    outcome: Outcome | None = None,
    reason: str = "",
) -> Entry:
    """What the audit says of something that was done with a request."""
    return Entry(
        time=time_of(now_s),
        what=what,
        runbook=request.runbook,
        action=request.action,
        request=request.id,
        incident=request.incident,
        parameters=request.known,
        who=request.who or "logllm",
        reason=reason,
        argv=list(argv),
        exit_status=outcome.exit_status if outcome else None,
        signal=outcome.signal if outcome else 0,
        seconds=outcome.seconds if outcome else None,
        output_bytes=outcome.output_bytes if outcome else 0,
        output_sha256=outcome.output_sha256 if outcome else "",
        output=outcome.output if outcome else "",
    )


def late(request: Request, now_s: float) -> str:
    """Why a request that waits has expired, empty where it has not."""
    if request.state == "pending" and now_s >= request.expires_s:
        return "nobody answered in time"
    if request.state == "approved" and now_s >= (request.decided_s or request.created_s) + BEGIN_WITHIN_S:
        return f"approved, and not begun within {BEGIN_WITHIN_S:g} s"
    return ""


def read_request(row: tuple[bytes]) -> Request:
    """A request from its row. Raises StateError."""
    try:
        return msgspec.json.decode(row[0], type=Request)
    except msgspec.MsgspecError as error:
        raise StateError(f"a request cannot be read: {error}") from None
