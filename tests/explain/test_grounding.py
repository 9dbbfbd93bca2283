from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.explain.grounding import ungrounded

KNOWN = [
    'billing-db: could not extend file "base/16384/24680": No space left on device',
    "orders worker stopped after 30 s, exit code 137 (OOMKilled)",
    "client 10.0.0.8 cannot connect to redis-cache:6380, connection refused",
    "deploy of orders 4.2.0 finished; latency rose from 120 ms to 2.5 s",
    "replica of billing is 812 seconds behind, disk at 91% of 40 GB",
]


@pytest.mark.parametrize(
    "sentence",
    [
        "No space is left on the device of billing-db.",
        "The orders worker stopped after 30 seconds.",
        "The orders worker was OOMKilled with exit code 137.",
        "The client 10.0.0.8 cannot connect to redis-cache:6380 because the connection is refused.",
        "Latency of orders rose to 2.5 s after the deploy of 4.2.0.",
        "The replica of billing is 812 s behind.",
        "The disk of billing is at 91 percent.",
        'It could not extend the file "base/16384/24680" on the device.',
    ],
)
def test_what_the_evidence_says_in_other_order_stands(sentence: str) -> None:
    assert ungrounded(sentence, KNOWN) is None


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("The orders worker stopped after 30 minutes.", "'30 minutes' is not in the evidence"),
        ("The replica of billing is 812 ms behind.", "'812 ms' is not in the evidence"),
        ("The disk of billing is at 40 percent.", "'40 percent' is not in the evidence"),
        ("The orders worker stopped 45 times after exit.", "'45' is not in the evidence"),
        ("The orders worker stopped with OutOfMemoryError on exit.", "'outofmemoryerror' is not in the evidence"),
        ("The orders worker runs on Kubernetes and stopped.", "'Kubernetes' is not in the evidence"),
        ('The billing device said "disk quota exceeded" on extend.', "is quoted and not in the evidence"),
        ("The write-ahead file of billing could not extend.", "'write-ahead' is not in the evidence"),
        ("The orders worker started after 30 s.", "'started', where the evidence says the opposite"),
        ("Latency of orders fell to 2.5 s.", "'fell', where the evidence says the opposite"),
        ("The client connection to redis-cache:6380 was accepted.", "says 'accept', which the evidence does not"),
        ("The billing device has recovered its space.", "says 'recover', which the evidence does not"),
        ("The deploy of orders is not behind the latency.", "denies 'behind', which the evidence says"),
        (
            "Latency of orders rose because of the replica of redis.",
            "claims a cause (because of...) that no line carries",
        ),
        (
            "The billing file could not extend due to the refused client.",
            "claims a cause (due to...) that no line carries",
        ),
    ],
)
def test_what_is_turned_measured_otherwise_or_made_up_is_named(sentence: str, reason: str) -> None:
    fault = ungrounded(sentence, KNOWN)

    assert fault is not None
    assert reason in fault


def test_what_is_denied_in_the_evidence_may_be_denied() -> None:
    assert (
        ungrounded("The server is not available to the shop client.", ["shop client: server is not available"]) is None
    )
    assert (
        ungrounded("The shop server is available to the client.", ["shop client: server is not available"]) is not None
    )


SOME = (
    "the orders worker not never started stopped 30 s minutes because of device full cannot accepted refused 137 91% "
    'billing-db "x y" redis-cache:6380 Kubernetes 4.2.0 4.2.1'
)
WORDS = st.sampled_from(SOME.split(" "))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(WORDS, min_size=1, max_size=14).map(" ".join) | st.text(max_size=120),
    st.lists(st.text(max_size=60), max_size=3),
)
def test_any_sentence_and_any_evidence_are_judged_without_an_error(sentence: str, more: list[str]) -> None:
    fault = ungrounded(sentence, [*KNOWN, *more])

    assert fault is None or fault


@pytest.mark.parametrize("text", KNOWN)
def test_each_piece_of_evidence_carries_itself(text: str) -> None:
    assert ungrounded(text, KNOWN) is None
