from __future__ import annotations

import random
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from logllm.explain.redact.redactor import Redactor
from tests.explain.redact.corpus import Positive, positives, survivors
from tests.explain.redact.corpus_negatives import negatives

LOGHUB = Path(__file__).parents[3] / ".." / "shared" / "data" / "loghub"
SEED = 20261130
_TAKEN = re.compile(r"<secret_")


@pytest.fixture(scope="module")
def planted() -> list[Positive]:
    return positives(SEED)


@pytest.fixture(scope="module")
def missed(planted: list[Positive]) -> list[Positive]:
    return [one for one in planted if survivors(one, Redactor().mask(one.text))]


def _told(missed: list[Positive]) -> str:
    return "\n".join(f"{one.kind}, {one.context}: {one.text[:300]}" for one in missed[:20])


def test_the_corpus_is_as_large_as_it_says(planted: list[Positive]) -> None:
    kinds = Counter(one.kind for one in planted)

    assert len(planted) >= 2_500
    assert len(kinds) >= 45
    assert min(kinds.values()) >= 20
    assert sum(one.keyed for one in planted) >= 600
    assert all(one.parts and survivors(one, one.text) for one in planted)


def test_of_secrets_behind_a_key_at_least_99_in_100_are_masked_whole(
    planted: list[Positive], missed: list[Positive]
) -> None:
    keyed = sum(one.keyed for one in planted)
    leaked = [one for one in missed if one.keyed]

    assert len(leaked) <= 0.01 * keyed, _told(leaked)


def test_of_all_secrets_at_least_99_in_100_are_masked_whole(planted: list[Positive], missed: list[Positive]) -> None:
    assert len(missed) <= 0.01 * len(planted), _told(missed)


def test_of_each_kind_at_least_95_in_100_are_masked_whole(planted: list[Positive], missed: list[Positive]) -> None:
    of_kind = Counter(one.kind for one in planted)
    leaked = Counter(one.kind for one in missed)

    assert {kind: count for kind, count in leaked.items() if count > 0.05 * of_kind[kind]} == {}, _told(missed)


def test_of_lines_that_only_resemble_at_most_5_in_1000_lose_something() -> None:
    lines = negatives(SEED)
    redactor = Redactor()

    taken = [line for line in lines if re.search("<(?:secret|phone)_", redactor.mask(line))]

    assert len(lines) >= 5_000
    assert len(taken) <= 0.005 * len(lines), "\n".join(taken[:20])


def test_values_that_were_secret_once_take_nothing_from_ordinary_lines(planted: list[Positive]) -> None:
    redactor = Redactor()
    for one in planted:
        redactor.mask(one.text)
    lines = negatives(SEED)

    taken = [line for line in lines if _TAKEN.search(redactor.mask(line))]

    assert len(taken) <= 0.001 * len(lines), "\n".join(taken[:20])


def test_masking_the_corpus_twice_changes_nothing_more(planted: list[Positive]) -> None:
    redactor = Redactor()
    some = random.Random(SEED).sample(planted, 500)

    masked = [redactor.mask(one.text) for one in some]

    assert [redactor.mask(text) for text in masked] == masked


def test_what_was_masked_of_the_corpus_never_comes_back(planted: list[Positive]) -> None:
    redactor = Redactor()
    some = [one for one in random.Random(SEED).sample(planted, 500) if one.kind != "phone"]

    revealed = [redactor.reveal(redactor.mask(one.text), kinds=("secret", "ip", "host", "user")) for one in some]

    assert [one.kind for one, text in zip(some, revealed, strict=True) if survivors(one, text)] == []


@pytest.mark.shared
@pytest.mark.parametrize("system", ["Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenSSH", "OpenStack", "Zookeeper"])
def test_in_real_logs_without_secrets_none_is_found(system: str) -> None:
    path = LOGHUB / system / f"{system}_2k.log"
    if not path.is_file():
        pytest.skip(f"not beside the checkout: {path}")
    redactor = Redactor()

    taken = [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if re.search("<(?:secret|phone)_", redactor.mask(line))
    ]

    assert len(taken) <= 1, "\n".join(taken[:10])


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert positives(3, per_kind=2) == positives(3, per_kind=2)
    assert negatives(3, 200) == negatives(3, 200)
    assert negatives(3, 200) != negatives(4, 200)
    assert max(len(list(same)) for _, same in groupby(negatives(3, 200))) == 1
