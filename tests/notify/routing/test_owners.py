from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.notify.routing.owners import Owners, Team
from logllm.notify.routing.plan import Step

SAMPLE = Path(__file__).parents[3] / "samples" / "owners.toml"


def file(folder: Path, text: str) -> Path:
    path = folder / "owners.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("service", "owner"),
    [
        ("payments", "payments"),
        ("payments-eu", ""),
        ("ledger", "payments"),
        ("checkout-cart", "storefront"),
        ("checkout-card", "payments"),
        ("checkout-cards-eu", "payments"),
        ("checkout", ""),
        ("gateway", "storefront"),
        ("Gateway", ""),
        ("kube-proxy", "platform"),
        ("postgres", "platform"),
        ("node-exporter", "platform"),
        ("", ""),
        ("payments\n", ""),
        ("kube-\n\x1b[31m", "platform"),
    ],
)
def test_the_sample_says_whose_a_service_is(service: str, owner: str) -> None:
    owners = Owners.load(SAMPLE)

    found = owners.of(service)

    assert found == owner


def test_the_sample_has_all_that_a_team_can_have() -> None:
    owners = Owners.load(SAMPLE)

    payments, storefront, platform = owners.teams.values()

    assert payments.to == ["slack-payments"]
    assert payments.escalate == [Step(900, ["pagerduty"]), Step(3_600, ["pagerduty", "slack-operations"])]
    assert storefront.hours == "business"
    assert storefront.escalate is None
    assert platform.escalate == []


@pytest.mark.parametrize(
    ("teams", "owner"),
    [
        ({"a": ["pay*"], "b": ["payments"]}, "b"),
        ({"a": ["payments"], "b": ["pay*"]}, "a"),
        ({"a": ["pay*"], "b": ["payment*"]}, "b"),
        ({"a": ["payment*"], "b": ["pay*"]}, "a"),
        ({"a": ["*"], "b": ["p*"]}, "b"),
        ({"a": ["*ments"], "b": ["pay*s"]}, "a"),  # five letters against four
        ({"a": ["*ment*"], "b": ["paym*"]}, "a"),  # four each: the earlier
        ({"a": ["paym*"], "b": ["*ment*"]}, "a"),
        ({"a": ["payments*"], "b": ["payments"]}, "b"),  # eight each: the one that is no pattern
        ({"a": ["payments"], "b": ["payments"]}, "a"),
        ({"a": ["payment?"], "b": ["pay*"]}, "a"),
        ({"a": ["gateway"], "b": ["*"]}, "b"),
        ({"a": ["gateway"], "b": []}, ""),
        ({"a": ["[p]ayments"], "b": ["payments|x"], "c": ["p.yments*"]}, ""),
    ],
)
def test_the_pattern_with_the_most_letters_decides_then_the_earlier(teams: dict[str, list[str]], owner: str) -> None:
    owners = Owners({name: Team(services) for name, services in teams.items()})

    found = owners.of("payments")

    assert found == owner


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.lists(st.text("ab*?", min_size=1, max_size=5), max_size=4), max_size=3
    ),
    st.text("ab", max_size=5),
)
def test_it_is_what_trying_every_pattern_gives(teams: dict[str, list[str]], service: str) -> None:
    tried = [
        (-sum(char not in "*?" for char in pattern), "*" in pattern or "?" in pattern, name)
        for name, patterns in teams.items()
        for pattern in patterns
        if slowly_fits(pattern, service)
    ]
    best = min((one[:2] for one in tried), default=None)
    expected = next((name for *rank, name in tried if tuple(rank) == best), "")

    found = Owners({name: Team(services) for name, services in teams.items()}).of(service)

    assert found == expected


def slowly_fits(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(slowly_fits(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and slowly_fits(pattern[1:], text[1:])


def test_a_hostile_name_costs_no_more_than_its_first_256_characters() -> None:
    owners = Owners({"a": Team(["*a" * 100 + "b", "x*"])})
    started = time.process_time()

    found = [owners.of("a" * 10_000_000), owners.of("x" + "a" * 10_000_000)]

    assert found == ["", "a"]
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[teams.payments]\nservices = 'payments'", "teams.payments: Expected `array`, got `str` - at `$.services`"),
        ("[teams.payments]\nservice = ['payments']", "teams.payments: Object contains unknown field `service`"),
        ("[teams.payments]\nservice = ['payments']", "expected services, to, escalate, hours"),
        ("[teams.payments]\nescalate = [{after = 5}]", "teams.payments: Object contains unknown field `after`"),
        ("[team.payments]\nservices = []", "Object contains unknown field `team`; expected [teams.NAME] for each team"),
        ("teams = 5", "Expected `object`, got `int` - at `$.teams`; expected [teams.NAME] for each team"),
        ("[teams]\npayments = ['payments']", "expected [teams.NAME] for each team"),
        ("[teams.payments\n", "not TOML: Expected"),
        ("[teams.'']\n", "team '', expected a name of up to 64 letters"),
        ('[teams."a\\u001b[31m"]\n', "team 'a\\x1b[31m', expected a name of up to 64 letters"),
        (f"[teams.{'x' * 65}]\n", "expected a name of up to 64 letters"),
        ("[teams.payments]\nservices = ['']", "teams.payments.services: '', expected a service of 1 to 256 characters"),
        (f"[teams.payments]\nservices = ['{'x' * 257}']", "expected a service of 1 to 256 characters"),
        ("x = " + "[" * 100_000, "not TOML: "),
        ("#" * (1 << 20) + "\n", "more than 1048576 bytes, expected the owners of services"),
        ("".join(f"[teams.t{number}]\n" for number in range(1_001)), "1001 teams, expected at most 1000"),
        ("[teams.a]\nservices = [" + "'a'," * 10_001 + "]", "10001 services, expected at most 10000"),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_a_file_that_is_wrong_is_refused_with_file_place_and_what_was_expected(
    text: str, told: str, tmp_path: Path
) -> None:
    path = file(tmp_path, text)

    with pytest.raises(ConfigError) as raised:
        Owners.load(path)

    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)
    assert len(str(raised.value)) < 500 + len(str(path))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "owners.toml"
    path.write_bytes(b"[teams.a]\n\xff")

    with pytest.raises(ConfigError, match=r"owners\.toml: not UTF-8 text at byte 10"):
        Owners.load(path)


@pytest.mark.parametrize("name", ["missing.toml", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the owners: |not a path: "):
        Owners.load(f"{tmp_path}/{name}")


def test_an_empty_file_owns_nothing(tmp_path: Path) -> None:
    owners = Owners.load(file(tmp_path, ""))

    assert owners.of("payments") == ""
