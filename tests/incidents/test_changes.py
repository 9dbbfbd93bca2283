from __future__ import annotations

import random

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.events import Columns
from logllm.incidents.changes import Change, ChangeWatch, tells_of_change
from tests.incidents.stream import Record, chunks, eventful, json_of, pipeline, run

MINUTE_NS = 60_000_000_000
DEPLOYED = "Deployed shop 2.4.1 by release-bot"

PLAIN = [
    "Deployed orders <*>",
    "deployment <*> rolled out to 3 replicas",
    "inventory <num> starting, build <hex>, was <num>",
    "Normal ScalingReplicaSet Scaled up replica set web-<id> to 4",
    "Flyway: Successfully applied 2 migrations to schema public",
    "ALTER TABLE orders ADD COLUMN note",
    "feature flag new-checkout enabled for 10 %",
    "received SIGHUP, reloading configuration files",
    'parameter "max_connections" changed to "200"',
    "certificate for <host> renewed, valid until <time>",
    "rolling back to version <*>",
    "Upgrading kernel from <*> to <*>",
    "autoscaler: 3 nodes added",
]
STARTS = [
    "database system is ready to accept connections",
    "Server <*> restarted",
    "Started OrdersApplication in <num> seconds",
    "listening on [::]:<num>",
    "Linux version <*>",
    "received SIGTERM, waiting for 3 requests",
]
NEITHER = [
    "Started Session <*> of user root.",
    "Accepted publickey for deploy from <ip> port <num> ssh2",
    "session opened for user deploy(uid=<num>)",
    "Starting logrotate.service - Rotate log files...",
    "GET /releases/<*> 200",
    "connection released to the pool",
    "worker started job <*>",
    "request <*> started",
    "Back-off restarting failed container in pod <*>",
    "could not extend file: No space left on device",
    "slow query took <num> ms, retrying",
]


@pytest.mark.parametrize("template", PLAIN)
def test_words_of_a_deployment_or_of_settings_tell_plainly(template: str) -> None:
    assert tells_of_change(template) == 2


@pytest.mark.parametrize("template", STARTS)
def test_words_of_a_start_or_a_stop_tell_less_plainly(template: str) -> None:
    assert tells_of_change(template) == 1


@pytest.mark.parametrize("template", NEITHER)
def test_the_work_of_every_day_is_no_change(template: str) -> None:
    assert tells_of_change(template) == 0


@given(st.text(max_size=3_000))
@settings(max_examples=100, deadline=None)
def test_any_text_may_be_asked_about(text: str) -> None:
    assert tells_of_change(text) in {0, 1, 2}


def _watch(*templates: str) -> ChangeWatch:
    return ChangeWatch(lambda key: templates[key], lambda text: text.replace("s3cret", "<secret_1>"))


def _see(watch: ChangeWatch, rows: list[tuple[float, int]], texts: list[str], new: list[int]) -> None:
    columns = Columns(
        np.array([int(minute * MINUTE_NS) for minute, _ in rows], np.int64),
        [f"{texts[key]} at {minute}" for minute, key in rows],
        np.zeros(len(rows), np.uint8),
        np.zeros(len(rows), np.int32),
        ["shop"],
    )
    watch.see(columns, np.array([key for _, key in rows], np.int32), np.zeros(len(texts), np.int32), "a.log", new)


def _times(found: list[Change]) -> list[float]:
    return [change.time_ns / MINUTE_NS for change in found]


def test_what_was_changed_half_an_hour_before_or_just_after_is_near_and_nothing_else() -> None:
    texts = [DEPLOYED, "feature flag a enabled", "Applied configuration", "certificate renewed", "GET / 200"]
    watch = _watch(*texts)
    _see(watch, [(69, 0), (70, 1), (90, 4), (101.9, 2), (102, 3)], texts, [0, 1, 2, 3, 4])

    near = watch.near(100 * MINUTE_NS, 0, lead=-1)

    assert _times(near) == [70, 101.9]


def test_the_plainest_of_the_service_and_the_nearest_are_told_in_the_order_of_time() -> None:
    texts = ["server a restarted", DEPLOYED, "feature flag b enabled", "certificate renewed", "listening on 8080"]
    watch = _watch(*texts)
    _see(watch, [(95, 0), (80, 1), (96, 2), (97, 3), (99, 4)], texts, [0, 1, 2, 3, 4])

    near = watch.near(100 * MINUTE_NS, 0, lead=-1)

    assert _times(near) == [80, 96, 97]


def test_what_came_in_most_quarters_of_the_hours_before_is_routine() -> None:
    watch = _watch(DEPLOYED)
    _see(watch, [(minute, 0) for minute in range(0, 200, 20)], [DEPLOYED], [0])

    assert watch.near(190 * MINUTE_NS, 0, lead=-1) == []
    assert _times(watch.near(41 * MINUTE_NS, 0, lead=-1)) == [20]


def test_an_incident_is_not_told_its_own_message_as_a_change() -> None:
    watch = _watch(DEPLOYED)
    _see(watch, [(99, 0)], [DEPLOYED], [0])

    assert watch.near(100 * MINUTE_NS, 0, lead=0) == []


def test_nothing_is_kept_that_may_not_be_told() -> None:
    text = "Deployed with token s3cret"
    watch = _watch(text)
    _see(watch, [(99, 0)], [text], [0])

    assert b"s3cret" not in msgpack.packb(watch.state())
    assert "<secret_1>" in watch.near(100 * MINUTE_NS, 0, lead=-1)[0].text


def test_a_flood_of_changes_is_bounded_and_found_the_same_however_it_is_cut() -> None:
    source = random.Random(1)
    rows = [(source.uniform(0, 30), source.randrange(3)) for _ in range(5_000)]
    texts = [DEPLOYED, "feature flag a enabled", "server started"]
    whole, cut = _watch(*texts), _watch(*texts)

    _see(whole, rows, texts, [0, 1, 2])
    for at in range(0, len(rows), 7):
        _see(cut, rows[at : at + 7], texts, [0, 1, 2] if at == 0 else [])

    assert whole.state() == cut.state()
    assert len(whole.state()["kept"]) <= 256


def test_a_merged_keys_changes_are_the_others_and_a_forgotten_keys_number_is_free() -> None:
    texts = [DEPLOYED, "plain"]
    watch = _watch(*texts)
    _see(watch, [(99, 0)], texts, [0, 1])

    watch.merge(0, 1)
    _see(watch, [(100.5, 1)], texts, [])
    watch.forget([1])
    _see(watch, [(101.5, 1)], texts, [])

    assert [(change.key, change.time_ns) for change in watch.near(101 * MINUTE_NS, 0, lead=0)] == [(-1, 99 * MINUTE_NS)]


@pytest.mark.parametrize(
    "state",
    [
        {"watched": [[5, 2, [], 0]]},
        {"watched": [[-1, 2, [], 0]]},
        {"kept": [[0, 0, 3, 2, "text", "", 0]]},
        {"kept": [[0, 7, 0, 2, "text", "", 0]]},
        {"kept": [[0, 0]]},
        {"watched": [["x", 2, [], 0]]},
    ],
)
def test_a_state_that_does_not_fit_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        _watch(DEPLOYED).restore(state, keys=2, services=1)


def _with_changes() -> list[Record]:
    """The eventful log with a deployment of `shop` and a changed setting of `db` before each of its troubles."""
    more = [
        Record(1.5 * 3600, "shop", DEPLOYED, 9),
        Record(1.53 * 3600, "db", 'parameter "work_mem" changed to "64MB"', 9),
        Record(1.88 * 3600, "shop", "Deployed shop 2.4.2 by release-bot", 9),
    ]
    return sorted([*eventful(), *more], key=lambda row: row.second)


def test_a_deployment_just_before_an_incident_is_told_with_it_whatever_the_service() -> None:
    events = run(pipeline(), _with_changes())

    disk = next(event for event in events if "No space left" in event.title)
    assert [(change.id, change.text) for change in disk.changes] == [
        ("C1", f"shop: {DEPLOYED}"),
        ("C2", 'parameter "work_mem" changed to "64MB"'),
    ]
    assert disk.changes[0].time < disk.changes[1].time < disk.time


@given(st.lists(st.integers(0, len(eventful())), max_size=8))
@settings(max_examples=4, deadline=None)
def test_changes_and_what_came_first_do_not_depend_on_how_records_are_cut(cuts: list[int]) -> None:
    records = _with_changes()

    assert json_of(run(pipeline(), records, cuts)) == json_of(run(pipeline(), records))


@pytest.mark.parametrize("hours", [1.51, 1.6, 1.95])
def test_changes_and_what_came_first_are_told_after_a_restart_as_without_one(hours: float) -> None:
    records = _with_changes()
    at = sum(record.second < hours * 3600 for record in records)
    saved, restored = pipeline(), pipeline()
    for chunk in chunks(records[:at]):
        saved.feed(chunk)

    restored.restore(msgpack.unpackb(msgpack.packb(saved.state())))
    after, steady = run(restored, records[at:]), run(saved, records[at:])

    assert [(event.id, event.changes, event.timeline) for event in after] == [
        (event.id, event.changes, event.timeline) for event in steady
    ]
    assert any(event.changes for event in after)


def test_what_was_noticed_first_is_told_first_with_its_service() -> None:
    events = run(pipeline(), eventful())

    latest = [event for event in events if event.timeline][-1]
    assert all(line[2] == ":" for line in latest.timeline)
    assert latest.timeline == sorted(latest.timeline, key=lambda line: line[:5])
    assert latest.timeline[0].endswith(("(first)", "(among the first)"))
    assert 2 <= len(latest.timeline) <= 6
