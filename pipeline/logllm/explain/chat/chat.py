"""A conversation about incidents: code answers from the evidence, then the model may add what the evidence carries."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from typing import TYPE_CHECKING

from logllm.errors import LogllmError
from logllm.explain.chat.answers import answer
from logllm.explain.chat.case import Case, Item, case_of
from logllm.explain.chat.events import AnswerEvent, Done, Note, Sentence, Thinking
from logllm.explain.chat.find import find
from logllm.explain.chat.others import compared, incident_named, listed
from logllm.explain.chat.topics import MAX_QUESTION_CHARS, Topic, items_named, subjects_of, topic_of
from logllm.explain.chat.window import ANSWER_TOKENS, Turn, fitted, told_to_model
from logllm.explain.chat.words import checked_words, not_shown
from logllm.explain.injection import looks_like_instruction, tame
from logllm.explain.prompt import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from logllm.events import Explanation, IncidentEvent, SeenBefore
    from logllm.explain.chat.model import ChatModel
    from logllm.explain.model.client import Answer
    from logllm.explain.runbooks.search import Catalogue

    Kept = tuple[IncidentEvent, Explanation | None]

__all__ = ["Chat", "Conversation"]

_MOST_TURNS = 20
_MOST_INCIDENTS = 200
_MOST_REMEMBERED = 3
# Answered in full by code, or by a list: the model has nothing to add to them.
_NO_MODEL = frozenset((Topic.ITEM, Topic.LIST, Topic.HELP, Topic.LINES, Topic.TODO, Topic.CHECK, Topic.COMPARE))


class Conversation:
    """The turns about one incident, the oldest forgotten after twenty. Not for several threads at once.

    Args:
        incident: The incident's id; "" for all that are kept.
    """

    def __init__(self, incident: str = "") -> None:
        self.incident = incident
        self.turns: collections.deque[Turn] = collections.deque(maxlen=_MOST_TURNS)
        self.forgotten = 0
        self.stopped = threading.Event()

    def stop(self) -> None:
        """End the answer that is being made; what was shown of it stands. From any thread."""
        self.stopped.set()


class Chat:
    """Answers questions about incidents. Safe to use from several threads, each with its own conversations.

    What it gives out is masked; whoever shows it may put values back. Nothing that is said here changes an incident.

    Args:
        latest: The newest incidents, newest first, masked, with their explanations.
        get: One by its id, or by the beginning of it.
        catalogue: The runbooks.
        mask: Takes secrets and names out of what a user typed.
        model: Adds its words; None for answers by code alone.
        past: Earlier incidents like one, where its explanation names none.
    """

    def __init__(
        self,
        latest: Callable[[int], Sequence[Kept]],
        get: Callable[[str], Kept | None],
        catalogue: Catalogue,
        mask: Callable[[str], str],
        *,
        model: ChatModel | None = None,
        past: Callable[[IncidentEvent], Sequence[SeenBefore]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latest = latest
        self._get = get
        self._catalogue = catalogue
        self._mask = mask
        self._past = past
        self._clock = clock
        self.model = model

    def latest(self, limit: int = _MOST_INCIDENTS) -> list[Kept]:
        """The newest incidents, newest first."""
        return list(self._latest(limit))

    def case(self, incident_id: str) -> Case | None:
        """Everything that may be said of an incident; None where there is none, or more than one, of that id."""
        kept = self._get(incident_id) if incident_id else None
        if kept is None:
            return None
        event, explanation = kept
        return case_of(event, explanation, self._catalogue, self._past(event))

    def ask(self, conversation: Conversation, question: str) -> Iterator[AnswerEvent]:
        """The answer, as it comes: sentences by code at once, then the model's as they pass, then `Done`.

        Closing the iterator ends the model's answer. Never raises for what a model or its server does. At most the
        configured deadline; without a model a few milliseconds. Of a question the first 500 characters count.

        Raises:
            StateError: The incidents cannot be read.
        """
        began = self._clock()
        conversation.stopped.clear()
        asked = tame(self._mask(question[:MAX_QUESTION_CHARS]))
        case = self.case(conversation.incident)
        topic = Topic.ITEM if case is not None and items_named(asked) else topic_of(asked)
        if case is None and topic not in (Topic.LIST, Topic.HELP):
            meant = incident_named(asked, self.latest())
            if meant is not None:
                conversation.incident = meant.id
                case = self.case(meant.id)
                yield Note(f"About {meant.id}, which the question's words fit best.")
        said: list[Sentence] = []
        tokens, first_s, name = 0, 0.0, "none"
        for sentence in self._by_code(topic, asked, case):
            said.append(sentence)
            yield sentence
        if case is not None and self.model is not None and _is_for_model(topic, said):
            pieces = self._by_model(asked, case, said, conversation)
            while True:
                try:
                    event = next(pieces)
                except StopIteration as end:
                    tokens = end.value
                    break
                if isinstance(event, Thinking):
                    name = event.model
                elif isinstance(event, Sentence):
                    said.append(event)
                    first_s = first_s or round(self._clock() - began, 3)
                yield event
        if not looks_like_instruction(asked):
            conversation.turns.append(Turn(asked, _remembered(said, case)))
        suggestions = _suggestions(topic, case)
        yield Done(topic.value, name, tokens, round(self._clock() - began, 3), suggestions, first_s)

    def _by_code(self, topic: Topic, asked: str, case: Case | None) -> list[Sentence]:
        if topic is Topic.LIST or (case is None and topic is not Topic.HELP):
            found = listed(asked, self.latest())
            return found if topic is Topic.LIST else [Sentence("Which incident? These are kept.", []), *found]
        if case is None:
            return [Sentence("Choose an incident, then ask what happened, why, since when, what to do.", [])]
        if topic is Topic.COMPARE:
            kept = self.latest()
            books = {event.id: _runbook(event, explanation) for event, explanation in kept}
            books[case.incident.id] = case.runbook.id if case.runbook else None
            return compared(asked, case.incident, kept, books)
        return answer(topic, asked, case)

    def _by_model(
        self, asked: str, case: Case, said: list[Sentence], conversation: Conversation
    ) -> Generator[AnswerEvent, None, int]:
        """The model's part; returns the tokens it cost."""
        model = self.model
        items = _to_the_point(asked, case, said)
        if model is None or not items:
            return 0
        if looks_like_instruction(asked):
            yield Note("The question speaks to a language model: it was not shown to one.")
            return 0
        faults: list[str] = []
        cost = 0
        try:
            with model.line(case.incident.id) as line:
                yield Thinking(model.name)
                window = fitted(
                    asked,
                    items,
                    conversation.turns,
                    n_ctx=line.n_ctx,
                    most_items=line.most_items,
                    count_tokens=line.count_tokens,
                )
                if window.forgotten > conversation.forgotten:
                    conversation.forgotten = window.forgotten
                    yield Note(f"The model no longer sees the oldest {window.forgotten} of this conversation's turns.")
                metered = _Metered(line.stream(window.messages, ANSWER_TOKENS), conversation.stopped)
                texts = [sentence.text for sentence in said]
                try:
                    shown = [Item(item.id, item.kind, tame(item.text)) for item in window.items]
                    for checked in checked_words(metered, shown, texts, told_to_model()):
                        if checked.sentence is not None:
                            yield checked.sentence
                        else:
                            faults.append(checked.fault)
                finally:
                    metered.close()
                    cost = metered.tokens or window.tokens + estimate_tokens(metered.text)
        except (LogllmError, ValueError) as error:
            yield Note(f"The model added nothing: {self._mask(str(error))[:300]}.")
        if faults:
            yield not_shown(faults)
        return cost


class _Metered:
    """A stream of pieces that remembers what came of it, and ends when it is told to stop."""

    def __init__(self, pieces: Generator[str, None, Answer], stopped: threading.Event) -> None:
        self.text = ""
        self.tokens = 0
        self._pieces = pieces
        self._stopped = stopped

    def __iter__(self) -> Iterator[str]:
        while not self._stopped.is_set():
            try:
                piece = next(self._pieces)
            except StopIteration as end:
                whole: Answer = end.value
                self.tokens = whole.prompt_tokens + whole.completion_tokens
                return
            self.text += piece
            yield piece

    def close(self) -> None:
        self._pieces.close()


def _remembered(said: list[Sentence], case: Case | None) -> str:
    """What the model reads of an answer later: what no model is shown is not in it either."""
    tainted = case.tainted if case is not None else frozenset()
    fit = (one.text for one in said if not tainted & set(one.cites) and not looks_like_instruction(one.text))
    return tame(" ".join(itertools.islice(fit, _MOST_REMEMBERED)))


def _is_for_model(topic: Topic, said: list[Sentence]) -> bool:
    return topic not in _NO_MODEL and not any(sentence.unknown for sentence in said)


def _to_the_point(asked: str, case: Case, said: list[Sentence]) -> list[Item]:
    """What the model is shown: what the answer cites, what carries the question's words, then lines and facts."""
    order = [name for sentence in said for name in sentence.cites if name in case.items]
    pool = case.of("line", "change", "anomaly", "new", "fact", "compared", "past")
    order += [found.item.id for found in find(pool, subjects_of(asked))]
    order += [item.id for item in case.of("line", "change", "compared", "fact")]
    kept = (case.items[name] for name in dict.fromkeys(["I1", *order]) if name not in case.tainted)
    return [item for item in kept if item.kind not in ("check", "step", "runbook")]


def _runbook(event: IncidentEvent, explanation: Explanation | None) -> str | None:
    return explanation.runbook if explanation is not None and explanation.runbook else event.runbook


def _suggestions(topic: Topic, case: Case | None) -> list[str]:
    if case is None:
        return ["Which incidents are critical?", "Which incidents are open?"]
    offered = {
        Topic.WHAT: "What happened?",
        Topic.WHY: "Why did it happen?",
        Topic.TODO: "What should I do?",
        Topic.BEFORE: "What came before it?",
        Topic.WHO: "Who and where?",
        Topic.ONGOING: "Is it still going on?",
        Topic.SEEN: "Has it been seen before?",
        Topic.COMPARE: "Is it related to another incident?",
    }
    return [text for each, text in offered.items() if each is not topic][:4]
