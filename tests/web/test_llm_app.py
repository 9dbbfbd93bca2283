"""The API's words: what is answered to what. The model is one of our own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.web.llm.asked import ApiError
from tests.web.llm_rig import KEY, Fake, Rig

SCHEMA = {"type": "object", "properties": {"fits": {"enum": ["yes", "no"]}}, "required": ["fits"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}


def test_a_chat_is_answered_in_the_apis_form() -> None:
    rig = Rig()

    got = rig.chat(model="tiny", temperature=0.5, max_completion_tokens=9, stop="x", user="me")

    assert got.status == 200
    assert got.json["object"] == "chat.completion"
    assert got.json["model"] == "tiny"
    assert got.json["id"].startswith("chatcmpl-")
    assert got.json["choices"][0]["message"] == {"role": "assistant", "content": "all is well"}
    assert got.json["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    sent = rig.fake.bodies[0]
    assert (sent["path"], sent["temperature"], sent["max_completion_tokens"]) == ("/chat/completions", 0.5, 9)
    assert rig.fake.callers == ["key 0 me"]


def test_a_stream_ends_with_done_and_tells_usage_where_asked() -> None:
    rig = Rig()

    plain = rig.chat(stream=True)
    told = rig.chat(stream=True, stream_options={"include_usage": True})

    assert plain.headers["content-type"].startswith("text/event-stream")
    assert [event["choices"][0]["delta"].get("content") for event in plain.events[:-1]] == ["all", "is", "well", None]
    assert plain.events[-1] == "[DONE]"
    assert len({event["id"] for event in plain.events[:-1]}) == 1
    assert told.events[-2]["usage"]["total_tokens"] == 13
    assert told.events[-2]["choices"] == []


def test_content_may_be_parts_of_text_and_developers_are_the_system() -> None:
    rig = Rig()
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    rig.chat(messages=[{"role": "developer", "content": "Be short."}, {"role": "user", "content": parts}])

    expected = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "ab"}]
    assert rig.fake.bodies[0]["messages"] == expected


def test_several_choices_are_numbered_and_have_seeds_that_follow_each_other() -> None:
    rig = Rig(Fake(lambda body: str(body["seed"])))

    whole = rig.chat(n=3, seed=7).json
    streamed = rig.chat(n=2, seed=7, stream=True).events

    said = [(choice["index"], choice["message"]["content"]) for choice in whole["choices"]]
    assert said == [(0, "7"), (1, "8"), (2, "9")]
    assert whole["usage"] == {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19}
    assert [event["choices"][0]["index"] for event in streamed[:-1]] == [0, 0, 1, 1]


def test_profiles_go_by_the_models_name_or_a_field_and_the_request_has_the_last_word() -> None:
    rig = Rig()

    rig.chat(model="tiny:deterministic")
    rig.chat(profile="creative", top_p=0.5)
    rig.chat()

    deterministic, creative, plain = rig.fake.bodies
    assert (deterministic["temperature"], deterministic["seed"], deterministic["cache_prompt"]) == (0.0, 1, False)
    assert (creative["temperature"], creative["top_p"], creative["top_k"]) == (1.1, 0.5, 0)
    assert (plain["temperature"], plain["cache_prompt"]) == (0.7, True)


def test_the_diverse_profile_answers_with_what_most_samples_say() -> None:
    answers = ["no", "yes", "no", "yes", "yes"]
    rig = Rig(Fake(lambda body: json.dumps({"fits": answers[body["seed"] - 1]})))

    got = rig.chat(profile="diverse", response_format=FORMAT)
    streamed = rig.chat(profile="diverse", response_format=FORMAT, stream=True)

    assert [choice["message"]["content"] for choice in got.json["choices"]] == ['{"fits": "yes"}']
    assert got.json["vote"] == {"samples": 5, "agreement": 0.6, "counts": {"fits": {"no": 2, "yes": 3}}}
    assert got.headers["x-vote-agreement"] == "0.60"
    assert streamed.events[0]["choices"][0]["delta"]["content"] == '{"fits": "yes"}'
    assert streamed.events[-1] == "[DONE]"


def test_a_default_profile_that_is_none_is_found_at_the_start() -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        Rig(profile="other")


def test_a_server_of_somebody_else_is_sent_what_the_api_knows() -> None:
    rig = Rig(local=False)

    rig.chat(temperature=0.3)
    rig.chat()

    assert not {"cache_prompt", "top_k", "repeat_penalty"} & set(rig.fake.bodies[0])
    assert "temperature" not in rig.fake.bodies[1]


def test_what_was_left_out_of_a_long_chat_is_told() -> None:
    rig = Rig(truncation="auto")
    rig.fake.dropped = "4"

    whole, streamed = rig.chat(), rig.chat(stream=True)
    rig.chat(truncation="disabled")

    assert whole.headers["x-dropped-messages"] == "4"
    assert streamed.headers["x-dropped-messages"] == "4"
    assert [body.get("truncation") for body in rig.fake.bodies] == ["auto", "auto", None]


def test_a_crash_is_tried_once_more_and_the_second_is_told() -> None:
    rig = Rig()
    rig.fake.crashes = 1

    assert rig.chat().status == 200
    assert rig.fake.again == [False, True]
    rig.fake.crashes = 2
    got = rig.chat()

    assert got.status == 503
    assert got.error["message"] == "the model went away in mid-answer (signal 11)"
    rig.fake.crashes = 1
    assert rig.chat(stream=True).events[-1] == "[DONE]"


def test_a_crash_in_a_stream_that_has_begun_is_an_event_and_not_the_end() -> None:
    rig = Rig()
    rig.fake.breaks_after = 1

    got = rig.chat(stream=True)

    assert got.status == 200
    assert got.events[-1]["error"]["type"] == "server_error"
    assert "signal 9" in got.events[-1]["error"]["message"]
    assert "[DONE]" not in got.events
    assert len(rig.fake.bodies) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_request(stream: bool) -> None:
    rig = Rig()

    async def leave() -> int:
        rig.fake.gate = asyncio.Event()
        gone = asyncio.Event()
        body = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": stream}).encode()
        headers = {"content-type": "application/json"}
        task = asyncio.create_task(rig.sent("POST", "/v1/chat/completions", body, headers, gone=gone))
        while not rig.fake.under_way:
            await asyncio.sleep(0)
        gone.set()
        await task
        return rig.fake.under_way

    assert asyncio.run(leave()) == 0
    assert rig.figures.requests["/v1/chat/completions", "gone"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"model": "gpt-4"}, 404, "model_not_found", "model"),
        ({"model": "tiny:other"}, 400, "profile_not_found", "profile"),
        ({"model": "tiny:"}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, None, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, None, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "unsupported_parameter", None),
        ({"temperature": 9}, 400, None, "temperature"),
        ({"n": 99}, 400, None, "n"),
        ({"n": 0}, 400, None, "n"),
        ({"max_tokens": 0}, 400, None, "max_tokens"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter", "tools"),
        ({"response_format": {"type": "xml"}}, 400, None, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, 400, None, "response_format"),
        ({"stop": ["x"] * 17}, 400, None, "stop"),
        ({"stop": [""]}, 400, None, "stop[0]"),
        ({"top_logprobs": 21}, 400, None, "top_logprobs"),
        ({"stream": "yes"}, 400, None, "stream"),
        ({"truncation": "middle"}, 400, None, "truncation"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(body: dict[str, Any], status: int, code: str, param: str) -> None:
    rig = Rig()

    got = rig.chat(**body)

    assert (got.status, got.error["code"], got.error["type"]) == (status, code, "invalid_request_error")
    assert param is None or got.error["param"] == param
    assert rig.fake.bodies == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"messages": "\\ud800"}'])
def test_what_is_no_json_of_this_api_is_refused(raw: bytes) -> None:
    assert Rig().post("/v1/chat/completions", raw).status == 400


def test_a_body_that_is_too_large_or_no_json_by_its_type_is_refused() -> None:
    rig = Rig()

    assert rig.post("/v1/chat/completions", b" " * 900_001).status == 413
    assert rig.send("POST", "/v1/chat/completions", b"{}", **{"content-type": "text/plain"}).status == 415
    assert rig.send("POST", "/v1/chat/completions", b"{}").status == 415


def test_completions_continue_one_text() -> None:
    rig = Rig()

    got = rig.post("/v1/completions", b'{"prompt": ["The disk"], "logprobs": 2}')

    assert got.status == 200
    sent = rig.fake.bodies[0]
    assert (sent["path"], sent["prompt"], sent["logprobs"], sent["top_logprobs"]) == (
        "/completions",
        "The disk",
        True,
        2,
    )
    for refused in (b'{"prompt": ["a", "b"]}', b'{"prompt": "a", "echo": true}', b'{"prompt": "a", "suffix": "b"}'):
        assert rig.post("/v1/completions", refused).status == 400


def test_models_are_the_one_there_is_by_each_profile() -> None:
    rig = Rig()

    found = rig.get("/v1/models").json

    assert found["object"] == "list"
    assert [model["id"] for model in found["data"]][:2] == ["tiny", "tiny:default"]
    assert rig.get("/v1/models/tiny:creative").json["id"] == "tiny:creative"
    assert rig.get("/v1/models/other").error["code"] == "model_not_found"


def test_health_tells_strangers_that_it_lives_and_no_more() -> None:
    rig = Rig()

    assert rig.get("/health", key="").json == {"status": "ok"}
    assert rig.get("/health").json == {"status": "ok", "model": "tiny", "under_way": 0}


def test_metrics_count_requests_and_tokens() -> None:
    rig = Rig()
    rig.chat()
    rig.get("/v1/secrets/of/somebody")

    text = rig.get("/metrics").body.decode()

    assert 'logllm_llm_serve_requests_total{endpoint="/v1/chat/completions",status="200"} 1.0' in text
    assert 'logllm_llm_serve_requests_total{endpoint="other",status="404"} 1.0' in text
    assert 'logllm_llm_serve_tokens_total{kind="written"} 3.0' in text
    assert "secrets" not in text


def test_other_paths_and_methods_are_errors_of_the_api() -> None:
    rig = Rig()

    assert rig.get("/v1/chat/completions").status == 405
    assert rig.send("OPTIONS", "/v1/chat/completions", b"").status == 405
    assert rig.post("/v1/models", b"{}").headers["allow"] == "GET, HEAD"
    assert rig.post("/v1/embeddings", b"{}").error["code"] == "unsupported_endpoint"
    assert rig.get("/v1/files").error["code"] == "unknown_url"
    assert rig.send("HEAD", "/health", b"").body == b""


def test_nothing_allows_a_page_of_another_site_to_read_an_answer() -> None:
    for got in (Rig().chat(), Rig().get("/health"), Rig().send("OPTIONS", "/v1/models", b"")):
        assert not [name for name in got.headers if name.startswith("access-control")]
        assert got.headers["x-content-type-options"] == "nosniff"


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=9,
    ),
    st.sampled_from(["messages", "model", "n", "stop", "response_format", "stream", "seed", "grammar", "profile"]),
)
def test_no_value_of_a_field_is_answered_by_anything_but_an_answer_or_a_refusal(value: Any, field: str) -> None:
    got = Rig().chat(**{field: value})

    assert got.status in (200, 400, 404)
    assert got.status == 200 or set(got.error) == set(ApiError("", "").__struct_fields__)


def test_the_key_is_not_in_what_is_answered() -> None:
    assert KEY.encode() not in Rig().chat().body + Rig().get("/metrics").body
