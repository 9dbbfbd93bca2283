from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.explain.runbooks.concepts import concepts
from logllm.explain.runbooks.search import Catalogue, Runbook
from logllm.explain.runbooks.signals import Shown, SignalIndex
from logllm.explain.runbooks.weights import WEIGHTS, features, log_odds
from logllm.explain.runbooks.words import TROUBLE


def book(name: str, *signals: str) -> Runbook:
    return Runbook(name, f"About {name}", list(signals), ["do"], ["look"], "", "low", "", "What it is.")


@pytest.fixture(scope="module")
def index() -> SignalIndex:
    return SignalIndex(
        [
            book("disk", "No space left on device", "could not extend file"),
            book("ssh", "Failed password for invalid user from port ssh2", "POSSIBLE BREAK-IN ATTEMPT"),
            book("save", "Background saving error"),
        ]
    )


def test_a_signal_in_full_is_shown_in_full_wherever_it_stands(index: SignalIndex) -> None:
    lines, shown = index.telling("INFO all is well\nwrite: No space left on device (28)")

    assert lines[-1].startswith("write")
    assert shown[0].best > 0.9
    assert shown[0].order == 1.0
    assert shown[0].first == 0.0
    assert index.share(0, "write: ENOSPC") > 0.9


def test_a_line_of_normal_operation_tells_nothing_however_alike_it_is(index: SignalIndex) -> None:
    usual = "Accepted password for carol from 10.0.0.8 port 5022 ssh2\nBackground saving terminated with success"
    wrong = "Failed password for carol from 10.0.0.8 port 5022 ssh2\nBackground saving error"

    lines, shown = index.telling(usual)

    assert lines == []
    assert all(how.best < 0.35 for how in shown.values())
    assert index.telling(wrong)[0] == wrong.splitlines()
    assert index.share(2, wrong) >= 0.75


def test_one_word_of_several_is_a_coincidence(index: SignalIndex) -> None:
    assert index.share(0, "the device was added") == 0.0
    assert index.share(0, "") == 0.0


def test_lines_that_repeat_count_once_and_others_add(index: SignalIndex) -> None:
    line = "No space left on device"

    assert index.telling(line)[1][0].more == 0.0
    assert index.telling("\n".join([line] * 5))[1][0] == index.telling(line)[1][0]
    assert index.telling(f"{line}\ncould not extend file")[1][0].more > 0.5


@given(st.text(max_size=400))
def test_whatever_is_read_what_is_shown_stays_in_its_bounds(text: str) -> None:
    index = SignalIndex([book("a", "connection refused"), book("b", "heap space exhausted")])

    _, shown = index.telling(text)

    for how in shown.values():
        assert 0.0 <= how.best <= 1.0
        assert 0.0 <= how.first <= 1.0
        assert 0.0 <= how.more <= 2.0
        assert 0.0 <= how.order <= 1.0
        assert -4.0 <= how.meant <= 8.0
        assert how.trouble in (0.0, 1.0)


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ("upstream timed out", "context deadline exceeded", "timeout"),
        ("EACCES", "operation not permitted", "denied"),
        ("ENOSPC", "there is no space here", "full"),
        ("OOMKilled", "terminated by SIGKILL", "killed"),
        ("the replica lags", "Seconds_Behind_Master: standby", "replica"),
    ],
)
def test_different_words_of_one_thing_have_one_name(one: str, other: str, name: str) -> None:
    assert name in concepts(one) & concepts(other)


def test_a_beginning_is_one_of_a_word_and_a_long_line_is_cut() -> None:
    assert "timeout" not in concepts("the clock was timed")
    assert concepts("x" * 100_000) == frozenset()
    assert concepts("a " * 5_000 + "deadlock") == frozenset()


def test_no_sign_speaks_against_a_runbook_and_nothing_shown_is_none() -> None:
    nothing = features(Shown(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.0)
    everything = features(Shown(1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 1.0), 20.0, 20.0)

    assert len(nothing) == len(WEIGHTS)
    assert all(weight >= 0.0 for weight in WEIGHTS[1:])
    assert log_odds(nothing) < -3.0
    assert log_odds(everything) > 3.0


def test_trouble_is_what_no_ordinary_line_says() -> None:
    assert {"fail", "refus", "deni"} <= TROUBLE
    assert "start" not in TROUBLE


def test_a_search_tells_what_its_score_is_made_of() -> None:
    with Catalogue([book("disk", "No space left on device"), book("dns", "no such host")]) as catalogue:
        match = catalogue.search("write failed: No space left on device")[0]

    assert match.runbook.id == "disk"
    assert match.score == pytest.approx(log_odds(match.signs))
    assert match.bm25 > 0.0
