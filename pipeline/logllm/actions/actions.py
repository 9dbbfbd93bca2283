"""Actions, as the service has them: offered with an incident, decided on by people, run by a thread of their own."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from logllm.actions.audit import Entry
from logllm.actions.database import opened
from logllm.actions.declare import Declaration, declared
from logllm.actions.parameters import Values, argv_of, body_of, preview_of, resolve, settled
from logllm.actions.policy import Judgement, judge_beginning, judge_offer, unable
from logllm.actions.request import Recent, Request, State, request_id, time_of
from logllm.actions.requests import Requests
from logllm.actions.run import Outcome, call_webhook, environment, run_program
from logllm.egress import EgressConfig, Recorder, about, masked
from logllm.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from logllm.actions.config import ActionsConfig, Mode
    from logllm.events import IncidentEvent

__all__ = ["Actions", "Offer"]

_MAX_A_TURN = 16


class Offer(msgspec.Struct, frozen=True):
    """An action, as an alert tells of it. All of it is the operator's text, but for `why`, which is printable ASCII.

    Args:
        action: Its id in the runbook.
        mode: How far it goes for this incident.
        preview: The command as it would run; what is missing stands as its placeholder, `{name}`.
        request: By which it is approved; empty where it is only suggested.
        state: Of the request.
        missing: Parameters that whoever approves must give.
        why: Why it does not go as far as its runbook says.
    """

    action: str
    title: str
    mode: Mode
    risk: str
    preview: str
    request: str = ""
    state: State | Literal[""] = ""
    missing: list[str] = []
    why: str = ""

    @property
    def needs_approval(self) -> bool:
        """Whether a person can approve it as it is, with one press of a button."""
        return self.state == "pending" and not self.missing


class Actions:
    """What runbooks declare, under `[actions]` of the configuration. Safe to use from several threads.

    Nothing of an incident but its id, severity, service and runbook is looked at, and nothing of an explanation.

    Args:
        path: The database, of this process and of `logllm actions`; None keeps it in memory.
        declarations: By runbook: objects with the fields of `Declaration`.
        now_s: The time, in seconds since the epoch.
        egress: The hosts that webhooks may go to.
        record: Keeps what they are sent.
        environ: Where the variables that programs are given come from.

    Raises:
        ConfigError: `[actions]` or a declaration is wrong.
        StateError: The database cannot be used; so from every method.
    """

    def __init__(
        self,
        path: Path | None,
        config: ActionsConfig,
        declarations: Mapping[str, Iterable[object]],
        *,
        now_s: float,
        egress: EgressConfig | None = None,
        record: Recorder | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        config.check()
        self._config = config
        self._egress = egress or EgressConfig()
        self._record = record
        self._env = environment(config.env, environ)
        self._declared = {
            runbook: {each.id: each for each in declared(runbook, given)} for runbook, given in declarations.items()
        }
        self._ending = threading.Event()
        self._turn = threading.Lock()
        self._database = opened(path)
        self.requests = Requests(self._database)
        try:
            self.requests.recover(now_s)
            self.requests.expire(now_s)
            for runbook, actions in self._declared.items():
                for each in actions.values():
                    told = f"{each.mode}: {preview_of(_command(each), {})}"
                    entry = Entry(time_of(now_s), "declared", runbook, each.id, who="logllm", reason=told)
                    self.requests.audit.declared(entry, each.digest)
        except BaseException:
            self._database.close()
            raise

    @property
    def notices(self) -> list[str]:
        """Actions that say they run, and cannot run here; each with why."""
        return [
            f"runbook {runbook}: action {each.id} is only suggested: {why}"
            for runbook, actions in self._declared.items()
            for each in actions.values()
            if each.mode != "suggest" and (why := unable(each, self._config, self._egress))
        ]

    def offered(self, incident: IncidentEvent, runbook: str | None, now_s: float) -> list[Offer]:
        """The actions of an incident's runbook. What may be approved is kept as a request, once for an incident.

        An incident that ends withdraws what it asked for and nobody has answered; nothing is offered for it.

        Args:
            runbook: The incident's own, or the one that its explanation chose: then nothing of it runs by itself.
        """
        if incident.event == "resolve":
            self.requests.withdraw(incident.id, now_s)
            return []
        self.requests.expire(now_s)
        offers = []
        for declaration in self._declared.get(runbook or "", {}).values():
            values = resolve(declaration.parameters, service=incident.service, given={})
            judgement = judge_offer(
                declaration,
                values,
                self._config,
                self._egress,
                severity=incident.severity,
                is_own_runbook=incident.runbook == runbook,
            )
            offers.append(self._offer(declaration, runbook or "", incident, values, judgement, now_s))
        return offers

    def _offer(
        self,
        declaration: Declaration,
        runbook: str,
        incident: IncidentEvent,
        values: Values,
        judgement: Judgement,
        now_s: float,
    ) -> Offer:
        mode, why = judgement
        offer = Offer(
            action=declaration.id,
            title=declaration.title,
            mode=mode,
            risk=declaration.risk,
            preview=preview_of(_command(declaration), values.known),
            missing=list(values.missing),
            why=why,
        )
        if mode != "suggest":
            asked = Request(
                id=request_id(incident.id, runbook, declaration.id, now_s),
                runbook=runbook,
                action=declaration.id,
                title=declaration.title,
                mode=mode,
                risk=declaration.risk,
                incident=incident.id,
                severity=incident.severity,
                digest=declaration.digest,
                command=_command(declaration),
                parameters=declaration.parameters,
                created_s=now_s,
                expires_s=now_s + self._config.expires_s,
                known=values.known,
                missing=values.missing,
                state="approved" if mode == "auto" else "pending",
                who="logllm" if mode == "auto" else "",
                decided_s=now_s if mode == "auto" else None,
                result=why,
            )
            try:
                kept = self.requests.offer(asked, now_s)
            except ActionError as error:
                mode, why = "suggest", str(error)
            else:
                return msgspec.structs.replace(
                    offer, mode=kept.mode, request=kept.id, state=kept.state, missing=list(kept.missing)
                )
        told = Entry(
            time=time_of(now_s),
            what="suggested",
            runbook=runbook,
            action=declaration.id,
            incident=incident.id,
            parameters=values.known,
            who="logllm",
            reason=why,
        )
        self.requests.audit.once(told)
        return msgspec.structs.replace(offer, mode=mode, why=why)

    def decide(
        self, request: str, verdict: Literal["approve", "reject"], who: str, now_s: float, reason: str = ""
    ) -> Request:
        """A person's answer, from a button or a signed link; of the same answer given twice, the first counts.

        Raises:
            ActionError: There is no such request, it was answered, it has expired, or a value must be given.
        """
        return self.requests.decide(request, verdict, who, now_s, reason=reason)

    def run_due(self, now_s: float) -> list[Request]:
        """Run what was approved, one after the other, each to its end: for a thread of its own.

        Returns:
            What has ended, at most 16 of it: call it again where it gives so many.
        """
        ended: list[Request] = []
        with self._turn:
            if self._ending.is_set():
                return ended
            self.requests.expire(now_s)
            while len(ended) < _MAX_A_TURN and not self._ending.is_set():
                request = self.requests.claim(now_s, partial(self._judge, now_s))
                if request is None:
                    break
                declaration = self._declared[request.runbook][request.action]
                argv, outcome = self._run(request, declaration, now_s)
                now_s += outcome.seconds
                ended.append(self.requests.finish(request, outcome, argv, now_s))
        return ended

    def _judge(self, now_s: float, request: Request, recent: Recent) -> str:
        declaration = self._declared.get(request.runbook, {}).get(request.action)
        return judge_beginning(request, declaration, self._config, self._egress, recent, now_s)

    def _run(self, request: Request, declaration: Declaration, now_s: float) -> tuple[list[str], Outcome]:
        """What was really run, and how it ended. Values are looked at once more: the database may be anybody's."""
        argv: list[str] = []
        spent_s = 0.0
        try:
            values = settled(declaration.parameters, request.known, {})
            if values.missing:
                raise ActionError(next(iter(values.missing.values())))
            if declaration.dry_run:
                argv = argv_of(declaration.dry_run, values.known)
                trial = self._execute(argv, declaration)
                spent_s = trial.seconds
                self.requests.note(request, "dry-run", now_s + spent_s, argv, trial)
                if trial.state != "done":
                    return argv, Outcome("failed", f"the dry run did not succeed: {trial.reason}", seconds=spent_s)
            if declaration.webhook is None:
                argv = argv_of(declaration.run, values.known)
                self.requests.note(request, "run", now_s + spent_s, argv)
                outcome = self._execute(argv, declaration)
            else:
                hook = declaration.webhook
                integers = [each.name for each in declaration.parameters if each.type == "integer"]
                body = body_of(hook.body, values.known, integers)
                argv = [hook.method, masked(hook.url), body.decode()]
                self.requests.note(request, "run", now_s + spent_s, argv)
                with about(f"{request.id} {request.incident}"):
                    outcome = call_webhook(
                        hook.url,
                        hook.method,
                        body,
                        request_id=request.id,
                        timeout_s=self._timeout_s(declaration),
                        output_bytes=self._config.output_bytes,
                        sent=None if self._record is None else self._record("action", declaration.id),
                    )
        except ActionError as error:
            return [], Outcome("failed", str(error), seconds=spent_s)
        return argv, outcome._replace(seconds=round(spent_s + outcome.seconds, 3))

    def _execute(self, argv: list[str], declaration: Declaration) -> Outcome:
        if self._ending.is_set():
            raise ActionError("logllm ends")
        return run_program(
            argv,
            timeout_s=self._timeout_s(declaration),
            env=self._env,
            work_dir=self._config.work_dir,
            output_bytes=self._config.output_bytes,
            stopping=self._ending.is_set,
        )

    def _timeout_s(self, declaration: Declaration) -> float:
        return declaration.timeout_s or self._config.timeout_s

    def close(self) -> None:
        """End what runs (it has two seconds) and close the database. A second call does nothing."""
        self._ending.set()
        with self._turn:
            self._database.close()


def _command(declaration: Declaration) -> list[str]:
    hook = declaration.webhook
    return declaration.run if hook is None else [hook.method, masked(hook.url)]
