"""Alerts of a service, with the time passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from logllm.egress import EgressConfig
from logllm.explain.redact.redactor import Redactor
from logllm.notify.config import DestinationConfig, NotifyConfig
from logllm.notify.webhook import WebhookConfig
from logllm.service.notifying import Notifying
from tests.cli.test_serve_alerts import until
from tests.notify.dispatch.dispatching import START_S, incident
from tests.notify.fake_http import FakeHttp


class Clock:
    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def receiver() -> Iterator[FakeHttp]:
    with FakeHttp() as receiver:
        yield receiver


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Notifying]


@pytest.fixture
def make(tmp_path: Path, receiver: FakeHttp, clock: Clock) -> Iterator[Make]:
    made: list[Notifying] = []

    def make(*watched: str) -> Notifying:
        config = NotifyConfig(destinations=[WebhookConfig(name="hook", url=receiver.url)])
        made.append(
            Notifying(
                config, EgressConfig(), tmp_path, runbook=lambda _: None, watched=lambda: set(watched), clock=clock
            )
        )
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close(1.0)


def kinds(receiver: FakeHttp) -> list[tuple[str, str]]:
    return [(body["kind"], body["incidents"][0]["id"]) for one in receiver.taken for body in [one.json()]]


def test_what_a_kill_left_open_is_ended_when_senders_have_had_time_to_send_again(
    make: Make, receiver: FakeHttp, clock: Clock
) -> None:
    before = make()
    before.accept([incident(1), incident(2, service="checkout")])
    receiver.wait_for(2)
    before.close(1.0)
    clock.now_s += 60
    after = make("inc-2")

    clock.now_s += 899
    after.accept([])
    early = after.dispatcher.counts()["accepted"]
    clock.now_s += 1
    after.accept([])
    until(lambda: after.dispatcher.counts()["accepted"] == 1)
    clock.now_s += 300  # the group's interval
    after.accept([])
    receiver.wait_for(3)

    assert early == 0
    assert kinds(receiver)[2:] == [("resolve", "inc-1")]


def test_an_answer_for_an_incident_that_nobody_knows_says_so(make: Make, receiver: FakeHttp) -> None:
    notifying = make()
    notifying.accept([incident(1)])

    known = notifying.answering.answered("inc-1", "acknowledge", "somebody")
    unknown = notifying.answering.answered("inc-9", "acknowledge", "somebody")

    assert known == "inc-1: acknowledged; nobody else is called"
    assert unknown == "inc-9: no such incident is known (any more); noted all the same"


def test_one_destination_sees_addresses_and_the_other_and_the_outbox_their_pseudonyms(
    tmp_path: Path, receiver: FakeHttp, clock: Clock
) -> None:
    redactor = Redactor()
    told = replace(incident(1), title=redactor.mask("refused by 203.0.113.9"))
    with FakeHttp() as open_to:
        hooks: list[DestinationConfig] = [
            WebhookConfig(name="ops", url=open_to.url),
            WebhookConfig(name="all", url=receiver.url),
        ]
        config = NotifyConfig(destinations=hooks, reveal={"ops": ["ip"]})
        notifying = Notifying(
            config, EgressConfig(), tmp_path, runbook=lambda _: None, reveal=redactor.reveal, clock=clock
        )
        notifying.start()
        notifying.accept([told])
        open_to.wait_for(1)
        receiver.wait_for(1)
        notifying.change(replace(config, reveal={}), EgressConfig())()
        notifying.accept([replace(incident(2, service="checkout"), title=told.title)])
        open_to.wait_for(2)
        notifying.close(1.0)

        titles = [one.json()["incidents"][0]["title"] for one in open_to.requests]
    assert titles == ["refused by 203.0.113.9", "refused by <ip_1>"]
    assert receiver.requests[0].json()["incidents"][0]["title"] == "refused by <ip_1>"
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"<ip_1>" in kept
    assert b"203.0.113.9" not in kept
