from __future__ import annotations

import pytest

from logllm.web.llm.asked import Refusal
from logllm.web.llm.door import Caller, Door
from tests.web.llm_rig import KEY, Rig

OTHER = "sk-other-9876543210"


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    found = {"host": "127.0.0.1:8080", "authorization": f"Bearer {KEY}", **given}
    return [(name.encode(), value.encode()) for name, value in found.items() if value]


def status(door: Door, **given: str) -> int:
    with pytest.raises(Refusal) as caught:
        door.enter(headers(**given), "127.0.0.1")
    return caught.value.status


def test_whoever_shows_one_of_the_keys_may_enter_and_is_known_by_it() -> None:
    door = Door([KEY, OTHER])

    assert door.enter(headers(), "127.0.0.1") == Caller("key 0", True)
    assert door.enter(headers(authorization=f"bearer {OTHER}"), "::1") == Caller("key 1", True)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer \u00e9"]
)
def test_without_a_key_that_is_right_nobody_enters(given: str) -> None:
    assert status(Door([KEY]), authorization=given) == 401


def test_a_key_given_twice_is_none() -> None:
    twice = [*headers(), (b"authorization", f"Bearer {KEY}".encode())]

    with pytest.raises(Refusal) as caught:
        Door([KEY]).enter(twice, "127.0.0.1")

    assert caught.value.status == 401


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:9", "[::1]:8080", "10.0.0.7:1", "box.example.com:80"]
)
def test_addresses_localhost_and_names_of_the_configuration_are_ours(host: str) -> None:
    assert Door([KEY], ["Box.example.com"]).enter(headers(host=host), "127.0.0.1").known


@pytest.mark.parametrize(
    "host", ["", "evil.example.org", "localhost.evil.example.org", "127.0.0.1.example.org", "[evil]"]
)
def test_a_name_that_somebody_points_at_this_machine_is_refused(host: str) -> None:
    assert status(Door([KEY], ["box.example.com"]), host=host) == 421


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://127.0.0.1:9999"])
def test_pages_of_other_sites_are_refused_even_where_no_key_is_needed(origin: str) -> None:
    assert status(Door([]), origin=origin) == 403
    assert status(Door([KEY]), origin=origin) == 403


def test_the_same_site_may_ask_and_without_keys_anybody_by_where_it_comes_from() -> None:
    assert Door([]).enter(headers(origin="http://127.0.0.1:8080", authorization=""), "127.0.0.1").name == "127.0.0.1"


def test_the_api_says_what_is_wrong_with_the_key() -> None:
    rig = Rig()

    wrong, missing = rig.chat(key="sk-wrong"), rig.chat(key="")

    assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
    assert wrong.headers["www-authenticate"].startswith("Bearer")
    assert missing.status == 401
    assert rig.fake.bodies == []
    assert rig.get("/metrics", key="").status == 401
