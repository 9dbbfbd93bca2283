"""The trial of `logllm audit canary`: planted values, the real pipeline, and receivers of ours in all places."""

from __future__ import annotations

import importlib.util
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from logllm.audit.capture import Capture
from logllm.audit.traces import pieces_of, traces
from logllm.egress import EgressConfig
from logllm.errors import ModelError
from logllm.events import rfc3339
from logllm.explain.model.models import LocalModel, ModelStore
from logllm.notify.alertmanager import AlertmanagerConfig
from logllm.notify.pagerduty import PagerDutyConfig
from logllm.notify.slack import SlackConfig
from logllm.notify.webhook import WebhookConfig
from logllm.service.alerts import Alerts
from logllm.service.run import Run
from logllm.service.tail import TailOptions, tail
from logllm.sources.file import read_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.audit.canary import Canary
    from logllm.config import Config
    from logllm.events import Explanation, IncidentEvent, Summary
    from logllm.notify.config import DestinationConfig

__all__ = ["Finding", "Trial"]

_NS = 1_000_000_000
_MINUTE_NS = 60 * _NS
_QUIET_MINUTES = 150
_APART_MINUTES = 8
_A_SERVICE = 5  # an incident shows as many lines
_REPEATS = 30
_ALERTS_PER_DAY = 100_000.0
_EXPLAIN_S = 240.0
_SEND_S = 45.0
# What was learned: the table of pseudonyms, whose personal values people may have put back, and templates and values
# that later lines are compared with.
_LEARNED = "state.msgpack"


class Finding(NamedTuple):
    """What became of one canary in one place.

    Args:
        seen: Its line came there.
        forms: How its value, or a part of it, is written there; empty where it is not.
        allowed: It may be there: a personal value in what this machine has learned, which nothing sends on.
    """

    kind: str
    place: str
    seen: bool
    forms: list[str]
    allowed: bool

    @property
    def leaked(self) -> bool:
        """Whether it is where it must not be."""
        return bool(self.forms) and not self.allowed


class _Lines:
    """An outlet, and a handler of our own logs, that keeps all it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def incident(self, event: IncidentEvent) -> None:
        """An incident opened, changed or ended."""
        self.told.append(msgspec.json.encode(event))

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """What the model and the checks made of it."""
        self.told.append(msgspec.json.encode(explanation))

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """Nothing of the log is in it."""

    def notice(self, text: str) -> None:
        """Something about the run itself."""
        self.told.append(text.encode(errors="replace"))

    def summary(self, summary: Summary) -> None:
        """The run has ended."""
        self.told.append(msgspec.json.encode(summary))


class _Logs(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[bytes] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self.format(record).encode(errors="replace"))


class Trial:
    """One trial in a folder of its own. Takes half a minute, and with the local model one more.

    Nothing is bound but 127.0.0.1, nothing is connected to but that; sinks and actions of the configuration are left
    out: a sink gets whole records by design.

    Args:
        config: As the service is given it.
        folder: Empty, and of nobody else.
        now_ns: The time; the log is of the hours before it.
        planted: From `canaries`.
        with_model: The configured local model is tried as well, where it is installed.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        planted: Sequence[Canary],
        now_ns: int,
        *,
        with_model: bool = True,
    ) -> None:
        self._config = config
        self._folder = folder
        self._now_ns = now_ns
        self._with_model = with_model
        self.canaries = planted
        self.places: dict[str, list[bytes]] = {}
        self.notes: list[str] = []

    def run(self) -> list[Finding]:
        """All there is to find, place by place. Raises LogllmError where the configuration cannot be used."""
        log = self._folder / "planted.log"
        log.write_text("".join(self._log()), encoding="utf-8")
        logs = _Logs()
        logger = logging.getLogger("logllm")
        level = logger.level
        logger.addHandler(logs)
        logger.setLevel(logging.DEBUG)
        try:
            with Capture() as capture:
                self._serve(log, capture)
                for place in sorted(capture.bodies):
                    self.places[_NAMES.get(place, place)] = [*capture.bodies[place], *capture.heads[place]]
            self._tail(log)
            if self._with_model and self._has_model():
                self._ask_model(log)
        finally:
            logger.removeHandler(logs)
            logger.setLevel(level)
        self.places["own logs"] = logs.told
        return [self._found(canary, place) for place in self.places for canary in self.canaries]

    def _found(self, canary: Canary, place: str) -> Finding:
        pieces = self.places[place]
        allowed = place.endswith(_LEARNED) and not canary.is_secret
        seen = any(canary.mark.encode() in piece for piece in pieces)
        return Finding(canary.kind, place, seen, traces(canary.parts, pieces), allowed)

    def _log(self) -> list[str]:
        """Quiet hours of several services, and in each of them at another time errors with canaries in them."""
        lines: list[tuple[int, str, str, str]] = []
        groups = [self.canaries[at : at + _A_SERVICE] for at in range(0, len(self.canaries), _A_SERVICE)]
        minutes = _QUIET_MINUTES + _APART_MINUTES * (len(groups) + 1)
        begins_ns = self._now_ns - minutes * _MINUTE_NS
        for number in range(minutes * 6):
            at_ns = begins_ns + number * 10 * _NS
            lines.append((at_ns, "info", f"svc-{number % len(groups)}", f"GET /items/{number} 200 in {number % 40} ms"))
        for place, group in enumerate(groups):
            at_ns = begins_ns + (_QUIET_MINUTES + _APART_MINUTES * place) * _MINUTE_NS
            for repeat in range(_REPEATS):
                for order, canary in enumerate(group):
                    then_ns = at_ns + repeat * _NS + order * 1_000_000
                    lines.append((then_ns, "error", f"svc-{place}", f"{canary.mark} request failed: {canary.line}"))
        return [
            json.dumps({"time": rfc3339(at_ns), "level": level, "service": service, "message": text}) + "\n"
            for at_ns, level, service, text in sorted(lines)
        ]

    def _quiet(self, folder: str) -> Config:
        """The configuration with nothing that acts, or that is kept elsewhere than in a folder of ours."""
        config = self._config
        (self._folder / folder).mkdir()
        return replace(
            config,
            data_dir=str(self._folder / folder),
            sinks=[],
            actions=replace(config.actions, enabled=False),
            detect=replace(config.detect, alerts_per_day=_ALERTS_PER_DAY, learned=None),
            egress=EgressConfig(ledger="required"),
        )

    def _serve(self, log: Path, capture: Capture) -> None:
        config = self._quiet("served")
        notify = replace(
            config.notify,
            destinations=self._destinations(capture),
            reveal={},
            routes=[],
            to=[],
            owners="",
            escalate=[],
            burst=60,
            group_wait_s=0.0,
            public_url="",
        )
        explain = replace(config.explain, enabled=True, model=capture.url("model/v1"), windows=[])
        config = replace(config, notify=notify, explain=explain)
        outlet = _Lines()
        run = Run(config, outlet)
        try:
            alerts = run.alerts = Alerts(config, run.catalogue, set, None, run.ledger)
            run.announce()
            alerts.start()
            self._feed(run, log)
            run.wait_explained(_EXPLAIN_S)
            alerts.notifying.close(_SEND_S)
            self._files("served")
        finally:
            run.close()
        self.places["stdout of serve --json"] = outlet.told
        self._files("served")

    def _feed(self, run: Run, log: Path) -> None:
        for chunk in read_file(log, keep_raw=run.filtering.ingests, wanted=run.config.detect.wanted):
            # As they come to a service: one after the other, not hours of them at once.
            for event in run.pipeline.feed(chunk):
                run.tell([event])
        run.tell(run.pipeline.finish())

    def _files(self, folder: str) -> None:
        """Each file as it is now, and as it was when this was last called."""
        for path in sorted((self._folder / folder).rglob("*")):
            if path.is_file():
                place = f"{folder}/{path.relative_to(self._folder / folder)}"
                self.places.setdefault(place, []).extend(pieces_of(path))

    def _tail(self, log: Path) -> None:
        config = self._quiet("tailed")
        config = replace(config, explain=replace(config.explain, model=""))
        outlet = _Lines()
        tail(TailOptions((str(log),), once=True, max_incidents=len(self.canaries)), config, outlet, threading.Event())
        self.places["stdout of tail --json"] = outlet.told
        self._files("tailed")

    def _has_model(self) -> bool:
        model = self._config.explain.model
        try:
            found = ModelStore().resolve(model, egress=self._config.egress) if model else None
        except ModelError:
            found = None
        if isinstance(found, LocalModel) and importlib.util.find_spec("llama_cpp") is not None:
            return True
        self.notes.append("no local model is installed and configured: only the stand-in for one was asked")
        return False

    def _ask_model(self, log: Path) -> None:
        """What its process is sent is in the ledger, and what it answers in the explanations."""
        config = self._quiet("asked")
        config = replace(config, explain=replace(config.explain, enabled=True, windows=[]))
        outlet = _Lines()
        run = Run(config, outlet)
        run.announce()
        try:
            self._feed(run, log)
            if not run.wait_explained(_EXPLAIN_S):
                self.notes.append(f"the local model was not done after {_EXPLAIN_S:g} s: the rest was not asked")
        finally:
            run.close()
        self.places["explanations of the local model"] = outlet.told
        self._files("asked")

    def _destinations(self, capture: Capture) -> list[DestinationConfig]:
        """Each of the configuration, with its address here; and one of each other kind, so that all are tried."""
        token = self._folder / "token"
        token.write_text("xo" + "xb-canary\n", encoding="utf-8")
        token.chmod(0o600)
        made: list[DestinationConfig] = []
        for each in self._config.notify.destinations:
            if isinstance(each, WebhookConfig):
                made.append(WebhookConfig(each.name, url=capture.url("webhook")))
            elif isinstance(each, AlertmanagerConfig):
                made.append(AlertmanagerConfig(each.name, url=capture.url("alertmanager"), labels=each.labels))
            elif isinstance(each, SlackConfig) and not each.is_bot:
                made.append(SlackConfig(each.name, url=capture.url("slack"), mention=each.mention))
            elif not isinstance(each, SlackConfig | PagerDutyConfig):
                self.notes.append(f"{each.name}: Apprise is not tried; it is given the same texts as the others")
        names = {each.name for each in made}
        every: list[DestinationConfig] = [
            SlackConfig("canary-slack", url=capture.url("slack")),
            SlackConfig("canary-bot", token_file=str(token), channel="C0CANARY", api_url=capture.url("api/")),
            WebhookConfig("canary-webhook", url=capture.url("webhook")),
            AlertmanagerConfig("canary-alertmanager", url=capture.url("alertmanager")),
            PagerDutyConfig("canary-pagerduty", routing_key="c" * 32, url=capture.url("pagerduty"), pause_s=0.0),
        ]
        return [*made, *(each for each in every if each.name not in names)]


_NAMES = {"api": "Slack's API", "slack": "Slack's webhook", "model": "model"}
