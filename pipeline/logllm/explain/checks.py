"""What the model said, looked at by code: what the evidence does not carry is taken out and named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logllm.errors import ExplainError
from logllm.explain.facts import first_sentence
from logllm.explain.grounding import ungrounded
from logllm.explain.injection import looks_like_instruction

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["ModelAnswer", "Reviewed", "fault_of", "parse_answer", "review"]

_MAX_CHARS = 240
_MIN_WORDS = 3

_WORD = re.compile(r"[A-Za-z][A-Za-z']*")
_COMMAND = re.compile(
    r"`|\$\(|&&|\|\s*(?:sh|bash)\b|(?i:https?:|ftp:|www\.)"
    r"|(?i:\b(?:sudo|rm|chmod|chown|curl|wget|kubectl|systemctl|docker|iptables|kill(?:all)?|reboot|shutdown|mkfs|dd|git|eval|exec)\s+[-/.\w])"
)
# The model's advice is not asked for: steps come from the runbook alone.
_ADVICE = re.compile(
    r"(?i)\b(?:you (?:should|must|need|can|may)|please|(?:i|we) (?:recommend|suggest|advise)|try to|make sure|"
    r"consider|ensure|(?:should|must|needs? to|has to|have to) be \w+ed|(?<!to )run the|execute|"
    r"(?:restart|reboot|delete|remove|reinstall|upgrade|disable|kill) (?:the|this|your|all)|contact)\b"
)
# How bad it is follows from counts and levels alone.
_JUDGEMENT = re.compile(
    r"(?i)\b(?:severity|harmless|benign|false positive|false alarm|not? (?:a )?(?:problem|concern|issue)s?|no action|"
    r"nothing (?:to do|is wrong|happened)|safe(?:ly)? (?:to )?ignored?|can be ignored|all is well)\b"
)


class ModelAnswer(msgspec.Struct, frozen=True):
    """The JSON that was asked for."""

    runbook: str
    evidence: list[str]
    severity: str
    hypothesis: str


class Reviewed(NamedTuple):
    """What is left of an answer. `hypothesis` is empty where the sentence did not stand."""

    runbook: str | None
    evidence: list[str]
    hypothesis: str
    removed: list[str]


def parse_answer(text: str, *, ended: bool = False) -> ModelAnswer:
    """The answer, strictly, with one leniency: the last string may lack its end.

    It does when generation was stopped after its first sentence (`ended`), or at the token limit: then only whole
    sentences of it stay.

    Raises:
        ExplainError: no JSON of that shape; a server may answer 200 with text that ignores the schema.
    """
    text = text.strip()
    cut = re.search(r'"hypothesis"\s*:\s*"((?:[^"\\]|\\.)*+)$', text)
    if cut:
        whole = cut[1] if ended else "".join(re.findall(r"^.*[.!?](?=\s)", cut[1], re.DOTALL))
        text = f'{text[: cut.start(1)]}{whole}"}}'
    try:
        return msgspec.json.decode(text, type=ModelAnswer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ExplainError(f"the model's answer does not keep to the schema: {error}") from None


def review(
    answer: ModelAnswer,
    *,
    evidence: dict[str, str],
    facts: Sequence[str],
    runbook_ids: Collection[str],
    instructions: str = "",
) -> Reviewed:
    """Keep what the evidence carries.

    Args:
        evidence: Masked text by id, as the model saw it.
        facts: The facts as the model saw them.
        runbook_ids: What it could choose from; "none" is always allowed.
        instructions: Our part of the prompt, which the answer must not echo.
    """
    removed = []
    runbook: str | None = answer.runbook
    if answer.runbook == "none":
        runbook = None
    elif answer.runbook not in runbook_ids:
        removed.append(f"runbook {answer.runbook[:40]!r}: not one of those offered")
        runbook = None
    cited = list(dict.fromkeys(name for name in answer.evidence if name in evidence))
    unknown = [name for name in answer.evidence if name not in evidence]
    if unknown:
        removed.append(f"evidence {', '.join(repr(name[:20]) for name in unknown[:5])}: no such line")
    # One sentence was asked for: what follows it is where small models begin to wander.
    hypothesis = first_sentence(" ".join(answer.hypothesis.split()), _MAX_CHARS + 1)
    # Ids that are there may be spoken of; what is held against the evidence is the rest.
    spoken = re.sub(r"\b[A-Z]\d{1,3}\b", lambda match: "" if match[0] in evidence else match[0], hypothesis)
    fault = fault_of(" ".join(spoken.split()), [*evidence.values(), *facts], instructions)
    if fault:
        removed.append(f"the model's sentence: {fault}")
        hypothesis = ""
    return Reviewed(runbook, cited, hypothesis, removed)


def fault_of(sentence: str, known: Sequence[str], instructions: str = "") -> str | None:
    """Why a sentence must not be shown, or None. `known` is everything it may speak of: evidence and facts."""
    words = [word.lower() for word in _WORD.findall(sentence)]
    if len(words) < _MIN_WORDS or " " not in sentence:
        return "says nothing"
    if len(sentence) > _MAX_CHARS:
        return f"longer than {_MAX_CHARS} characters"
    if sum(char.isascii() and char.isprintable() for char in sentence) < 0.95 * len(sentence):
        return "not plain English"
    if max(map(len, sentence.split())) > 60:
        return "not plain English"
    if _repeats(words):
        return "repeats itself"
    if _COMMAND.search(sentence):
        return "holds a command or an address"
    if _ADVICE.search(sentence):
        return "gives advice, which comes from runbooks only"
    if (judged := _JUDGEMENT.search(sentence)) and judged[0].lower() not in "\n".join(known).lower():
        return "judges how bad it is, which counts and levels decide"
    if looks_like_instruction(sentence):
        return "repeats an instruction found in the log"
    if instructions and _longest_run(words, [word.lower() for word in _WORD.findall(instructions)]) >= 5:
        return "echoes the prompt"
    return ungrounded(sentence, known)


def _repeats(words: list[str]) -> bool:
    if len(words) >= 8 and len(set(words)) < 0.55 * len(words):
        return True
    pairs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(pairs)) < len(pairs)


def _longest_run(words: list[str], of: list[str]) -> int:
    best = 0
    row = [0] * (len(of) + 1)
    for word in words:
        above = 0
        for place, other in enumerate(of, start=1):
            above, row[place] = row[place], above + 1 if word == other else 0
            best = max(best, row[place])
    return best
