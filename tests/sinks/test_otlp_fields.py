"""What sinks and sources read out of a record's fields is the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logllm.sinks import fields
from logllm.sinks.entries import opened
from logllm.sinks.said import Said
from logllm.sources import decode_fields
from logllm.sources.decode_slowly import read_slowly
from tests.sinks.odd_blocks import OddBlocks

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10_001), st.floats(), st.binary(max_size=6), st.text(max_size=12),
    st.sampled_from(["warn", "ERROR", " Fatal ", "50", "3", "9999", "10000", "ssh.service", "/web-1", "²"]),
)  # fmt: skip
_NAMES = st.sampled_from(["name", "level", "app", "labels", "container_name", "pod_name", "app.kubernetes.io/name"])
_VALUES = st.recursive(_SCALARS, lambda inner: st.dictionaries(_NAMES, inner, max_size=4), max_leaves=6)


def test_they_are_looked_for_under_the_same_names_in_the_same_order() -> None:
    assert fields.MESSAGE_KEYS == decode_fields.MESSAGE_KEYS
    assert fields.SEVERITY_KEYS == decode_fields.SEVERITY_KEYS
    assert fields.SERVICE_KEYS == decode_fields.SERVICE_KEYS


@given(st.sampled_from([*fields.SEVERITY_KEYS, *fields.SERVICE_KEYS]), _VALUES)
@example("PRIORITY", 191)
@example("kubernetes", {"labels": {"app": ""}, "pod_name": "cart-1"})
def test_their_values_mean_the_same(key: str, value: Any) -> None:
    severity, service = fields.severity_of(key, value), fields.service_of(key, value)

    assert severity == decode_fields.severity_of(key, value)
    assert service == decode_fields.service_of(key, value)


@given(st.text("ab.0/_-", max_size=20))
@example("kube.var.log.containers.cart-7d9f_shop_cart-" + "0" * 64 + ".log")
@example("kube.var.log.containers.cart-7d9f_shop_cart.log")
@example("docker." + "a" * 64)
def test_a_tag_names_the_same_service(tag: str) -> None:
    service = fields.service_of_tag(tag)

    assert service == decode_fields.service_of_tag(tag)[0]


@pytest.mark.parametrize("seed", range(40))
def test_odd_records_say_the_same_to_both(seed: int) -> None:
    said = Said()
    for entry in OddBlocks(seed).entries():
        ((_, record),) = opened(entry, 1)
        plain = read_slowly(entry)

        if not plain.written and not plain.message:
            continue
        assert said.severity(record) == plain.severity
        assert said.service(record, "x.tag") == (plain.service or "tag")
