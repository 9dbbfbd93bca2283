"""What a plugin that fails costs: its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from logllm.guarantees.checks.delivery import same_records
from logllm.guarantees.verdict import Broken
from logllm.guarantees.wire import numbered

if TYPE_CHECKING:
    from logllm.guarantees.child import Child
    from logllm.guarantees.place import Place

__all__ = ["plugin_fails"]

_MODULE = """(module
  (memory (export "memory") 2)
  (func (export "logllm_abi") (result i32) (i32.const 0x00010000))
  (func (export "logllm_buffer") (param i32) (result i32) (i32.const 65536))
  (func (export "logllm_process") (param i32 i32 i32) (result i32) {body}))"""

_BODIES = {"traps": "(unreachable)", "loops": "(loop $on (br $on)) (i32.const 0)"}


def plugin_fails(place: Place) -> str:
    """Run every record through a plugin that traps and one that never comes back."""
    file = place.folder / "records.ndjson"
    filters: list[str] = []
    for name, body in _BODIES.items():
        path = place.folder / f"{name}.wat"
        path.write_text(_MODULE.format(body=body), encoding="ascii")
        filters += ["--filter", str(path)]
    child = place.serve("--sink", f"file:{file}", *filters)

    sender = place.connect(child)
    for number in range(3):
        sender.deliver(numbered([number], f"chunk-{number}"), [f"chunk-{number}"])
    failures = _failures(child)
    child.end()

    same_records(file, range(3))
    if min(failures.get(name, 0) for name in _BODIES) < 1:
        raise Broken(f"failures of plugins are not counted: {failures}")
    told = ", ".join(f"{name} {count} times" for name, count in failures.items())
    return f"three chunks stored and acknowledged although a plugin {told}"


def _failures(child: Child) -> dict[str, int]:
    _, text = child.get("/plugins")
    try:
        return {each["name"]: sum(each["failures"].values()) for each in msgspec.json.decode(text)}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise Broken(f"/plugins does not say how the plugins do: {error!r:.120}") from error
