"""The recipes of `fluentbit/`, as far as they can be tried without a Fluent Bit: form, names, promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from logllm.config import Config
from logllm.doctor.fluentbit import examine_fluent_bit
from logllm.doctor.fluentbit_file import FluentBitConfig, Section, read
from tests.fluentbit.documented import FILTERS, INPUTS, OUTPUTS, SERVICE

FOLDER = Path(__file__).parents[2] / "fluentbit"
RECIPES = sorted([*FOLDER.glob("*.yaml"), *(FOLDER.glob("*.conf"))])
FLUENT_BIT = [path for path in RECIPES if path.name != "fluentd.conf"]
PAIRS = [path for path in FLUENT_BIT if path.suffix == ".yaml" and path.with_suffix(".conf").exists()]
# A node's disk is everybody's: there the oldest chunk goes rather than the node.
BOUNDED_ON_PURPOSE = {"kubernetes.yaml"}


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def of(path: Path) -> FluentBitConfig:
    (config,) = read(path)
    return config


def last(section: Section, key: str) -> str:
    return section[key][-1].lower()


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")))


def manifest(kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "docker-compose.yaml").read_text(encoding="utf-8"))
    return loaded


def test_every_recipe_that_is_promised_is_there() -> None:
    told = (FOLDER / "README.md").read_text(encoding="utf-8")

    linked = set(re.findall(r"\]\(([\w.-]+\.(?:yaml|conf))\)", told))

    assert linked == set(names(RECIPES))
    assert len(PAIRS) == 3


@pytest.mark.parametrize("path", FLUENT_BIT, ids=names(FLUENT_BIT))
def test_every_setting_is_one_that_fluent_bit_documents(path: Path) -> None:
    config = of(path)

    unknown = set(config.service) - SERVICE
    for sections, documented in ((config.inputs, INPUTS), (config.filters, FILTERS), (config.outputs, OUTPUTS)):
        for section in sections:
            unknown |= {f"{last(section, 'name')}: {key}" for key in set(section) - documented[last(section, "name")]}

    assert unknown == set()


@pytest.mark.parametrize("path", FLUENT_BIT, ids=names(FLUENT_BIT))
def test_every_input_waits_on_the_disk(path: Path) -> None:
    config = of(path)

    assert last(config.service, "storage.path").startswith("/")
    assert config.inputs
    for section in config.inputs:
        assert last(section, "storage.type") == "filesystem"
        if last(section, "name") in ("tail", "systemd"):
            assert last(section, "db").startswith("/")
    dbs = [last(section, "db") for section in config.inputs if "db" in section]
    assert len(dbs) == len(set(dbs)), "each input needs a database of its own"


@pytest.mark.parametrize("path", FLUENT_BIT, ids=names(FLUENT_BIT))
def test_no_output_gives_up_and_every_forward_output_waits_for_an_ack_but_not_for_ever(path: Path) -> None:
    config = of(path)

    forwards = [section for section in config.outputs if last(section, "name") == "forward"]
    assert len(forwards) == (0 if path.name.startswith("receive-") else 1)
    for section in config.outputs:
        assert last(section, "retry_limit") == "no_limits"
    for section in forwards:
        assert last(section, "require_ack_response") == "on"
        assert last(section, "net.io_timeout") == "30s"
        assert last(section, "net.keepalive") == "on"


@pytest.mark.parametrize("path", PAIRS, ids=names(PAIRS))
def test_both_formats_of_a_recipe_say_the_same(path: Path) -> None:
    assert of(path) == of(path.with_suffix(".conf"))


@pytest.mark.parametrize("path", FLUENT_BIT, ids=names(FLUENT_BIT))
def test_doctor_has_nothing_against_a_recipe(path: Path) -> None:
    troubles = [one for one in examine_fluent_bit(path) if one.level in ("warn", "fail")]

    if path.name in BOUNDED_ON_PURPOSE:
        (bounded,) = troubles
        assert "storage.total_limit_size" in bounded.found
    elif path.name == "docker-compose.yaml":
        # On the network that Compose makes for the two of them, which no other machine reaches.
        (clear,) = troubles
        assert "tls is off" in clear.found
    else:
        assert troubles == []


@pytest.mark.parametrize("path", [path for path in FLUENT_BIT if path.suffix == ".conf"])
def test_a_classic_value_has_no_comment_behind_it(path: Path) -> None:
    # Fluent Bit takes it for a part of the value.
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]

    assert [line for line in lines if "#" in line] == []


def test_what_comes_over_the_network_is_encrypted_verified_and_authenticated() -> None:
    (output,) = of(FOLDER / "tls-shared-key.yaml").outputs

    assert {last(output, key) for key in ("tls", "tls.verify", "tls.verify_hostname")} == {"on"}
    for key in ("tls.ca_file", "tls.crt_file", "tls.key_file", "shared_key", "self_hostname", "username", "password"):
        assert output[key][-1]


@pytest.mark.parametrize("path", RECIPES, ids=names(RECIPES))
def test_no_recipe_holds_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    values = re.findall(r"^[^\n#]*\b(?:shared_key|password)\b[:= \t]+([^\s#]+)", text, re.I | re.M)

    assert [value for value in values if not re.match(r"\$|\"#\{ENV|\"/|\[|shared_key$", value)] == []


def test_what_receives_from_logllm_takes_chunks_as_large_as_logllm_does() -> None:
    for name in ("receive-from-logllm.yaml", "receive-from-logllm.conf"):
        (section,) = of(FOLDER / name).inputs

        assert last(section, "buffer_max_size") == "64m"
        assert "mem_buf_limit" not in section
        assert last(section, "port") != "24224"


def toml_of_recipes() -> dict[str, str]:
    return {
        "kubernetes.yaml": manifest("ConfigMap", "logllm")["data"]["logllm.toml"],
        "docker-compose.yaml": compose()["configs"]["logllm"]["content"],
        "tls-shared-key.yaml": "\n".join(
            line.removeprefix("#").strip()
            for line in (FOLDER / "tls-shared-key.yaml").read_text(encoding="utf-8").splitlines()
            if line.startswith("#     ")
        ),
    }


@pytest.mark.parametrize("name", ["kubernetes.yaml", "docker-compose.yaml", "tls-shared-key.yaml"])
def test_the_configuration_of_logllm_in_a_recipe_loads(name: str, tmp_path: Path) -> None:
    path = tmp_path / "logllm.toml"
    path.write_text(toml_of_recipes()[name], encoding="utf-8")

    config = Config.load(path)

    assert config.forward.listen == "0.0.0.0:24224"
    assert config.forward.shared_key_file
    assert (config.forward.tls_cert is None) == (name == "docker-compose.yaml")


def test_the_manifests_hold_everything_that_is_needed_once() -> None:
    kinds = [(one["kind"], one["metadata"]["name"]) for one in manifests()]

    assert len(kinds) == len(set(kinds))
    assert {kind for kind, _ in kinds} >= {
        *("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap"),
        *("DaemonSet", "StatefulSet", "Service", "NetworkPolicy"),
    }
    for one in manifests():
        assert one["apiVersion"]
        if one["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
            assert one["metadata"]["namespace"] == "logllm"


@pytest.mark.parametrize(("kind", "name"), [("DaemonSet", "fluent-bit"), ("StatefulSet", "logllm")])
def test_a_workload_selects_its_own_pods_and_mounts_only_what_it_declares(kind: str, name: str) -> None:
    workload = manifest(kind, name)["spec"]

    pod = workload["template"]["spec"]
    declared = {volume["name"] for volume in pod["volumes"]}
    declared |= {claim["metadata"]["name"] for claim in workload.get("volumeClaimTemplates", [])}
    labels = workload["template"]["metadata"]["labels"]
    assert workload["selector"]["matchLabels"].items() <= labels.items()
    mounted = {m["name"] for c in [*pod["containers"], *pod.get("initContainers", [])] for m in c["volumeMounts"]}
    assert mounted == declared
    for volume in pod["volumes"]:
        if "configMap" in volume:
            manifest("ConfigMap", volume["configMap"]["name"])
    assert pod["terminationGracePeriodSeconds"] > 30


@pytest.mark.parametrize(("kind", "name"), [("DaemonSet", "fluent-bit"), ("StatefulSet", "logllm")])
def test_a_container_is_confined_and_bounded(kind: str, name: str) -> None:
    pod = manifest(kind, name)["spec"]["template"]["spec"]

    for container in pod["containers"]:
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]
        profile = (confined.get("seccompProfile") or pod["securityContext"]["seccompProfile"])["type"]
        assert profile == "RuntimeDefault"
    if name == "logllm":
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False


def test_the_probes_ask_what_logllm_answers_on_the_port_it_is_told_to_listen_on() -> None:
    (container,) = manifest("StatefulSet", "logllm")["spec"]["template"]["spec"]["containers"]

    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    toml = manifest("ConfigMap", "logllm")["data"]["logllm.toml"]
    assert [int(port) for port in re.findall(r'listen = "0\.0\.0\.0:(\d+)"', toml)] == [ports["forward"], ports["http"]]


def test_the_service_leads_to_logllm_and_fluent_bit_sends_to_that_service() -> None:
    service = manifest("Service", "logllm")
    (output,) = of(FOLDER / "kubernetes.yaml").outputs

    labels = manifest("StatefulSet", "logllm")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert last(output, "host") == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert int(last(output, "port")) in [port["port"] for port in service["spec"]["ports"]]


def test_what_logllm_prints_is_not_read_by_fluent_bit_again() -> None:
    (tail,) = of(FOLDER / "kubernetes.yaml").inputs
    services = compose()["services"]

    assert "_logllm_" in last(tail, "exclude_path")
    assert {name: service["logging"]["driver"] for name, service in services.items()} == {
        "logllm": "local",
        "fluent-bit": "local",
    }


def test_the_image_is_built_from_files_that_exist() -> None:
    build = compose()["services"]["logllm"]["build"]
    root = (FOLDER / build["context"]).resolve()

    copied = [
        name for line in re.findall(r"^COPY (.+) \S+$", build["dockerfile_inline"], re.M) for name in line.split()
    ]

    assert "pyproject.toml" in copied
    assert [name for name in copied if not (root / name).exists()] == []


def test_compose_names_only_what_it_declares() -> None:
    declared = compose()

    for service in declared["services"].values():
        assert {one["source"] for one in service.get("configs", [])} <= set(declared["configs"])
        assert {one["source"] for one in service.get("secrets", [])} <= set(declared["secrets"])
        named = {volume.partition(":")[0] for volume in service["volumes"]}
        assert {name for name in named if not name.startswith("/")} <= set(declared["volumes"])


def test_fluentd_waits_for_acks_and_keeps_what_it_waits_for_on_the_disk() -> None:
    text = (FOLDER / "fluentd.conf").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]

    opened = [line for line in lines if re.match(r"<\w", line)]
    closed = [line for line in lines if line.startswith("</")]
    assert len(opened) == len(closed)
    settings = dict(line.split(None, 1) for line in lines if not line.startswith("<"))
    assert settings["require_ack_response"] == "true"
    assert lines.count("@type file") == 3
    assert lines.count("retry_forever true") == lines.count("overflow_action block") == 2
