"""What clients of the OpenAI API ask for, checked; and how that API says no."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from logllm.explain.model.sampling import MOST_SAMPLES

__all__ = ["ApiError", "ChatRequest", "CompletionRequest", "Refusal", "chat_request", "completion_request"]

_Text = Annotated[str, msgspec.Meta(max_length=1_000_000)]
_Stop = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Name = Annotated[str, msgspec.Meta(max_length=300)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)]
_Unit = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class ApiError(msgspec.Struct, frozen=True, omit_defaults=False):
    """The `error` object of an answer."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Refusal(Exception):  # noqa: N818 - the API's word; it is an answer
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
        self.error = ApiError(message, "server_error" if status >= 500 else kind, param, code)
        self.headers = headers


class _Part(msgspec.Struct):
    type: str
    text: _Text = ""


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: _Text | list[_Part] | None = None


class _JsonSchema(msgspec.Struct):
    schema: dict[str, Any]
    name: str = ""


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None
    # llama-cpp-python's form of the same.
    schema: dict[str, Any] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Common(msgspec.Struct, kw_only=True):
    """What both endpoints take. Fields that we do not know are passed over, as other servers do."""

    model: _Name = ""
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)] | None = None
    stop: _Stop | Annotated[list[_Stop], msgspec.Meta(max_length=16)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    top_p: _Unit | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    min_p: _Unit | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.1, le=4.0)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    grammar: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None
    profile: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    user: Annotated[str, msgspec.Meta(max_length=300)] | None = None


_Asked = TypeVar("_Asked", bound=_Common)


class ChatRequest(_Common, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[_Message], msgspec.Meta(min_length=1, max_length=1024)]
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    response_format: _ResponseFormat | None = None
    truncation: Literal["auto", "disabled"] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None


class CompletionRequest(_Common, kw_only=True):
    """`POST /v1/completions`."""

    prompt: _Text | Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=1)]
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    suffix: str | None = None


def chat_request(body: bytes) -> ChatRequest:
    """Raises Refusal: not this API's JSON, out of range, or something we do not do."""
    asked = _decoded(body, ChatRequest)
    if asked.tools or asked.functions:
        raise Refusal(400, "tools are not supported here", code="unsupported_parameter", param="tools")
    for place, message in enumerate(asked.messages):
        for part in message.content if isinstance(message.content, list) else ():
            if part.type != "text":
                raise Refusal(
                    400,
                    f"content parts of type {part.type[:40]!r} are not supported, expected text",
                    code="unsupported_parameter",
                    param=f"messages[{place}].content",
                )
    wanted = asked.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise Refusal(400, "expected `response_format.json_schema.schema`", param="response_format")
    return asked


def completion_request(body: bytes) -> CompletionRequest:
    """Raises Refusal as `chat_request` does."""
    asked = _decoded(body, CompletionRequest)
    if asked.echo or asked.suffix:
        name = "echo" if asked.echo else "suffix"
        raise Refusal(400, f"{name} is not supported here", code="unsupported_parameter", param=name)
    return asked


def _decoded(body: bytes, kind: type[_Asked]) -> _Asked:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        _, _, place = str(error).partition(" - at `$")
        raise Refusal(400, str(error)[:500], param=place.strip(".`")[:100] or None) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal(400, f"the body is no JSON: {error}"[:500]) from None
