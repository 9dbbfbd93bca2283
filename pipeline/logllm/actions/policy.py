"""What may become of a declared action: suggested, asked for, or run; and whether what was asked for may begin now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logllm.actions.declare import Limit
from logllm.errors import ConfigError

if TYPE_CHECKING:
    from logllm.actions.config import ActionsConfig, Mode
    from logllm.actions.declare import Declaration, Severity
    from logllm.actions.parameters import Values
    from logllm.actions.request import Recent, Request
    from logllm.egress import EgressConfig

__all__ = ["Judgement", "judge_beginning", "judge_offer", "unable"]

_GRAVITY: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}
_REACH: dict[Mode, int] = {"suggest": 0, "approve": 1, "auto": 2}
_AUTO_LIMIT = Limit()


class Judgement(NamedTuple):
    """How far an action goes, and why not as far as it declares; empty where it does."""

    mode: Mode
    why: str


def unable(declaration: Declaration, config: ActionsConfig, egress: EgressConfig) -> str:
    """Why an action cannot run here whatever happens, empty where it can."""
    if not config.enabled:
        return "[actions] enabled is false"
    for program in declaration.programs:
        if program not in config.allow_programs:
            return f"{program} is not in [actions] allow_programs"
    if declaration.webhook is not None:
        try:
            egress.check(declaration.webhook.url, f"action {declaration.id}")
        except ConfigError as error:
            return str(error)
    return ""


def judge_offer(
    declaration: Declaration,
    values: Values,
    config: ActionsConfig,
    egress: EgressConfig,
    *,
    severity: Severity,
    is_own_runbook: bool,
) -> Judgement:
    """How far an action goes for one incident.

    Args:
        is_own_runbook: The incident's own lines found the runbook; a model's choice does not count.
    """
    if declaration.mode == "suggest":
        return Judgement("suggest", "")
    why = unable(declaration, config, egress)
    if why or config.max_mode == "suggest":
        return Judgement("suggest", why or '[actions] max_mode is "suggest"')
    if declaration.mode == "approve":
        return Judgement("approve", "")
    if _REACH[config.max_mode] < _REACH["auto"]:
        why = f'[actions] max_mode is "{config.max_mode}"'
    elif not declaration.idempotent or not declaration.dry_run:
        why = "only what is idempotent and has a dry run goes by itself"
    elif not is_own_runbook:
        why = "the runbook was not found by the incident's own lines"
    elif _GRAVITY[severity] < min(map(_GRAVITY.__getitem__, declaration.when), default=3):
        why = f"the incident is {severity}"
    elif values.missing:
        why = next(iter(values.missing.values()))
    return Judgement("approve" if why else "auto", why)


def judge_beginning(
    request: Request,
    declaration: Declaration | None,
    config: ActionsConfig,
    egress: EgressConfig,
    recent: Recent,
    now_s: float,
) -> str:
    """Why an approved request must not begin now, empty where it may.

    What runs by itself has a limit even where none is declared; what a person approved only where one is.
    """
    if declaration is None or declaration.digest != request.digest:
        return "the runbook's action is not the one that was approved: it was changed or taken away"
    why = unable(declaration, config, egress)
    if why:
        return why
    if _REACH[request.mode] > min(_REACH[declaration.mode], _REACH[config.max_mode]):
        return f"it may no longer run as {request.mode}"
    limit = declaration.limit or (_AUTO_LIMIT if request.mode == "auto" else None)
    if limit is None:
        return ""
    if recent.hour >= limit.per_hour:
        return f"at most {limit.per_hour} an hour, and it ran {recent.hour} times"
    if recent.day >= limit.per_day:
        return f"at most {limit.per_day} a day, and it ran {recent.day} times"
    if recent.last_s is not None and now_s < recent.last_s + limit.cooldown_s:
        return f"it ran {max(0.0, now_s - recent.last_s):.0f} s ago, and rests for {limit.cooldown_s:g} s"
    return ""
