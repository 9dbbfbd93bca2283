"""How well models explain labelled incidents: the runbook they lead to, what of their words stands, what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from logllm.errors import ConfigError, ExplainError
from logllm.events import Evidence, IncidentEvent
from logllm.explain.cache import ExplanationCache
from logllm.explain.config import ExplainConfig
from logllm.explain.explainer import Explainer
from logllm.explain.model.client import ChatClient
from logllm.explain.model.memory import memory_of
from logllm.explain.pack import build_pack
from logllm.explain.prompt import NONE
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.egress import EgressConfig
    from logllm.events import Explanation
    from logllm.explain.cache import CachedAnswer
    from logllm.explain.checks import ModelAnswer
    from logllm.explain.model.models import ModelStore
    from logllm.explain.model.server import ModelServer

__all__ = ["Case", "LatestAnswer", "ModelResult", "WordsResult", "evaluate_model", "evaluate_words", "read_cases"]

CASES = Path(__file__).with_name("incidents.jsonl")
"""Our own: incident excerpts that no runbook and no threshold was tuned on."""

_MOST_CASES = 100_000
_TOKENS_PER_HOUR = 10**12
_RATE_TOKENS = 64
_SENTENCE = "the model's sentence"
_READ = "disk sda1 of host 7 is at 91 percent, 4 minutes since the last check\n" * 40
_OBJECT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An incident's lines, oldest first, and the runbook that is right for it; None: no runbook is.

    `also` are runbooks that are right, too.
    """

    text: str
    runbook: str | None
    also: list[str] = []

    def is_right(self, runbook: str | None) -> bool:
        """Whether that is an answer that counts."""
        return runbook == self.runbook or (runbook is not None and runbook in self.also)


class WordsResult(msgspec.Struct, frozen=True):
    """What is reached without any model. `bm25_right` by plain BM25, which always names a runbook where words meet."""

    cases: int
    with_runbook: int
    bm25_right: int
    bm25_none_right: int
    words_right: int
    words_none_right: int


class ModelResult(msgspec.Struct, frozen=True):
    """What one model came to.

    Args:
        right, none_right: Of those with a runbook, and of those without one, how many explanations say so.
        wrong: Explanations that name a wrong runbook.
        picked: How often the model itself, asked in words, named a right runbook (or "none").
        cited, cited_known: Evidence ids that the model named, and those of them that exist.
        told, told_kept: Sentences that the model wrote, and those that passed every check.
        failed: Incidents for which it gave no usable answer.
        confidence_right, confidence_wrong: Mean confidence of right and of wrong runbooks; None where there is none.
        read_per_s, written_per_s: Tokens a second, alone on the machine.
        memory_bytes: Of its process, shared pages counted in part; 0 where it runs elsewhere.
    """

    model: str
    cases: int
    with_runbook: int
    right: int
    none_right: int
    wrong: int
    picked: int
    cited: int
    cited_known: int
    told: int
    told_kept: int
    failed: int
    confidence_right: float | None
    confidence_wrong: float | None
    tokens: int
    median_s: float
    slowest_s: float
    cold_start_s: float
    read_per_s: float
    written_per_s: float
    memory_bytes: int


def read_cases(path: Path = CASES, *, known: Sequence[str] = ()) -> list[Case]:
    """Cases from a file, a JSON object a line: `{"text": "line\\nline", "runbook": "disk-full"}`, null for none.

    Args:
        known: Ids of runbooks; with some, another one is an error.

    Raises:
        ConfigError: naming file, line and what was expected.
    """
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read: {error}") from error
    cases = []
    for number, row in enumerate(rows[:_MOST_CASES], 1):
        if not row.strip():
            continue
        try:
            case = msgspec.json.decode(row, type=Case)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        for name in [*([case.runbook] if case.runbook is not None else []), *case.also]:
            if known and name not in known:
                raise ConfigError(f"{path}:{number}: no runbook {name!r} is known, expected an id or null")
        if not case.text.strip():
            raise ConfigError(f"{path}:{number}: no lines in `text`, expected at least one")
        cases.append(case)
    if not cases:
        raise ConfigError(f"{path}: no cases in it, expected a JSON object a line")
    return cases


def evaluate_words(cases: Sequence[Case], catalogue: Catalogue) -> WordsResult:
    """Without a model: BM25 alone, and BM25 with signals as incidents are given their runbook when they open."""
    bm25 = [_by_bm25(case.text, catalogue) for case in cases]
    words = [None if (best := catalogue.best(case.text)) is None else best.id for case in cases]
    some = [case.runbook is not None for case in cases]

    def right(answers: Sequence[str | None], *, of_some: bool) -> int:
        rows = zip(cases, answers, some, strict=True)
        return sum(case.is_right(answer) for case, answer, is_some in rows if is_some is of_some)

    return WordsResult(
        len(cases),
        sum(some),
        right(bm25, of_some=True),
        right(bm25, of_some=False),
        right(words, of_some=True),
        right(words, of_some=False),
    )


def evaluate_model(
    model: str,
    cases: Sequence[Case],
    *,
    config: ExplainConfig | None = None,
    egress: EgressConfig | None = None,
    models: ModelStore | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> ModelResult:
    """Have a model explain each case, as `serve` would. The default model takes two to three seconds each on two cores.

    Args:
        progress: Told after each case how many are done.

    Raises:
        ConfigError: A runbook cannot be read.
        ModelError: The model is not here, no model, or on a machine that is not allowed.
    """
    settings = replace(config or ExplainConfig(), model=model, tokens_per_hour=_TOKENS_PER_HOUR, windows=[])
    seen = LatestAnswer()
    explainer = Explainer(
        model, Catalogue.load(settings.runbooks), Redactor(), seen, config=settings, egress=egress, models=models
    )
    explained = []
    try:
        name = explainer.prepare()
        server = explainer.server
        cold_start_s, rates = (0.0, _Rates()) if server is None else _measured(server)
        for number, case in enumerate(cases):
            incident = _incident(number, case)
            said, latest = explainer.explain(incident), seen.take()
            explained.append(_Explained(case, incident, said, None if latest is None else latest.answer))
            progress(number + 1)
    finally:
        explainer.close()
    return _summed(name, explained, cold_start_s, rates)


class _Explained(NamedTuple):
    case: Case
    incident: IncidentEvent
    said: Explanation
    answer: ModelAnswer | None

    @property
    def is_right(self) -> bool:
        return self.case.is_right(self.said.runbook)


class _Rates(NamedTuple):
    read_per_s: float = 0.0
    written_per_s: float = 0.0
    memory_bytes: int = 0


class LatestAnswer(ExplanationCache):
    """Gives nothing back, so that each incident costs what it costs, and keeps what the model said last, unchecked."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: CachedAnswer | None = None

    def get(self, key: str) -> CachedAnswer | None:
        """Nothing."""
        return None

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Keep it in place of the one before."""
        self._latest = answer

    def take(self) -> CachedAnswer | None:
        """What the model answered since this was last asked for; None where it gave no usable answer."""
        latest, self._latest = self._latest, None
        return latest


def _by_bm25(text: str, catalogue: Catalogue) -> str | None:
    best = max(catalogue.search(text, len(catalogue)), key=lambda match: match.bm25, default=None)
    return None if best is None else best.runbook.id


def _incident(number: int, case: Case) -> IncidentEvent:
    lines = [line for line in case.text.splitlines() if line.strip()][:8]
    return IncidentEvent(
        id=f"inc-{number}",
        event="open",
        time="2026-01-01T00:01:00Z",
        severity="warning",
        service="app",
        kinds=["rate"],
        title=f"{lines[0][:80]}: 40 a minute",
        expected="about 0 a minute",
        seen="40 in 1 minute",
        template=lines[0],
        count=40,
        runbook=None,
        evidence=[Evidence(f"E{place}", "2026-01-01T00:00:30Z", line) for place, line in enumerate(lines, 1)],
        started="2026-01-01T00:00:00Z",
        fingerprint=str(number),
    )


def _measured(server: ModelServer) -> tuple[float, _Rates]:
    """Seconds to start it, tokens a second read and written, its memory afterwards; 0 where it gives no answer."""
    try:
        with server.session() as endpoint:
            client = ChatClient(endpoint.base_url, endpoint.key, endpoint.model)
            client.chat([{"role": "user", "content": "Warm up."}], _OBJECT, max_tokens=4)
            wrote = client.chat([{"role": "user", "content": "Tell of a server."}], _OBJECT, max_tokens=_RATE_TOKENS)
            read = client.chat([{"role": "user", "content": _READ}], _OBJECT, max_tokens=1)
            memory = None if server.pid is None else memory_of(server.pid)
    except ExplainError:
        return server.last_start_s, _Rates()
    return server.last_start_s, _Rates(
        round(read.prompt_tokens / max(read.seconds, 1e-9), 1),
        round(wrote.completion_tokens / max(wrote.seconds, 1e-9), 1),
        0 if memory is None else memory.share_bytes,
    )


def _summed(name: str, explained: Sequence[_Explained], cold_start_s: float, rates: _Rates) -> ModelResult:
    some = [each for each in explained if each.case.runbook is not None]
    none = [each for each in explained if each.case.runbook is None]
    answered = [(each, each.answer) for each in explained if each.answer is not None]
    cited = [(each, item) for each, answer in answered for item in answer.evidence]
    told = [each for each, answer in answered if answer.hypothesis.strip()]
    dropped = [each for each in told if any(why.startswith(_SENTENCE) for why in each.said.removed)]
    times = sorted(each.said.seconds for each in explained)
    return ModelResult(
        model=name,
        cases=len(explained),
        with_runbook=len(some),
        right=sum(each.is_right for each in some),
        none_right=sum(each.is_right for each in none),
        wrong=sum(each.said.runbook is not None and not each.is_right for each in explained),
        picked=sum(each.case.is_right(None if answer.runbook == NONE else answer.runbook) for each, answer in answered),
        cited=len(cited),
        cited_known=sum(item in build_pack(each.incident, Redactor()).texts for each, item in cited),
        told=len(told),
        told_kept=len(told) - len(dropped),
        failed=sum(each.said.status == "failed" for each in explained),
        confidence_right=_mean([each.said.confidence for each in some if each.is_right]),
        confidence_wrong=_mean([each.said.confidence for each in explained if each.said.runbook and not each.is_right]),
        tokens=sum(each.said.tokens for each in explained),
        median_s=times[len(times) // 2],
        slowest_s=times[-1],
        cold_start_s=round(cold_start_s, 3),
        read_per_s=rates.read_per_s,
        written_per_s=rates.written_per_s,
        memory_bytes=rates.memory_bytes,
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
