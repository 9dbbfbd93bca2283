"""The outbox: each message once, in order, and nothing of what waits is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.database import Database
from logllm.errors import StateError
from logllm.events import Evidence, IncidentEvent
from logllm.notify.notification import Kind, Notification, notification_id
from logllm.notify.outbox.outbox import OUTBOX_SCHEMA, Outbox

HOSTILE = "<!channel> \x1b[31m\u202egpj.exe \0 " + "A" * 1_000_000


def incident(name: str = "inc-1", title: str = "errors rose") -> IncidentEvent:
    return IncidentEvent(
        id=name,
        event="open",
        time="2026-02-02T10:00:00Z",
        severity="critical",
        service="payments",
        kinds=["rate"],
        title=title,
        expected="0",
        seen="312",
        template="t1",
        count=312,
        runbook=None,
        evidence=[Evidence(id="E1", time="2026-02-02T10:00:00Z", text=title)],
    )


def told(what: str, kind: Kind = "open", *, thread: str = "inc-1", title: str = "errors rose") -> Notification:
    return Notification(
        id=notification_id("slack", thread, what), kind=kind, thread=thread, incidents=[incident(thread, title)]
    )


@pytest.fixture
def database() -> Iterator[Database]:
    found = Database(None, OUTBOX_SCHEMA)
    yield found
    found.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def test_messages_come_out_in_the_order_they_were_put_for_each_destination(outbox: Outbox) -> None:
    first, second, other = told("a"), told("b"), told("c")
    outbox.put("slack", first, now_s=1.0)
    outbox.put("hook", other, now_s=2.0)
    outbox.put("slack", second, now_s=3.0)

    order = []
    while waiting := outbox.next("slack"):
        order.append(waiting.notification)
        outbox.sent(waiting.id, "", 4.0)

    assert order == [first, second]
    hook = outbox.next("hook")
    assert hook is not None
    assert hook.notification == other
    assert outbox.counts() == {("slack", "sent"): 2, ("hook", "queued"): 1}


def test_a_message_is_put_once_even_long_after_it_was_sent(outbox: Outbox) -> None:
    assert outbox.put("slack", told("a"), now_s=1.0)
    assert not outbox.put("slack", told("a"), now_s=2.0)
    outbox.sent(told("a").id, "ref", 3.0)

    again = outbox.put("slack", told("a"), now_s=1_000_000.0)

    assert not again
    assert outbox.next("slack") is None


def test_a_dead_letter_is_not_put_again_either(outbox: Outbox) -> None:
    outbox.put("slack", told("a"), now_s=1.0)
    outbox.dead(told("a").id, "404", 2.0)

    assert not outbox.put("slack", told("a"), now_s=3.0)


def test_a_message_is_part_of_the_callers_transaction(database: Database, outbox: Outbox) -> None:
    class Changed(Exception):  # noqa: N818 - no error
        pass

    def put_and_fail() -> None:
        with database.transaction():
            outbox.put("slack", told("a"), now_s=1.0, covers=[("inc-1", "open")])
            raise Changed

    with pytest.raises(Changed):
        put_and_fail()

    assert outbox.next("slack") is None
    assert outbox.telling("inc-1") == []
    assert outbox.put("slack", told("a"), now_s=2.0)


def test_every_incident_of_a_digest_finds_the_message_that_told_of_it(outbox: Outbox) -> None:
    covers = [(f"inc-{number}", "open") for number in range(10_000)]
    outbox.put("slack", told("digest", "digest"), now_s=1.0, covers=covers)
    outbox.put("slack", told("later", "resolve"), now_s=2.0, covers=[("inc-77", "resolve"), ("inc-77", "resolve")])

    assert outbox.covered(told("digest", "digest").id) == covers
    assert [message.kind for message in outbox.telling("inc-9999")] == ["digest"]
    assert [message.kind for message in outbox.telling("inc-77")] == ["digest", "resolve"]
    assert outbox.covered(told("later", "resolve").id) == [("inc-77", "resolve")]


def test_the_threads_latest_reference_is_found_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "notify.db"
    before = Database(path, OUTBOX_SCHEMA)
    outbox = Outbox(before)
    for what, ref in (("a", "ts-1"), ("b", "ts-2"), ("c", "")):
        outbox.put("slack", told(what), now_s=1.0)
        outbox.sent(told(what).id, ref, 2.0)
    before.close()

    after = Database(path, OUTBOX_SCHEMA)
    found = Outbox(after)

    assert found.ref("slack", "inc-1") == "ts-2"
    assert found.ref("slack", "inc-2") == found.ref("hook", "inc-1") == ""
    assert found.last_sent_s("slack") == 2.0
    assert found.last_sent_s("hook") == 0.0
    after.close()


def test_what_was_asked_of_us_and_the_tries_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "notify.db"
    before = Database(path, OUTBOX_SCHEMA)
    outbox = Outbox(before)
    outbox.put("slack", told("a"), now_s=1.0)
    outbox.begin(told("a").id, 2.0)
    outbox.failed(told("a").id, "429", 33.0, 3.0)
    before.close()

    after = Database(path, OUTBOX_SCHEMA)
    waiting = Outbox(after).next("slack")
    after.close()

    assert waiting is not None
    assert (waiting.attempts, waiting.queued_s, waiting.last_sent_s, waiting.not_before_s) == (1, 1.0, 3.0, 33.0)


def test_the_pause_asked_for_holds_for_what_is_behind_a_message_that_was_given_up(outbox: Outbox) -> None:
    outbox.put("slack", told("a"), now_s=1.0)
    outbox.put("slack", told("b"), now_s=90_000.0)
    outbox.failed(told("a").id, "429", 90_031.0, 90_001.0)

    expired = outbox.expire("slack", "429", 90_001.0)

    waiting = outbox.next("slack")
    assert expired == 1
    assert waiting is not None
    assert (waiting.id, waiting.not_before_s) == (told("b").id, 90_031.0)
    assert outbox.counts() == {("slack", "dead"): 1, ("slack", "queued"): 1}


def test_only_finished_messages_are_forgotten_and_dead_ones_not_for_the_sake_of_sent_ones(database: Database) -> None:
    outbox = Outbox(database, keep=3)
    for number in range(20):
        outbox.put("slack", told(str(number)), now_s=1.0, covers=[(f"inc-{number}", "open")])
    outbox.dead(told("0").id, "404", 2.0)
    for number in range(1, 11):
        outbox.sent(told(str(number)).id, "", 2.0)

    assert outbox.counts() == {("slack", "dead"): 1, ("slack", "sent"): 3, ("slack", "queued"): 9}
    assert outbox.get(told("0").id) is not None
    assert outbox.get(told("7").id) is None
    assert outbox.telling("inc-7") == []
    assert len(outbox.telling("inc-8")) == len(outbox.telling("inc-15")) == 1


def test_a_storm_does_not_fill_the_disk_with_what_its_digests_covered(database: Database) -> None:
    outbox = Outbox(database, keep=4)
    outbox.put("hook", told("waits"), now_s=1.0, covers=[("inc-waits", "open")])
    for number in range(10):
        covers = [(f"inc-{number}-{one}", "open") for one in range(100)]
        outbox.put("slack", told(f"digest {number}"), now_s=1.0, covers=covers)
        outbox.sent(told(f"digest {number}").id, "", 2.0)

    with database.reading() as db:
        (rows,) = db.execute("SELECT count(*) FROM outbox_covers").fetchone()

    assert rows == 201
    assert outbox.covered(told("waits").id) == [("inc-waits", "open")]
    assert len(outbox.covered(told("digest 9").id)) == 100


def test_threads_are_forgotten_by_their_last_use(database: Database) -> None:
    outbox = Outbox(database, keep=3)
    for number in range(5):
        outbox.put("slack", told(f"open {number}", thread=f"inc-{number}"), now_s=1.0)
        outbox.sent(told(f"open {number}", thread=f"inc-{number}").id, f"ts-{number}", 10.0 + 2 * number)
        outbox.put("slack", told(f"again {number}", "update", thread="inc-0"), now_s=1.0)
        outbox.sent(told(f"again {number}", "update", thread="inc-0").id, "ts-other", 11.0 + 2 * number)

    assert [outbox.ref("slack", f"inc-{number}") for number in range(5)] == ["ts-other", "", "", "ts-3", "ts-4"]


@pytest.mark.parametrize(
    ("behind", "newer"),
    [
        ([("2", "update", "inc-1")], "2"),
        ([("2", "update", "inc-2"), ("3", "update", "inc-1")], "3"),
        ([("2", "resolve", "inc-1"), ("3", "update", "inc-1")], None),
        ([("2", "open", "inc-1"), ("3", "update", "inc-1")], None),
        ([("2", "explanation", "inc-1"), ("3", "update", "inc-1")], None),
        ([], None),
    ],
)
def test_an_update_is_superseded_only_by_the_update_right_behind_it_in_its_thread(
    outbox: Outbox, behind: list[tuple[str, Kind, str]], newer: str | None
) -> None:
    outbox.put("slack", told("0", "update"), now_s=1.0)
    outbox.sent(told("0").id, "", 1.0)
    outbox.put("slack", told("1", "update"), now_s=1.0)
    outbox.put("hook", told("other", "update"), now_s=1.0)
    for what, kind, thread in behind:
        outbox.put("slack", told(what, kind, thread=thread), now_s=1.0)

    waiting = outbox.next("slack")

    assert waiting is not None
    assert waiting.id == told("1").id
    assert outbox.newer(waiting) == (None if newer is None else told(newer).id)


def test_an_open_is_never_superseded(outbox: Outbox) -> None:
    outbox.put("slack", told("1"), now_s=1.0)
    outbox.put("slack", told("2", "update"), now_s=1.0)

    waiting = outbox.next("slack")

    assert waiting is not None
    assert outbox.newer(waiting) is None


def test_a_dead_letter_that_is_requeued_goes_before_what_was_put_behind_it(outbox: Outbox) -> None:
    outbox.put("slack", told("a"), now_s=1.0)
    outbox.put("slack", told("b"), now_s=1.0)
    outbox.begin(told("a").id, 2.0)
    outbox.dead(told("a").id, "404", 2.0)

    assert outbox.requeue(told("a").id, 90_000.0)
    assert not outbox.requeue(told("b").id, 90_000.0)

    waiting = outbox.next("slack")
    assert waiting is not None
    assert (waiting.id, waiting.attempts, waiting.queued_s) == (told("a").id, 0, 90_000.0)
    assert outbox.waiting("slack") == (2, 90_000.0)


def test_what_waits_for_a_destination_that_is_gone_is_given_up_and_shown(outbox: Outbox) -> None:
    outbox.put("gone", told("a"), now_s=1.0)
    outbox.put("slack", told("b"), now_s=1.0)

    assert outbox.abandon(["slack", "hook"], 2.0) == 1

    (dead,) = outbox.rows("dead")
    assert (dead.destination, dead.note) == ("gone", "there is no such destination now")
    assert outbox.abandon([], 3.0) == 1


def test_a_message_that_cannot_be_read_is_a_dead_letter_and_the_next_one_goes_out(
    database: Database, outbox: Outbox
) -> None:
    for what in ("damaged", "newer", "good"):
        outbox.put("slack", told(what), now_s=1.0)
    with database.transaction() as db:
        for what, body in (("damaged", b"\xff"), ("newer", b'{"kind": "song"}')):
            db.execute("UPDATE outbox SET body = ? WHERE id = ?", (body, told(what).id))

    waiting = outbox.next("slack")

    assert waiting is not None
    assert waiting.id == told("good").id
    assert [(row.id, row.notification) for row in outbox.rows("dead")] == [
        (told("newer").id, None),
        (told("damaged").id, None),
    ]


def test_people_find_messages_by_the_beginning_of_an_id(outbox: Outbox) -> None:
    for name in ("abc1", "abc2", "test", "test-2"):
        outbox.put("slack", Notification(id=name, kind="test", thread=name, incidents=[]), now_s=1.0)

    found = [outbox.get(beginning) for beginning in ("abc1", "abc", "test", "test-", "x", "")]

    assert [None if one is None else one.id for one in found] == ["abc1", None, "test", "test-2", None, None]
    assert [row.id for row in outbox.rows(limit=2)] == ["test-2", "test"]
    assert [row.id for row in outbox.rows("queued", "slack", 1)] == ["test-2"]
    assert outbox.rows("sent") == outbox.rows(destination="hook") == []


def test_hostile_text_comes_back_as_it_was_put(outbox: Outbox) -> None:
    outbox.put("slack", told("a", title=HOSTILE), now_s=1.0)

    waiting = outbox.next("slack")

    assert waiting is not None
    assert waiting.notification == told("a", title=HOSTILE)


def test_half_a_surrogate_pair_costs_one_character_and_no_message(outbox: Outbox) -> None:
    outbox.put("slack", told("a", title="caf\ud83d is closed"), now_s=1.0)

    waiting = outbox.next("slack")

    assert waiting is not None
    assert waiting.notification.incidents[0].title == "caf? is closed"


def test_an_error_is_kept_as_one_line_of_bounded_length(outbox: Outbox) -> None:
    outbox.put("slack", told("a"), now_s=1.0)

    outbox.dead(told("a").id, "refused\n\x1b[31m" + "x" * 10_000, 2.0)

    note = outbox.rows("dead")[0].note
    assert note.startswith("refused  [31mxx")
    assert len(note) == 500


def test_nothing_has_happened_where_the_disk_is_full(tmp_path: Path) -> None:
    database = Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
    outbox = Outbox(database)
    outbox.put("slack", told("a"), now_s=1.0)
    with database.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StateError, match="full"):
        outbox.put("slack", told("big", title="x" * 100_000), now_s=1.0, covers=[("inc-1", "open")])

    with database.reading() as db:
        db.execute("PRAGMA max_page_count = 100000")
    assert outbox.counts() == {("slack", "queued"): 1}
    assert outbox.telling("inc-1") == []
    assert outbox.put("slack", told("big", title="x" * 100_000), now_s=1.0)
    database.close()


def test_two_processes_may_use_the_file_at_once(tmp_path: Path) -> None:
    service, person = (Database(tmp_path / "notify.db", OUTBOX_SCHEMA) for _ in range(2))
    Outbox(service).put("slack", told("a"), now_s=1.0)
    Outbox(service).dead(told("a").id, "404", 2.0)

    assert Outbox(person).requeue(told("a").id, 3.0)

    waiting = Outbox(service).next("slack")
    assert waiting is not None
    assert waiting.id == told("a").id
    service.close()
    person.close()


def test_a_queue_of_ten_thousand_is_asked_through_indices(database: Database) -> None:
    queries: list[str] = []
    with database.reading() as db:
        db.set_trace_callback(queries.append)
    outbox = Outbox(database)
    outbox.put("slack", told("a", "update"), now_s=1.0, covers=[("inc-1", "open")])
    waiting = outbox.next("slack")
    assert waiting is not None
    outbox.newer(waiting)
    outbox.waiting("slack")
    outbox.telling("inc-1")
    outbox.sent(waiting.id, "ts", 2.0)
    with database.reading() as db:
        db.set_trace_callback(None)
        plans = [
            (query, step[3])
            for query in queries
            if query.startswith(("SELECT", "UPDATE", "DELETE"))
            for step in db.execute(f"EXPLAIN QUERY PLAN {query}")
        ]

    assert len(plans) > 8
    assert [plan for plan in plans if plan[1].startswith("SCAN") and "INDEX" not in plan[1]] == []


class Model:
    """What an outbox is to do, slowly: a list."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []

    def state(self, name: str) -> str | None:
        return next((state for found, _, state in self.messages if found == name), None)

    def move(self, name: str, before: str, after: str) -> None:
        for message in self.messages:
            if message[0] == name and message[2] == before:
                message[2] = after

    def next(self, destination: str) -> str | None:
        return next((name for name, to, state in self.messages if to == destination and state == "queued"), None)


@given(st.lists(st.tuples(st.sampled_from(["put", "sent", "dead", "requeue"]), st.integers(0, 5)), max_size=40))
def test_it_does_what_a_plain_list_would_do(commands: list[tuple[str, int]]) -> None:
    database, model = Database(None, OUTBOX_SCHEMA), Model()
    outbox = Outbox(database)

    for verb, number in commands:
        name, destination = str(number), ("slack", "hook")[number % 2]
        if verb == "put":
            fresh = outbox.put(destination, Notification(id=name, kind="open", thread="t", incidents=[]), now_s=1.0)
            assert fresh == (model.state(name) is None)
            if fresh:
                model.messages.append([name, destination, "queued"])
        elif verb == "requeue":
            assert outbox.requeue(name, 1.0) == (model.state(name) == "dead")
            model.move(name, "dead", "queued")
        else:
            outbox.sent(name, "", 1.0) if verb == "sent" else outbox.dead(name, "x", 1.0)
            model.move(name, "queued", verb)
        for one in ("slack", "hook"):
            waiting = outbox.next(one)
            assert (None if waiting is None else waiting.id) == model.next(one)

    assert {row.id: row.state for row in outbox.rows()} == {name: state for name, _, state in model.messages}
    database.close()


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notify.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StateError, match="not a database"):
        Database(tmp_path / "notify.db", OUTBOX_SCHEMA)
