"""The plugin `kubernetes`: against a slow reference in Python, its fixtures, damaged blocks, and its own source."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.cli.plugin_build import build, recipe_for, toolchain
from logllm.cli.plugin_fixtures import check
from logllm.errors import PluginLoadError
from logllm.filters.config import Limits, PluginConfig
from logllm.filters.host import Host
from logllm.filters.instance import Instance, entries_of
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.native import program
from logllm.filters.shipped import root
from tests.sdk.conformance import EVENT_TIME, HEADS, HOSTILE, Native, entry
from tests.sdk.node import install_node_modules

PROJECT = root() / "kubernetes"
CODE = (PROJECT / "kubernetes.wasm").read_bytes()
ID = "0123456789abcdef" * 4
TAG = f"kube.var.log.containers.web-5f6d8b4c97-bq9wt_shop_nginx-{ID}.log"

_LIFTED = {"pod_name": "pod", "namespace_name": "namespace", "container_name": "container", "host": "node"}
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"


def started(config: dict[str, Any] | None = None) -> Instance:
    settings = PluginConfig(path="kubernetes.wasm", grants=[], config=config or {})
    return program(CODE, settings).instance(settings, Limits(), Host("kubernetes", 0, tell=lambda level, text: None))


def through(instance: Instance, *records: object, tag: str = "app") -> list[dict[str, Any]]:
    block = b"".join(entry(msgpack.packb(record)) for record in records)
    made = instance.process(tag, block, len(records), 5000)
    assert (made.count, made.dropped) == (len(records), 0)
    return [msgpack.unpackb(one)[1] for one in entries_of(made.block, made.count)]


def service_of(pod: str, node: str = "") -> str:
    """The workload a pod's name tells of, by regular expressions."""
    if node and pod.endswith(f"-{node}") and pod != f"-{node}":
        return pod[: -len(node) - 1]
    if found := re.fullmatch(
        rf"(.+)-({_SAFE}{{8,10}}|(?=[a-z]*[2-9]){_SAFE}{{6,7}}|[0-9]{{1,10}})-{_SAFE}{{5}}", pod, re.DOTALL
    ):
        return found[1]
    if found := re.fullmatch(rf"(.+)-(?:{_SAFE}{{5}}|[0-9]{{1,10}})", pod, re.DOTALL):
        return found[1]
    return pod


def expected(record: dict[str, Any], parts: tuple[str, str, str] | None = None) -> dict[str, Any]:
    """What the plugin makes of a record with its default configuration, slowly."""
    made = dict(record)
    its = record.get("kubernetes")
    known: dict[str, Any] = its if isinstance(its, dict) else {}

    def text(value: object) -> str:
        return value if isinstance(value, str) else ""

    def lift(name: str, value: str) -> bool:
        if value and name not in made:
            made[name] = value
        return bool(value) and made[name] == value

    gone = {key for key, name in _LIFTED.items() if lift(name, text(known.get(key)))}
    pod, namespace, container = (text(known.get(key)) for key in ("pod_name", "namespace_name", "container_name"))
    if parts is not None:
        for name, mine, from_tag in zip(
            ("pod", "namespace", "container"), (pod, namespace, container), parts, strict=True
        ):
            if not mine:
                lift(name, from_tag)
        pod, container = pod or parts[0], container or parts[2]
    labels, notes = ({} if not isinstance(known.get(key), dict) else known[key] for key in ("labels", "annotations"))
    owners = [text(where.get(key)) for key in ("owner", "team") for where in (labels, notes)]
    lift("owner", next(filter(None, owners), ""))
    named = [text(labels.get(key)) for key in ("app.kubernetes.io/name", "app", "k8s-app")]
    fallback = service_of(pod, text(known.get("host"))) if pod else container
    lift("service", next(filter(None, named), fallback))
    if isinstance(its, dict):
        left = {key: its[key] for key in its if key not in gone | {"docker_id", "container_hash", "annotations"}}
        made["kubernetes"] = left
        if its and not left:
            del made["kubernetes"]
    return made


def test_its_fixtures_come_out_as_they_are_written_down() -> None:
    said: list[str] = []

    assert check(PROJECT, said.append), "\n".join(said)
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PROJECT.glob("fixtures/*.in.ndjson")) > 20


@pytest.mark.parametrize(
    ("pod", "service"),
    [
        ("cart-7d9f8c6b5d-x2k4z", "cart"),
        ("payments-api-66b9d5f7c8-8hv2p", "payments-api"),
        ("cart-6b5d7c2-x2k4z", "cart"),
        ("x-grpcsrv-x2k4z", "x-grpcsrv"),
        ("fluent-bit-4zvq9", "fluent-bit"),
        ("report-28561235-qk7fn", "report"),
        ("import-0-qk7fn", "import"),
        ("kafka-broker-12", "kafka-broker"),
        ("toolbox", "toolbox"),
        ("mysql-primary", "mysql-primary"),
        ("x2k4z", "x2k4z"),
        ("-x2k4z", "-x2k4z"),
        ("a-x2k4z", "a"),
        ("web-", "web-"),
        ("web--0", "web-"),
        ("7d9f8c6b5d-x2k4z", "7d9f8c6b5d"),
        ("kube-apiserver-node-1", "kube-apiserver"),
        ("node-1", "node"),
        ("-node-1", "-node"),
        ("caf\u00e9-0", "caf\u00e9"),
        ("cart-12345678901", "cart-12345678901"),
    ],
)
def test_a_pods_name_tells_its_workload(pod: str, service: str) -> None:
    record = {"log": "x", "kubernetes": {"pod_name": pod, "host": "node-1"}}

    (made,) = through(started(), record)

    assert made == {"log": "x", "pod": pod, "node": "node-1", "service": service}
    assert service_of(pod, "node-1") == service


_TEXT = st.one_of(
    st.sampled_from(["cart", "cart-7d9f8c6b5d-x2k4z", "kafka-0", "node-1", "x-node-1", "", "report-28561235-qk7fn"]),
    st.text(max_size=12),
    st.text("bcdf2345-x", max_size=24),
)
_ANY = st.one_of(_TEXT, st.none(), st.integers(-5, 5), st.lists(_TEXT, max_size=2))
_WORDS = st.dictionaries(
    st.sampled_from(["app", "app.kubernetes.io/name", "k8s-app", "owner", "team", "x", "caf\u00e9"]), _ANY, max_size=20
)
_KEYS = ("pod_name", "namespace_name", "container_name", "host", "docker_id", "container_hash", "pod_id", "pod_ip")
_KUBERNETES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(_KEYS, _ANY) | {key: st.one_of(_WORDS, _ANY) for key in ("labels", "annotations")},
)
_RECORD = st.fixed_dictionaries(
    {"log": st.one_of(_TEXT, st.text(max_size=300))},
    optional=dict.fromkeys(("service", "pod", "node", "owner", "stream"), _ANY)
    | {"kubernetes": st.one_of(_KUBERNETES, _KUBERNETES, _ANY)},
)


@settings(max_examples=150, deadline=None)
@given(records=st.lists(_RECORD, min_size=1, max_size=8))
def test_it_does_what_the_reference_does(records: list[dict[str, Any]]) -> None:
    instance = started()

    plain = through(instance, *records)
    tagged = through(instance, *records, tag=TAG)

    assert plain == [expected(record) for record in records]
    assert tagged == [expected(record, ("web-5f6d8b4c97-bq9wt", "shop", "nginx")) for record in records]
    assert [made["log"] for made in plain] == [record["log"] for record in records]
    instance.close()


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        (TAG, ("web-5f6d8b4c97-bq9wt", "shop", "nginx")),
        (f"var.log.containers.a.b_c_d-{ID}.log", ("a.b", "c", "d")),
        ("kube.var.log.containers.a_c_d.log", ("a", "c", "d")),
        (f"kube.var.log.containers.a_c_{ID}.log", ("a", "c", ID)),
        (f"kube.var.log.containers.a_c_d-{ID[:-1]}g.log", ("a", "c", f"d-{ID[:-1]}g")),
        (f"kube.var.log.containers.a_c_-{ID}.log", None),
        ("kube.var.log.containers.caf\u00e9_c_d.log", ("caf\u00e9", "c", "d")),
        ("kube.var.log.containers._c_d.log", None),
        ("kube.var.log.containers.a__d.log", None),
        ("kube.var.log.containers.a_c_.log", None),
        ("kube.var.log.containers.a_c.log", None),
        ("kube.var.log.containers.a_c_d", None),
        ("kubevar.log.containers.a_c_d.log", None),
        ("kube.var.log.containers..log", None),
        ("", None),
    ],
)
def test_a_tag_of_a_containers_log_says_the_rest(tag: str, parts: tuple[str, str, str] | None) -> None:
    records: list[dict[str, Any]] = [{"log": "a line"}, {"log": "another", "kubernetes": {"host": "n"}}]

    made = through(started(), *records, tag=tag)

    assert made == [expected(record, parts) for record in records]


def test_what_one_tag_says_is_forgotten_with_the_next() -> None:
    instance = started()
    record = {"log": "a line"}

    made = [through(instance, record, tag=tag)[0] for tag in (TAG, "app", "kube.var.log.containers.a_b_c.log", TAG)]

    assert [one.get("pod") for one in made] == ["web-5f6d8b4c97-bq9wt", None, "a", "web-5f6d8b4c97-bq9wt"]


def test_records_without_kubernetes_keep_their_bytes_and_their_block() -> None:
    odd = [{}, {"log": "x"}, {"kubernetes": None}, {"kubernetes": []}, {"kubernetes": {}}, {1: 2, None: b"\xff"}]
    block = b"".join(entry(msgpack.packb(record), head) for record in odd for head in HEADS)

    made = started().process("app", block, len(odd) * len(HEADS), 5000)

    assert made.block is block


def test_a_field_that_is_there_twice_is_one_in_the_end_and_others_stay() -> None:
    names = b"\xa8pod_name\xa1a\xa8pod_name\xa1b\xa1x\x01"
    record = b"\x82\xa3log\xa1l\xaakubernetes\x83" + names

    made = started().process("app", entry(record), 1, 5000)

    assert msgpack.unpackb(made.block)[1] == {"log": "l", "kubernetes": {"x": 1}, "pod": "b", "service": "b"}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"label": []}, "label: unknown; expected key, service_labels"),
        ({"service_labels": "app"}, "service_labels: expected a list of texts"),
        ({"owner_keys": [1]}, "owner_keys: expected a list of texts"),
        ({"keep": {}}, "keep: expected a list"),
        ({"drop": None}, "drop: expected a list"),
        ({"flatten": 1}, "flatten: expected true or false"),
        ({"key": ""}, "key: expected a text that is not empty"),
        ({"fields": {"image": "x"}}, "fields: expected texts by name, of pod, namespace"),
        ({"fields": {"pod": 1}}, "fields: expected texts by name"),
        ({"fields": {"pod": "node"}}, "no two alike"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(PluginLoadError, match=re.escape(reason)):
        started(config)


def test_other_names_and_keys_are_taken_from_the_configuration() -> None:
    instance = started({"key": "k8s", "fields": {"pod": "p.o.d", "service": "", "node": ""}, "drop": ["labels"]})
    known = {"pod_name": "a-0", "host": "n", "labels": {"app": "b", "team": "t"}, "docker_id": ID}

    made = through(instance, {"log": "x", "k8s": known, "kubernetes": known})

    assert made == [{"log": "x", "k8s": {"host": "n"}, "kubernetes": known, "p.o.d": "a-0", "owner": "t"}]


def kubernetes_block() -> bytes:
    """Records as Fluent Bit writes them, of every kind the fixtures know."""
    lines = (PROJECT / "fixtures/metadata.in.ndjson").read_text(encoding="utf-8").splitlines()
    return b"".join(entry(msgpack.packb(json.loads(line))) for line in lines)


def test_damaged_blocks_are_errors_or_output_and_never_a_trap() -> None:
    draw = random.Random(3)
    whole = kubernetes_block()
    plugin = Native(CODE, tag=TAG.encode())
    answers = set()

    for at in range(3000):
        damaged = bytearray(whole[: draw.randrange(40, len(whole))] if at % 3 else whole)
        for _ in range(draw.randrange(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.choice((draw.randrange(256), 0xDF, 0xDD, 0xDB, 0xC1, 0x80))
        answers.add(plugin.process(bytes(damaged)).mode & 0xFF)
        plugin.process(b"\x92" + EVENT_TIME + b"\x81\xaakubernetes" + draw.randbytes(draw.randrange(60)))
    for hostile in HOSTILE:
        plugin.process(hostile)

    assert answers == {1, 2}, "some were refused, some were taken"
    assert plugin.process(whole).mode == 2


def test_its_memory_is_flat_over_many_calls() -> None:
    plugin = Native(CODE, tag=TAG.encode())
    blocks = [kubernetes_block(), kubernetes_block() * 5]
    plugin.many(blocks, 200)
    before = plugin.guest.memory_bytes

    plugin.many(blocks, 3000)

    assert plugin.guest.memory_bytes == before


def test_the_file_that_ships_is_what_its_source_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLLM_NODE_MODULES", str(install_node_modules("assemblyscript")))
    manifest = Manifest.load(PROJECT)
    made = []
    for place in (tmp_path / "one", tmp_path / "two" / "deeper"):
        shutil.copytree(PROJECT, place, ignore=shutil.ignore_patterns("node_modules", "*.wasm"))
        way = toolchain(place, manifest, recipe_for(place, manifest))
        if way is None:
            pytest.skip(f"no toolchain: {recipe_for(place, manifest).hint}")
        made.append(build(place, manifest, way).path.read_bytes())

    assert made[0] == made[1]
    assert made[0] == CODE
    assert about(CODE).wants == ["log"]
