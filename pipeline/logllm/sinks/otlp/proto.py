"""What is written and read by opentelemetry-proto's own classes: whatever is not there once for each record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from logllm import __version__

__all__ = ["Taken", "empty_request", "resource", "response", "scope"]


class Taken(NamedTuple):
    """What a receiver says of a request it has answered with 2xx.

    Args:
        rejected: Log records that it did not take, and never will.
        message: Why, or a warning; its own words.
    """

    rejected: int
    message: str


def resource(attributes: Mapping[str, str]) -> bytes:
    """A Resource, the same bytes for the same attributes in the same order."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    pairs = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]
    return bytes(Resource(attributes=pairs).SerializeToString())


def scope() -> bytes:
    """The InstrumentationScope of all that we send."""
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

    return bytes(InstrumentationScope(name="logllm", version=__version__).SerializeToString())


def empty_request() -> bytes:
    """A request without records, which a receiver takes."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    ours = Resource.FromString(resource({"service.name": "logllm"}))
    return bytes(ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=ours)]).SerializeToString())


def response(body: bytes) -> Taken | None:
    """What the body of an answer says; None where it is no ExportLogsServiceResponse."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    try:
        said = ExportLogsServiceResponse.FromString(body)
    except DecodeError:
        return None
    return Taken(said.partial_success.rejected_log_records, said.partial_success.error_message)
