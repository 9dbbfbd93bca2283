"""What people answer, by a signed link or a button of Slack's: of an incident, or of a request to run an action."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from logllm.errors import LogllmError, ProtocolError
from logllm.incidents.learned import Teaching
from logllm.notify.notification import Answer, Verdict
from logllm.notify.slack import SlackConfig
from logllm.notify.slack.interactions import Interaction, read_interaction
from logllm.wire.signed import Signer, secret_at

if TYPE_CHECKING:
    from logllm.notify.config import NotifyConfig

__all__ = ["Answering", "Decide", "Learn"]

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_SAID: dict[str, str] = {
    "acknowledge": "acknowledged; nobody else is called",
    "expected": "noted as expected",
    "noise": "noted as noise",
    "real": "noted as real",
}

Decide = Callable[[str, Literal["approve", "reject"], str], str]
"""Answers a request to run an action: its id, what of it, who; returns what came of it. Raises LogllmError."""

Learn = Callable[[str, Teaching, str], str]
"""Learns what is said of an incident: its id, the verdict, who; returns what comes of it. Raises StateError."""


class Answering:
    """Signs the links that messages have, and takes what comes back. Nothing in what comes is trusted.

    Args:
        data_dir: Where the secret of links is kept; None: a restart makes those that were sent useless.
        take: Keeps an answer; False where its incident is not known (any more).
        decide: Answers requests to run actions; None: there are none.
        learn: Learns the answers that say what an incident was; None: nobody does.

    Raises:
        StateError: The secret cannot be read or kept.
    """

    def __init__(
        self,
        config: NotifyConfig,
        data_dir: Path | None,
        take: Callable[[Answer], bool],
        decide: Decide | None,
        clock: Callable[[], float],
        learn: Learn | None = None,
    ) -> None:
        self.config = config
        self._take = take
        self._decide = decide
        self._learn = learn
        self._clock = clock
        self._signer = Signer(secrets.token_bytes(32) if data_dir is None else secret_at(data_dir / "links.key"))

    def url(self, incident: str, verb: str) -> str:
        """See `Links`."""
        if not self.config.public_url:
            return ""
        token = self._signer.sign(incident, verb, int(self._clock() + self.config.links_s))
        return f"{self.config.public_url.rstrip('/')}/answer?token={token}"

    def opened(self, token: str) -> tuple[str, str]:
        """What a signed link is about. Raises ProtocolError."""
        return self._signer.open(token, self._clock())

    def answered(self, subject: str, verb: str, who: str) -> str:
        """Take what a person says of an incident, or of a request to run an action. Raises LogllmError."""
        if verb in ("approve", "reject"):
            if self._decide is None:
                raise ProtocolError("no actions can be run here")
            return self._decide(subject, "approve" if verb == "approve" else "reject", who)
        verdict = next((each for each in _VERDICTS if each == verb), None)
        if verdict is None:
            raise ProtocolError(f"{verb[:40]!r} is no answer, expected one of {', '.join(_VERDICTS)}")
        time_ = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if not self._take(Answer(subject, verdict, who, time_)):
            return f"{subject}: no such incident is known (any more); noted all the same"
        learned = self._learn(subject, verdict, who) if self._learn is not None and verdict != "acknowledge" else ""
        return f"{subject}: {_SAID[verdict]}{'; ' if learned else ''}{learned}"

    def slack(self, headers: Mapping[str, str], body: bytes) -> str:
        """Take the buttons that were pressed in Slack. Raises ProtocolError."""
        said = []
        for pressed in self._pressed(headers, body):
            try:
                approvers = self.config.approvers
                if pressed.verb in ("approve", "reject") and approvers and pressed.user not in approvers:
                    said.append(f"{pressed.who} may not answer for actions: [notify] approvers names who may")
                    continue
                said.append(self.answered(pressed.subject, pressed.verb, pressed.who))
            except ProtocolError:
                raise
            except LogllmError as error:
                said.append(str(error))
        return "\n".join(said)

    def _pressed(self, headers: Mapping[str, str], body: bytes) -> list[Interaction]:
        refused = ProtocolError("Slack interaction: no Slack destination has a signing secret")
        for each in self.config.destinations:
            secret = each.signing_secret() if isinstance(each, SlackConfig) else ""
            if secret:
                try:
                    return read_interaction(body, headers, secret, self._clock())
                except ProtocolError as error:
                    refused = error
        raise refused
