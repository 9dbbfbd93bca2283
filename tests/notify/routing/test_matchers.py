from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.events import Evidence, IncidentEvent
from logllm.notify.routing.labels import LABELS, labels_of
from logllm.notify.routing.matchers import parse_matchers
from logllm.notify.routing.patterns import Pattern
from logllm.notify.routing.plan import Labels


def seen(**labels: str | tuple[str, ...]) -> Labels:
    return {name: (value,) if isinstance(value, str) else value for name, value in labels.items()}


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ('service="payments"', seen(service="payments"), True),
        ("service=payments", seen(service="payments"), True),
        (" service = payments ", seen(service="payments"), True),
        ("service=payments", seen(service="payments-eu"), False),
        ("service!=payments", seen(service="payments"), False),
        ("service!=payments", seen(service="gateway"), True),
        ('service=~"pay.*"', seen(service="payments"), True),
        ('service=~"pay"', seen(service="payments"), False),
        ('service=~"ments"', seen(service="payments"), False),
        ('service!~"pay.*"', seen(service="payments"), False),
        ('service!~"pay.*"', seen(service="gateway"), True),
        ("service=Payments", seen(service="payments"), False),
        ('service=~"(?i)PAYMENTS"', seen(service="payments"), True),
        ("kind=rate", seen(kind=("rate", "new")), True),
        ("kind=new", seen(kind=("rate", "new")), True),
        ("kind=silence", seen(kind=("rate", "new")), False),
        ("kind!=rate", seen(kind=("rate", "new")), False),
        ("kind!=silence", seen(kind=("rate", "new")), True),
        ('kind=~"n.w"', seen(kind=("rate", "new")), True),
        ('kind!~"n.w"', seen(kind=("rate", "new")), False),
        ('owner=""', {}, True),
        ("owner=", {}, True),
        ('owner!=""', {}, False),
        ('owner=~".+"', {}, False),
        ('owner=~".*"', {}, True),
        ('owner=~""', {"owner": ()}, True),
        ('service="a b, {c}"', seen(service="a b, {c}"), True),
        (r'service="say \"hi\"\n\\ \d"', seen(service='say "hi"\n\\ \\d'), True),
        (r'service=~"shard-\d+"', seen(service="shard-12"), True),
        ('{service="payments",severity=~"warning|critical"}', seen(service="payments", severity="critical"), True),
        ("{service=payments, severity=critical,}", seen(service="payments", severity="warning"), False),
        ("{}", {}, True),
        ("service==payments", seen(service="=payments"), True),
    ],
)
def test_a_matcher_holds_as_alertmanager_says(text: str, labels: Labels, holds: bool) -> None:
    matchers = parse_matchers([text])

    assert matchers.match(labels) is holds
    assert (matchers.failing(labels) is None) is holds


def test_all_of_several_must_hold_and_none_at_all_hold_for_everything() -> None:
    several = parse_matchers(["service=payments", "severity=critical"])

    assert several.match(seen(service="payments", severity="critical"))
    assert not several.match(seen(service="payments", severity="info"))
    assert parse_matchers([]).match({})


def test_the_first_that_does_not_hold_is_named() -> None:
    matchers = parse_matchers(["service=payments", "severity=critical", "kind=rate"])

    failing = matchers.failing(seen(service="payments", severity="info", kind="new"))

    assert failing is not None
    assert failing.text == 'severity="critical"'


@given(st.text(max_size=100), st.sampled_from(["=", "!=", "=~", "!~"]))
def test_what_was_read_is_written_so_that_it_reads_the_same(value: str, operator: str) -> None:
    plain = value if operator in ("=", "!=") else re.escape(value)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    (text,) = parse_matchers([f'service{operator}"{escaped}"']).texts

    again = parse_matchers([text])

    assert again.texts == (text,)
    assert again.match(seen(service=value)) is not operator.startswith("!")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "matcher '': '' is none, expected NAME=\"VALUE\" with =, !=, =~ or !~"),
        ("payments", "'payments' is none, expected NAME="),
        ("service=~[", "matcher 'service=~[': there is no ] for this [, at character 1 of '['"),
        ('service="payments', "the value at '\"payments' does not end"),
        ("service=a b", "'b' after its value"),
        ("service=a{1,3}", "'{1,3}' after its value"),
        ("{service=a", "no } for its {"),
        ("service=a,", "'' is none"),
        ("servce=payments", "no label 'servce', expected one of service, services, severity"),
        ("severity=crit", "no severity 'crit', expected info, warning, critical"),
        ("1=2", "'1=2' is none"),
        ("service=" + "a" * 257, "257 characters, expected a value of at most 256"),
        ("service=" + "a" * 5000, "5008 characters, expected at most 1200"),
        ('service=~"' + "a" * 1001 + '"', "1001 characters, expected at most 1000"),
    ],
)
def test_what_is_no_matcher_is_refused_with_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_matchers([text])

    assert told in str(raised.value)
    assert len(str(raised.value)) < 1_500


def test_there_are_at_most_64() -> None:
    with pytest.raises(ConfigError, match="65 matchers, expected at most 64"):
        parse_matchers(["service=a"] * 65)


def test_an_incident_has_every_label_and_no_more_values_than_twenty() -> None:
    event = IncidentEvent(
        id="inc-1", event="open", time="", severity="critical", service="payments", kinds=["rate", "new", "rate"],
        title="", expected="", seen="", template="", count=1, runbook=None,
        evidence=[Evidence("E1", "", "", source=f"file-{number}") for number in range(100)],
        services=["gateway", "payments"], fingerprint="f00",
    )  # fmt: skip

    labels = labels_of(event, "")

    assert tuple(labels) == LABELS
    assert labels["kind"] == ("rate", "new")
    assert labels["services"] == ("gateway", "payments")
    assert labels["runbook"] == labels["owner"] == ("",)
    assert len(labels["source"]) == 20


def test_of_a_long_label_only_the_beginning_is_looked_at() -> None:
    hostile = "payments" + "x" * 10_000_000

    assert parse_matchers(['service=~"payments.*"']).match(seen(service=hostile))
    assert parse_matchers(['service=~"payments.{248}"']).match(seen(service=hostile))
    assert not parse_matchers(["service=payments"]).match(seen(service=hostile))


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*b", "(a|a)*b", "(a|aa)+b", "((a+)+)+b", "(.*)*x", "(.*.*.*.*.*.*)y", "(a?){100}a{100}b", "([a-z]+)*[0-9]"],
)
def test_a_pattern_that_python_would_never_be_done_with_takes_no_time(pattern: str) -> None:
    matchers = parse_matchers([f'service=~"{pattern}"'])
    started = time.process_time()

    found = matchers.match(seen(service="a" * 10_000))

    assert not found
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "pattern",
    ["(a{400}){400}", "((((){9999}){9999}){9999}){9999}", "(" * 400 + ")" * 400, "((a?){22}){23}", "a{9999}"],
)
def test_a_pattern_that_grows_without_end_is_refused_at_once(pattern: str) -> None:
    started = time.process_time()

    with pytest.raises(ConfigError):
        Pattern(pattern)

    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(a", "there is no ) for this (, at character 1"),
        ("a)", "there is no ( for this ), at character 2"),
        ("*a", "nothing to repeat"),
        ("a**", "a repetition of a repetition"),
        ("a{3,2}", "a repetition that ends before it begins"),
        (r"(a)\1", r"\1 is not known"),
        ("(?=a)", "(? is only known as (?:...)"),
        (r"\bpay", r"\b is not known"),
        ("a^b", "^ within the pattern"),
        ("a$b", "$ within the pattern"),
        ("[z-a]", "bad character range z-a"),
        ("[[:alpha:]]", "[: within a set"),
        ("pay\\", "\\ is not known"),
    ],
)
def test_a_pattern_we_do_not_know_is_refused_at_its_place(pattern: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Pattern(pattern)

    assert told in str(raised.value)


@pytest.mark.parametrize("pattern", ["^payments$", "^pay.*", ".*ments$", "(?i)^Payments$", "pay(?:ments)", "pay.+?"])
def test_what_people_write_out_of_habit_is_understood(pattern: str) -> None:
    assert Pattern(pattern).match("payments")


def test_what_is_remembered_of_texts_is_bounded() -> None:
    pattern = Pattern("(a|b|c)*[^a]")
    texts = [
        f"{number:05}".translate(str.maketrans("0123456789", "abcabcabca")) + chr(number) for number in range(30_000)
    ]

    found = [pattern.match(text) for text in texts]

    assert found == [text[-1] != "a" for text in texts]
    assert len(pattern._steps) < 11_000


_ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[a-b]", r"\d", r"\w", r"\.", "1", "-", "[]a]", "[a&&b]"])
_REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "{0}", "{2,}"])


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.tuples(inner, _REPEATS).map(lambda parts: f"({parts[0]}){parts[1]}")
    joined = st.lists(inner, min_size=1, max_size=3)
    return group | joined.map("".join) | joined.map("|".join).map("(?:{})".format)


PATTERNS = st.recursive(st.tuples(_ATOMS, _REPEATS).map("".join), _wider, max_leaves=6)


@given(PATTERNS, st.lists(st.text("abc1-.\né", max_size=7), max_size=20))
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_it_finds_what_pythons_own_expressions_find(pattern: str, texts: list[str]) -> None:
    slow = re.compile(pattern, re.ASCII | re.DOTALL)

    quick = Pattern(pattern)

    assert [quick.match(text) for text in texts] == [slow.fullmatch(text) is not None for text in texts]


@given(st.text(r"ab()[]{}|*+?\^$.-,:0129i&~", max_size=25))
def test_any_text_is_a_pattern_or_is_refused(text: str) -> None:
    try:
        pattern = Pattern(text)
    except ConfigError:
        return

    assert pattern.match("ab") in (True, False)
