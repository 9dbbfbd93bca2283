"""Who has written a record: OpenTelemetry's resource, by its conventions, out of Fluent Bit's fields and tags."""

from __future__ import annotations

from typing import NamedTuple

from logllm.fields import KUBE_TAG, SERVICE_KEYS, service_of, service_of_tag
from logllm.sinks.entries import Fields, fields_of, text_of
from logllm.sinks.json_value import value_at
from logllm.sinks.otlp.proto import resource
from logllm.sinks.said import decoded

__all__ = ["RESOURCE_KEYS", "Origin", "origin_of"]

RESOURCE_KEYS = (*SERVICE_KEYS, "host.name", "hostname", "_HOSTNAME", "container_id")
"""Fields that are read for it."""

_HOSTS = ("host.name", "hostname", "_HOSTNAME")
_KUBERNETES = {
    "namespace_name": "k8s.namespace.name",
    "pod_name": "k8s.pod.name",
    "pod_id": "k8s.pod.uid",
    "pod_ip": "k8s.pod.ip",
    "host": "k8s.node.name",
    "container_name": "k8s.container.name",
    "container_image": "container.image.name",
    "docker_id": "container.id",
}
_MAPS = {
    "labels": "k8s.pod.label.",
    "annotations": "k8s.pod.annotation.",
    "namespace_labels": "k8s.namespace.label.",
    "namespace_annotations": "k8s.namespace.annotation.",
}


class Origin(NamedTuple):
    """A resource, encoded, and the fields that say nothing beyond it."""

    resource: bytes
    moved: frozenset[str]


def origin_of(record: Fields, tag: str) -> Origin:
    """The resource of records that have these fields under RESOURCE_KEYS, and this tag.

    What the `kubernetes` map holds is all of it there: what the conventions have no name for as `kubernetes.NAME`.
    """
    found: dict[str, str] = {}
    moved: set[str] = set()
    for key in SERVICE_KEYS:
        if key in record and (name := service_of(key, decoded(record[key]))):
            found["service.name"] = name
            if text_of(record[key]) == name.encode("utf-8", "replace"):
                moved.add(key)
            break
    else:
        found["service.name"] = service_of_tag(tag)[0] or "unknown_service"
    for key in _HOSTS:
        if key in record and (text := _text(record[key])):
            found["host.name"] = text
            moved.add(key)
            break
    if "kubernetes" in record and _add_kubernetes(record["kubernetes"], found):
        moved.add("kubernetes")
    elif match := KUBE_TAG.search(tag):
        found["k8s.namespace.name"], found["k8s.pod.name"] = match["namespace"], match["pod"]
        found["k8s.container.name"] = match["container"]
        if match["id"]:
            found["container.id"] = match["id"]
    for key, name in (("container_id", "container.id"), ("container_name", "container.name")):
        if name not in found and key in record and (text := _text(record[key])):
            found[name] = text.lstrip("/")
            moved.add(key)
    return Origin(resource({key: _sound(value) for key, value in found.items()}), frozenset(moved))


def _add_kubernetes(value: bytes, found: dict[str, str]) -> bool:
    try:
        fields = fields_of(value)
    except ValueError:
        return False
    for key, each in fields.items():
        if prefix := _MAPS.get(key):
            try:
                inner = fields_of(each)
            except ValueError:
                found[f"kubernetes.{key}"] = _shown(each)
            else:
                found.update({prefix + name: _shown(item) for name, item in inner.items()})
        else:
            found[_KUBERNETES.get(key, f"kubernetes.{key}")] = _shown(each)
    if node := found.get("k8s.node.name"):
        found.setdefault("host.name", node)
    return True


def _shown(value: bytes) -> str:
    text = _text(value)
    return value_at(value, 0)[0] if text is None else text


def _text(value: bytes) -> str | None:
    text = text_of(value)
    return None if text is None else text.decode()


def _sound(text: str) -> str:
    # A tag may hold what no UTF-8 does.
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
