from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logllm.explain.model.turns import Ticket, Turns


def ticket(caller: str, since_s: float = 0.0, ends_s: float = 9.0) -> Ticket[int]:
    return Ticket(caller, since_s, ends_s)


def test_one_callers_many_do_not_keep_out_anothers_one() -> None:
    turns: Turns[int] = Turns()
    for number in range(3):
        turns.put(ticket("many", number))
    turns.put(ticket("one", 3))

    taken = [turns.take() for _ in range(5)]

    assert [one.caller if one else None for one in taken] == ["many", "one", "many", "many", None]


def test_a_request_that_is_tried_again_goes_first() -> None:
    turns: Turns[int] = Turns()
    turns.put(ticket("a"))
    turns.put(ticket("b"), again=True)

    first = turns.take()

    assert first is not None
    assert first.caller == "b"


def test_what_was_given_up_is_passed_over() -> None:
    turns: Turns[int] = Turns()
    given_up, kept = ticket("a"), ticket("a")
    turns.put(given_up)
    turns.put(kept)
    given_up.future.cancel()

    assert turns.take() is kept
    assert turns.take() is None


def test_those_that_are_late_are_taken_out_and_the_rest_keep_their_places() -> None:
    turns: Turns[int] = Turns()
    tickets = [ticket("a", 1, 5), ticket("b", 2, 9), ticket("a", 3, 9)]
    for one in tickets:
        turns.put(one)

    out = turns.remove(lambda one: one.ends_s <= 5)

    assert out == [tickets[0]]
    assert len(turns) == 2
    assert turns.oldest_s() == 2
    assert {turns.take(), turns.take()} == set(tickets[1:])


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_each_is_taken_once_and_a_callers_own_in_order(callers: str) -> None:
    turns: Turns[int] = Turns()
    tickets = [ticket(caller, number) for number, caller in enumerate(callers)]
    for one in tickets:
        turns.put(one)

    taken = [found for _ in tickets if (found := turns.take())]

    assert sorted(one.since_s for one in taken) == [one.since_s for one in tickets]
    for caller in "abc":
        order = [one.since_s for one in taken if one.caller == caller]
        assert order == sorted(order)
    assert turns.take() is None
