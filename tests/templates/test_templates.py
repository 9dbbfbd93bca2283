"""Templates: merge of neighbours, identity, parameters, and accuracy on labelled logs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pytest

from logllm.templates.miner import Miner

_SHARED = Path(__file__).parents[2] / ".." / "shared"
_SYSTEMS = ("Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "OpenStack", "Zookeeper")


def test_a_position_varies_after_enough_different_words_and_not_before() -> None:
    miner = Miner()
    words = ["alpha", "beta", "gamma", "delta", "omega"]
    messages = [f"cannot mount volume {word} read only" for word in words]

    before = miner.ids(messages[:3]).tolist()
    names = [miner.template(index).id for index in before]
    after = miner.ids(messages[3:]).tolist()

    assert len(set(before)) == 3
    assert after == [before[0]] * 2
    assert miner.template(before[0]).text == "cannot mount volume <*> read only"
    assert miner.template(before[0]).id == names[0]
    assert [miner.resolve(name) for name in names] == [before[0]] * 3
    assert [(old, new) for old, new in miner.drain_changes().merged if old in before] == [
        (before[1], 0),
        (before[2], 0),
    ]
    assert miner.drain_changes().merged == []


def test_an_index_given_out_before_a_merge_leads_to_the_template_it_became() -> None:
    miner = Miner()
    messages = [f"cannot mount volume {word} read only" for word in ("alpha", "beta", "gamma", "delta")]
    indices = miner.ids(messages).tolist()

    templates = [miner.template(index) for index in indices]

    assert len(set(templates)) == 1
    assert templates[0].count == 4
    assert len(miner) == 1


def test_words_that_join_sentences_never_vary() -> None:
    miner = Miner()

    indices = miner.ids([f"copied data {word} the old store" for word in ("to", "from", "into", "over", "with", "for")])

    assert len(set(indices.tolist())) == 6


def test_what_generalised_words_share_at_a_delimiter_stays() -> None:
    miner = Miner()

    indices = miner.ids([f"server environment:java.{word} is set now" for word in ("home", "vendor", "path", "user")])

    assert miner.template(int(indices[-1])).text == "server environment:java.<*> is set now"


def test_one_word_messages_are_not_taken_for_each_other() -> None:
    miner = Miner()

    indices = miner.ids(["LOOKING", "FOLLOWING", "LEADING", "OBSERVING", "ready", "stopped", "done"])

    assert len(set(indices.tolist())) == 7


def test_ids_are_equal_on_another_machine_whatever_came_between() -> None:
    one, other = Miner(), Miner()
    other.ids(["something else first", "and 5 more"])

    first = one.template(int(one.ids(["took 5 ms"])[0]))
    second = other.template(int(other.ids(["took 99 ms"])[0]))

    assert first.id == second.id == "99a4b121ac59"
    assert first.index != second.index


def test_parameters_are_what_stands_at_the_stars() -> None:
    miner = Miner()
    line = "Failed password for invalid user webmaster from 173.234.31.186 port 38926 ssh2"
    index = int(miner.ids([line])[0])

    values = miner.parameters(index, line)

    assert miner.template(index).text == "Failed password for invalid user <user> from <ip> port <num> ssh2"
    assert values == ["webmaster", "173.234.31.186", "38926"]


@pytest.mark.parametrize("message", ["", "another text", "took", "took 5 hours", "took " * 9999, "\ud800", "\0"])
def test_parameters_of_a_message_that_does_not_fit_are_few_and_never_an_error(message: str) -> None:
    miner = Miner()
    index = int(miner.ids(["took 5 ms for 3 users"])[0])

    assert len(miner.parameters(index, message)) < 2
    assert miner.parameters(-1, message) == []
    assert miner.parameters(10**9, message) == []


def test_an_index_never_given_out_has_no_template() -> None:
    miner = Miner()

    with pytest.raises(IndexError, match="only 0 are known"):
        miner.template(0)

    assert miner.resolve("0123456789ab") is None
    assert miner.ids([]).tolist() == []


@pytest.fixture(scope="module")
def scorer() -> ModuleType:
    path = _SHARED / "bench" / "parse_score.py"
    if not path.exists():
        pytest.skip("the labelled logs are not beside this checkout (../shared)")
    spec = importlib.util.spec_from_file_location("parse_score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _scored(scorer: ModuleType, messages: list[str], truth: list[str]) -> tuple[float, ...]:
    miner = Miner()
    templates = [miner.template(index) for index in miner.ids(messages).tolist()]
    scores: tuple[float, ...] = scorer.score([t.index for t in templates], [t.untyped for t in templates], truth, truth)
    return scores


@pytest.mark.shared
@pytest.mark.parametrize("system", _SYSTEMS)
def test_the_order_of_lines_changes_accuracy_little(scorer: ModuleType, system: str) -> None:
    messages, _, truth = scorer.load(system)
    in_order = _scored(scorer, messages, truth)

    for seed in range(3):
        places = list(range(len(messages)))
        Random(seed).shuffle(places)
        shuffled = _scored(scorer, [messages[at] for at in places], [truth[at] for at in places])

        assert max(abs(a - b) for a, b in zip(in_order, shuffled, strict=True)) < 0.02


@pytest.mark.shared
@pytest.mark.parametrize("half", [slice(0, 1000), slice(1000, 2000), slice(0, 2000, 2)])
def test_templates_of_half_a_log_are_accurate_too(scorer: ModuleType, half: slice) -> None:
    sums = [0.0] * 4
    for system in _SYSTEMS:
        messages, _, truth = scorer.load(system)
        sums = [total + score for total, score in zip(sums, _scored(scorer, messages[half], truth[half]), strict=True)]

    assert all(total / len(_SYSTEMS) > goal for total, goal in zip(sums, (0.95, 0.95, 0.92, 0.86), strict=True))


@pytest.mark.shared
def test_systems_mixed_in_one_miner_have_the_templates_each_has_alone(scorer: ModuleType) -> None:
    logs = {system: scorer.load(system) for system in _SYSTEMS}
    mixed = [(system, at) for at in range(2000) for system in _SYSTEMS]
    services = np.arange(len(mixed), dtype=np.int32) % len(_SYSTEMS)
    miner = Miner()

    given_out = miner.ids([logs[system][0][at] for system, at in mixed], services=services).tolist()

    for number, system in enumerate(_SYSTEMS):
        templates = [miner.template(index) for index in given_out[number :: len(_SYSTEMS)]]
        truth = logs[system][2]
        scores = scorer.score([t.index for t in templates], [t.untyped for t in templates], truth, truth)
        assert scores == _scored(scorer, logs[system][0], truth)


@pytest.mark.shared
def test_templates_of_labelled_logs_are_accurate_with_one_configuration(scorer: ModuleType) -> None:
    means = [0.0] * 4

    for system in _SYSTEMS:
        messages, truth_ids, truth = scorer.load(system)
        miner = Miner()
        given_out = miner.ids(messages).tolist()
        templates = [miner.template(index) for index in given_out]
        scores = scorer.score([t.index for t in templates], [t.untyped for t in templates], truth_ids, truth)
        means = [mean + score / len(_SYSTEMS) for mean, score in zip(means, scores, strict=True)]

    grouping, grouping_f1, exact, exact_f1 = means
    assert grouping > 0.98
    assert grouping_f1 > 0.97
    assert exact > 0.93
    assert exact_f1 > 0.89
