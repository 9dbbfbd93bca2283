"""The small parts: topics, sentences out of a stream, citations, what fits a model's context."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from logllm.errors import ExplainError
from logllm.explain.chat.answers import UNKNOWN, about, answer, named_items, quoted
from logllm.explain.chat.asking import ASKING, MEANT
from logllm.explain.chat.case import Case, Item, case_of, moment
from logllm.explain.chat.find import Found, cites_of, find, firm_in, words_in
from logllm.explain.chat.model import ChatModel
from logllm.explain.chat.names import asked_for, named_by, names_in
from logllm.explain.chat.others import compared, incident_named, listed
from logllm.explain.chat.sentences import MAX_SENTENCE_CHARS, sentences
from logllm.explain.chat.topics import MAX_QUESTION_CHARS, Topic, items_named, meant_by, subjects_of, topic_of
from logllm.explain.chat.whereabouts import before, who
from logllm.explain.chat.window import ANSWER_TOKENS, Turn, Window, fitted, told_to_model
from logllm.explain.chat.words import Checked, checked_words, not_shown
from logllm.explain.config import ExplainConfig
from logllm.explain.facts import lasting
from logllm.explain.pack import build_pack
from logllm.explain.prompt import estimate_tokens
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from tests.explain.chat.sample import chat_over, kept
from tests.explain.fakes import ChatServer

DISK = "inc-78b93de17d"
SSH = "inc-5c11aa90de"
ITEMS = [
    Item("I1", "incident", "postgres: disk full, critical"),
    Item("E1", "line", "could not extend file base/16384/24680: No space left on device"),
    Item("E2", "line", "checkpoint request failed"),
    Item("E3", "line", "Failed password for <user_1> from <ip_2> port 4711 ssh2"),
]


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("What happened?", Topic.WHAT),
        ("WHY??", Topic.WHY),
        ("since when", Topic.WHEN),
        ("which hosts are affected", Topic.WHO),
        ("what changed before it", Topic.BEFORE),
        ("What should I do?", Topic.TODO),
        ("what should I check?", Topic.CHECK),
        ("has this happened before?", Topic.SEEN),
        ("Is it still going on?", Topic.ONGOING),
        ("show lines about disk", Topic.LINES),
        ("compare it with inc-1234567", Topic.COMPARE),
        ("list the incidents", Topic.LIST),
        ("how many?", Topic.COUNT),
        ("what is usual?", Topic.NORMAL),
        ("how bad is it?", Topic.SEVERITY),
        ("how sure are you?", Topic.TRUST),
        ("help", Topic.HELP),
        ("purple elephants", Topic.OTHER),
        ("", Topic.OTHER),
        ("x " * MAX_QUESTION_CHARS + "why?", Topic.OTHER),
    ],
)
def test_a_question_has_its_topic(question: str, topic: Topic) -> None:
    assert topic_of(question) is topic


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=600))
def test_every_text_has_a_topic_and_an_answer(question: str) -> None:
    case = CHAT.case(SSH)
    assert case is not None

    found = answer(topic_of(question), question, case)

    assert found
    assert all(set(sentence.cites) <= set(case.items) for sentence in found)


CATALOGUE = Catalogue.load()
CHAT = chat_over(catalogue=CATALOGUE)


def test_words_that_questions_are_made_of_are_not_what_they_are_about() -> None:
    assert subjects_of("Why did this happen, and since when?") == []
    assert subjects_of("Why did Kafka fail?") == ["kafka"]
    assert "accept" in meant_by("did anyone get in?")
    assert "why" in ASKING
    assert len(MEANT) > 3
    assert items_named("show E3, C12 and e4, not <E1>") == ["E3", "C12"]


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
def test_sentences_come_out_the_same_however_the_stream_is_cut(size: int) -> None:
    text = "The disk is full (98.5 %). No space is left on /data/a.b, see e.g. base/1.2! Is it?\nLast line\nand the end"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    found = list(sentences(pieces))

    assert found == [
        ("The disk is full (98.5 %).", True),
        ("No space is left on /data/a.b, see e.g. base/1.2!", True),
        ("Is it?", True),
        ("Last line", False),
        ("and the end", False),
    ]


@given(st.lists(st.text(alphabet="ab .!?\n\"'", max_size=40), max_size=40))
def test_no_sentence_is_lost_invented_or_too_long(pieces: list[str]) -> None:
    found = list(sentences(pieces, limit=10_000))

    whole = "".join(pieces)
    assert all(len(text) <= MAX_SENTENCE_CHARS and text in whole for text, _ in found)
    if len(whole) <= MAX_SENTENCE_CHARS:
        assert "".join("".join(text.split()) for text, _ in found) == "".join(whole.split())


def test_a_sentence_without_end_is_given_up_and_the_next_one_is_seen() -> None:
    endless = ["word " * 50 for _ in range(100)]

    found = list(sentences([*endless, ". ", "The end."]))

    assert [(len(text), whole) for text, whole in found] == [(MAX_SENTENCE_CHARS, False), (8, True)]


def test_citations_cover_the_words_of_a_sentence() -> None:
    said = "The checkpoint request failed because no space is left on the device."

    assert cites_of(said, ITEMS) == ["E1", "E2"]
    assert cites_of("<ip_2> tried to come in.", ITEMS) == ["E3"]
    assert cites_of("Somebody unplugged the router.", ITEMS) == []
    assert cites_of("It happened 4711 times.", ITEMS) == []


def test_rare_words_find_their_lines_first() -> None:
    found = find(ITEMS, ["checkpoint", "fail"])

    assert isinstance(found[0], Found)
    assert found[0].item.id == "E2"
    assert find(ITEMS, []) == []
    assert firm_in("at 10.0.0.1:80, <ip_2> and /var/log/x.") == {"10.0.0.1:80", "<ip_2>", "var/log/x"}
    assert {"checkpoint", "<ip_2>"} <= words_in("checkpoints of <ip_2>")


def test_names_are_found_by_what_is_asked_for() -> None:
    assert asked_for("which users and hosts?") == ["host", "user"]
    assert names_in(ITEMS, "user") == {"<user_1>": ["E3"]}
    assert named_by("which port is it?", ITEMS) == ("port", {"4711": ["E3"]})
    assert named_by("which zebra?", ITEMS) is None


def test_checked_words_end_after_four_faults() -> None:
    nonsense = (f"Nothing of this number{place} is known here. " for place in range(50))
    taken: list[str] = []

    def pieces() -> object:
        for piece in nonsense:
            taken.append(piece)
            yield piece

    found = list(checked_words(pieces(), ITEMS, [], told_to_model()))  # type: ignore[arg-type]

    assert all(isinstance(one, Checked) for one in found)
    assert [one.sentence for one in found] == [None] * 4
    assert len(taken) < 8
    assert not_shown([one.fault for one in found]).count == 4


@given(
    n_ctx=st.integers(min_value=1024, max_value=4096),
    turns=st.lists(st.tuples(st.text(max_size=300), st.text(max_size=600)), max_size=12),
    texts=st.lists(st.text(max_size=400), min_size=2, max_size=20),
)
def test_what_the_model_reads_fits_its_context_and_the_question_is_always_in_it(
    n_ctx: int, turns: list[tuple[str, str]], texts: list[str]
) -> None:
    items = [Item(f"E{place}", "line", text) for place, text in enumerate(texts, start=1)]
    question = "Why did it fail?"

    try:
        window = fitted(question, items, [Turn(*turn) for turn in turns], n_ctx=n_ctx)
    except ValueError:
        # Two items of 400 characters in other scripts may need more than that.
        assume(False)

    assert sum(estimate_tokens(message["content"]) for message in window.messages) == window.tokens
    assert window.tokens + ANSWER_TOKENS < n_ctx
    assert question in window.messages[-1]["content"]
    assert window.messages[0]["role"] == "system"
    assert len(window.items) >= 2
    assert 0 <= window.forgotten <= len(turns)


def test_the_oldest_turns_go_first() -> None:
    turns = [Turn(f"question number{place}", "answer " * 40) for place in range(6)]

    window = fitted("Why?", ITEMS, turns, n_ctx=1024)

    assert isinstance(window, Window)
    text = str(window.messages)
    assert 0 < window.forgotten < 6
    assert "number5" in text
    assert "number0" not in text


def test_several_incidents_are_listed_and_compared() -> None:
    rows = kept()
    events = {event.id: event for event, _ in rows}

    assert [said.cites for said in listed("which incidents are open?", rows)] == [[SSH], ["inc-e0690cbe1e"]]
    named = incident_named("the one on the gateway", rows)
    together = compared("compare with gateway", events["inc-9d7abbd49a"], rows, {})

    assert named is not None
    assert named.service == "gateway"
    assert together[0].cites == ["inc-86d4282033"]
    assert "same minute" in together[1].text
    assert compared("compare", events[SSH], [], {})[0].unknown


def test_items_are_shown_whole_by_their_id_with_place_and_time() -> None:
    case = CHAT.case(SSH)
    assert case is not None

    (shown, missing) = named_items("E5 E77", case)

    assert shown.text.startswith("2026-03-14 07:13:31Z, /var/log/auth.log:61: “Accepted password")
    assert (missing.unknown, missing.cites) == (True, [])
    assert UNKNOWN in missing.text
    assert quoted(Item("E1", "line", "long " * 200)).endswith(" …”")


def test_whereabouts_and_what_came_before() -> None:
    case = CHAT.case(SSH)
    assert case is not None

    assert "<user_3>" in who("which users?", case)[0].text
    assert before("", case)[0].cites == ["C1"]
    assert about("was anything accepted", case)[0].cites == ["E5"]


def test_what_an_explanation_may_cite_is_there_under_the_same_id() -> None:
    for event, explanation in kept():
        case = case_of(event, explanation, CATALOGUE)
        pack = build_pack(event, Redactor(max_values=0), case.past)

        assert isinstance(case, Case)
        for item in pack.items:
            assert item.id in case.items, item
            assert case.items[item.id].kind == item.kind
            if item.kind in ("line", "change", "fact", "anomaly"):
                start = " ".join(case.items[item.id].text.split())[:20]
                assert start.split("<")[0] in item.text


def test_times_are_told_in_words() -> None:
    assert lasting("2026-03-14T06:55:00Z", "2026-03-14T06:56:30Z") == "90 seconds"
    assert lasting("2026-03-14T06:55:00Z", "2026-03-14T11:55:00Z") == "5.0 hours"
    assert lasting("yesterday", "today") == ""
    assert moment("yesterday") == "yesterday"


def test_questions_to_one_model_take_turns() -> None:
    with ChatServer("Yes.") as server:
        model = ChatModel(f"{server.url}/v1#tiny", ExplainConfig(deadline_s=0.05))
        with model.line() as line:
            assert line.count_tokens("a few words") > 2
            assert "".join(line.stream([{"role": "user", "content": "hi"}], 5)) == "Yes."
            with pytest.raises(ExplainError, match="busy with another question"), model.line():
                pass
        model.close()
    assert model.name == "tiny"
